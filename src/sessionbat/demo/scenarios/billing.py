"""Money: invoices, refunds, gift cards, the Care Box subscription. All of them end well."""

from sessionbat.demo.script import Reply, Scenario, SearchHelp, Turn, UseTool

BILLING = (
    Scenario(
        slug="vat-number-on-invoice",
        outcome="solved: billing",
        user_id="user_oakivy",
        workspace_id="ws_business",
        tags=("email", "business"),
        model="gpt-5.4",
        turns=(
            Turn(
                "Our VAT number is missing on the invoice for the office plants. "
                "Account: accounts@oakivy.example",
                (
                    SearchHelp("VAT number on invoice"),
                    UseTool("find_account", {"email": "accounts@oakivy.example"}),
                    UseTool("list_invoices", {"account_id": "acct_1120"}),
                    UseTool(
                        "open_ticket",
                        {"summary": "Reissue INV-20491 with VAT number", "priority": "normal"},
                    ),
                    Reply(
                        "Invoices issued before the number was added are corrected by hand: I have "
                        "asked accounting to reissue INV-20491 (ticket T-8801)."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="pause-care-box",
        outcome="solved: billing",
        user_id="user_kenji",
        tags=("android",),
        turns=(
            Turn(
                "I'm travelling until February. Can the care box wait?",
                (
                    SearchHelp("pause care box subscription"),
                    Reply(
                        "Yes, for up to three months, so until your February box. Which email "
                        "address is the subscription under?"
                    ),
                ),
            ),
            Turn(
                "kenji.mori@example.com",
                (
                    UseTool("find_account", {"email": "kenji.mori@example.com"}),
                    UseTool("pause_care_box", {"account_id": "acct_1058", "months": 3}),
                    Reply("Paused for three months. Safe travels!"),
                ),
            ),
        ),
    ),
    Scenario(
        slug="refund-not-on-statement",
        outcome="solved: billing",
        user_id="user_helen",
        turns=(
            Turn(
                "You said I'd get 31 pounds back and nothing is on my statement",
                (
                    SearchHelp("refund not arrived bank"),
                    UseTool("get_order", {"order_id": "FH-20440"}),
                    Reply(
                        "It was sent yesterday and banks take three to five working days. If it "
                        "has not arrived by Friday, write again and we trace it."
                    ),
                ),
            ),
            Turn("ok fine", (Reply("Thank you for your patience, Helen."),)),
        ),
    ),
    Scenario(
        slug="two-gift-cards",
        outcome="solved: billing",
        user_id="user_lucia",
        workspace_id="ws_fernhill_it",
        release="2026.12.0-rc1",
        environment="staging",
        turns=(
            Turn(
                "Can I pay with two gift cards at once?",
                (
                    SearchHelp("gift cards combined payment"),
                    Reply(
                        "One gift card per order, together with one other payment. The second card "
                        "keeps its balance for three years."
                    ),
                ),
            ),
        ),
    ),
)
