"""What the application user may do, and how a refusal reads.

Reference: Microsoft's pages on security roles and web service errors (0x80040220, 0x80042f09, 0x80072560).
"""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.dataverse.errors import DataverseError
from sandbox.dataverse.schema import Schema, Table
from sandbox.dataverse.seed import APPLICATION_USER_ID, BUSINESS_UNIT_ID

ACTIONS = ("Create", "Read", "Write", "Delete", "Append", "AppendTo", "Assign", "Share")
_PRIVILEGES = uuid.UUID("b5a9e6f4-5d0c-4f5e-9a57-0c1ff2b1a002")


def privilege_id(name: str) -> str:
    """The id of a privilege, fixed for its name."""
    return str(uuid.uuid5(_PRIVILEGES, name))


class Access:
    """The role of the one application user.

    Attributes:
        missing: privileges that the role lacks; every other one is there.
        application_user: false as if nobody had made the application user.
        roles: false as if it had no security role.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.missing: frozenset[str] = frozenset()
        self.application_user = True
        self.roles = True

    def admit(self) -> None:
        """Raises DataverseError 403 when no call at all may pass."""
        if not self.application_user:
            raise DataverseError(403, "0x80072560", "The user is not a member of the organization.")
        if not self.roles:
            text = f"The user (Id = {APPLICATION_USER_ID}) has not been assigned any roles."
            raise DataverseError(403, "0x80042f09", text)

    def require(self, table: Table, *actions: str) -> None:
        """Raises DataverseError 403 (0x80040220) for the first action that the role lacks."""
        if not self.missing:
            return
        for action in actions:
            name = f"prv{action}{table.privilege}"
            if name in self.missing:
                raise DataverseError(403, "0x80040220", self._refusal(name, table))

    def as_json(self) -> list[dict[str, Any]]:
        """What RetrieveUserPrivileges lists."""
        if not self.roles:
            return []
        names = {f"prv{action}{table.privilege}" for table in self._schema.tables() for action in ACTIONS}
        return [
            {
                "Depth": "Global",
                "PrivilegeId": privilege_id(name),
                "BusinessUnitId": BUSINESS_UNIT_ID,
                "PrivilegeName": name,
                "RecordFilterId": "00000000-0000-0000-0000-000000000000",
            }
            for name in sorted(names - self.missing)
        ]

    def _refusal(self, name: str, table: Table) -> str:
        count = len(self.as_json())
        return (
            f"Principal user (Id={APPLICATION_USER_ID}, type=8, roleCount=1, privilegeCount={count}, "
            f"accessMode='4 Non-interactive'), is missing {name} privilege (Id={privilege_id(name)}) "
            f"on OTC={table.code} for entity '{table.logical}' (LocalizedName='{table.label}'). "
            f"context.Caller={APPLICATION_USER_ID}"
        )
