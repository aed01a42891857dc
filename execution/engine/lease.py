"""One engine speaks for an account at a time. Its token only grows, so that an engine that lost the lease while it
slept finds its claims refused by the database.

Two processes compare, so the database's clock decides: the claim asks it too. A machine whose clock is stepped neither
loses a lease nor takes one that is held.
"""

import os
import socket
from datetime import timedelta
from pathlib import Path

from django.db.models import F, Q
from django.db.models.functions import Now

from execution.models import EngineLease
from trading.build import build_id

TTL = timedelta(seconds=6)
State = EngineLease.State


def this_process() -> str:
    """The holder that this process is: its host and this boot of it, the namespace of its pid, and the pid."""
    return f"{_here()}:{os.getpid()}"


def _here() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:  # no Linux: nothing can be said of a holder, and its lease runs out by itself
        return f"{socket.gethostname()[:40]}:?"
    return f"{socket.gethostname()[:40]}:{boot}-{namespace}"


def _has_died(holder: str) -> bool:
    """Certain only of a process of this very machine; of any other, time must tell."""
    where, _, pid = holder.rpartition(":")
    return where == _here() and not where.endswith("?") and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def acquire(account_id: int, holder: str) -> int | None:
    """The fencing token of a fresh lease, or None while somebody else holds it.

    The lease of a process that was killed on this machine is taken at once: open trades need not wait for its end.
    """
    lease, _ = EngineLease.objects.get_or_create(account_id=account_id)
    free = Q(expires_at=None) | Q(expires_at__lt=Now()) | Q(holder=holder)
    if _has_died(lease.holder):
        free |= Q(holder=lease.holder)
    taken = EngineLease.objects.filter(free, account_id=account_id).update(
        holder=holder, token=F("token") + 1, expires_at=Now() + TTL, beat_at=Now(), state=State.PREFLIGHT, cause="",
        streams={}, build=build_id(),
    )  # fmt: skip
    return EngineLease.objects.get(account_id=account_id).token if taken else None


def renew(account_id: int, token: int) -> bool:
    """Hold on to it for another while. False: it is lost, and this engine must stop."""
    return bool(
        EngineLease.objects.filter(account_id=account_id, token=token).update(expires_at=Now() + TTL, beat_at=Now())
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
