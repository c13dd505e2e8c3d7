"""The plant shop's help centre: a dozen articles."""

from __future__ import annotations

from typing import NamedTuple


class Article(NamedTuple):
    """One page of the help centre."""

    id: str
    title: str
    text: str


ARTICLES = (
    Article(
        "help-101",
        "Reset your password",
        "Locked out, or forgotten your password? Choose 'Forgot password' on the sign-in page and "
        "enter the email address of your account. The reset link works once and for 30 minutes. "
        "After five wrong passwords an account stays locked until you use a reset link.",
    ),
    Article(
        "help-102",
        "Lost the phone with your sign-in codes",
        "Two-factor codes come from the authenticator app on your phone. With a new phone, use one "
        "of your recovery codes. Without recovery codes our team can remove two-factor sign-in "
        "after checking who you are; set it up again within seven days.",
    ),
    Article(
        "help-103",
        "Change your email address",
        "Open Account, then Sign-in details. We send a confirmation to the old and the new email "
        "address; the change takes effect once both are confirmed.",
    ),
    Article(
        "help-201",
        "Where is my parcel?",
        "Track a parcel under Orders. Tracking starts when the carrier scans the parcel, usually "
        "in the evening of the day we dispatch it. Standard delivery takes two to four working "
        "days, living plants travel Monday to Wednesday only.",
    ),
    Article(
        "help-202",
        "My parcel is late or lost",
        "If tracking has not moved for five working days, tell us: we ask the carrier to search "
        "and send a replacement or a refund after two more days. Parcels stuck in a depot over a "
        "weekend are not lost yet.",
    ),
    Article(
        "help-203",
        "Change the delivery address of an order",
        "The delivery address can be changed until the order is dispatched. After that only the "
        "carrier can redirect the parcel, from the link in the dispatch email.",
    ),
    Article(
        "help-301",
        "Plants that arrive damaged",
        "Leaves may droop after a journey; water and wait two days. Broken stems, frost or rot are "
        "our fault: send a photo within 14 days and choose a replacement or a refund.",
    ),
    Article(
        "help-302",
        "Return something you do not want",
        "Pots, tools and furniture can be returned within 30 days, unused. Living plants cannot be "
        "returned unless they arrived damaged. Return labels are free above an order of 40 pounds.",
    ),
    Article(
        "help-303",
        "When refunds arrive",
        "A refund goes back to the card or wallet you paid with. Banks take three to five working "
        "days to show it. Gift card payments return to the gift card at once.",
    ),
    Article(
        "help-401",
        "Invoices and VAT",
        "Invoices with VAT are under Account, Invoices, as PDF. Business customers add their VAT "
        "number under Billing details; invoices issued before that can be corrected on request.",
    ),
    Article(
        "help-402",
        "Pause or cancel the Care Box subscription",
        "The Care Box ships on the first Tuesday of each month. Pause it for up to three months or "
        "cancel it under Subscriptions, until the Friday before it ships.",
    ),
    Article(
        "help-403",
        "Gift cards",
        "Gift cards are valid for three years and can be combined with one other payment. Enter "
        "the code at checkout; the balance is shown under Account, Gift cards.",
    ),
)
