"""Judges a webhook's token by the service's own check, and looks for the setting with which it would pass.

A setting is proposed only for a token whose signature and tenant the service has accepted; a stranger's token passes
with no setting.
"""

import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.config.settings import Settings
from shared.dynamics_messaging import settings
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.webhook import Verifier
from shared.errors import HandoffError

APP, AUDIENCE, AUTH = "DYNAMICS_WEBHOOK_APP", "DYNAMICS_WEBHOOK_AUDIENCE", "DYNAMICS_WEBHOOK_AUTH"
LOGGER = "opencx_handoff"
"""The service's log, where a refused token's reason is told."""


@dataclass(frozen=True)
class Verdict:
    """What became of one request's token.

    Attributes:
        passes: whether the service lets it in as it is set up.
        code: the error's, when it does not.
        reason: what the log would say.
        changes: the settings with which it would pass; empty: there are none, or none are needed.
        claims: of the token, its signature dropped; with `alg`, `kid` and `typ` of its header.
        has_token: whether there was one at all.
    """

    passes: bool
    code: str = ""
    reason: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    has_token: bool = True


class Judge:
    """Tries one request after the other.

    Args:
        environ: the settings as they are.
        lock: gives the lock.
        keys: Entra's keys for a way in which the webhook is set up.
        now: the time of day.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        lock: Callable[[], str],
        keys: Callable[[settings.Webhook], SigningKeys],
        now: Callable[[], datetime],
    ) -> None:
        self._environ = environ
        self._lock = lock
        self._keys = keys
        self._now = now
        self._reasons = _Reasons()
        self._one = threading.Lock()

    def judge(self, *, lock: str, authorization: str | None) -> Verdict:
        """What the service would do with it."""
        with self._one, self._reasons:
            claims = read(authorization)
            has_token = bool((authorization or "").strip())
            error = self._try({}, lock, authorization)
            if error is None:
                return Verdict(passes=True, claims=claims, has_token=has_token)
            reason = self._reasons.last
            found = next(
                (each for each in _changes(claims, has_token=has_token) if not self._try(each, lock, authorization)), {}
            )
            return Verdict(
                passes=False, code=error.code, reason=reason, changes=found, claims=claims, has_token=has_token
            )

    def _known_lock(self, *, is_refused: bool = False) -> str:  # noqa: ARG002 - it does not change while this runs
        return self._lock()

    def _try(self, changes: Mapping[str, str], lock: str, authorization: str | None) -> HandoffError | None:
        """Verify with these changes; the refusal, if it is one."""
        changed = Settings({**self._environ, **changes})
        verifier = Verifier(lambda: settings.webhook(changed), keys=self._keys, lock=self._known_lock, now=self._now)
        try:
            verifier.verify(lock=lock, authorization=authorization)
        except HandoffError as error:
            return error
        return None


def read(authorization: str | None) -> dict[str, Any]:
    """What a bearer token says, unverified and without its signature; empty when it is none."""
    parts = (authorization or "").partition(" ")[2].strip().split(".")
    if len(parts) != 3:
        return {}
    try:
        head, body = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(head, dict) or not isinstance(body, dict):
        return {}
    return {**{name: head[name] for name in ("alg", "kid", "typ") if name in head}, **body}


def _changes(claims: Mapping[str, Any], *, has_token: bool) -> Iterator[dict[str, str]]:
    """What may help, the smallest change first."""
    if not has_token:
        yield {AUTH: "lock"}
        return
    app = claims.get("azp") or claims.get("appid")
    given = claims.get("aud")
    audience = ",".join(each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str))
    if isinstance(app, str):
        yield {APP: app}
    if audience:
        yield {AUDIENCE: audience}
        if isinstance(app, str):
            yield {APP: app, AUDIENCE: audience}


class _Reasons(logging.Handler):
    """Keeps the reason of the last refusal, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the service's log."""
        try:
            told = json.loads(record.getMessage())
        except ValueError:
            return
        if isinstance(told, dict):
            self.last = str(told.get("reason") or self.last)

    def __enter__(self) -> None:
        self.last = ""
        logging.getLogger(LOGGER).addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger(LOGGER).removeHandler(self)
