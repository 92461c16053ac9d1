"""The settings of the Messaging APIs and of their webhook, checked when a chat needs them."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.dynamics_messaging import MESSAGING
from shared.errors import ConfigurationFault

OFF, SAY, INCIDENT = "off", "say", "incident"
LOCK = "DYNAMICS_WEBHOOK_LOCK"
LEAST_LOCK_CHARACTERS = 16
PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
DEFAULT = "default"
"""In a map of channels: the row for every channel that is not named."""

_SUFFIX = "/.default"
_LOCK_FORM = re.compile(r"[A-Za-z0-9_.~-]+")


@dataclass(frozen=True)
class Messaging:
    """How to reach the Messaging APIs.

    Attributes:
        origin: scheme and host, ``https://m-<organization>.<geo>.omnichannelengagementhub.com``.
        channels: our channel to the GUID of the row msdyn_occustommessagingchannel; `DEFAULT` for the others.
        organization_id: the Dataverse organization; None: WhoAmI says it.
        resource: what tokens are for; None: derived from the organization and the environment's address.
        automated_senders: ``from.id`` or ``from.name`` of what the workstream writes by itself, in lower case.
    """

    origin: str
    channels: Mapping[str, str]
    organization_id: str | None
    resource: str | None
    automated_senders: frozenset[str] = frozenset()

    def channel_id(self, channel: str) -> str:
        """The channel row for a chat.

        Raises:
            ConfigurationFault: the map names neither this channel nor a default.
        """
        found = self.channels.get(channel) or self.channels.get(DEFAULT)
        if found is None:
            raise ConfigurationFault(
                f"Setting DYNAMICS_MESSAGING_CHANNEL_ID names no row for channel {channel}.",
                code="setting_malformed",
                system=MESSAGING,
                fix=f"Add {channel} or {DEFAULT} to DYNAMICS_MESSAGING_CHANNEL_ID.",
            )
        return found


@dataclass(frozen=True)
class Webhook:
    """What the webhook's token must say.

    Attributes:
        authority: Entra's address.
        tenant: the tenant's GUID, or a domain of it.
        app_id: the app that the token must have been made for.
        audiences: what may stand in ``aud``, in lower case.
        needs_token: whether a request without a token is refused; else the lock alone opens.
        automated_senders: as in `Messaging`.
    """

    authority: str
    tenant: str
    app_id: str
    audiences: frozenset[str]
    needs_token: bool = True
    automated_senders: frozenset[str] = frozenset()


def messaging(settings: Settings) -> Messaging:
    """How to reach the APIs. Raises ConfigurationFault that names the setting and the fix."""
    return Messaging(
        origin=settings.origin(
            "DYNAMICS_MESSAGING_URL",
            system=MESSAGING,
            example="https://m-56ae8258-4878-e511-80d4-00155d2a68d1.eu.omnichannelengagementhub.com",
        ),
        channels=_channels(settings),
        organization_id=settings.guid("DYNAMICS_ORGANIZATION_ID", system=MESSAGING),
        resource=_resource(settings),
        automated_senders=_names(settings.text("DYNAMICS_AUTOMATED_SENDERS")),
    )


def webhook(settings: Settings) -> Webhook:
    """What the webhook's token must say. Raises ConfigurationFault that names the setting and the fix."""
    tenant = settings.required(
        "DYNAMICS_TENANT_ID",
        system=MESSAGING,
        fix="Set it to the Directory (tenant) ID of the app registration that the channel row names.",
    )
    if not re.fullmatch(r"[A-Za-z0-9.-]+", tenant):
        fix = "Set it to the Directory (tenant) ID: a GUID or a domain."
        message = "Setting DYNAMICS_TENANT_ID is no tenant."
        raise ConfigurationFault(message, code="setting_malformed", system=MESSAGING, fix=fix)
    app_id = settings.text("DYNAMICS_WEBHOOK_APP") or settings.required(
        "DYNAMICS_CLIENT_ID",
        system=MESSAGING,
        fix="Set DYNAMICS_CLIENT_ID, or DYNAMICS_WEBHOOK_APP, to the app registration that the channel row names.",
    )
    checked = settings.choice("DYNAMICS_WEBHOOK_AUTH", "token", ("token", "lock"), system=MESSAGING)
    named = _names(settings.text("DYNAMICS_WEBHOOK_AUDIENCE"))
    return Webhook(
        authority=settings.origin("AZURE_AUTHORITY_HOST", system=MESSAGING, default=PUBLIC_AUTHORITY, has_slash=True),
        tenant=tenant.lower(),
        app_id=app_id.lower(),
        audiences=named or frozenset((app_id.lower(), f"api://{app_id.lower()}")),
        needs_token=checked == "token",
        automated_senders=_names(settings.text("DYNAMICS_AUTOMATED_SENDERS")),
    )


