"""A signal is taken up: it enters, waits, ends a trade or a part of it, or is refused and says why."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.models import Group, QueuedSignal
from execution.services.group_exit import group_exit
from execution.services.part_exit import part_exit
from execution.services.queue_enqueue import end_wait
from execution.services.signal_enter import decide, enter
from execution.services.slot_reserve import slot_room
from strategies.models import Signal
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import TradingError
from trading.domain.orders import Reason, Side
from trading.statements import Select

State = Signal.State
Kind = Signal.Kind
LOCKED = Select(
    Signal, "portfolio__account", "instrument", "deployment__version__contract",
    where="WHERE t.id = %(signal)s::uuid FOR UPDATE OF t",
)  # fmt: skip


@transaction.atomic
def signal_accept(*, signal_id, now: datetime) -> Signal:
    """Decide one signal. Repeats find it decided and change nothing. `now` is venue time.

    The signal is locked, and its fate is stored with all that follows from it: no crash can leave an order whose
    signal says no.
    """
    signal = LOCKED.get({"signal": signal_id})
    if signal.state != State.NEW:
        return signal
    crashpoint("intake.signal_locked")
    if timezone.now() > signal.expires_at:
        age_s = (timezone.now() - signal.created_at).total_seconds()
        return decide(signal, State.EXPIRED, "SIGNAL_AGE", f"Not taken up within {age_s:.0f} s.")
    if signal.kind == Kind.EXIT:
        return _exit(signal)
    if signal.kind == Kind.REDUCE:
        return _reduce(signal)
    if signal.kind == Kind.REVERSE:
        _end_what_it_turns(signal)
    return enter(signal, now=now)


def _exit(signal: Signal) -> Signal:
    """The whole trade ends, with whatever waits for it."""
    ended = _forget_queued(signal, _closes(signal), "An exit came before its turn.")
    for group in _live(signal, _closes(signal)):
        ended += group_exit(group_id=group.pk, reason=Reason.RULE, actor=signal.origin or "hook") or bool(
            group.close_reason
        )
    if not ended:
        return decide(signal, State.REFUSED, "NOTHING_TO_CLOSE", "No such trade is live or waits.")
    return decide(signal, State.ACCEPTED, "", "")


def _reduce(signal: Signal) -> Signal:
    if not signal.quantity:
        return decide(signal, State.REFUSED, "QUANTITY", "A reduction says by how much.")
    for group in _live(signal, _closes(signal)):
        try:
            part_exit(
                group_id=group.pk, key=f"signal:{signal.pk}", quantity=signal.quantity, reason=Reason.RULE,
                actor=signal.origin or "hook",
            )  # fmt: skip
        except TradingError as error:
            return decide(signal, State.REFUSED, error.code, error.message)
        return decide(signal, State.ACCEPTED, "", "")
    return decide(signal, State.REFUSED, "NOTHING_TO_CLOSE", "No such trade is live.")


def _end_what_it_turns(signal: Signal) -> None:
    """The other side ends; the signal then waits for the instrument to be flat."""
    other = [Side(signal.side).opposite]
    _forget_queued(signal, other, "The opposite side was asked for.")
    for group in _live(signal, other):
        group_exit(group_id=group.pk, reason=Reason.RULE, actor=signal.origin or "hook")


def _closes(signal: Signal) -> list[Side]:
    """The sides that an alert means to close: the one it names, else whichever there is."""
    named = signal.features.get("closes")
    return [Side(named)] if named in (Side.BUY, Side.SELL) else list(Side)


def _live(signal: Signal, sides: list[Side]) -> list[Group]:
    groups = Group.objects.filter(portfolio=signal.portfolio_id, instrument=signal.instrument_id, side__in=sides)
    return list(groups.exclude(state=Group.State.CLOSED).order_by("created_at"))


def _forget_queued(signal: Signal, sides: list[Side], said: str) -> int:
    slot_room(signal.portfolio_id)  # the queue is kept under the pool's lock
    waiting = QueuedSignal.objects.select_related("portfolio").filter(
        portfolio=signal.portfolio_id, instrument=signal.instrument_id, side__in=sides, state=QueuedSignal.State.WAITING
    )
    for one in waiting:
        end_wait(one, QueuedSignal.State.REMOVED, said, code="EXIT_ALERT")
    return len(waiting)
