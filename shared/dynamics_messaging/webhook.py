"""The webhook of the Messaging APIs: who may call it, and what its activities mean.

Facts: Microsoft's page "Webhook" of the Messaging APIs. The claims of its token are not documented: it is obtained for
the registered app, so issuer, tenant, audience and app are checked in both spellings that Entra has (v1 and v2).
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from shared import events
from shared.dynamics_messaging import briefing, names
from shared.dynamics_messaging.activity import KINDS, QUIET, Activity
from shared.dynamics_messaging.activity import read as read_activity
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.settings import LOCK, PUBLIC_AUTHORITY, Webhook, lock_is_strong
from shared.errors import ConfigurationFault, InvalidRequest, NotFound, Unauthorized
from shared.handoff.text import parse_json
from shared.relay.model import MESSAGE, OVER, Conversation, RepEntry

if TYPE_CHECKING:
    from jwt.types import Options

LEEWAY_SECONDS = 300.0
LONGEST_TOKEN = 16_384
LONGEST_ID = 200


class Lock(Protocol):
    """Where the lock comes from: `shared.config.secrets.Secrets.get`, bound to `LOCK`."""

    def __call__(self, *, is_refused: bool = False) -> str:
        """The lock; ``is_refused``: what is known was not the caller's. Raises ConfigurationFault, TransientFailure."""


class Verifier:
    """Lets the webhook's requests in: first the lock in the path, then the token.

    Args:
        webhook: what the token must say; raises ConfigurationFault while a setting is wrong.
        keys: Entra's keys for that.
        lock: gives the unguessable part of the path.
        now: the time of day.
    """

    def __init__(
        self,
        webhook: Callable[[], Webhook],
        *,
        keys: Callable[[Webhook], SigningKeys],
        lock: Lock,
        now: Callable[[], datetime],
    ) -> None:
        self._webhook = webhook
        self._keys = keys
        self._lock = lock
        self._now = now

    def verify(self, *, lock: str, authorization: str | None) -> None:
        """Raise unless the request is Dynamics'.

        Args:
            lock: the part of the path.
            authorization: the header, if there is one.

        Raises:
            NotFound: the lock is wrong; nothing shows that there is a webhook.
            Unauthorized: the token is missing, or not good. Why is said to the log only.
            ConfigurationFault, TransientFailure: it cannot be found out now; Dynamics tries again.
        """
        try:
            known = self._lock()
        except ConfigurationFault as fault:
            if fault.code not in ("setting_missing", "secret_missing"):
                raise
            events.emit(events.DYNAMICS_WEBHOOK_REFUSED, reason="lock_not_set")
            raise NotFound("There is nothing here.", code="webhook_unknown") from None
        if not lock_is_strong(known):
            raise ConfigurationFault(
                f"Secret {LOCK} is too short, or holds characters that change in a path.",
                code="webhook_lock_weak",
                system="dynamics365",
                fix="Make it 16 or more letters and digits, and put the same into the channel row's msdyn_webhookurl.",
            )
        given = lock.encode("utf-8", "surrogatepass")
        # It may have been rotated: the vault is asked again, at most once a minute.
        if not hmac.compare_digest(given, known.encode()) and not (
            lock_is_strong(lock) and hmac.compare_digest(given, self._lock(is_refused=True).encode())
        ):
            raise NotFound("There is nothing here.", code="webhook_unknown")
        webhook = self._webhook()
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not token and not webhook.needs_token:
            return
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("token_missing")
        self._check(webhook, token.strip())

    def _check(self, webhook: Webhook, token: str) -> None:
        keys = self._keys(webhook)
        claims = _decoded(token, keys)
        tenant_id = keys.tenant_id()
        now = self._now().timestamp()
        issuers = {
            f"https://sts.windows.net/{tenant_id}/",
            f"{PUBLIC_AUTHORITY}/{tenant_id}/v2.0",
            f"{webhook.authority}/{tenant_id}/v2.0",
        }
        if not now - LEEWAY_SECONDS < _number(claims.get("exp"), default=0.0):
            raise _unauthorized("token_expired")
        if not _number(claims.get("nbf"), default=now) <= now + LEEWAY_SECONDS:
            raise _unauthorized("token_too_early")
        if str(claims.get("iss")) not in issuers or str(claims.get("tid")).lower() != tenant_id:
            raise _unauthorized("token_of_another_tenant")
        if not _audiences(claims.get("aud")) & webhook.audiences:
            raise _unauthorized("token_for_another_audience")
        if str(claims.get("azp") or claims.get("appid")).lower() != webhook.app_id:
            raise _unauthorized("token_of_another_app")
        if "scp" in claims:  # a person's token; Dynamics has none
            raise _unauthorized("token_of_a_person")


