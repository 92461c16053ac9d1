"""The settings of the Salesforce side, checked when a handoff needs them.

Facts: the six fields of OpenCX's MIAW tab, and the deployment's code snippet (OrganizationId, DeveloperName, Url).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.config.settings import Settings, is_loopback
from shared.errors import ConfigurationFault
from shared.handoff.model import Notice
from shared.salesforce import SYSTEM

SESSION, CUSTOMER = "session", "customer"

GUARDED_WORDS = frozenset({"cancel", "end", "quit", "stop", "stopall", "unsubscribe", "help"})
"""What Salesforce's template for messaging channels registers as opt-out, and as a question (reference: limits)."""

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "sessionId": "OpencxSessionId",
        "phone": "Phone",
        "channel": "Channel",
        "language": "Language",
        "priority": "Priority",
        "consumerType": "Chat_Consumer_Type",
        "firstName": "_firstName",
        "lastName": "_lastName",
        "email": "_email",
        "subject": "_subject",
    }
)
"""Our name → the routing attribute's. The first and sixth are OpenCX's, the last four Salesforce's pre-chat fields."""

MORE_ATTRIBUTES = frozenset(
    {
        "handoffId",
        "name",
        "summary",
        "classification",
        "sentiment",
        "reason",
        "ticketNumber",
        "sessionUrl",
        "externalId",
        "organizationId",
    }
)
"""What can be sent, and is not unless SALESFORCE_ROUTING_ATTRIBUTES names it."""

_SCRT, _CORE = ".my.salesforce-scrt.com", ".my.salesforce.com"


@dataclass(frozen=True)
class Access:
    """How to reach the org, and how customers are shown there.

    Attributes:
        origin: scheme and host of the messaging service (``*.my.salesforce-scrt.com``).
        org_id: the organization's id, 15 characters.
        developer_name: the Embedded Service Deployment's API name.
        issuer, key_id: of the keyset that verifies identity tokens; None where customers are guests.
        subject: ``session``: each session is a person of its own; ``customer``: a known customer is the same again.
        attributes: our name → the routing attribute's.
        language: of the conversations, in Salesforce's spelling.
        priority: where the handoff says nothing, 1 to 4.
        reopens: whether a message after the session's end begins a new session.
        sends_receipts: whether reps are shown what OpenCX has taken.
        guarded_words: in lower case; a customer's message of nothing else is sent with words around it.
        notices: what was tolerated.
    """

    origin: str
    org_id: str
    developer_name: str
    issuer: str | None = None
    key_id: str | None = None
    subject: str = SESSION
    attributes: Mapping[str, str] = field(default_factory=lambda: ATTRIBUTES)
    language: str = "en_US"
    priority: int = 2
    reopens: bool = False
    sends_receipts: bool = True
    guarded_words: frozenset[str] = GUARDED_WORDS
    notices: tuple[Notice, ...] = ()

    @property
    def home(self) -> str:
        """The org and the deployment, by which conversations know where they stand."""
        return f"{self.org_id}/{self.developer_name}"

    @property
    def audience(self) -> str:
        """Who identity tokens are for: the org's own address."""
        host = self.origin
        return host.removesuffix(_SCRT) + _CORE if host.endswith(_SCRT) else host


def access(settings: Settings) -> Access:
    """The org and the deployment.

    Raises:
        ConfigurationFault: names the setting and the fix. A malformed optional one is left out, with a notice.
    """
    notices: list[Notice] = []
    return Access(
        origin=_origin(settings, notices),
        org_id=_org_id(settings),
        developer_name=_developer_name(settings),
        issuer=settings.text("SALESFORCE_JWT_ISSUER"),
        key_id=settings.text("SALESFORCE_AUTH_KEY_ID"),
        subject=settings.choice("SALESFORCE_SUBJECT", SESSION, (SESSION, CUSTOMER), system=SYSTEM),
        attributes=_attributes(settings, notices),
        language=_language(settings, notices),
        priority=int(settings.number("DEFAULT_PRIORITY", 2, least=1, most=4)),
        reopens=settings.flag("SALESFORCE_REOPEN", default=False),
        sends_receipts=settings.flag("SALESFORCE_RECEIPTS", default=True),
        guarded_words=_guarded_words(settings),
        notices=tuple(notices),
    )


