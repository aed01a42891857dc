"""Is there an engine for an account, and does it run? Told by its row: no process is asked."""

from datetime import timedelta

from execution.models import EngineLease
from trading.build import build_id

SILENT_AFTER = timedelta(seconds=10)


def readiness_of(
    state: str | None, cause: str | None, beat_age_s: float | None, build: str | None
) -> tuple[bool, str]:  # fmt: skip
    """(ready, cause in words) as a gate shows it, of what the account's lease says; None where there is no lease.

    Whoever asks judges by the code it runs itself: an engine of another build is not ready for it.
    """
    if state is None or beat_age_s is None:
        return False, "has not started"
    if beat_age_s > SILENT_AFTER.total_seconds():
        return False, "is silent"
    if state != EngineLease.State.RUNNING:
        return False, f"is {state.lower()}{f': {cause}' if cause else ''}"
    if build and build != build_id():
        return False, f"runs another build ({build[:8]}) than this process ({build_id()[:8]}): restart what is older"
    return True, "is running"
