"""The table itself: a client with time-outs that fit a function, and every failure as one of ours.

Facts (measured with azure-data-tables 12.7): by default it retries for minutes; it repeats a POST after a 500 or 503,
so a 409 or 412 may be the echo of one's own first try; in a transaction a missing row to delete is a 404; a missing
table is named in the text of every call's error, but in the error code of some only.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import requests

from shared import http
from shared.config.settings import Settings
from shared.errors import LedgerUnavailable

if TYPE_CHECKING:
    from azure.data.tables import TableClient

TABLE_NAME = "opencxhandoffs"
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 4.0
"""A table that hangs must leave time to deliver without it: two reads, within a budget of 25 s."""
LONGEST_WAIT_SECONDS = 1.0
"""Between two tries of one call."""
REST_SECONDS = 3.0
"""After the table could not be reached, how long it is not asked again: nobody waits for the same time-out twice."""


class Conflict(Exception):
    """A condition of a write did not hold."""


class Table:
    """The operations on one table that the ledger needs.

    Args:
        connect: makes the client; called on first use.
        monotonic: seconds that only grow.
    """

    def __init__(self, connect: "Callable[[], TableClient]", *, monotonic: Callable[[], float]) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._client: TableClient | None = None
        self._down_until = 0.0

    def get(self, partition: str, row: str, *, select: Sequence[str] | None = None) -> Mapping[str, Any] | None:
        """One entity, or None."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415

        try:
            return self._run(
                lambda client: client.get_entity(partition, row, select=list(select) if select else None), judges=(404,)
            )
        except ResourceNotFoundError:
            return None

    def query(
        self,
        partition: str,
        *,
        after: str,
        before: str,
        most: int,
        unlike: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> list[Mapping[str, Any]]:
        """The first entities of a range of row keys (both ends excluded), in key order.

        ``unlike``: values that a property must not have.
        """
        condition = "PartitionKey eq @partition and RowKey gt @after and RowKey lt @before"
        parameters = {"partition": partition, "after": after, "before": before}
        for name, values in unlike.items():
            for number, value in enumerate(values):
                condition += f" and {name} ne @{name}{number}"
                parameters[f"{name}{number}"] = value

        def read(client: "TableClient") -> list[Mapping[str, Any]]:
            found: list[Mapping[str, Any]] = []
            for entity in client.query_entities(condition, parameters=parameters, results_per_page=min(most, 1000)):
                found.append(entity)
                if len(found) == most:
                    break
            return found

        return self._run(read)

    def transact(self, operations: Sequence[tuple[Any, ...]]) -> list[Mapping[str, Any]]:
        """An entity group transaction: all or nothing.

        Raises:
            Conflict: an entity exists, is gone, or is not at its version.
            LedgerUnavailable: no answer; it may have been done.
        """
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415
        from azure.data.tables import TableTransactionError  # noqa: PLC0415

        try:
            return self._run(lambda client: list(client.submit_transaction(operations)), judges=(404, 409, 412))
        except TableTransactionError:
            raise Conflict from None
        except HttpResponseError as error:  # the table itself, not an entity: it is being deleted, say
            raise unavailable(error) from None

    def put(self, entity: Mapping[str, Any], *, version: str) -> Mapping[str, Any]:
        """Create (no version) or replace (at that version) one entity by itself."""
        from azure.core import MatchConditions  # noqa: PLC0415
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415
        from azure.data.tables import UpdateMode  # noqa: PLC0415

        def write(client: "TableClient") -> Mapping[str, Any]:
            if not version:
                return client.create_entity(entity)
            return client.update_entity(
                entity, mode=UpdateMode.REPLACE, etag=version, match_condition=MatchConditions.IfNotModified
            )

        try:
            return self._run(write, judges=(404, 409, 412))
        except HttpResponseError:
            raise Conflict from None

    def upsert(self, entity: Mapping[str, Any]) -> None:
        """Write one entity by itself, whatever is there."""
        self._run(lambda client: client.upsert_entity(entity))

    def delete_range(self, partition: str, *, after: str, before: str) -> None:
        """Delete the entities of a range of row keys (both ends excluded), a thousand at most."""
        for entity in self.query(partition, after=after, before=before, most=1000):
            self.delete(partition, str(entity["RowKey"]))

    def delete(self, partition: str, row: str) -> None:
        """Delete one entity, whatever its version; nothing happens when it is not there."""
        self._run(lambda client: client.delete_entity(partition, row))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _run[T](self, operation: "Callable[[TableClient], T]", *, judges: tuple[int, ...] = ()) -> T:
        """Do it; an answer with one of the statuses that the caller judges is raised as the SDK's own error."""
        from azure.core.exceptions import (  # noqa: PLC0415
            AzureError,
            HttpResponseError,
            ResourceExistsError,
            ServiceRequestError,
        )

        if self._monotonic() < self._down_until:
            raise LedgerUnavailable("Table Storage did not answer a moment ago.")
        try:
            if self._client is None:
                self._client = self._connect()
            try:
                return operation(self._client)
            except HttpResponseError as error:
                if error.status_code != 404 or "TableNotFound" not in str(error):
                    raise
                with contextlib.suppress(ResourceExistsError):  # another thread or instance was quicker
                    self._client.create_table()
                return operation(self._client)
        except HttpResponseError as error:
            if error.status_code in judges:
                raise
            raise unavailable(error) from None
        except ServiceRequestError as error:  # not even connected; a lost answer would say nothing of the next call
            self._down_until = self._monotonic() + REST_SECONDS
            raise unavailable(error) from None
        except (AzureError, requests.RequestException, ValueError, AttributeError) as error:
            # A body that breaks off: in a batch it is read outside the SDK's error handling, so requests speaks; in a
            # create the SDK asks for the headers of a response that it does not have (azure-data-tables 12.7).
            raise unavailable(error) from None


def connect(settings: Settings) -> "TableClient":
    """The client of our table, as the settings say where it is.

    Raises:
        LedgerUnavailable: no setting says where; the message names them.
    """
    from azure.data.tables import TableClient  # noqa: PLC0415

    from shared.config.identity import default_credential  # noqa: PLC0415
    from shared.config.transport import Transport  # noqa: PLC0415

    endpoint = settings.text("TABLES_ENDPOINT") or settings.text("AzureWebJobsStorage__tableServiceUri")
    text = settings.text("TABLES_CONNECTION_STRING")
    if text is None and not settings.text("TABLES_ENDPOINT"):
        text = settings.text("AzureWebJobsStorage")

    options: dict[str, Any] = {
        "retry_total": 2,
        "retry_read": 1,
        "retry_backoff_factor": 0.2,
        "transport": Transport(
            longest_sleep_seconds=LONGEST_WAIT_SECONDS,
            session=http.session(endpoint or ""),
            session_owner=True,
            # The client's own options do not reach a transport that is given to it.
            connection_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
        ),
    }
    if text:
        return TableClient.from_connection_string(text, TABLE_NAME, **options)
    if endpoint:
        return TableClient(endpoint, TABLE_NAME, credential=default_credential(), **options)
    message = "No table storage: set TABLES_ENDPOINT, TABLES_CONNECTION_STRING or AzureWebJobsStorage."
    raise LedgerUnavailable(message, code="ledger_not_configured")


def unavailable(error: Exception) -> LedgerUnavailable:
    """Any failure of the table as ours; the SDK's own text is not passed on."""
    status = getattr(error, "status_code", None)
    if status == 403:
        message = "Table Storage refuses the service's identity: give it Storage Table Data Contributor."
        return LedgerUnavailable(message, code="ledger_forbidden")
    what = f"HTTP {status}" if status else type(error).__name__
    return LedgerUnavailable(f"Table Storage cannot be used ({what}).")
