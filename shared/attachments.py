"""Fetches the files of a conversation: only from hosts that are listed, never from inside the network.

An address in a message is somebody else's word. So the name is looked up once, every address that it has must be a
public one, and the connection goes to the very address that was judged: a name that changes its mind in between
(DNS rebinding) gets nowhere. Redirects are not followed; size and time are bounded while the file comes in.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from shared import events, http
from shared.config.settings import LOOPBACK, Settings
from shared.errors import ConfigurationFault
from shared.handoff.text import one_line

LIMIT_BYTES = 5 * 1024 * 1024
"""What OpenCX's widget lets a customer upload (opencx-labs/widget)."""
LIMIT_SECONDS = 10.0
READ_SECONDS = 5.0
CHUNK_BYTES = 64 * 1024

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:]*:[0-9a-f:.]*")
_ADDRESS = re.compile(r"[\x21-\x7e]{1,4000}")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80}")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_AZURE = ipaddress.ip_address("168.63.129.16")
"""Azure's own services, behind an address that looks public (Microsoft: What is IP address 168.63.129.16?)."""

type Resolve = Callable[[str, int], Sequence[str]]
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched.

    Attributes:
        name: the last part of its address; whoever knows a better one uses that.
        content_type: its media type without parameters, as its host says.
        data: its content.
    """

    name: str
    content_type: str
    data: bytes


class _Refused(Exception):
    """It is not fetched; the text is the reason, one word, for the log."""


@dataclass(frozen=True)
class _Place:
    """Where a file is: its address in parts that were checked, and in one piece."""

    scheme: str
    host: str
    port: int
    url: str
    name: str


class Attachments:
    """Fetches files.

    Args:
        hosts: ``files.example.com``, ``*.example.com`` (what is under it), each with ``:port`` for another port than
            443; ``localhost``, ``127.0.0.1`` or ``::1`` allow this machine, on any port, also without TLS.
        monotonic: seconds that only grow.
        resolve: the addresses of a name; raises OSError.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        monotonic: Callable[[], float],
        resolve: Resolve | None = None,
        limit_bytes: int = LIMIT_BYTES,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        self._hosts = frozenset(host.strip().lower() for host in hosts if host.strip())
        self._monotonic = monotonic
        self._resolve = resolve or _addresses
        self._limit_bytes = limit_bytes
        self._limit_seconds = limit_seconds

    def fetch(self, url: str, *, deadline: float | None = None) -> Fetched | None:
        """The file, or None when it may not or cannot be had; the log says why.

        Args:
            url: its address.
            deadline: the monotonic time, in seconds, by which it must be over; the limit of one file counts anyway.
        """
        ends = self._monotonic() + self._limit_seconds
        host = None
        try:
            place = _place(url)
            host = place.host
            self._check_listed(place)
            return self._fetch(place, min(ends, deadline) if deadline is not None else ends)
        except _Refused as refused:
            reason = str(refused)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            reason = type(error).__name__
        events.emit(events.ATTACHMENT_REFUSED, reason=reason, host=host)
        return None

    def _check_listed(self, place: _Place) -> None:
        if place.host in LOOPBACK:
            is_listed = place.host in self._hosts
        else:
            parts = place.host.split(".")
            names = [place.host, *(f"*.{'.'.join(parts[start:])}" for start in range(1, len(parts)))]
            wanted = names if place.port == _PORTS["https"] else [f"{name}:{place.port}" for name in names]
            is_listed = place.scheme == "https" and any(name in self._hosts for name in wanted)
        if not is_listed:
            raise _Refused("host_not_listed")

    def _fetch(self, place: _Place, deadline: float) -> Fetched:
        session = http.session(f"{place.scheme}://{place.host}")
        proxied = select_proxy(place.url, session.proxies) is not None
        addresses = self._public(place, may_fail=proxied)
        with session:
            if not proxied:  # a proxy looks the name up itself; it is the network's own guard
                session.mount(f"{place.scheme}://", _PinnedAdapter(addresses[0], place.host))
            seconds = self._left(deadline)
            response = session.get(
                place.url,
                headers={"Accept": "*/*", "Accept-Encoding": "identity", "Host": _authority(place)},
                timeout=(min(http.CONNECT_TIMEOUT_SECONDS, seconds), min(READ_SECONDS, seconds)),
                allow_redirects=False,
                stream=True,
            )
            with response:
                if response.status_code != 200:
                    raise _Refused(f"http_{response.status_code}")
                data = self._read(response, deadline)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Fetched(place.name, kind if _TYPE.fullmatch(kind) else "application/octet-stream", data)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > self._limit_bytes:
            raise _Refused("too_large")
        data = bytearray()
        # One read of the line at a time: a host that sends a byte a second does not hold us up.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            data += chunk
            if len(data) > self._limit_bytes:
                raise _Refused("too_large")
            self._left(deadline)
        if announced.isdecimal() and not response.headers.get("Content-Encoding") and len(data) != int(announced):
            raise _Refused("cut_off")
        return bytes(data)

    def _public(self, place: _Place, *, may_fail: bool) -> Sequence[str]:
        """The addresses of the host, if all are what its being listed allows."""
        try:
            addresses = self._resolve(place.host, place.port)
        except OSError:
            if may_fail:
                return ()
            raise
        if not addresses:
            raise _Refused("name_unknown")
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            allowed = address.is_loopback if place.host in LOOPBACK else _is_public(address)
            if not allowed:
                raise _Refused("address_not_public")
        return addresses

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left <= 0:
            raise _Refused("too_slow")
        return left


