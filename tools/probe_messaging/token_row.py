"""What the webhook's token means, and the setting with which the service takes it."""

from collections.abc import Mapping

from tools.probe_messaging.judge import APP, Verdict
from tools.probe_messaging.row import NOTHING, Row, against, to_set, unseen
from tools.probe_messaging.seen import Seen
from tools.probe_messaging.webhook_rows import why_unseen

_NAME = "webhook's token"
_LOCKS = {
    "webhook_unknown": (
        "the lock in the address is not the one that is set",
        "DYNAMICS_WEBHOOK_LOCK=<the part of msdyn_webhookurl after the last />",
    ),
    "webhook_lock_weak": (
        "the lock is too short, or holds characters that change in a path",
        "DYNAMICS_WEBHOOK_LOCK=<16 or more letters and digits>, also in msdyn_webhookurl",
    ),
}
"""Refusals of the lock: what they mean, and what to set."""
_SHOWN = ("ver", "iss", "aud", "azp", "appid", "tid", "idtyp", "scp", "roles")


def token(seen: Seen, *, needs_token: bool) -> Row:
    """The row of the token.

    Args:
        seen: by the run.
        needs_token: whether DYNAMICS_WEBHOOK_AUTH asks for one.
    """
    found = [each.verdict for each in seen.activities]
    if not found:
        return unseen(_NAME, why_unseen(seen, "create", "accept", "say"))
    bad = next((each for each in found if not each.passes), None)
    if bad is not None:
        return _refused(bad, row_app=str(seen.row.get("msdyn_appid") or "").lower())
    if not found[0].has_token:
        return Row(_NAME, "no token", "the lock alone opens, as DYNAMICS_WEBHOOK_AUTH=lock says")
    means = "the service takes it" if needs_token else "the service takes it, and would do without"
    return Row(_NAME, _told(found[0].claims), means)


def _refused(bad: Verdict, *, row_app: str) -> Row:
    told = _told(bad.claims) if bad.has_token else "no token"
    why = f"the service refuses it: {bad.reason or bad.code}"
    if bad.code in _LOCKS:
        return to_set(_NAME, told, *_LOCKS[bad.code])
    if bad.code != "webhook_unauthorized":
        return unseen(_NAME, f"it could not be checked: {bad.code}")
    if not bad.has_token:
        fix = "DYNAMICS_WEBHOOK_AUTH=lock (better: give the channel row a managed identity)"
        return to_set(_NAME, told, f"{why}. The channel row has no managed identity", fix)
    app = bad.changes.get(APP, "").lower()
    if app and row_app and app != row_app:
        return against(_NAME, told, f"{why}: it is of another app than the channel row names", NOTHING)
    if bad.changes:
        return to_set(_NAME, told, why, " ".join(f"{key}={value}" for key, value in bad.changes.items()))
    return against(_NAME, told, why)


def _told(claims: Mapping[str, object]) -> str:
    return ", ".join(f"{each}={claims[each]}" for each in _SHOWN if each in claims) or "a token that is no JWT"
