"""The plant shop's customers and orders on the day of the demo."""

from __future__ import annotations

from typing import NamedTuple


class Account(NamedTuple):
    """A customer."""

    id: str
    name: str
    email: str
    status: str = "active"
    two_factor: bool = False
    care_box: str | None = None


class Order(NamedTuple):
    """What somebody bought, and where it is."""

    id: str
    account_id: str
    items: str
    total: float
    status: str
    carrier: str | None = None
    last_scan: str | None = None


ACCOUNTS = (
    Account("acct_1007", "Priya Raman", "priya.raman@example.com", status="locked"),
    Account("acct_1013", "Tom Oduya", "tom.oduya@example.com", two_factor=True),
    Account("acct_1022", "Marta Lindqvist", "marta.l@example.org", status="locked"),
    Account("acct_1031", "Jonas Weber", "jonas.weber@example.net"),
    Account("acct_1044", "Aisha Karimi", "aisha@karimi.example"),
    Account("acct_1058", "Kenji Mori", "kenji.mori@example.com", care_box="active"),
    Account("acct_1063", "Helen Brannigan", "helen.b@example.com"),
    Account("acct_1070", "Lucia Ferrari", "lucia.ferrari@example.org", care_box="active"),
    Account("acct_1085", "Samuel Okafor", "s.okafor@example.com"),
    Account("acct_1092", "Greta Novak", "greta.novak@example.net", two_factor=True),
    Account("acct_1101", "Daniel Price", "dan.price@example.com"),
    Account("acct_1116", "Yusuf Demir", "yusuf.demir@example.com"),
    Account("acct_1120", "Oak & Ivy Interiors", "accounts@oakivy.example"),
    Account("acct_1134", "Chloe Martin", "chloe.martin@example.org"),
    Account("acct_1149", "Ravi Shah", "ravi.shah@example.com", care_box="paused"),
    Account("acct_1155", "Ingrid Solberg", "ingrid@solberg.example"),
)

ORDERS = (
    Order(
        "FH-20418", "acct_1031", "Monstera deliciosa, large", 64.0, "shipped", "DPD", "Birmingham"
    ),
    Order("FH-20433", "acct_1044", "Olive tree, 120 cm", 89.5, "packed"),
    Order("FH-20440", "acct_1063", "Two maidenhair ferns", 31.0, "delivered", "DPD", "Leeds"),
    Order("FH-20457", "acct_1085", "Ash-handled spade", 48.0, "delivered", "Evri", "Bristol"),
    Order("FH-20461", "acct_1101", "Fiddle-leaf fig", 72.0, "shipped", "Evri", "Rugby depot"),
    Order("FH-20466", "acct_1116", "Herb garden kit", 27.9, "packed"),
    Order("FH-20472", "acct_1134", "Terracotta pots, set of six", 54.0, "delivered", "DPD", "Kent"),
    Order("FH-20480", "acct_1155", "Bird of paradise", 95.0, "shipped", "DHL", "Leipzig hub"),
    Order("FH-20485", "acct_1092", "Calathea orbifolia", 38.5, "delivered", "DPD", "York"),
    Order(
        "FH-20491", "acct_1120", "Twelve snake plants, office", 312.0, "delivered", "DPD", "Hull"
    ),
    Order("FH-20499", "acct_1013", "Watering can, copper", 44.0, "packed"),
    Order("FH-20503", "acct_1149", "String of hearts", 22.5, "shipped", "Evri", "label created"),
)
