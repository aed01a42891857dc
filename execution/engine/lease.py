"""One engine speaks for an account at a time. Its token only grows, so that an engine that lost the lease while it
slept finds its claims refused by the database."""

from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from execution.models import EngineLease

TTL = timedelta(seconds=6)
State = EngineLease.State


def acquire(account_id: int, holder: str) -> int | None:
    """The fencing token of a fresh lease, or None while somebody else holds it."""
    EngineLease.objects.get_or_create(account_id=account_id)
    wall = timezone.now()
    free = Q(expires_at=None) | Q(expires_at__lt=wall) | Q(holder=holder)
    taken = EngineLease.objects.filter(free, account_id=account_id).update(
        holder=holder, token=F("token") + 1, expires_at=wall + TTL, beat_at=wall, state=State.PREFLIGHT, cause="",
        streams={},
    )  # fmt: skip
    return EngineLease.objects.get(account_id=account_id).token if taken else None


def renew(account_id: int, token: int) -> bool:
    """Hold on to it for another while. False: it is lost, and this engine must stop."""
    wall = timezone.now()
    return bool(
        EngineLease.objects.filter(account_id=account_id, token=token).update(expires_at=wall + TTL, beat_at=wall)
    )


def give_up(account_id: int, token: int) -> None:
    """A clean stop: the next engine need not wait."""
    EngineLease.objects.filter(account_id=account_id, token=token).update(
        expires_at=None, holder="", state=State.STOPPED, cause="", streams={}
    )


def set_state(account_id: int, token: int, state: str, cause: str = "") -> bool:
    """Say how the engine is doing. True when that is news."""
    rows = EngineLease.objects.filter(account_id=account_id, token=token)
    return bool(rows.exclude(state=state, cause=cause[:200]).update(state=state, cause=cause[:200]))
