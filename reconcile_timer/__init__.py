"""The timer: retries what is due. It holds no rule; see `shared.handoff.reconciler`."""

import os

import azure.functions as func

from shared.app import application

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.timer_trigger(
    # The host refuses a schedule that names a setting which is not there.
    schedule="%RECONCILE_SCHEDULE%" if os.environ.get("RECONCILE_SCHEDULE", "").strip() else "0 * * * * *",
    arg_name="timer",
    run_on_startup=False,
    use_monitor=True,
)
def reconcile(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the platform passes it
    """Go on with every handoff that is due."""
    application().reconciler.run()
