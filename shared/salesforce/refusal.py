"""What a refused call means, by status and text.

Facts: the statuses and texts that live clients of the messaging service have met (reference: errors and limits).
"""

from datetime import datetime

from shared import http
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.salesforce import SYSTEM
from shared.salesforce.wire import Reply

NOT_NOW = frozenset({408, 409, 412, 423, 425, 429})
"""Refused before anything was done."""
_EXPIRED = "jwt is expired"


def general(reply: Reply, *, system: str, now: datetime) -> HandoffError | None:
    """What a reply means whatever was asked; None: its sender must judge it.

    Args:
        reply: the answer.
        system: whom a 429 throttles: the org, or one conversation.
        now: the time of day, for a ``Retry-After`` that is a date.
    """
    status = reply.status
    if status in NOT_NOW or status >= 500:
        return _transient(reply, system, now)
    if 300 <= status < 400:
        return url_wrong(f"The messaging service's address answers with a redirect (HTTP {status}).")
    if status == 401:
        return ConfigurationFault(
            "Salesforce refuses the access token that it has just given (HTTP 401).",
            code="salesforce_unauthorized",
            system=SYSTEM,
            fix="Check SALESFORCE_ORG_ID and SALESFORCE_ES_DEVELOPER_NAME: both must be of the address's org.",
        )
    if status == 400:
        return _misconfigured(reply.says())
    return None


def of_token(reply: Reply) -> HandoffError:
    """Why there is no access token, where `general` knows no answer."""
    if reply.status == 404:
        return url_wrong("The address has no messaging service (HTTP 404).")
    return ConfigurationFault(
        f"Salesforce gives no access token (HTTP {reply.status}).",
        code="salesforce_token_refused",
        system=SYSTEM,
        fix="Check SALESFORCE_ORG_ID and SALESFORCE_ES_DEVELOPER_NAME, and that the deployment is published.",
    )


def of_conversation(reply: Reply) -> HandoffError:
    """Why something was not taken into a conversation, where `general` knows no answer.

    Only Salesforce itself can say that a conversation is over: a gateway's 403 or 404 passes by. No gateway says 417.
    """
    if reply.status == 417:
        message = "The conversation has no messaging session any more (HTTP 417)."
        return ConversationEnded(message, code="salesforce_session_ended")
    if reply.status not in (403, 404, 410):
        return refused(reply)
    return _over(reply.status) if reply.is_own_error else uncertain(reply.status)


def of_read(reply: Reply) -> HandoffError:
    """Why a conversation could not be read, where `general` knows no answer; never a PermanentFailure.

    A ConversationEnded is one read's word: another one must agree.
    """
    if reply.status not in (403, 404) or not reply.is_own_error:
        return uncertain(reply.status, is_unclear=False)
    return _over(reply.status)


def uncertain(status: int, *, is_unclear: bool = True) -> TransientFailure:
    """It was refused, and whether that is Salesforce's last word remains to be seen."""
    return TransientFailure(
        f"A conversation's call was refused (HTTP {status}); whether for good is not certain yet.",
        code="salesforce_unavailable",
        system=SYSTEM,
        kind="server_error",
        is_unclear=is_unclear,
    )


def is_expiry(reply: Reply) -> bool:
    """Whether a 401 comes from Salesforce: its own error, or the bare text that it sends when a token has expired."""
    return reply.is_own_error or _EXPIRED in reply.says()


def of_create(reply: Reply) -> HandoffError:
    """Why a conversation could not be made, where `general` knows no answer."""
    if reply.status == 403:
        return ConfigurationFault(
            "Salesforce forbids to begin a conversation (HTTP 403).",
            code="salesforce_forbidden",
            system=SYSTEM,
            fix="Check that the messaging channel of the deployment is active.",
        )
    if reply.status == 404:
        return url_wrong("The address has no messaging service (HTTP 404).")
    return refused(reply)


def refused(reply: Reply) -> PermanentFailure:
    """This very request is refused for good."""
    return PermanentFailure(f"Salesforce refuses it (HTTP {reply.status}).", code="salesforce_refused")


def url_wrong(message: str) -> ConfigurationFault:
    """The address is not that of a messaging service."""
    fix = "Set SALESFORCE_SCRT_URL to the Url of the deployment's code snippet: https://….my.salesforce-scrt.com."
    return ConfigurationFault(message, code="salesforce_url_wrong", system=SYSTEM, fix=fix)


def _over(status: int) -> ConversationEnded:
    if status == 404:
        message = "Salesforce does not know the conversation (HTTP 404)."
        return ConversationEnded(message, code="salesforce_conversation_unknown")
    message = f"The conversation takes no more messages (HTTP {status})."
    return ConversationEnded(message, code="salesforce_conversation_ended")


def _transient(reply: Reply, system: str, now: datetime) -> TransientFailure:
    after = http.retry_after_seconds({"Retry-After": reply.headers.get("retry-after", "")}, now=now)
    status = reply.status
    if status == 429:
        return TransientFailure(
            "Salesforce's limit was reached (HTTP 429).",
            code="salesforce_throttled",
            system=system,
            kind="throttled",
            retry_after_seconds=after,
            is_unclear=False,
        )
    kind = "unavailable" if status in (408, 423, 502, 503, 504) else "server_error"
    return TransientFailure(
        f"Salesforce answered HTTP {status}.",
        code="salesforce_server_error",
        system=SYSTEM,
        kind=kind,
        retry_after_seconds=after,
        is_unclear=status not in NOT_NOW,
    )


def _misconfigured(says: str) -> ConfigurationFault | None:
    if "deploymenttype" in says or "esdevelopername" in says:
        return ConfigurationFault(
            "The deployment is not one for custom clients, or does not exist.",
            code="salesforce_deployment_wrong",
            system=SYSTEM,
            fix="Set SALESFORCE_ES_DEVELOPER_NAME to a published deployment of the type Custom Client (API).",
        )
    if "orgid" in says or "organizationid" in says:
        return ConfigurationFault(
            "The organization's id and the address are not of the same org.",
            code="salesforce_org_mismatch",
            system=SYSTEM,
            fix="Take SALESFORCE_ORG_ID and SALESFORCE_SCRT_URL from the same deployment's code snippet.",
        )
    return None
