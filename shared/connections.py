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
    rows = [*_settings(app), *_ledger(app), *_dynamics(app), *_opencx(app)]
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
            if fault.code == "target_not_available":
                yield Check("settings.routes", "failed", f"HANDOFF_ROUTES sends {channel} to {target}.", fault.fix)


def _ledger(app: Application) -> Iterator[Check]:
    try:
        states = [app.ledger.read_system("dynamics365")]
    except HandoffError as error:
        fix = "Check TABLES_ENDPOINT or AzureWebJobsStorage, and the role Storage Table Data Contributor."
        yield Check("table_storage", "failed", f"{error.message} ({error.code})", fix)
        return
    yield passed("table_storage", "The table answers.")
    for state in states:
        if state.closed and state.error:
            message = f"Paused ({state.reason}): {state.error.message}"
            yield Check(f"{state.system}.gate", "warning", message, state.error.fix or "It opens by itself.")


def _dynamics(app: Application) -> Iterator[Check]:
    from shared.dataverse import settings  # noqa: PLC0415 - see shared.app
    from shared.dataverse.checks import DynamicsChecks  # noqa: PLC0415

    checks = DynamicsChecks(
        lambda: app.dataverse,
        defaults=lambda: settings.defaults(app.settings),
        live_work_items=lambda: settings.live_work_items(app.settings),
        deadline=app.clock.monotonic() + BUDGET_SECONDS,
    )
    yield from checks.run()
    for notice in app.settings.notices:
        yield warned("settings", notice.message, "Correct the setting.")


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