def _origin(settings: Settings, notices: list[Notice]) -> str:
    origin = settings.origin(
        "SALESFORCE_SCRT_URL", system=SYSTEM, example=f"https://yourcompany{_SCRT}", has_slash=True
    )
    if not origin.endswith(_CORE) or is_loopback(origin):
        return origin
    # What OpenCX calls the instance's address is the org's; the messaging service is beside it.
    meant = origin.removesuffix(_CORE) + _SCRT
    notices.append(Notice("setting_tolerated", f"Setting SALESFORCE_SCRT_URL should be {meant}."))
    return meant


def _org_id(settings: Settings) -> str:
    fix = "Set it to the Organization ID in Setup, Company Information, such as 00D5g000004Z1xY."
    value = settings.required("SALESFORCE_ORG_ID", system=SYSTEM, fix=fix)
    if not re.fullmatch(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?", value):
        message = "Setting SALESFORCE_ORG_ID is not an id of 15 or 18 characters."
        raise ConfigurationFault(message, code="setting_malformed", system=SYSTEM, fix=fix)
    return value[:15]  # the messaging service takes no other


def _developer_name(settings: Settings) -> str:
    fix = "Set it to the API name of the Embedded Service Deployment (DeveloperName in its code snippet)."
    value = settings.required("SALESFORCE_ES_DEVELOPER_NAME", system=SYSTEM, fix=fix)
    if not re.fullmatch(r"[A-Za-z]\w{0,79}", value, re.ASCII):
        message = "Setting SALESFORCE_ES_DEVELOPER_NAME is not an API name."
        raise ConfigurationFault(message, code="setting_malformed", system=SYSTEM, fix=fix)
    return value


def _language(settings: Settings, notices: list[Notice]) -> str:
    value = (settings.text("SALESFORCE_LANGUAGE") or "en_US").replace("-", "_")
    if re.fullmatch(r"[a-z]{2,3}(?:_[A-Za-z0-9]{2,8}){0,2}", value):
        return value
    notices.append(_left_out("SALESFORCE_LANGUAGE", "Set it to a language such as en_US or de; en_US is used."))
    return "en_US"


def _guarded_words(settings: Settings) -> frozenset[str]:
    given = settings.text("SALESFORCE_GUARDED_WORDS")
    if given is None:
        return GUARDED_WORDS
    if given.casefold() == "none":
        return frozenset()
    return frozenset(filter(None, (word.strip().casefold() for word in given.split(","))))


def _attributes(settings: Settings, notices: list[Notice]) -> Mapping[str, str]:
    name = "SALESFORCE_ROUTING_ATTRIBUTES"
    try:
        given = settings.json_object("SALESFORCE_ROUTING_ATTRIBUTES", system=SYSTEM)
    except ConfigurationFault as fault:
        notices.append(Notice(fault.code, f"{fault.message} {fault.fix}"))
        return ATTRIBUTES
    known = dict(ATTRIBUTES)
    for key, attribute in given.items():
        ours = key.removeprefix("_")
        if ours not in ATTRIBUTES and ours not in MORE_ATTRIBUTES:
            names = ", ".join((*ATTRIBUTES, *sorted(MORE_ATTRIBUTES)))
            notices.append(_left_out(name, f"{key[:40]} is none of: {names}."))
        elif attribute is None:
            known.pop(ours, None)
        elif isinstance(attribute, str) and re.fullmatch(r"\w{1,80}", attribute, re.ASCII):
            known[ours] = attribute
        else:
            notices.append(_left_out(name, f"{key[:40]} must be an attribute's name, or null."))
    return known


def _left_out(name: str, fix: str) -> Notice:
    return Notice("setting_malformed", f"Setting {name} is malformed, in part or whole, and that is left out. {fix}")
