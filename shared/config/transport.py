"""The HTTP of Azure's SDKs, with an end: no call and no wait between two tries goes beyond the deadline.

Facts (azure-core 1.41): every call of a credential or client passes its transport, with the time-outs as options; the
retry policy sleeps on the transport. Loads azure-core: import it where an SDK is needed anyway.
"""

from typing import Any

from azure.core.exceptions import ServiceRequestTimeoutError
from azure.core.pipeline.transport import RequestsTransport

from shared.config.deadline import seconds_left


class Transport(RequestsTransport):  # type: ignore[misc] # azure-core gives it no type
    """A transport within `shared.config.deadline.until`; outside, one like any other.

    The options of a credential or client do not reach a transport that is given to it: give them here.
    ``longest_sleep_seconds`` bounds the wait between two tries, for the SDKs wait as long as ``Retry-After`` says.
    """

    def __init__(self, *, longest_sleep_seconds: float = float("inf"), **options: Any) -> None:
        super().__init__(**options)
        self._longest_sleep_seconds = longest_sleep_seconds

    def send(self, request: Any, **options: Any) -> Any:
        """One call. Raises ServiceRequestTimeoutError, without a call, when no time is left."""
        left = seconds_left()
        if left is not None:
            if left <= 0:
                raise ServiceRequestTimeoutError("The time for this attempt was used up.")
            usual = self.connection_config
            options["connection_timeout"] = min(options.get("connection_timeout", usual.timeout), left)
            options["read_timeout"] = min(options.get("read_timeout", usual.read_timeout), left)
        return super().send(request, **options)

    def sleep(self, duration: float) -> None:
        """Wait between two tries."""
        left = seconds_left()
        most = self._longest_sleep_seconds if left is None else min(self._longest_sleep_seconds, max(0.0, left))
        super().sleep(min(duration, most))
