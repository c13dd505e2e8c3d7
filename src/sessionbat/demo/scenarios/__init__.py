"""Everything that happens in the demo: some thirty sessions, each with its own user and problem."""

from sessionbat.demo.scenarios.account import ACCOUNT
from sessionbat.demo.scenarios.billing import BILLING
from sessionbat.demo.scenarios.delivery import DELIVERY
from sessionbat.demo.scenarios.trouble import TROUBLE
from sessionbat.demo.script import Scenario

SCENARIOS: tuple[Scenario, ...] = (*ACCOUNT, *DELIVERY, *BILLING, *TROUBLE)
