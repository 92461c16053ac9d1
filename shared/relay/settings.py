"""The settings of the relay."""

from datetime import timedelta

from shared.config.settings import Settings
from shared.relay.carrier import Options


def options(settings: Settings) -> Options:
    """How the relay behaves; a setting that is out of range counts as its default, with a notice."""
    return Options(
        relays_automated=settings.flag("RELAY_AUTOMATED_MESSAGES", default=False),
        closes_session=settings.flag("RELAY_CLOSE_SESSION", default=True),
        ends_conversation=settings.flag("RELAY_END_CONVERSATION", default=True),
        contact_poll=timedelta(seconds=settings.number("OPENCX_POLL_SECONDS", 300, least=5, most=86_400)),
    )
