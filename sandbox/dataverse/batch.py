"""`$batch`: parts in order, change sets atomic, the outer status that of the first failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from sandbox.dataverse import multipart
from sandbox.dataverse.call import ROOT, Call, refusal
from sandbox.dataverse.errors import DataverseError
from sandbox.dataverse.multipart import ChangeSet, Part
from sandbox.dataverse.query import Preferences
from sandbox.dataverse.rows import Store
from sandbox.faults import Faults
from sandbox.wire import Response

_MAX_REQUESTS = 1000
_NO_FAULTS = Faults()


class _ChangeSetFailedError(Exception):
    """Rolls the transaction back and carries the answer of the part that failed."""

    def __init__(self, content_id: str, response: Response) -> None:
        super().__init__(response.note)
        self.content_id = content_id
        self.response = response


class Batch:
    """Runs batches.

    Attributes:
        faults: rules for the parts inside (`inner`).
        earlier_parts: without continue-on-error, answer the parts before the failure too, as OData 4.0
            (11.7.4) says. False sends the failing part alone.
    """

    def __init__(
        self, store: Store, dispatch: Callable[[Call], Response], headers: Callable[[], dict[str, str]]
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._headers = headers
        self.faults = _NO_FAULTS
        self.earlier_parts = True

    def run(self, call: Call) -> Response:
        """Answers a batch. Raises DataverseError 400 when the batch itself cannot be read."""
        items = multipart.parse(call.body, call.headers.get("content-type", ""))
        count = sum(len(item.parts) if isinstance(item, ChangeSet) else 1 for item in items)
        if count > _MAX_REQUESTS:
            raise multipart.malformed(f"A batch may hold {_MAX_REQUESTS} requests, this one holds {count}.")
        goes_on = Preferences.parse(call.headers.get("prefer", "")).continue_on_error
        answers: list[tuple[str, Response] | list[tuple[str, Response]]] = []
        notes: list[str] = []
        status = 200
        for item in items:
            if isinstance(item, ChangeSet):
                answered, failure = self._change_set(item, call, notes)
            else:
                response = self._part(item, call, None, notes)
                answered = (item.content_id, response)
                failure = response if response.status >= 400 else None
            if failure is not None and not goes_on:
                status = failure.status
                answers = [*answers, answered] if self.earlier_parts else [answered]
                break
            answers.append(answered)
        media_type, body = multipart.render(answers)
        headers = {"Content-Type": media_type}
        if goes_on:
            headers["Preference-Applied"] = "odata.continue-on-error"
        return Response(status, headers, body, note="batch: " + " | ".join(notes))

    def _change_set(
        self, item: ChangeSet, call: Call, notes: list[str]
    ) -> tuple[tuple[str, Response] | list[tuple[str, Response]], Response | None]:
        references: dict[str, str] = {}
        answered: list[tuple[str, Response]] = []
        try:
            with self._store.transaction():
                for part in item.parts:
                    answered.append((part.content_id, self._part(part, call, references, notes)))
                    _or_fail(*answered[-1])
        except _ChangeSetFailedError as failed:
            notes.append("rolled back")
            return (failed.content_id, failed.response), failed.response
        return answered, None

    def _part(self, part: Part, call: Call, references: dict[str, str] | None, notes: list[str]) -> Response:
        try:
            response = self._answer(part, call, references)
        except DataverseError as error:
            response = refusal(error)
        address = response.headers.get("OData-EntityId")
        if address is not None:
            response.headers["Location"] = address
        response.headers.update(self._headers())
        code = f" {response.note.split(' ')[0]}" if response.note else ""
        notes.append(f"{part.method} {_shown(part.url)} {response.status}{code}")
        return response

    def _answer(self, part: Part, call: Call, references: dict[str, str] | None) -> Response:
        path, query = _below_root(part.url)
        target = f"{ROOT}{path}?{query}" if query else f"{ROOT}{path}"
        fault = self.faults.pick(part.method, target, part.body, inner=True)
        if fault is not None and fault.status is not None:
            body, media_type = fault.body_bytes()
            headers = {"Content-Type": media_type} if media_type else {}
            return Response(fault.status, {**headers, **fault.headers}, body, note="fault")
        if path == "$batch":
            raise multipart.malformed("A batch cannot hold a batch.")
        inner = replace(
            call,
            method=part.method,
            path=path,
            query=query,
            headers=part.headers,
            body=part.body,
            references=references,
            written=[],
        )
        response = self._dispatch(inner)
        if references is not None and inner.written:
            references[part.content_id] = inner.written[0]
        return response


def _or_fail(content_id: str, response: Response) -> None:
    if response.status >= 400:
        raise _ChangeSetFailedError(content_id, response)


def _below_root(url: str) -> tuple[str, str]:
    """Path below the service root and query of an absolute, rooted or relative URL."""
    if "://" in url.partition("?")[0]:
        split = urlsplit(url)
        url = f"{split.path}?{split.query}" if split.query else split.path
    path, _, query = url.partition("?")
    if path.startswith("/"):
        if not path.startswith(ROOT):
            raise DataverseError(404, "0x8006088a", f"Resource not found for the segment '{path}'.")
        path = path.removeprefix(ROOT)
    return path, query


def _shown(url: str) -> str:
    """The path of a URL without its query, which may hold personal data."""
    return url.partition("?")[0].rpartition("/api/data/v9.2/")[2]
