"""Signing in: passwords, two-factor codes, email addresses. All of them end well."""

from sessionbat.demo.script import Reply, Scenario, SearchHelp, Turn, UseTool

ACCOUNT = (
    Scenario(
        slug="locked-out-after-five-tries",
        outcome="solved: signing in",
        user_id="user_priya",
        turns=(
            Turn(
                "I am locked out of my account, it says too many attempts. "
                "My email is priya.raman@example.com",
                (
                    SearchHelp("locked out of account password"),
                    UseTool("find_account", {"email": "priya.raman@example.com"}),
                    UseTool("send_password_reset", {"account_id": "acct_1007"}),
                    Reply(
                        "Five wrong passwords lock an account, Priya. I have sent a reset link to "
                        "p…@example.com; it works once, within 30 minutes, and opens your account."
                    ),
                ),
            ),
            Turn("That worked, thank you!", (Reply("Good to hear. Happy growing!"),)),
        ),
    ),
    Scenario(
        slug="new-phone-no-codes",
        outcome="solved: signing in",
        user_id="user_tom",
        tags=("ios",),
        release="2026.11.1",
        turns=(
            Turn(
                "got a new phone and now I can't get the sign-in codes any more",
                (
                    SearchHelp("new phone sign-in codes"),
                    Reply(
                        "Do you still have one of the recovery codes that you saved when you set "
                        "up two-factor sign-in? One of those is enough."
                    ),
                ),
            ),
            Turn(
                "no idea where those are. tom.oduya@example.com, last order FH-20499, 44 pounds",
                (
                    UseTool("find_account", {"email": "tom.oduya@example.com"}),
                    UseTool("get_order", {"order_id": "FH-20499"}),
                    UseTool("remove_two_factor", {"account_id": "acct_1013"}),
                    Reply(
                        "Your order details match, so I have removed two-factor sign-in. Please "
                        "sign in with your password and set it up again within seven days."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="reset-link-expired",
        outcome="solved: signing in",
        user_id="user_marta",
        workspace_id="ws_fernhill_nordics",
        turns=(
            Turn(
                "The reset link you sent me this morning says 'expired'.",
                (
                    SearchHelp("password reset link expired"),
                    Reply(
                        "Reset links work for 30 minutes. I can send a fresh one: which email "
                        "address is your account under?"
                    ),
                ),
            ),
            Turn(
                "marta.l@example.org",
                (
                    UseTool("find_account", {"email": "marta.l@example.org"}),
                    UseTool("send_password_reset", {"account_id": "acct_1022"}),
                    Reply("Sent. Please open it straight away, it is good for half an hour."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="typo-in-email-address",
        outcome="solved: signing in",
        user_id="user_jonas",
        workspace_id="ws_fernhill_de",
        tags=("web", "first-order"),
        turns=(
            Turn(
                "I never get your emails. My address is jonas.weber@example.con",
                (
                    UseTool("find_account", {"email": "jonas.weber@example.con"}),
                    Reply(
                        "There is no account with that address, could the ending be a typo? "
                        "'.con' instead of '.com' or '.net'?"
                    ),
                ),
            ),
            Turn(
                "oh. it should be jonas.weber@example.net",
                (
                    UseTool("find_account", {"email": "jonas.weber@example.net"}),
                    SearchHelp("change email address of account"),
                    Reply(
                        "That one exists and is active. Our emails go to the .net address, so "
                        "please look there; the address can be changed under Sign-in details."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="change-email-address",
        outcome="solved: signing in",
        user_id="user_greta",
        tags=("email",),
        release="2026.11.1",
        turns=(
            Turn(
                "I am leaving my employer and need my account moved to my private email address.",
                (
                    SearchHelp("change email address"),
                    Reply(
                        "You can do that yourself: Account, then Sign-in details. We write to the "
                        "old and the new address and both have to confirm, so do it while you "
                        "can still read the old one."
                    ),
                ),
            ),
        ),
    ),
)
