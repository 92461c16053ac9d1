"""Access tokens: one a customer for most of its life, however many threads ask.

A verified customer's token can be had again at any time, with the same rights: it is kept in memory only. A guest's
cannot: whoever loses it has lost the conversation, so it is kept where workers come and go.

Facts: a continuation does not prolong a token's life; a verified one can be had anew for the same subject; a guest who
has lost theirs is somebody else. What an answer says is in `shared.salesforce.grant`.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

from shared.config.clock import Clock
from shared.config.secrets import Secrets
from shared.config.turns import NoTurn, Turns
from shared.errors import (
    ConfigurationFault,
    ConversationEnded,
    HandoffError,
    LedgerUnavailable,
    TransientFailure,
)
from shared.salesforce import SYSTEM, refusal
from shared.salesforce.grant import Token, is_verified, token_of
from shared.salesforce.identity import sign
from shared.salesforce.settings import Access
from shared.salesforce.wire import Reply, Wire

AGAIN_SECONDS = 30.0
"""After a renewal that failed, while the token still works."""
MARGIN_SECONDS = 5.0
PATIENCE_SECONDS = 15.0
MOST_CUSTOMERS = 2000
_STRIPES = 64


@dataclass(frozen=True)
class Identity:
    """Whom a token is for.

    Attributes:
        subject: a verified customer's stable id; for a guest the key under which the token is kept.
        is_guest: whether nobody vouches for the customer.
    """

    subject: str
    is_guest: bool = False


class GuestTokens(Protocol):
    """Where guests' tokens are kept. Every method may raise LedgerUnavailable."""

    def get(self, key: str) -> str | None:
        """The token kept under that key."""

    def put(self, key: str, token: str) -> str:
        """Keep a token, unless there is one; the one that is kept."""

    def delete(self, key: str) -> None:
        """Forget it; harmless when there is none."""


