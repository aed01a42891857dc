"""A signal waits: a newer one of its side takes the place of the older, an exit ends the wait."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from execution.engine_settings import settings_of
from execution.models import QueuedSignal
from strategies.models import Signal
from trading.domain.errors import NotAllowed
from trading.domain.orders import Side
from trading.outbox import after_commit
from trading.realtime.publish import publish

State = QueuedSignal.State


def queue_enqueue(*, signal: Signal, cause: str) -> QueuedSignal:
    """Let a locked signal wait under the lock of its pool. NotAllowed (QUEUE_FULL) where no more may.

    The caller stores the signal's state.
    """
    settings, wall = settings_of(signal.portfolio_id), timezone.now()
    waiting = QueuedSignal.objects.select_for_update().filter(portfolio=signal.portfolio_id, state=State.WAITING)
    before = waiting.filter(instrument=signal.instrument_id, side=signal.side).first()
    if before is None and waiting.count() >= settings.queue_size:
        raise NotAllowed("QUEUE_FULL", f"{settings.queue_size} signals wait already.")
    if before is not None:
        end_wait(before, State.REPLACED, "A newer signal took its place.")
    queued = QueuedSignal.objects.create(
        portfolio_id=signal.portfolio_id, instrument_id=signal.instrument_id, side=signal.side, signal=signal,
        entry_price=signal.entry, expected_profit_pct=expected_profit_pct(signal), cause=cause,
        replacement_count=before.replacement_count + 1 if before else 0,
        enqueued_at=before.enqueued_at if before else wall, expires_at=waits_until(signal, cause, wall=wall),
    )  # fmt: skip
    after_commit("engine.queue", account_id=signal.portfolio.account_id, portfolio_id=signal.portfolio_id)
    return queued


def waits_until(signal: Signal, cause: str, *, wall: datetime) -> datetime:
    """How long a signal may wait from now on. What waits for a slot or a flat instrument may as long as the settings
    say; what only we keep waiting, and a contract's entry, which belongs to its bar, for its own time alone."""
    until = wall + timedelta(seconds=settings_of(signal.portfolio_id).queue_ttl_s)
    ours = signal.source == Signal.Source.CONTRACT or cause == QueuedSignal.Cause.ENGINE_NOT_READY
    return min(until, signal.expires_at) if ours else until


def expected_profit_pct(signal: Signal) -> Decimal:
    """What the signal's own target would gain, percent of its entry; 0 without one."""
    if signal.target is None or not signal.entry:
        return Decimal(0)
    gain = (signal.target - signal.entry) * Side(signal.side).sign * 100 / signal.entry
    return max(Decimal(-9999), min(Decimal(9999), gain))


def end_wait(queued: QueuedSignal, state: str, said: str, *, code: str = "") -> None:
    """A wait is over, and its signal with it unless it was promoted. The row is locked, or its pool is."""
    ended = QueuedSignal.objects.filter(pk=queued.pk, state=State.WAITING).update(
        state=state, said=said[:240], rank=None, ended_at=timezone.now()
    )
    if not ended:
        return
    if state != State.PROMOTED:
        over = Signal.State.EXPIRED if state == State.EXPIRED else Signal.State.REFUSED
        Signal.objects.filter(pk=queued.signal_id, state=Signal.State.QUEUED).update(
            state=over, refusal_code=(code or f"QUEUE_{state}")[:40], refusal=said[:240]
        )
    publish(queued.portfolio.owner_id, "signal", signal=str(queued.signal_id), state=state)
