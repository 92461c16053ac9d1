"""The channel: the row msdyn_occustommessagingchannel that an administrator makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from sandbox.dataverse.address import GUID

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MAX_WEBHOOK = 500


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One custom messaging channel.

    Attributes:
        id: GUID of the row, which callers send as `channel-id`.
        app_id: the app whose tokens are good for it (`msdyn_appid`).
        tenant_id: that app's tenant.
        name: what administrators see.
        workstream_id: GUID of its workstream; empty when it is bound to none.
        webhook_url: base of the webhook; empty when there is none.
        attachments_from_customers: customers may send files.
        attachments_from_reps: representatives may send files.
    """

    id: str
    app_id: str
    tenant_id: str
    name: str = "OpenCX"
    workstream_id: str = ""
    webhook_url: str = ""
    attachments_from_customers: bool = False
    attachments_from_reps: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for what the table, or the webhook's rules, would not take."""
        for name, value in (("id", self.id), ("workstream_id", self.workstream_id)):
            if not GUID.fullmatch(value) and (value or name == "id"):
                raise ValueError(f"{name} is not a GUID")
        if not self.webhook_url:
            return
        parts = urlsplit(self.webhook_url)
        if len(self.webhook_url) > _MAX_WEBHOOK:
            raise ValueError(f"webhook_url is longer than {_MAX_WEBHOOK} characters")
        if parts.query or parts.fragment:
            raise ValueError("webhook_url has a query: a path is appended to it, so that cannot work")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("webhook_url must be https")

    def changed(self, wanted: Mapping[str, Any]) -> Channel:
        """A copy with other values. Raises ValueError naming a field that is unknown or of a wrong type."""
        for name, value in wanted.items():
            if name not in _KINDS:
                raise ValueError(f"unknown field {name!r}; known: {', '.join(sorted(_KINDS))}")
            if type(value) is not _KINDS[name]:
                raise ValueError(f"{name} must be of type {_KINDS[name].__name__}")
        return replace(self, **wanted)


_KINDS = {one.name: bool if one.name.startswith("attachments") else str for one in fields(Channel)}
