"""Is there an engine for an account, and does it run? Told by its row: no process is asked."""

from datetime import timedelta

from execution.models import EngineLease

SILENT_AFTER = timedelta(seconds=10)


def readiness_of(state: str | None, cause: str | None, beat_age_s: float | None) -> tuple[bool, str]:
    """(ready, cause in words) as a gate shows it, of what the account's lease says; None where there is no lease."""
    if state is None or beat_age_s is None:
        return False, "has not started"
    if beat_age_s > SILENT_AFTER.total_seconds():
        return False, "is silent"
    if state != EngineLease.State.RUNNING:
        return False, f"is {state.lower()}{f': {cause}' if cause else ''}"
    return True, "is running"
