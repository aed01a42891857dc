"""Pause and resume, by a person. A paused engine enters nothing and goes on protecting and closing what is open."""

from django.db import transaction

from execution.models import EngineLease
from trading.audit.record import record
from trading.domain.errors import NotFound
from trading.realtime.publish import publish


def pause(account_id: int, actor: str) -> bool:
    """True when it was not paused before. Takes effect with the next order; survives restarts."""
    return _set(account_id, paused_by=actor, action="engine.paused", actor=actor)


def resume(account_id: int, actor: str) -> bool:
    """True when it was paused. The engine goes through its preflight again."""
    return _set(account_id, paused_by="", action="engine.resumed", actor=actor)


@transaction.atomic
def _set(account_id: int, *, paused_by: str, action: str, actor: str) -> bool:
    lease = EngineLease.objects.select_for_update(of=("self",)).select_related("account").filter(
        account_id=account_id
    ).first()  # fmt: skip
    if lease is None:
        raise NotFound("NO_ENGINE", "No engine has ever run for this account.")
    if bool(lease.paused_by) == bool(paused_by):
        return False
    lease.paused_by = paused_by
    if paused_by and lease.state == EngineLease.State.RUNNING:
        lease.state, lease.cause = EngineLease.State.PAUSED, f"by {actor}"
    lease.save(update_fields=["paused_by", "state", "cause"])
    record(action, actor=actor, owner_id=lease.account.owner_id, subject=str(lease.account))
    publish(lease.account.owner_id, "engine", account=account_id, state=lease.state)
    return True
