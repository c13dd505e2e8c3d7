"""What goes wrong with an AI: loops, misses, limits, failures, and users who have had enough."""

from sessionbat.demo.script import (
    Fault,
    ModelFails,
    Reply,
    Scenario,
    SearchHelp,
    Turn,
    UserStops,
    UseTool,
)

_RATE_LIMIT = Fault(
    "RateLimitError",
    "Rate limit reached for gpt-5.4-mini on tokens per minute. Try again in 2 s.",
    http_status=429,
    latency_ms=140,
)
_OVERLOADED = Fault("ModelTimeout", "no answer within 30 s", latency_ms=30_000)
_CARRIER_DOWN = Fault("CarrierUnavailable", "Evri answered HTTP 503", 503, latency_ms=2_100)
_PAYMENTS_DOWN = Fault("PaymentGatewayError", "connection reset by peer", 502, latency_ms=5_040)

_TRACK_LEIPZIG = UseTool("track_parcel", {"order_id": "FH-20480"})
_TRACK_HEARTS = UseTool("track_parcel", {"order_id": "FH-20503"})

TROUBLE = (
    Scenario(
        slug="parcel-stuck-in-leipzig",
        outcome="tool loop",
        user_id="user_ingrid",
        workspace_id="ws_fernhill_nordics",
        turns=(
            Turn(
                "FH-20480 has been in Leipzig for days. Is it moving at all?",
                (
                    *(_TRACK_LEIPZIG,) * 7,
                    Reply("Your parcel was last scanned at the Leipzig hub."),
                ),
            ),
            Turn(
                "I know that. I asked if it is MOVING.",
                (
                    *(_TRACK_LEIPZIG,) * 5,
                    Reply("The latest scan of FH-20480 is at the Leipzig hub."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="label-created-forever",
        outcome="tool loop",
        user_id="user_ravi",
        tags=("ios",),
        release="2026.12.0-rc1",
        environment="staging",
        turns=(
            Turn(
                "tracking for FH-20503 says label created since thursday?",
                (
                    UseTool("get_order", {"order_id": "FH-20503"}),
                    *(_TRACK_HEARTS,) * 6,
                    Reply("The label for your parcel has been created. Anything else?"),
                ),
            ),
        ),
    ),
    Scenario(
        slug="do-you-ship-to-iceland",
        outcome="retrieval miss",
        user_id="user_anonymous_7",
        tags=("web", "visitor"),
        turns=(
            Turn(
                "Hi, is Reykjavik possible?",
                (
                    SearchHelp("Reykjavik Iceland shipping"),
                    SearchHelp("international countries abroad"),
                    Reply(
                        "I could not find anything about that. Could you describe your problem in "
                        "other words?"
                    ),
                ),
            ),
            Turn(
                "it's a city. do you ship there",
                (
                    SearchHelp("ship city"),
                    Reply("The Care Box ships on the first Tuesday of each month."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="is-this-plant-toxic-to-cats",
        outcome="retrieval miss",
        user_id="user_chloe",
        turns=(
            Turn(
                "My cat chewed a leaf of the peace lily I bought from you. Is it toxic?",
                (
                    SearchHelp("peace lily toxic cat chewed leaf"),
                    Reply(
                        "Leaves may droop after a journey. Water the plant and wait two days; if "
                        "it is damaged, send us a photo."
                    ),
                ),
            ),
            Turn("I meant the CAT", (SearchHelp("cat toxic"), Reply("I have no article on that."))),
        ),
    ),
    Scenario(
        slug="wholesale-webhook",
        outcome="retrieval miss",
        user_id="user_oakivy",
        workspace_id="ws_business",
        tags=("email", "business"),
        model="gpt-5.4",
        turns=(
            Turn(
                "Does your stock API offer webhooks?",
                (
                    SearchHelp("stock API webhooks"),
                    Reply("I am afraid our help centre says nothing about this."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="monday-morning-rush",
        outcome="model rate limit",
        user_id="user_daniel",
        turns=(
            Turn(
                "Morning! When will my fig arrive? FH-20461",
                (
                    ModelFails(_RATE_LIMIT),
                    UseTool("track_parcel", {"order_id": "FH-20461"}),
                    ModelFails(_RATE_LIMIT),
                    ModelFails(_RATE_LIMIT),
                    Reply("It is at the Rugby depot; Evri should bring it tomorrow."),
                ),
            ),
        ),
    ),
    Scenario(
        slug="busy-when-it-matters",
        outcome="model rate limit",
        user_id="user_aisha",
        tags=("android",),
        turns=(
            Turn(
                "What do I do with an olive tree over winter?",
                (
                    ModelFails(_RATE_LIMIT),
                    SearchHelp("olive tree winter care"),
                    Reply("Bright, cool and just short of dry; a porch or garage window is ideal."),
                ),
            ),
            Turn("and frost?", (ModelFails(_RATE_LIMIT), Reply("Below −5 °C bring it inside."))),
        ),
    ),
    Scenario(
        slug="just-give-me-a-human",
        outcome="user gives up",
        user_id="user_samuel",
        release="2026.11.1",
        turns=(
            Turn(
                "My refund for the spade is wrong",
                (SearchHelp("refund wrong"), Reply("Refunds take three to five working days.")),
            ),
            Turn(
                "It is not late, it is WRONG. I got 4.80 instead of 48.",
                (SearchHelp("refund amount"), Reply("Refunds go back to the card you paid with.")),
            ),
            Turn(
                "Did you read what I wrote?",
                (Reply("I am happy to help with your refund. What is your question?"),),
            ),
            Turn(
                "Forget it. I'll dispute it with my bank.",
                (Reply("Is there anything else I can help you with today?"),),
            ),
        ),
    ),
    Scenario(
        slug="wrong-order-number-again",
        outcome="user gives up",
        user_id="user_yusuf",
        tags=("ios",),
        turns=(
            Turn(
                "where's my order 20466",
                (
                    UseTool("get_order", {"order_id": "20466"}),
                    Reply("I cannot find order 20466. Please check the number."),
                ),
            ),
            Turn(
                "20466!! it's in your own email",
                (
                    UseTool("get_order", {"order_id": "20466"}),
                    Reply("There is no order 20466. Please check the number."),
                ),
            ),
            Turn(
                "#20466",
                (
                    UseTool("get_order", {"order_id": "#20466"}),
                    Reply("I am sorry, I cannot find that order either."),
                ),
            ),
            Turn("useless. bye", (Reply("Thank you for contacting Fernhill!"),)),
        ),
    ),
    Scenario(
        slug="lost-in-two-factor",
        outcome="user gives up",
        user_id="user_greta",
        tags=("android",),
        turns=(
            Turn(
                "The code from my app is refused every time.",
                (
                    SearchHelp("two-factor code refused"),
                    Reply("Please enter the code that your authenticator app shows."),
                ),
            ),
            Turn(
                "I do. It is refused.",
                (Reply("Please wait for the next code and enter that one."),),
            ),
            Turn("Same. I'm ordering elsewhere.", (ModelFails(_OVERLOADED),) * 3),
        ),
    ),
    Scenario(
        slug="carrier-is-down",
        outcome="tool failure",
        user_id="user_daniel",
        turns=(
            Turn(
                "Any news on FH-20461?",
                (
                    UseTool("track_parcel", {"order_id": "FH-20461"}, _CARRIER_DOWN),
                    UseTool("track_parcel", {"order_id": "FH-20461"}, _CARRIER_DOWN),
                    SearchHelp("parcel late tracking"),
                    Reply(
                        "Evri's tracking does not answer at the moment. If nothing has moved for "
                        "five working days, we start a search; today is day three."
                    ),
                ),
            ),
        ),
    ),
    Scenario(
        slug="refund-gateway-resets",
        outcome="tool failure",
        user_id="user_greta",
        turns=(
            Turn(
                "My calathea FH-20485 was rotten at the roots, refund please",
                (
                    SearchHelp("plant rot refund"),
                    UseTool("get_order", {"order_id": "FH-20485"}),
                    UseTool(
                        "refund_order",
                        {"order_id": "FH-20485", "amount": 38.5, "reason": "root rot"},
                        _PAYMENTS_DOWN,
                    ),
                    Reply("Your refund of 38.50 is on its way!"),
                ),
            ),
        ),
    ),
    Scenario(
        slug="stopped-the-long-answer",
        outcome="answer cancelled",
        user_id="user_ravi",
        tags=("web", "beta"),
        release="2026.12.0-rc1",
        turns=(
            Turn(
                "How often do I water string of hearts?",
                (
                    UserStops(
                        "Ceropegia woodii, known as string of hearts, is native to southern "
                        "Africa. To understand its needs we must first look at the geology of"
                    ),
                ),
            ),
            Turn("short please", (Reply("When the soil is dry: about every two weeks."),)),
        ),
    ),
    Scenario(
        slug="allergic-reaction",
        outcome="handed to a person",
        user_id="user_lucia",
        workspace_id="ws_fernhill_it",
        turns=(
            Turn(
                "The compost from my Care Box gave me a rash. Who do I talk to?",
                (
                    UseTool("find_account", {"email": "lucia.ferrari@example.org"}),
                    UseTool(
                        "open_ticket",
                        {"summary": "Rash after touching Care Box compost", "priority": "high"},
                    ),
                    Reply(
                        "I am sorry to hear that. A colleague calls you within the hour, ticket "
                        "T-8801. Please see a doctor if it gets worse."
                    ),
                ),
            ),
        ),
    ),
)
