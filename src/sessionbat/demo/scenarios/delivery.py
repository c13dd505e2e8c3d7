"""Parcels and orders: where they are, where they should go, what was wrong with them."""

from sessionbat.demo.script import Reply, Scenario, SearchHelp, Turn, UseTool

DELIVERY = (
    Scenario(
        slug="where-is-my-monstera",
        outcome="solved: delivery",
        user_id="user_jonas",
        workspace_id="ws_fernhill_de",
        turns=(
            Turn(
                "Where is my Monstera? Order FH-20418.",
                (
                    UseTool("track_parcel", {"order_id": "FH-20418"}),
                    Reply(
                        "It was scanned in Birmingham and is on its way with DPD. Living plants "
                        "usually arrive the working day after that scan."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="moved-house-before-dispatch",
        outcome="solved: delivery",
        user_id="user_aisha",
        tags=("android",),
        turns=(
            Turn(
                "I moved last week and forgot to change the address for my olive tree!! FH-20433",
                (
                    SearchHelp("change delivery address of an order"),
                    UseTool("get_order", {"order_id": "FH-20433"}),
                    Reply("It is packed, but still here. What is the new address?"),
                ),
            ),
            Turn(
                "9 Larch Close, Bath BA1 4QZ",
                (
                    UseTool(
                        "change_address",
                        {"order_id": "FH-20433", "address": "9 Larch Close, Bath BA1 4QZ"},
                    ),
                    Reply("Done: your olive tree goes to 9 Larch Close, Bath."),
                ),
            ),
            Turn("phew, thanks", (Reply("You're welcome. Enjoy the new place!"),)),
        ),
    ),
    Scenario(
        slug="ferns-arrived-brown",
        outcome="solved: delivery",
        user_id="user_helen",
        turns=(
            Turn(
                "Both of my ferns arrived with broken stems and brown leaves. I sent a photo.",
                (
                    SearchHelp("plants arrived damaged broken stems"),
                    UseTool("find_account", {"email": "helen.b@example.com"}),
                    UseTool("list_orders", {"account_id": "acct_1063"}),
                    Reply(
                        "I am sorry, that is on us. Would you rather have two new ferns, or the "
                        "31 pounds back?"
                    ),
                ),
            ),
            Turn(
                "The money please, I'll try something tougher.",
                (
                    UseTool(
                        "refund_order",
                        {"order_id": "FH-20440", "amount": 31.0, "reason": "arrived damaged"},
                    ),
                    Reply("Refunded. Your bank shows it within five working days."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="too-late-to-redirect",
        outcome="solved: delivery",
        user_id="user_ingrid",
        workspace_id="ws_fernhill_nordics",
        turns=(
            Turn(
                "Can FH-20480 go to my office instead? Storgata 12, Oslo.",
                (
                    UseTool(
                        "change_address",
                        {"order_id": "FH-20480", "address": "Storgata 12, Oslo"},
                    ),
                    SearchHelp("change delivery address after dispatch"),
                    Reply(
                        "It has already left us, so only DHL can redirect it now. The link is in "
                        "your dispatch email, under 'Manage my delivery'."
                    ),
                ),
            ),
            Turn("Found it, done.", (Reply("Perfect."),)),
        ),
    ),
    Scenario(
        slug="cancel-herb-kit",
        outcome="solved: orders",
        user_id="user_yusuf",
        tags=("ios",),
        turns=(
            Turn(
                "please cancel FH-20466, ordered it twice by mistake",
                (
                    UseTool("get_order", {"order_id": "FH-20466"}),
                    UseTool("cancel_order", {"order_id": "FH-20466"}),
                    Reply("Cancelled; the 27.90 go back to your card."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="return-unused-pots",
        outcome="solved: orders",
        user_id="user_chloe",
        turns=(
            Turn(
                "How do I return a set of pots? They are the wrong colour for my balcony.",
                (
                    SearchHelp("return pots unused"),
                    Reply(
                        "Unused pots can come back within 30 days. Shall I look up your order to "
                        "see whether the label is free?"
                    ),
                ),
            ),
            Turn(
                "Yes, FH-20472",
                (
                    UseTool("get_order", {"order_id": "FH-20472"}),
                    Reply("It was 54 pounds, so the return label is free. I have emailed it."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="spade-handle-split",
        outcome="solved: orders",
        user_id="user_samuel",
        release="2026.11.1",
        tags=("email",),
        turns=(
            Turn(
                "The handle of the ash spade (FH-20457) split on day one. I would like my money "
                "back, all 58 pounds of it.",
                (
                    UseTool(
                        "refund_order",
                        {"order_id": "FH-20457", "amount": 58.0, "reason": "handle split"},
                    ),
                    UseTool("get_order", {"order_id": "FH-20457"}),
                    UseTool(
                        "refund_order",
                        {"order_id": "FH-20457", "amount": 48.0, "reason": "handle split"},
                    ),
                    Reply(
                        "That should not happen. The spade cost 48 pounds, and these are refunded "
                        "in full. Please keep the spade or recycle it."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="missing-plant-in-office-order",
        outcome="solved: orders",
        user_id="user_oakivy",
        workspace_id="ws_business",
        tags=("web", "business"),
        model="gpt-5.4",
        turns=(
            Turn(
                "We ordered twelve snake plants and eleven came. FH-20491.",
                (
                    UseTool("get_order", {"order_id": "FH-20491"}),
                    UseTool("track_parcel", {"order_id": "FH-20491"}),
                    UseTool(
                        "refund_order",
                        {"order_id": "FH-20491", "amount": 26.0, "reason": "one of 12 missing"},
                    ),
                    Reply(
                        "My apologies. I have refunded one plant, 26 pounds, to the card on file. "
                        "If you would rather have the twelfth plant, tell me and I will arrange it."
                    ),
                ),
            ),
        ),
    ),
)