class TokenSource:
    """Gives customers' tokens; renews them before they expire, and after Salesforce refused them."""

    def __init__(self, access: Access, *, wire: Wire, secrets: Secrets, guests: GuestTokens, clock: Clock) -> None:
        self._access = access
        self._wire = wire
        self._secrets = secrets
        self._guests = guests
        self._clock = clock
        self._turns = tuple(Turns() for _ in range(_STRIPES))
        self._lock = Lock()
        self._tokens: OrderedDict[Identity, Token] = OrderedDict()
        self._again_at: dict[Identity, float] = {}

    def identity(self, subject: str, *, guest_key: str, deadline: float) -> Identity:
        """A verified customer where there is a private key, else a guest.

        Raises:
            ConfigurationFault, TransientFailure: it cannot be found out whether there is a key.
        """
        if self.private_key(deadline=deadline) is None:
            return Identity(guest_key, is_guest=True)
        return Identity(subject)

    def private_key(self, *, deadline: float | None = None, is_refused: bool = False) -> str | None:
        """The private key; None when there is none."""
        try:
            return self._secrets.get("SALESFORCE_PRIVATE_KEY", system=SYSTEM, is_refused=is_refused, deadline=deadline)
        except ConfigurationFault as fault:
            if fault.code in ("secret_missing", "setting_missing"):
                return None
            raise

    def get(self, identity: Identity, *, deadline: float, begins: bool = False) -> Token:
        """The customer's token.

        Args:
            identity: whom it is for.
            deadline: the monotonic time, in seconds, by which it must be over.
            begins: a conversation begins: a guest who has no token gets one.

        Raises:
            ConfigurationFault: Salesforce gives none, or a guest's instead of a customer's.
            TransientFailure: none could be had in time.
            ConversationEnded: the guest's token has expired, and with it went the conversation.
        """
        token = self._known(identity)
        now = self._clock.monotonic()
        if token is None or token.expires_at - now <= MARGIN_SECONDS:
            with _in_time():
                return self._get_new(identity, deadline, wait_seconds=deadline - now, begins=begins)
        if now < token.renew_at or identity.is_guest or now < self._again_at.get(identity, now):
            return token
        try:
            return self._get_new(identity, deadline, wait_seconds=0, begins=False)
        except NoTurn:
            return token  # somebody is getting the next one, and this one still works
        except HandoffError:
            self._again_at[identity] = self._clock.monotonic() + AGAIN_SECONDS
            return token

    def refuse(self, identity: Identity, token: Token, *, is_certain: bool) -> None:
        """Something answered 401: forget this token; a newer one stays.

        A guest has no other one. So theirs is forgotten only when its own time is over, or the refusal is certain.

        Args:
            identity: whom the token is for.
            token: what was refused.
            is_certain: Salesforce has said so itself, more than once.

        Raises:
            ConversationEnded: it was a guest's; there is no other way into the conversation.
            TransientFailure: the guest's token could not be forgotten.
        """
        if identity.is_guest and not is_certain and token.expires_at > self._clock.monotonic():
            return
        with self._lock:
            if self._tokens.get(identity, token).value == token.value:
                self._tokens.pop(identity, None)
        if identity.is_guest:
            self.forget(identity)
            raise _guest_expired()

    def forget(self, identity: Identity) -> None:
        """The conversation is over: a guest's token is deleted. Raises TransientFailure."""
        with self._lock:
            self._tokens.pop(identity, None)
            self._again_at.pop(identity, None)
        if identity.is_guest:
            with _kept():
                self._guests.delete(identity.subject)

    def _known(self, identity: Identity) -> Token | None:
        with self._lock:
            token = self._tokens.get(identity)
            if token is not None:
                self._tokens.move_to_end(identity)
            return token

    def _get_new(self, identity: Identity, deadline: float, *, wait_seconds: float, begins: bool) -> Token:
        turns = self._turns[hash(identity) % _STRIPES]
        with turns.take(f"{identity}", timeout_seconds=wait_seconds):
            token = self._known(identity)
            now = self._clock.monotonic()
            if token is not None and (token.renew_at > now or identity.is_guest) and token.expires_at > now:
                return token  # somebody was quicker
            if identity.is_guest:
                token = self._guest(identity, deadline, begins=begins)
            else:
                token = self._verified(identity.subject, deadline)
            self._keep(identity, token)
            return token

    def _keep(self, identity: Identity, token: Token) -> None:
        with self._lock:
            self._tokens[identity] = token
            self._tokens.move_to_end(identity)
            self._again_at.pop(identity, None)
            while len(self._tokens) > MOST_CUSTOMERS:
                oldest, _ = self._tokens.popitem(last=False)
                self._again_at.pop(oldest, None)

    def _verified(self, subject: str, deadline: float) -> Token:
        key = self.private_key(deadline=deadline)
        if key is None:
            raise ConfigurationFault(
                "The secret SALESFORCE_PRIVATE_KEY is gone, and conversations of verified customers are open.",
                code="secret_missing",
                system=SYSTEM,
                fix="Store the keyset's private key as salesforce-private-key.",
            )
        answer = self._ask_verified(key, subject, deadline)
        if not is_verified(answer):
            newer = self.private_key(deadline=deadline, is_refused=True)
            if newer is not None and newer != key:
                answer = self._ask_verified(newer, subject, deadline)
        if is_verified(answer):
            return self._token(answer)
        raise ConfigurationFault(
            "Salesforce does not accept the identity token, and gives a guest's access token instead.",
            code="salesforce_guest_instead",
            system=SYSTEM,
            fix=(
                "Compare SALESFORCE_JWT_ISSUER (JSON Web Key Issuer) and SALESFORCE_AUTH_KEY_ID (kid) with the keyset, "
                "check that the private key belongs to the uploaded key (which needs x5c, valid for 10 days or more), "
                "and that the messaging channel has user verification with this keyset."
            ),
        )

    def _guest(self, identity: Identity, deadline: float, *, begins: bool) -> Token:
        with _kept():
            stored = self._guests.get(identity.subject)
        if stored is not None:
            token = self._token({"accessToken": stored})
            if token.expires_at - self._clock.monotonic() > MARGIN_SECONDS:
                return token
        if not begins:
            raise _guest_expired()
        token = self._token(self._ask("unauthenticated", {}, deadline))
        with _kept():  # before it is used: what it begins can only be gone on with by it
            if stored is not None:
                self._guests.delete(identity.subject)
            kept = self._guests.put(identity.subject, token.value)
        # Another worker at the same handoff may have been quicker: two guests would make two conversations.
        return token if kept == token.value else self._token({"accessToken": kept})

    def _ask_verified(self, private_key: str, subject: str, deadline: float) -> dict[str, Any]:
        signed = sign(private_key, self._access, subject, now=self._clock.now())
        return self._ask("authenticated", {"authorizationType": "JWT", "customerIdentityToken": signed}, deadline)

    def _ask(self, kind: str, more: dict[str, str], deadline: float) -> dict[str, Any]:
        body = {
            "orgId": self._access.org_id,
            "esDeveloperName": self._access.developer_name,
            "capabilitiesVersion": "1",
            "platform": "Web",
            "context": {"appName": "opencx-handoff", "clientVersion": "1.0.0"},
            **more,
        }
        path = f"/authorization/{kind}/access-token"
        reply = self._wire.call("POST", path, operation="token", json_body=body, deadline=deadline)
        return self._judged(reply)

    def _judged(self, reply: Reply) -> dict[str, Any]:
        error = refusal.general(reply, system=SYSTEM, now=self._wire.now())
        if error is not None and reply.status != 401:
            raise error
        if not reply.is_success:
            raise refusal.of_token(reply)
        answer = reply.json()
        if not isinstance(answer.get("accessToken"), str):
            message = "Salesforce sent an answer without an access token."
            raise TransientFailure(message, code="salesforce_bad_answer", system=SYSTEM)
        return answer

    def _token(self, answer: dict[str, Any]) -> Token:
        return token_of(answer, wall_seconds=self._clock.now().timestamp(), monotonic=self._clock.monotonic())


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        yield
    except NoTurn:
        message = "Salesforce did not give another caller a token in time."
        raise TransientFailure(message, code="salesforce_timeout", system=SYSTEM, is_unclear=False) from None


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        message = "Table Storage cannot be reached, where guests' tokens are kept."
        raise TransientFailure(message, code="ledger_unavailable", system="ledger", is_unclear=False) from error


def _guest_expired() -> ConversationEnded:
    message = "The guest's token has expired: the conversation cannot be gone on with."
    return ConversationEnded(message, code="salesforce_guest_expired", is_shut_out=True)
