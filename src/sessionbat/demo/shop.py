"""The tools of the support bot: questions to, and changes in, the shop's little database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sessionbat.demo.shop_data import ACCOUNTS, ORDERS, Account, Order

Result = dict[str, Any]


@dataclass(slots=True)
class ToolError(Exception):
    """Why a tool could not do what it was asked to."""

    type: str
    message: str
    http_status: int


class Shop:
    """The database, and a tool for each thing that the bot may do in it."""

    def __init__(self) -> None:
        self._accounts = {account.id: account for account in ACCOUNTS}
        self._orders = {order.id: order for order in ORDERS}
        self._tickets = 0
        self._tools: dict[str, Callable[..., Result]] = {
            tool.__name__: tool
            for tool in (
                self.find_account,
                self.send_password_reset,
                self.remove_two_factor,
                self.list_orders,
                self.get_order,
                self.track_parcel,
                self.change_address,
                self.cancel_order,
                self.refund_order,
                self.list_invoices,
                self.pause_care_box,
                self.open_ticket,
            )
        }

    @property
    def tools(self) -> list[Callable[..., Result]]:
        """Every tool; its signature and docstring say how it is called."""
        return list(self._tools.values())

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Result:
        """Run a tool by its name.

        Raises:
            ToolError: It could not do it.
        """
        return self._tools[tool](**arguments)

    def find_account(self, email: str) -> Result:
        """Look up a customer by email address."""
        for account in self._accounts.values():
            if account.email == email.lower():
                return account._asdict()
        raise ToolError("AccountNotFound", f"no account with the address {email}", 404)

    def send_password_reset(self, account_id: str) -> Result:
        """Send a link to set a new password."""
        account = self._account(account_id)
        user, _, domain = account.email.partition("@")
        return {"sent_to": f"{user[0]}…@{domain}", "expires_in_minutes": 30}

    def remove_two_factor(self, account_id: str) -> Result:
        """Let a customer sign in without codes, who has proven who they are."""
        account = self._account(account_id)
        self._accounts[account_id] = account._replace(two_factor=False)
        return {"account_id": account_id, "two_factor": False, "set_up_again_within_days": 7}

    def list_orders(self, account_id: str) -> Result:
        """List a customer's orders."""
        self._account(account_id)
        orders = [o for o in self._orders.values() if o.account_id == account_id]
        return {"orders": [{"id": o.id, "items": o.items, "status": o.status} for o in orders]}

    def get_order(self, order_id: str) -> Result:
        """Show one order."""
        return self._order(order_id)._asdict()

    def track_parcel(self, order_id: str) -> Result:
        """Ask the carrier where an order is."""
        order = self._order(order_id)
        if order.carrier is None:
            return {"order_id": order_id, "status": "not dispatched yet"}
        status = "delivered" if order.status == "delivered" else "in transit"
        return {
            "order_id": order_id,
            "carrier": order.carrier,
            "status": status,
            "last_scan": order.last_scan,
        }

    def change_address(self, order_id: str, address: str) -> Result:
        """Send an order elsewhere, as long as it is here."""
        if self._order(order_id).status != "packed":
            raise ToolError("AlreadyDispatched", f"{order_id} has left the warehouse", 409)
        return {"order_id": order_id, "address": address, "changed": True}

    def cancel_order(self, order_id: str) -> Result:
        """Cancel an order, as long as it is here."""
        order = self._order(order_id)
        if order.status != "packed":
            raise ToolError("AlreadyDispatched", f"{order_id} has left the warehouse", 409)
        self._orders[order_id] = order._replace(status="cancelled")
        return {"order_id": order_id, "status": "cancelled", "refund": order.total}

    def refund_order(self, order_id: str, amount: float, reason: str) -> Result:
        """Pay money back."""
        order = self._order(order_id)
        if amount > order.total:
            raise ToolError("AmountTooHigh", f"{order_id} cost {order.total:.2f}", 422)
        return {"order_id": order_id, "refunded": amount, "reason": reason, "working_days": 5}

    def list_invoices(self, account_id: str) -> Result:
        """List a customer's invoices."""
        self._account(account_id)
        orders = [o for o in self._orders.values() if o.account_id == account_id]
        return {
            "invoices": [
                {"number": o.id.replace("FH", "INV"), "total": o.total, "vat": "20 %"}
                for o in orders
            ]
        }

    def pause_care_box(self, account_id: str, months: int) -> Result:
        """Skip the next boxes of a subscription."""
        account = self._account(account_id)
        if account.care_box is None:
            raise ToolError("NoSubscription", f"{account_id} has no Care Box", 404)
        self._accounts[account_id] = account._replace(care_box="paused")
        return {"account_id": account_id, "care_box": "paused", "months": months}

    def open_ticket(self, summary: str, priority: str = "normal") -> Result:
        """Hand something over to a person."""
        self._tickets += 1
        return {"ticket": f"T-{8800 + self._tickets}", "summary": summary, "priority": priority}

    def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            raise ToolError("AccountNotFound", f"no account {account_id}", 404)
        return self._accounts[account_id]

    def _order(self, order_id: str) -> Order:
        if order_id not in self._orders:
            raise ToolError("OrderNotFound", f"no order {order_id}", 404)
        return self._orders[order_id]