def read(body: bytes, *, conversation_id: str) -> dict[str, Any]:
    """The activity in a request's body.

    Args:
        body: as it came.
        conversation_id: of the path; the body must name the same.

    Raises:
        InvalidRequest: it is not JSON, or no activity of this conversation.
    """
    try:
        data = parse_json(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InvalidRequest("The body is not a JSON object.", code="activity_malformed")
    given = {str(key).lower(): value for key, value in data.items()}
    conversation = given.get("conversation")
    named = conversation.get("id") if isinstance(conversation, dict) else None
    if not isinstance(given.get("type"), str) or not isinstance(named, str):
        raise InvalidRequest("The body is no activity: type or conversation.id is missing.", code="activity_malformed")
    if named.lower() != conversation_id.lower() or len(named) > LONGEST_ID:
        raise InvalidRequest("The body names another conversation than the path.", code="activity_malformed")
    return data


def parse(
    data: Mapping[str, Any],
    conversation: Conversation,
    *,
    arrived_at: datetime,
    automated_senders: frozenset[str] = frozenset(),
) -> list[RepEntry]:
    """What an activity means for the customer: one entry, or none.

    An event's text never becomes a message, nor does what we have written ourselves; and what a customer writes never
    becomes an event: where the text alone says so, it is asked first whose it is.

    Args:
        data: from `read`.
        conversation: the open one that it belongs to.
        arrived_at: its time, where the activity has none.
        automated_senders: see `shared.dynamics_messaging.settings.Webhook`.
    """
    activity = read_activity(data)
    at = activity.at or arrived_at
    if activity.kind == "typing":
        return []
    if activity.kind == "endOfConversation":
        return [RepEntry(activity.key, at, kind=OVER)]
    is_certain_event = activity.kind == "event" and not activity.is_told_in_text
    if not is_certain_event and is_ours(activity, conversation):
        events.emit(events.DYNAMICS_MESSAGING_IGNORED, reason="activity_ours")
        return []
    if activity.kind == "event":
        return _event(activity, at)
    if activity.kind != "message" or not (activity.text.strip() or activity.files):
        events.emit(events.DYNAMICS_MESSAGING_IGNORED, reason="activity_unknown")
        return []
    return [entry(activity, conversation, at=at, automated_senders=automated_senders)]


def is_ours(activity: Activity, conversation: Conversation) -> bool:
    """Whether an activity says itself that it came from us: our customer's id, or the mark in our own texts."""
    if activity.sender_id == names.customer_id(conversation.handoff_id):
        return True
    return briefing.is_ours(activity.text, conversation.handoff_id)


def entry(
    activity: Activity, conversation: Conversation, *, at: datetime, automated_senders: frozenset[str]
) -> RepEntry:
    """A message for the customer."""
    return RepEntry(
        id=activity.key,
        at=at,
        kind=MESSAGE,
        text=activity.words(conversation.channel),
        author=activity.sender_name or None,
        files=activity.files,
        is_automated=activity.is_automated(automated_senders),
    )


def _event(activity: Activity, at: datetime) -> list[RepEntry]:
    kind = KINDS.get(activity.name)
    if kind is not None:
        return [RepEntry(activity.key, at, kind=kind, author=activity.sender_name or None)]
    if activity.name not in QUIET:
        known = activity.name if activity.name.isascii() and activity.name.isalnum() else ""
        events.emit(events.DYNAMICS_MESSAGING_IGNORED, reason="event_unknown", name=known[:60] or None)
    return []


def _decoded(token: str, keys: SigningKeys) -> dict[str, Any]:
    """The claims of a token whose signature is good."""
    import jwt  # noqa: PLC0415 - loaded when the first webhook comes

    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise _unauthorized("token_malformed")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _unauthorized("token_malformed") from None
    if header.get("alg") != "RS256":
        raise _unauthorized("token_algorithm")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise _unauthorized("token_key_unknown")
    # What the claims say is judged by `_check`, by our clock.
    options: Options = {
        "verify_aud": False,
        "verify_iss": False,
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_sub": False,
        "verify_jti": False,
    }
    try:
        return jwt.decode(token, key, algorithms=["RS256"], options=options)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _unauthorized("token_signature") from None


def _unauthorized(why: str) -> Unauthorized:
    events.emit(events.DYNAMICS_WEBHOOK_REFUSED, reason=why)
    return Unauthorized("The token is missing, or not good.", code="webhook_unauthorized")


def _audiences(value: object) -> set[str]:
    given = value if isinstance(value, list) else [value]
    return {each.lower() for each in given if isinstance(each, str)}


def _number(value: object, *, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")  # no comparison with it is true
    try:
        return float(value)
    except OverflowError:
        return float("nan")
