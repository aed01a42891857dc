"""Signals are taken up: each enters, waits, ends a trade or a part of it, or is refused and says why."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from execution.models import Group, QueuedSignal
from execution.services.group_exit import group_exit
from execution.services.part_exit import part_exit
from execution.services.signal_enter import enter
from execution.services.signal_round import Round
from strategies.models import Signal
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import TradingError
from trading.domain.orders import Reason, Side
from trading.statements import Select, together

State = Signal.State
Kind = Signal.Kind
MOST = 100
"""Signals of one round: what it holds locked is given back after some hundredths of a second."""

RELATED = ("portfolio__account", "instrument", "deployment__version__contract")
LOCKED = Select(Signal, *RELATED, where="WHERE t.id = %(signal)s::uuid FOR UPDATE OF t")
OLDEST = Select(
    Signal, *RELATED, where="WHERE t.state = 'NEW' AND t_portfolio.account_id = %(account)s"
    " ORDER BY t.created_at, t.id LIMIT %(most)s FOR UPDATE OF t",
)  # fmt: skip


@transaction.atomic
def signals_accept(*, account_id: int, now: datetime) -> int:
    """Decide what has come in for an account, oldest first, up to the first signal that asks something of the market:
    what it asks goes out with this commit. Returns how many were decided; more may wait. `now` is venue time.

    In the order in which they came, whoever rings: an exit that were decided before its entry would find nothing to
    close. What all of them see is read once, and their fates are written together with all that follows from them: no
    crash can leave an order whose signal says no.
    """
    with together():  # the transaction begins on the same way
        oldest = OLDEST.ask({"account": account_id, "most": MOST})
    new = oldest()
    if not new:
        return 0
    of_one = [one for one in new if one.portfolio_id == new[0].portfolio_id]
    return _decide(of_one, now)


@transaction.atomic
def signal_accept(*, signal_id: UUID | str, now: datetime, undecided: Sequence[UUID] = ()) -> Signal:
    """Decide one signal. Repeats find it decided and change nothing.

    `undecided`: signals that came before it and could not be decided. An exit ends the entries among them: tried again
    later, they would open what has been told to end.
    """
    signal = LOCKED.get({"signal": signal_id})
    if signal.state == State.NEW:
        if undecided and signal.kind in (Kind.EXIT, Kind.REVERSE):
            _overtake(signal, undecided)
        _decide([signal], now)
    return signal


def _overtake(signal: Signal, undecided: Sequence[UUID]) -> None:
    sides = _closes(signal) if signal.kind == Kind.EXIT else [Side(signal.side).opposite]
    Signal.objects.filter(
        pk__in=undecided,
        state=State.NEW,
        kind__in=(Kind.ENTRY, Kind.REVERSE),
        portfolio=signal.portfolio_id,
        instrument=signal.instrument_id,
        side__in=sides,
    ).update(state=State.REFUSED, refusal_code="EXIT_ALERT", refusal="An exit came before it could be decided.")


def _decide(signals: Sequence[Signal], now: datetime) -> int:
    """One round about locked signals of a portfolio; returns how many of them it decided."""
    crashpoint("intake.signal_locked")
    round_ = Round(signals[0].portfolio, {one.instrument_id for one in signals}, signals[0], now)
    decided = 0
    for signal in signals:
        signal.portfolio = round_.portfolio
        decided += 1
        if _judge(round_, signal, now):
            break
    round_.write()
    return decided


def _judge(round_: Round, signal: Signal, now: datetime) -> bool:
    """True when it asked something of the market."""
    if timezone.now() > signal.expires_at:
        age_s = (timezone.now() - signal.created_at).total_seconds()
        round_.decide(signal, State.EXPIRED, "SIGNAL_AGE", f"Not taken up within {age_s:.0f} s.")
        return False
    if signal.kind == Kind.EXIT:
        return _exit(round_, signal)
    if signal.kind == Kind.REDUCE:
        return _reduce(round_, signal)
    turned = signal.kind == Kind.REVERSE and _end_what_it_turns(round_, signal)
    return enter(round_, signal, now=now).state == State.ACCEPTED or turned


def _exit(round_: Round, signal: Signal) -> bool:
    """The whole trade ends, with whatever waits for it."""
    sides = _closes(signal)
    forgotten = _forget_queued(round_, signal, sides, "An exit came before its turn.")
    groups = round_.live(signal.instrument_id, sides)
    asked = sum(_end(group, signal) for group in groups)
    if not forgotten and not any(group.close_reason for group in groups):
        round_.decide(signal, State.REFUSED, "NOTHING_TO_CLOSE", "No such trade is live or waits.")
    else:
        round_.decide(signal, State.ACCEPTED)
    return bool(asked)


def _end(group: Group, signal: Signal) -> bool:
    """True when its end is newly asked for."""
    if group.close_reason:
        return False
    if not group_exit(group_id=group.pk, reason=Reason.RULE, actor=signal.origin or "hook"):
        group.refresh_from_db(fields=["state", "close_reason"])  # somebody was faster, or it has just closed
        return False
    group.close_reason = Reason.RULE
    return True


def _reduce(round_: Round, signal: Signal) -> bool:
    if not signal.quantity:
        round_.decide(signal, State.REFUSED, "QUANTITY", "A reduction says by how much.")
        return False
    for group in round_.live(signal.instrument_id, _closes(signal)):
        try:
            part_exit(
                group_id=group.pk, key=f"signal:{signal.pk}", quantity=signal.quantity, reason=Reason.RULE,
                actor=signal.origin or "hook",
            )  # fmt: skip
        except TradingError as error:
            round_.decide(signal, State.REFUSED, error.code, error.message)
            return False
        round_.decide(signal, State.ACCEPTED)
        return True
    round_.decide(signal, State.REFUSED, "NOTHING_TO_CLOSE", "No such trade is live.")
    return False


def _end_what_it_turns(round_: Round, signal: Signal) -> bool:
    """The other side ends; the signal then waits for the instrument to be flat."""
    other = [Side(signal.side).opposite]
    _forget_queued(round_, signal, other, "The opposite side was asked for.")
    return bool(sum(_end(group, signal) for group in round_.live(signal.instrument_id, other)))


def _closes(signal: Signal) -> list[Side]:
    """The sides that an alert means to close: the one it names, else whichever there is."""
    named = signal.features.get("closes")
    return [Side(named)] if named in (Side.BUY, Side.SELL) else list(Side)


def _forget_queued(round_: Round, signal: Signal, sides: list[Side], said: str) -> int:
    waiting = [one for side in sides if (one := round_.waiting.get((signal.instrument_id, str(side))))]
    for one in waiting:
        round_.end(one, QueuedSignal.State.REMOVED, said, code="EXIT_ALERT")
    return len(waiting)
