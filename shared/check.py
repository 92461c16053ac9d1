"""One row of ``GET /api/connections``: what was tested, what came of it, and what to do."""

from dataclasses import dataclass

from shared.errors import ConfigurationFault, HandoffError


@dataclass(frozen=True)
class Check:
    """One row. ``status`` is ok, warning, failed or skipped; ``fix`` says what to do."""

    name: str
    status: str
    message: str
    fix: str | None = None


def passed(name: str, message: str) -> Check:
    """A check that passed."""
    return Check(name, "ok", message)


def skipped(name: str, message: str) -> Check:
    """A check that does not apply, or cannot be made."""
    return Check(name, "skipped", message)


def warned(name: str, message: str, fix: str) -> Check:
    """Handoffs land, but not as the settings ask."""
    return Check(name, "warning", message, fix)


def failed(name: str, error: HandoffError) -> Check:
    """A check that ended with an error of ours."""
    fix = error.fix if isinstance(error, ConfigurationFault) else "Try again; if it stays, see docs/errors.md."
    return Check(name, "failed", f"{error.message} ({error.code})", fix)