def availability(settings: Settings) -> str:
    """DYNAMICS_AVAILABILITY: `OFF`, `SAY` or `INCIDENT`."""
    return settings.choice("DYNAMICS_AVAILABILITY", OFF, (OFF, SAY, INCIDENT), system=MESSAGING)


def lock(secrets: Secrets, *, is_refused: bool = False) -> str:
    """The unguessable part of the webhook's path; ``is_refused``: the known one is not what a caller has.

    Raises:
        ConfigurationFault, TransientFailure: as `Secrets.get`.
    """
    return secrets.get("DYNAMICS_WEBHOOK_LOCK", system=MESSAGING, is_refused=is_refused)


def lock_is_strong(text: str) -> bool:
    """Whether a lock can stand in a path as it is, and is too long to be guessed."""
    return len(text) >= LEAST_LOCK_CHARACTERS and _LOCK_FORM.fullmatch(text) is not None


def derived_resource(*, organization_id: str, environment: str) -> str:
    """What tokens are for: ``https://<organization without dashes>-c.<zone>.dynamics.com``.

    Fact: Microsoft's page on configuring a custom messaging channel; the zone is what follows the first dot of the
    environment's host.

    Raises:
        ConfigurationFault: the environment's host has no zone, such as localhost.
    """
    host = environment.partition("://")[2].partition(":")[0]
    zone = host.partition(".")[2]
    if not zone:
        raise ConfigurationFault(
            "The scope of the Messaging APIs cannot be derived from DYNAMICS_ENVIRONMENT_URL.",
            code="setting_missing",
            system=MESSAGING,
            fix="Set DYNAMICS_MESSAGING_SCOPE to "
            "https://<organization id without dashes>-c.<zone>.dynamics.com/.default.",
        )
    return f"https://{organization_id.replace('-', '')}-c.{zone}"


def _channels(settings: Settings) -> dict[str, str]:
    fix = "Set it to the GUID of the row msdyn_occustommessagingchannel, or to JSON, channel to GUID."
    value = settings.required("DYNAMICS_MESSAGING_CHANNEL_ID", system=MESSAGING, fix=fix)
    is_map = value.startswith("{")
    given = settings.json_object("DYNAMICS_MESSAGING_CHANNEL_ID", system=MESSAGING) if is_map else {DEFAULT: value}
    try:
        return {key.strip().lower(): str(uuid.UUID(str(each))) for key, each in given.items()}
    except ValueError:
        message = "Setting DYNAMICS_MESSAGING_CHANNEL_ID holds something that is not a GUID."
        raise ConfigurationFault(message, code="setting_malformed", system=MESSAGING, fix=fix) from None


def _resource(settings: Settings) -> str | None:
    value = settings.text("DYNAMICS_MESSAGING_SCOPE")
    if value is None:
        return None
    if not value.endswith(_SUFFIX) or not value.startswith("https://"):
        fix = "Set it to https://<organization id without dashes>-c.<zone>.dynamics.com/.default, or remove it."
        message = "Setting DYNAMICS_MESSAGING_SCOPE is no scope."
        raise ConfigurationFault(message, code="setting_malformed", system=MESSAGING, fix=fix)
    return value.removesuffix(_SUFFIX)


def _names(value: str | None) -> frozenset[str]:
    return frozenset(part.strip().lower() for part in (value or "").split(",") if part.strip())
