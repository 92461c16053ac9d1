"""The rows of ``GET /api/connections`` about chats through the Messaging APIs."""

import pytest

from sandbox.faults import Fault
from shared.check import Check
from shared.config.secrets import Secrets
from shared.dynamics_messaging import settings as settings_of
from shared.dynamics_messaging.checks import MessagingChecks
from shared.dynamics_messaging.keys import SigningKeys
from tests.dynamics_messaging.organisation import Organisation


def checked(org: Organisation, **more: str) -> dict[str, Check]:
    """All rows by name."""
    settings = org.settings(**more)
    secrets = Secrets(settings, clock=org.clock)
    checks = MessagingChecks(
        lambda: org.worker(**more).client,
        settings=lambda: settings_of.messaging(settings),
        webhook=lambda: settings_of.webhook(settings),
        keys=lambda wanted: SigningKeys(
            authority=wanted.authority, tenant=wanted.tenant, monotonic=org.clock.monotonic
        ),
        lock=lambda: settings_of.lock(secrets),
        deadline=org.deadline,
    )
    return {row.name.removeprefix("dynamics365.messaging."): row for row in checks.run()}


def test_all_is_well(org: Organisation) -> None:
    """Settings, token, channel row, lock and Entra's keys."""
    rows = checked(org)
    assert list(rows) == ["settings", "token", "channel.default", "webhook_lock", "webhook_token"]
    assert {row.status for row in rows.values()} == {"ok"}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"DYNAMICS_MESSAGING_URL": ""}, "settings"),
        ({"DYNAMICS_MESSAGING_CHANNEL_ID": "0a9b1c2d-0000-4000-8000-0000000000aa"}, "channel.default"),
        ({"DYNAMICS_MESSAGING_SCOPE": "https://org.crm.dynamics.com/.default"}, "channel.default"),
        ({"DYNAMICS_WEBHOOK_LOCK": ""}, "webhook_lock"),
        ({"DYNAMICS_WEBHOOK_LOCK": "short"}, "webhook_lock"),
        ({"DYNAMICS_TENANT_ID": "0badc0de-0000-4000-8000-000000000009"}, "webhook_token"),
    ],
)
def test_what_is_wrong_has_a_row_with_the_fix(org: Organisation, settings: dict[str, str], name: str) -> None:
    """One row fails, and says what to do; it holds no secret."""
    rows = checked(org, **settings)
    failed = [key for key, row in rows.items() if row.status == "failed"]
    assert failed == [name]
    assert rows[name].fix
    assert "short" not in f"{rows[name].message} {rows[name].fix}".replace("too short", "")


def test_a_webhook_that_needs_no_token_is_warned_of(org: Organisation) -> None:
    """It works, but whoever knows the lock may write to customers."""
    assert checked(org, DYNAMICS_WEBHOOK_AUTH="lock")["webhook_token"].status == "warning"


def test_an_outage_is_a_row_too(org: Organisation) -> None:
    """Nothing is raised to the route."""
    org.server.faults.add(Fault(status=503, times=0))
    org.entra.faults.add(Fault(drop="before", times=0))
    rows = checked(org)
    assert (rows["channel.default"].status, rows["webhook_token"].status) == ("failed", "failed")
