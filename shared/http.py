"""Outgoing HTTP: one pooled `requests` session a system, and what its failures mean."""

import functools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 20.0
POOL_SIZE = 52
"""As many connections as Dataverse lets one user have at work (reference: service protection limits)."""
LONGEST_RETRY_AFTER_SECONDS = 3600.0


def session(origin: str) -> requests.Session:
    """A session for one origin, or for any where the origin is empty: an SDK knows its address, and we do not.

    Proxies and certificate authorities are read from the environment once, here, instead of at every call
    (``trust_env`` would also read .netrc); without an origin the proxies are read at the first call to a host. Cookies
    are refused: Dataverse's affinity cookie would tie all calls to one web server, and its limits count a server
    (Microsoft's guidance on sending requests in parallel).
    """
    made = requests.Session()
    made.trust_env = False
    made.proxies = dict(requests.utils.get_environ_proxies(origin))
    made.verify = next(
        (
            os.environ[name]
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
            if os.environ.get(name)
        ),
        True,
    )
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter if origin else _EnvironmentAdapter
    made.mount("https://", adapter(pool_connections=4, pool_maxsize=POOL_SIZE))
    made.mount("http://", adapter(pool_connections=4, pool_maxsize=POOL_SIZE))
    return made


class _EnvironmentAdapter(HTTPAdapter):
    """Chooses the proxy by each call's own address: HTTPS_PROXY and its kin, unless NO_PROXY names the host."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._proxies = functools.cache(requests.utils.get_environ_proxies)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        options["proxies"] = self._proxies(f"{parts.scheme}://{parts.netloc}")
        return super().send(request, *args, **options)


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: tuple[float, float],
) -> requests.Response:
    """One call on the session's pooled connections; redirects are not followed, cookies not kept.

    `Session.request` merges settings, cookies, hooks and redirects anew at every call: some 0.3 ms of processor time
    (measured with requests 2.34). A session made here has none of them.

    Args:
        session: from `session`.
        method: HTTP method.
        url: absolute, and quoted already.
        body: as it goes over the wire.
        headers: beside the session's own.
        timeout: connect and read, in seconds; see `timeouts`.

    Raises:
        requests.RequestException: no answer, or a cut-off one.
    """
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = method, url, body
    sent: dict[str, Any] = {**session.headers, **headers}
    prepared.headers = CaseInsensitiveDict(sent)
    if body is not None:
        prepared.headers["Content-Length"] = str(len(body))
    response = session.get_adapter(url).send(
        prepared, stream=True, timeout=timeout, verify=session.verify or True, proxies=session.proxies
    )
    _ = response.content  # read here, where a cut-off answer is an error like any other
    return response


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """The wait that ``Retry-After`` asks for, in seconds or as a date (RFC 9110, 10.2.3); capped at an hour."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else None  # noqa: PLR0124 - NaN


def timeouts(seconds_left: float) -> tuple[float, float]:
    """The connect and read time-outs of one call, within what is left of the budget."""
    return min(CONNECT_TIMEOUT_SECONDS, seconds_left), min(READ_TIMEOUT_SECONDS, seconds_left)
