"""``GET /api/connections``: every configured system tested, one row a check, with the fix in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shared.check import Check, failed, passed, skipped, warned
from shared.errors import ConfigurationFault, HandoffError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.app import Application

BUDGET_SECONDS = 40.0


def connections(app: Application) -> dict[str, Any]:
    """All rows, and whether the service is active: no row has failed."""
    rows = [
        *_settings(app),
        *_ledger(app),
        *_queue(app),
        *_dynamics(app),
        *_messaging(app),
        *_salesforce(app),
        *_opencx(app),
        *_webhook(app),
    ]
    active = all(row.status != "failed" for row in rows)
    return {"status": "active" if active else "attention", "checks": [asdict(row) for row in rows]}


def _settings(app: Application) -> Iterator[Check]:
    try:
        routes = app.settings.json_object("HANDOFF_ROUTES", system="handoff")
    except ConfigurationFault as fault:
        yield failed("settings.routes", fault)
        return
    for channel, target in routes.items():
        try:
            app.destination(str(target))
        except ConfigurationFault as fault:
            message = f"HANDOFF_ROUTES sends {channel} to {target}. {fault.message} ({fault.code})"
            yield Check("settings.routes", "failed", message, fault.fix)


def _ledger(app: Application) -> Iterator[Check]:
    try:
        states = [app.ledger.read_system(name) for name in ("dynamics365", "salesforce")]
    except HandoffError as error:
        fix = "Check TABLES_ENDPOINT or AzureWebJobsStorage, and the role Storage Table Data Contributor."
        yield Check("table_storage", "failed", f"{error.message} ({error.code})", fix)
        return
    yield passed("table_storage", "The table answers.")
    for state in states:
        if state.closed and state.error:
            message = f"Paused ({state.reason}): {state.error.message}"
            yield Check(f"{state.system}.gate", "warning", message, state.error.fix or "It opens by itself.")


def _queue(app: Application) -> Iterator[Check]:
    try:
        app.wake.ping()
    except HandoffError as error:
        fix = "Check AzureWebJobsStorage (or its queueServiceUri), and the role Storage Queue Data Contributor."
        yield Check("queue_storage", "failed", f"{error.message} ({error.code})", fix)
        return
    yield passed("queue_storage", "The wake-up queues answer.")


def _dynamics(app: Application) -> Iterator[Check]:
    from shared.dataverse import settings  # noqa: PLC0415 - see shared.app
    from shared.dataverse.checks import DynamicsChecks  # noqa: PLC0415
    from shared.handoff.channel import REST  # noqa: PLC0415

    if app.settings.text("DYNAMICS_ENVIRONMENT_URL") is None and app.routes.get(REST) not in (None, "dynamics365"):
        yield skipped(
            "dynamics365", "DYNAMICS_ENVIRONMENT_URL is not set, and HANDOFF_ROUTES sends the rest elsewhere."
        )
        return
    checks = DynamicsChecks(
        lambda: app.dataverse,
        defaults=lambda: settings.defaults(app.settings),
        live_work_items=lambda: settings.live_work_items(app.settings),
        makes_conversations=app.makes_conversations,
        deadline=app.clock.monotonic() + BUDGET_SECONDS,
    )
    yield from checks.run()
    for notice in app.settings.notices:
        yield warned("settings", notice.message, "Correct the setting.")


def _messaging(app: Application) -> Iterator[Check]:
    from shared.dynamics_messaging.assembly import checks  # noqa: PLC0415 - see shared.app

    name = "dynamics365.messaging"
    if app.settings.text("DYNAMICS_MESSAGING_URL") is None and not app.makes_conversations:
        yield skipped(name, "DYNAMICS_MESSAGING_URL is not set: chats become rows, and replies do not come back.")
        return
    yield from checks(
        app.settings,
        app.secrets,
        client=lambda: app.messaging.client,
        keys=app.key_ring,
        deadline=app.clock.monotonic() + BUDGET_SECONDS,
    ).run()


def _salesforce(app: Application) -> Iterator[Check]:
    from shared.salesforce.checks import SalesforceChecks  # noqa: PLC0415 - see shared.app

    checks = SalesforceChecks(
        app.settings,
        tokens=lambda _: app.salesforce.tokens,
        deadline=app.clock.monotonic() + BUDGET_SECONDS / 2,
    )
    yield from checks.run()


def _webhook(app: Application) -> Iterator[Check]:
    name = "opencx.webhook"
    try:
        if app.secrets.may_have("OPENCX_WEBHOOK_SECRET", system="opencx"):
            app.opencx_events.check()
            yield passed(name, "A signing secret is set: OpenCX's webhooks are taken.")
        else:
            message = "OPENCX_WEBHOOK_SECRET is not set: webhooks are refused, and customers' messages are read slowly."
            yield skipped(name, message)
    except HandoffError as error:
        yield failed(name, error)


def _opencx(app: Application) -> Iterator[Check]:
    name = "opencx"
    try:
        client = app.opencx
        if client is None:
            yield skipped(name, "OPENCX_API_KEY is not set: requests must bring channel and transcript.")
            return
        client.ping(deadline=app.clock.monotonic() + 10)
    except HandoffError as error:
        if error.code == "secret_missing":
            yield skipped(name, "The vault has no opencx-api-key: requests must bring channel and transcript.")
            return
        yield failed(name, error)
        return
    yield passed(name, "OpenCX's API accepts the key.")