def hosts(settings: Settings) -> tuple[str, ...]:
    """ATTACHMENT_HOSTS; without it the host of OpenCX's API, or none while OPENCX_API_URL is malformed."""
    listed = settings.text("ATTACHMENT_HOSTS")
    if listed is not None:
        return tuple(filter(None, (host.strip() for host in listed.split(","))))
    try:
        parts = urlsplit(settings.origin("OPENCX_API_URL", system="opencx", default="https://api.open.cx"))
    except ConfigurationFault:  # what needs the API says so; a handoff goes without its files
        return ()
    host = parts.hostname or ""
    is_usual = host in LOOPBACK or parts.port in (None, _PORTS["https"])
    return (host if is_usual else f"{host}:{parts.port}",)


class _PinnedAdapter(HTTPAdapter):
    """Connects to one address, and speaks TLS with the name that it belongs to."""

    def __init__(self, address: str, host: str) -> None:
        self._address = address
        self._host = host
        super().__init__(pool_connections=1, pool_maxsize=1)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        """The parts of a connection (requests 2.32 has this for adapters to override)."""
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(request, verify, cert)
        names = {"server_hostname": self._host, "assert_hostname": self._host} if _is_tls(request) else {}
        return {**host_params, "host": self._address}, {**pool_kwargs, **names}


def _is_tls(request: requests.PreparedRequest) -> bool:
    return str(request.url).startswith("https:")


def _place(url: str) -> _Place:
    """The parts of an address. Only what every parser reads alike is taken.

    Raises:
        _Refused: it is none, or holds a user, or something that another parser may read otherwise.
    """
    if not _ADDRESS.fullmatch(url) or "\\" in url:
        raise _Refused("address_malformed")
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _Refused("address_malformed") from None
    host = (parts.hostname or "").lower()
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise _Refused("address_malformed")
    host = host.removesuffix(".")
    port = port or _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    name = one_line(unquote(parts.path.rpartition("/")[2])).replace("/", "_").replace("\\", "_")[:200]
    return _Place(
        parts.scheme, host, port, f"{parts.scheme}://{shown}:{port}{parts.path or '/'}{query}", name or "file"
    )


def _authority(place: _Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return host if place.port == _PORTS[place.scheme] else f"{host}:{place.port}"


def _addresses(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_public(address: Address) -> bool:
    """Whether it belongs to the public network, also what it stands for where it wraps another one."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if wrapped is None and address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return _is_public(wrapped)
    return address.is_global and not address.is_multicast and address != _AZURE
