"""The signature of OpenCX's webhooks: that a delivery is OpenCX's, whole, and recent.

OpenCX says that payloads carry an HMAC with replay protection, and not how (www.open.cx/integrations/webhooks). So the
scheme is Standard Webhooks (www.standardwebhooks.com: HMAC-SHA256 over ``id.timestamp.body``) unless settings describe
another one. The signature is over the bytes as they came; nothing is parsed before it holds.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import ConfigurationFault, Unauthorized
from shared.opencx import SYSTEM

REMEMBERED = timedelta(days=3)
"""How long a delivery's id is kept: longer than senders of this scheme go on trying, and than any tolerance."""
REMEMBERED_UNTIMED = timedelta(days=30)
"""The same where no time is signed, so that nothing else makes an old delivery old."""
NONE = "none"
"""The value with which a setting leaves a part of the scheme out."""

_ALGORITHMS = ("sha256", "sha512", "sha1")
_PLACEHOLDER = re.compile(r"\{(id|timestamp|body)\}")
_ID = re.compile(r"[\x21-\x7e]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_MILLISECONDS = re.compile(r"[0-9]{12,14}")
_MOST_SIGNATURES = 20


@dataclass(frozen=True)
class Scheme:
    """How deliveries are signed.

    Attributes:
        id_header, timestamp_header: in lower case; None: there is none.
        prefix: what a signature begins with; one that begins otherwise is another version's.
        encoding: ``base64`` or ``hex``.
        signed: what is signed, with the places of ``{id}``, ``{timestamp}`` and ``{body}``.
    """

    id_header: str | None = "webhook-id"
    timestamp_header: str | None = "webhook-timestamp"
    signature_header: str = "webhook-signature"
    prefix: str = "v1,"
    algorithm: str = "sha256"
    encoding: str = "base64"
    signed: str = "{id}.{timestamp}.{body}"
    tolerance: timedelta = timedelta(seconds=300)

    def has(self, part: str) -> bool:
        """Whether that part is signed."""
        return f"{{{part}}}" in self.signed


@dataclass(frozen=True)
class Delivery:
    """A delivery whose signature holds.

    Attributes:
        key: the same for every delivery of the same thing, whenever it is signed; ids hold any characters, keys not.
        body_digest: what it said; the same thing never says something else.
        remember_until: until when `key` must be known.
    """

    key: str
    body_digest: str
    remember_until: datetime


class Secret(Protocol):
    """Where the signing secrets come from: one, or several with blanks between them while they are rotated."""

    def __call__(self, *, is_refused: bool) -> str:
        """The secrets; with ``is_refused`` newer ones, if there are any.

        Raises:
            ConfigurationFault, TransientFailure: they cannot be had.
        """


class Webhook:
    """Verifies deliveries."""

    def __init__(self, scheme: Callable[[], Scheme], *, secret: Secret, now: Callable[[], datetime]) -> None:
        self._scheme = scheme
        self._secret = secret
        self._now = now

    def check(self) -> None:
        """Raise ConfigurationFault or TransientFailure while the scheme or the secret cannot be had."""
        self._scheme()
        self._secret(is_refused=False)

    def verify(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """The delivery, if its signature holds with a secret of ours; a rotated secret is fetched once.

        Raises:
            Unauthorized: a header is missing or malformed, it is too old or too new, or no signature holds.
            ConfigurationFault, TransientFailure: there is no secret to verify it with.
        """
        scheme = self._scheme()
        given = {name.lower(): value for name, value in headers.items()}
        identifier = _required(given, scheme.id_header) if scheme.has("id") else ""
        if scheme.has("id") and not _ID.fullmatch(identifier):
            raise Unauthorized("The webhook's id is malformed.", code="webhook_headers_malformed")
        timestamp = _required(given, scheme.timestamp_header) if scheme.has("timestamp") else ""
        signatures = list(_signatures(_required(given, scheme.signature_header), scheme))
        if scheme.has("timestamp"):
            self._check_time(timestamp, scheme.tolerance)
        signed = _signed(scheme, identifier, timestamp, body)
        secrets = self._secret(is_refused=False)
        if not _holds(signatures, signed, secrets, scheme):
            newer = self._secret(is_refused=True)
            if newer == secrets or not _holds(signatures, signed, newer, scheme):
                raise Unauthorized("The webhook's signature is wrong.", code="webhook_signature_wrong")
        name = f"id:{identifier}".encode() if scheme.has("id") else b"signed:" + signed
        lasts = REMEMBERED if scheme.has("timestamp") else REMEMBERED_UNTIMED
        return Delivery(
            key=hashlib.sha256(name).hexdigest(),
            body_digest=hashlib.sha256(body).hexdigest(),
            remember_until=self._now() + lasts,
        )

    def _check_time(self, text: str, tolerance: timedelta) -> None:
        try:
            age = self._now() - _moment(text)
        except (ValueError, OverflowError, OSError):
            raise Unauthorized("The webhook's time is malformed.", code="webhook_headers_malformed") from None
        if age > tolerance:
            raise Unauthorized("The webhook is too old.", code="webhook_too_old")
        if age < -tolerance:
            raise Unauthorized("The webhook is of a time to come.", code="webhook_too_new")


def webhook(settings: Settings, secrets: Secrets, *, now: Callable[[], datetime]) -> Webhook:
    """The verification as the settings say; they are read with the first delivery."""

    def secret(*, is_refused: bool) -> str:
        return secrets.get("OPENCX_WEBHOOK_SECRET", system=SYSTEM, is_refused=is_refused)

    known: list[Scheme] = []

    def read() -> Scheme:
        if not known:
            known.append(scheme(settings))
        return known[0]

    return Webhook(read, secret=secret, now=now)


def scheme(settings: Settings) -> Scheme:
    """The scheme that the settings describe; each is Standard Webhooks' own where it is not set.

    Raises:
        ConfigurationFault: they contradict each other, or one is malformed.
    """
    usual = Scheme()
    made = Scheme(
        id_header=_header(settings.text("OPENCX_WEBHOOK_ID_HEADER"), usual.id_header),
        timestamp_header=_header(settings.text("OPENCX_WEBHOOK_TIMESTAMP_HEADER"), usual.timestamp_header),
        signature_header=(settings.text("OPENCX_WEBHOOK_SIGNATURE_HEADER") or usual.signature_header).lower(),
        prefix=_prefix(settings.text("OPENCX_WEBHOOK_PREFIX"), usual.prefix),
        algorithm=settings.choice("OPENCX_WEBHOOK_ALGORITHM", usual.algorithm, _ALGORITHMS, system=SYSTEM),
        encoding=settings.choice("OPENCX_WEBHOOK_ENCODING", usual.encoding, ("base64", "hex"), system=SYSTEM),
        signed=settings.text("OPENCX_WEBHOOK_SIGNED") or usual.signed,
        tolerance=timedelta(
            seconds=settings.number("OPENCX_WEBHOOK_TOLERANCE_SECONDS", 300, least=1, most=24 * 60 * 60)
        ),
    )
    if not made.has("body"):
        raise _malformed("OPENCX_WEBHOOK_SIGNED", "lacks {body}")
    for part, header in (("id", made.id_header), ("timestamp", made.timestamp_header)):
        if made.has(part) and header is None:
            raise _malformed("OPENCX_WEBHOOK_SIGNED", f"holds {{{part}}}, which no header brings")
    return made


def _malformed(name: str, what: str) -> ConfigurationFault:
    fix = f"Set {name} as OpenCX describes its signature, or remove it for Standard Webhooks."
    return ConfigurationFault(f"Setting {name} {what}.", code="setting_malformed", system=SYSTEM, fix=fix)


def _header(value: str | None, usual: str | None) -> str | None:
    if value is None:
        return usual
    return None if value.lower() == NONE else value.lower()


def _prefix(value: str | None, usual: str) -> str:
    if value is None:
        return usual
    return "" if value.lower() == NONE else value


def _required(headers: Mapping[str, str], name: str | None) -> str:
    value = headers.get(name or "", "").strip()
    if not value:
        raise Unauthorized("A header of the webhook's signature is missing.", code="webhook_headers_missing")
    return value


def _signatures(value: str, scheme: Scheme) -> Iterator[bytes]:
    """The signatures of our version, as they would be written by us; those of other versions are passed over."""
    for word in value.split()[:_MOST_SIGNATURES]:
        if word.startswith(scheme.prefix):
            text = word.removeprefix(scheme.prefix)
            yield (text.lower() if scheme.encoding == "hex" else text).encode("utf-8", "surrogatepass")


def _signed(scheme: Scheme, identifier: str, timestamp: str, body: bytes) -> bytes:
    values = {"id": identifier.encode(), "timestamp": timestamp.encode("utf-8", "surrogatepass"), "body": body}
    parts = _PLACEHOLDER.split(scheme.signed)  # literal, name, literal, name, …, literal
    return b"".join(values[part] if place % 2 else part.encode() for place, part in enumerate(parts))


def _holds(signatures: list[bytes], signed: bytes, secrets: str, scheme: Scheme) -> bool:
    """Whether one of the signatures is one of ours; every pair is compared, each in constant time."""
    found = False
    for secret in secrets.split():
        for key in _keys(secret):
            made = hmac.new(key, signed, scheme.algorithm).digest()
            text = made.hex().encode() if scheme.encoding == "hex" else base64.b64encode(made)
            for signature in signatures:
                found |= hmac.compare_digest(text, signature)
    return found


def _keys(secret: str) -> Iterator[bytes]:
    """The bytes that a secret stands for: the text itself, and what it encodes (``whsec_`` and base64, or base64)."""
    yield secret.encode()
    text = secret.removeprefix("whsec_")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return
    if decoded:
        yield decoded


def _moment(text: str) -> datetime:
    """A time as seconds or milliseconds since 1970, or in ISO 8601. Raises ValueError and its kin."""
    if _SECONDS.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    if _MILLISECONDS.fullmatch(text):
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
