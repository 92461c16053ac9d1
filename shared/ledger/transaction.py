"""An entity group transaction as bytes, sent through the SDK's own pipeline.

`TableClient.submit_transaction` starts pools of threads at every call, and writes and reads MIME with the `email`
package: some 5 ms of processor time a transaction (measured with azure-data-tables 12.7), more than all the rest of a
handoff. Here only the bytes are ours; who we are, the date, retries and telemetry stay the pipeline's.

Facts: Microsoft's pages "Performing entity group transactions" and "Insert Entity" (``Prefer``).
"""

import base64
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from azure.data.tables import TableClient

type Operation = tuple[Any, ...]
"""As `TableClient.submit_transaction` takes it: kind, entity, and for some a mapping of mode and etag."""

_PART = re.compile(rb"^HTTP/1\.1 (\d{3})[^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL | re.MULTILINE)
_ETAG = re.compile(rb"^etag: *([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_CODE = re.compile(rb'"code" *: *"(\w+)"')


def submit(client: "TableClient", operations: Sequence[Operation]) -> list[dict[str, str]]:
    """Do all of it or nothing; returns the new ``etag`` of each entity (empty for a deleted one).

    Raises:
        TableTransactionError: an operation was refused; nothing was done.
        AzureError: the transaction as a whole was refused, or not answered.
    """
    from azure.core.exceptions import DecodeError, HttpResponseError  # noqa: PLC0415 - loaded when a handoff needs it
    from azure.core.rest import HttpRequest  # noqa: PLC0415
    from azure.data.tables import TableTransactionError  # noqa: PLC0415

    account = client.url.partition("?")[0].removesuffix(f"/{client.table_name}")
    boundary, body = encode(f"{account}/{client.table_name}", operations)
    headers = {
        "Content-Type": f"multipart/mixed; boundary={boundary}",
        "Accept": "application/json",
        "x-ms-version": client.api_version,
        "DataServiceVersion": "3.0",
        "MaxDataServiceVersion": "3.0;NetFx",
    }
    request = HttpRequest("POST", f"{account}/$batch", headers=headers, content=body)
    # The SDK has no public door for a request of one's own; its generated clients all have this method.
    response = client._client.send_request(request, stream=True)  # else the pipeline wants to decode it
    answer = response.read()
    if response.status_code != 202:
        raise _refused(HttpResponseError, response.status_code, answer)
    parts = [(int(status), headers) for status, headers in _PART.findall(answer)]
    failed = next((status for status, _ in parts if status >= 300), None)
    if failed is not None:
        raise _refused(TableTransactionError, failed, answer)
    if len(parts) != len(operations):
        raise DecodeError(f"The transaction's answer has {len(parts)} parts of {len(operations)}.")
    return [{"etag": found[1].decode("ascii") if (found := _ETAG.search(headers)) else ""} for _, headers in parts]


def encode(table_url: str, operations: Sequence[Operation]) -> tuple[str, bytes]:
    """The boundary and the body. All of it is ASCII: no character of a value can end a line or a part."""
    batch, changes = f"batch_{uuid.uuid4()}", f"changeset_{uuid.uuid4()}"
    lines = [f"--{batch}", f"Content-Type: multipart/mixed; boundary={changes}", ""]
    for number, (kind, entity, *rest) in enumerate(operations):
        method, url, headers = _request(table_url, kind, entity, rest[0] if rest else {})
        lines += [
            f"--{changes}",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            f"Content-ID: {number}",
            "",
            f"{method} {url} HTTP/1.1",
            "Accept: application/json;odata=minimalmetadata",
            "DataServiceVersion: 3.0",
            *headers,
        ]
        lines += ["", ""] if kind == "delete" else ["Content-Type: application/json", "", _json(entity)]
    lines += [f"--{changes}--", "", f"--{batch}--", ""]
    return batch, "\r\n".join(lines).encode("ascii")


def _request(
    table_url: str, kind: str, entity: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[str, str, list[str]]:
    """Method, address and headers of one operation."""
    if kind == "create":
        return "POST", table_url, ["Prefer: return-no-content"]
    url = f"{table_url}(PartitionKey='{_key(entity['PartitionKey'])}',RowKey='{_key(entity['RowKey'])}')"
    if kind == "delete":
        return "DELETE", url, [f"If-Match: {options.get('etag') or '*'}"]
    method = "PUT" if options.get("mode") == "replace" else "PATCH"
    if kind == "upsert":
        return method, url, []
    if kind == "update":
        return method, url, [f"If-Match: {options.get('etag') or '*'}"]
    raise ValueError(f"No operation of a transaction is called {kind}.")


def _key(value: str) -> str:
    return quote(value.replace("'", "''"), safe="")


def _json(entity: Mapping[str, Any]) -> str:
    """The entity's JSON; binary properties are named as such, the other types are JSON's own."""
    out: dict[str, Any] = {}
    for name, value in entity.items():
        if isinstance(value, bytes):
            out[name] = base64.b64encode(value).decode("ascii")
            out[f"{name}@odata.type"] = "Edm.Binary"
        elif value is not None:
            out[name] = value
    return json.dumps(out)


def _refused(kind: type[Any], status: int, answer: bytes) -> Exception:
    """The SDK's own error for a refusal, with status and code; its text is not passed on."""
    found = _CODE.search(answer)
    error: Exception = kind(message=f"The transaction was refused (HTTP {status}).")
    error.status_code, error.error_code = status, found[1].decode() if found else ""  # type: ignore[attr-defined]
    return error
