"""A hand on the queue: let a signal in before its turn, over the limit where that is said, or end its wait."""

from django.db import transaction

from execution.models import QueuedSignal
from execution.services.signal_round import Round
from execution.services.slot_reserve import Room, slot_room
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.outbox import after_commit
from trading.realtime.publish import publish

State = QueuedSignal.State


@transaction.atomic
def promote(*, queued_id: int, actor: str, force: bool = False) -> bool:
    """Let a waiting signal in next. False when that is asked for already, or it is in.

    Without `force` it is promised a slot that is free, and nobody else is given that one: NotAllowed (POOL_FULL) where
    there is none. With `force` a slot is made for it, and the pool is over its limit until a trade closes. It still
    waits for its instrument to be flat and for what is not known of it, and the gates of risk judge it as any other.
    Conflict (QUEUE_OVER) where its wait ended otherwise.
    """
    queued, room = _locked(queued_id)
    waits = queued.state == State.WAITING
    if queued.state == State.PROMOTED or (waits and queued.force_by and (queued.over_limit or not force)):
        return False
    _refuse_if_over(queued)
    if not force and not room.free:
        promised = f", {room.promised} of them promised" if room.promised else ""
        raise NotAllowed(
            "POOL_FULL", f"All {room.most} slots are taken{promised}.", taken=room.taken, most=room.most,
            next_step="Wait for a trade to close, or force it in over the limit.",
        )  # fmt: skip
    queued.force_by, queued.over_limit = actor[:150], force
    queued.save(update_fields=["force_by", "over_limit"])
    _told(queued, "queue.forced" if force else "queue.promoted", actor)
    return True


@transaction.atomic
def remove(*, queued_id: int, actor: str) -> bool:
    """End the wait of a signal; it is refused with the code QUEUE_REMOVED. False when it was removed before.

    Conflict (QUEUE_OVER) where its wait ended otherwise.
    """
    queued, _ = _locked(queued_id)
    if queued.state == State.REMOVED:
        return False
    _refuse_if_over(queued)
    round_ = Round(queued.portfolio, {queued.instrument_id})
    round_.end(queued, State.REMOVED, f"Removed from the queue by {actor}.")
    round_.write()
    _told(queued, "queue.removed", actor)
    return True


def _locked(queued_id: int) -> tuple[QueuedSignal, Room]:
    """The row under the lock of its pool, as whoever gives slots away takes it, and the room there is."""
    portfolio_id = QueuedSignal.objects.filter(pk=queued_id).values_list("portfolio_id", flat=True).first()
    if portfolio_id is None:
        raise NotFound("QUEUED_NOT_FOUND", "There is no such signal in the queue.")
    room = slot_room(portfolio_id)
    rows = QueuedSignal.objects.select_for_update(of=("self",)).select_related("portfolio", "instrument")
    return rows.get(pk=queued_id), room


def _refuse_if_over(queued: QueuedSignal) -> None:
    if queued.state != State.WAITING:
        said = queued.said or f"Its wait is over: {queued.get_state_display().lower()}."
        raise Conflict("QUEUE_OVER", said, state=queued.state)


def _told(queued: QueuedSignal, what: str, actor: str) -> None:
    portfolio = queued.portfolio
    record(
        what, actor=actor, owner_id=portfolio.owner_id, subject=f"{queued.side} {queued.instrument}"[:120],
        queued=queued.pk, signal=str(queued.signal_id), portfolio=portfolio.pk,
    )  # fmt: skip
    after_commit("engine.queue", account_id=portfolio.account_id, portfolio_id=portfolio.pk)
    publish(portfolio.owner_id, "signal", signal=str(queued.signal_id), queue=queued.pk)
