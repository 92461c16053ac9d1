"""What is there before anyone writes: well-known ids, and the rows that have them."""

from __future__ import annotations

from typing import Any

from sandbox.dataverse.rows import Ref

ORGANIZATION_ID = "0a9b1c2d-0000-4000-8000-000000000001"
BUSINESS_UNIT_ID = "0a9b1c2d-0000-4000-8000-000000000002"
APPLICATION_USER_ID = "0a9b1c2d-0000-4000-8000-000000000010"
REP_USER_ID = "0a9b1c2d-0000-4000-8000-000000000011"
TEAM_ID = "0a9b1c2d-0000-4000-8000-000000000020"
QUEUE_ID = "0a9b1c2d-0000-4000-8000-000000000030"
SECOND_QUEUE_ID = "0a9b1c2d-0000-4000-8000-000000000031"
WORKSTREAM_ID = "0a9b1c2d-0000-4000-8000-000000000040"
FALLBACK_ACCOUNT_ID = "0a9b1c2d-0000-4000-8000-000000000050"
SUBJECT_ID = "0a9b1c2d-0000-4000-8000-000000000060"

SEED: list[tuple[str, str, dict[str, Any]]] = [
    ("systemuser", APPLICATION_USER_ID, {"fullname": "# OpenCX", "domainname": "opencx@sandbox.example"}),
    ("systemuser", REP_USER_ID, {"fullname": "Riley Rep", "domainname": "riley@sandbox.example"}),
    ("team", TEAM_ID, {"name": "Support", "teamtype": 0}),
    ("queue", QUEUE_ID, {"name": "OpenCX incidents", "queueviewtype": 0}),
    ("queue", SECOND_QUEUE_ID, {"name": "Second line", "queueviewtype": 0}),
    (
        "msdyn_liveworkstream",
        WORKSTREAM_ID,
        {
            "msdyn_name": "OpenCX chats",
            "msdyn_streamsource": 192350002,
            "msdyn_defaultqueue": Ref("queue", QUEUE_ID),
        },
    ),
    ("account", FALLBACK_ACCOUNT_ID, {"name": "Unidentified caller"}),
    ("subject", SUBJECT_ID, {"title": "Default Subject"}),
]
