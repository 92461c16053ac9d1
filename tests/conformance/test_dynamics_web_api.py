"""The Dataverse stand-in, checked by npm dynamics-web-api: a client that nobody here wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.certificates import Authority
from sandbox.dataverse.organisation import TOKEN, Organisation
from sandbox.dataverse.seed import FALLBACK_ACCOUNT_ID, ORGANIZATION_ID, QUEUE_ID

pytestmark = pytest.mark.conformance

SCRIPT = Path(__file__).with_name("dynamics_web_api.mjs")
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the library returned, over TLS."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is not on the PATH: install Node.js 20 or later")
    authority = Authority(Path(tmp_path_factory.mktemp("npm")) / "ca.pem")
    with Organisation(tls=authority.server_context()) as org:
        finished = subprocess.run(
            [node, str(SCRIPT), org.server.url, TOKEN, FALLBACK_ACCOUNT_ID, QUEUE_ID],
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(authority.ca_file)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if "Cannot find module 'dynamics-web-api'" in finished.stderr:
        pytest.fail("node_modules has no dynamics-web-api: run `npm ci` in the project root")
    if finished.returncode:
        pytest.fail(f"the script failed:\n{finished.stderr}")
    return json.loads(finished.stdout)


def test_who_am_i(out: Any) -> None:
    """A function's answer arrives."""
    assert out["whoAmI"]["OrganizationId"] == ORGANIZATION_ID


def test_create(out: Any) -> None:
    """Create returns the id from OData-EntityId, or the representation."""
    assert GUID.fullmatch(out["created"])
    assert out["represented"]["fullname"] == "Bob Ray"
    assert GUID.fullmatch(out["represented"]["contactid"])


def test_find_and_update(out: Any) -> None:
    """A filter with a quote and a plus finds the row; an update shows in the next read."""
    assert [row["contactid"] for row in out["found"]["value"]] == [out["created"]]
    assert out["one"]["firstname"] == "Ann"
    assert out["updated"] is True
    assert out["after"]["fullname"] == "Ann Lee"


def test_conditional_upsert(out: Any) -> None:
    """`ifnonematch: "*"` creates once; the library turns the 412 of the repeat into null."""
    assert re.fullmatch(r"CAS-\d{5}-[A-Z0-9]{6}", out["upserted"]["ticketnumber"])
    assert out["upsertedAgain"] is None


def test_add_to_queue(out: Any) -> None:
    """The bound action returns a queue item, the same for a repeat."""
    assert GUID.fullmatch(out["queued"]["QueueItemId"])
    assert out["queuedAgain"]["QueueItemId"] == out["queued"]["QueueItemId"]


def test_batch(out: Any) -> None:
    """A change set with `$1` and a read after it: two ids and the rows."""
    contact, incident, queues = out["batch"]
    assert GUID.fullmatch(contact)
    assert GUID.fullmatch(incident)
    assert len(queues["value"]) == 2


def test_failed_batch(out: Any) -> None:
    """A refused change set throws the part's error and leaves nothing behind."""
    message = "You should specify a parent contact or account."
    assert out["failedBatch"] == [{"status": 400, "code": "0x80044410", "message": message}]
    assert out["lost"]["value"] == []


def test_continue_on_error(out: Any) -> None:
    """With continueOnError the library has one outcome a part, in order."""
    failed, name = out["continued"]
    assert (failed["status"], failed["code"]) == (404, "0x80040217")
    assert name == "OpenCX incidents"


def test_paging_and_count(out: Any) -> None:
    """The library follows the next link and reads the count."""
    assert len(out["paged"]["value"]) == 2
    assert len(out["secondPage"]["value"]) == 1
    assert out["counted"] == 2


def test_metadata(out: Any) -> None:
    """A table's definition is read by its logical name."""
    assert out["entity"]["EntitySetName"] == "incidents"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("noCustomer", 400, "0x80044410"),
        ("longText", 400, "0x80044331"),
        ("unknownSet", 404, "0x8006088a"),
    ],
)
def test_errors(out: Any, name: str, status: int, code: str) -> None:
    """The library reads status and code from the error envelope."""
    error = out["errors"][name]
    assert (error["status"], error["code"]) == (status, code)


def test_bad_token(out: Any) -> None:
    """A refused token is a 401 for the library too."""
    assert out["errors"]["badToken"]["status"] == 401


def test_delete(out: Any) -> None:
    """A deleted row is gone: 404."""
    assert out["deleted"] is True
    assert out["gone"]["status"] == 404
