"""Is there an engine for this account, and does it run? Read from its row: no process is asked."""

from datetime import timedelta

from django.utils import timezone

from execution.models import EngineLease

SILENT_AFTER = timedelta(seconds=10)


def engine_readiness(account_id: int) -> tuple[bool, str]:
    """(ready, cause in words) as a gate shows it."""
    lease = EngineLease.objects.filter(account_id=account_id).first()
    if lease is None or lease.beat_at is None:
        return False, "has not started"
    if timezone.now() - lease.beat_at > SILENT_AFTER:
        return False, "is silent"
    if lease.state != EngineLease.State.RUNNING:
        return False, f"is {lease.state.lower()}{': ' + lease.cause if lease.cause else ''}"
    return True, "is running"
