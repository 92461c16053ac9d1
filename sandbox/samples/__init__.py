"""Five real conversations as request bodies, one a channel; see README.md for where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHANNELS = ("web", "whatsapp", "sms", "phone", "email")


def sample(channel: str) -> dict[str, Any]:
    """The body of `POST /api/handoff` for a channel."""
    body: dict[str, Any] = json.loads(Path(__file__).with_name(f"{channel}.json").read_text(encoding="utf-8"))
    return body
