"""A slot is free, or an instrument flat: who is next, and why."""

from datetime import datetime

from django.db import transaction

from execution.models import QueuedSignal
from execution.services.signal_enter import enter, has_slot
from execution.services.signal_round import Round
from execution.services.slot_reserve import slot_room
from strategies.models import Signal
from strategies.tactics.ranking import Candidate, ranked
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Side
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish

State = QueuedSignal.State
Cause = QueuedSignal.Cause
IN_VAIN = {
    Cause.POOL_FULL: "No slot came free while it could wait.",
    Cause.NOT_FLAT: "The other trade in it did not end while it could wait.",
    Cause.METADATA_STALE: "Tick and lot of its instrument did not become known while it could wait.",
    Cause.ENGINE_NOT_READY: "The engine did not get ready while it could wait.",
}
"""What a wait that came to nothing was for."""


def queue_promote(*, portfolio_id: int, now: datetime) -> int:
    """Let in whoever may go, best first; end the waits whose time is over. Returns how many were let in.

    Each in a transaction of its own, under the lock of the pool: what is killed between two goes on with the next.
    """
    promoted = 0
    while _promote_one(portfolio_id, now):
        promoted += 1
    return promoted


@transaction.atomic
def _promote_one(portfolio_id: int, now: datetime) -> bool:
    """One round: up to the first that is let in. Those that risk refuses make way for the next. True when one was."""
    slot_room(portfolio_id)
    portfolio = Portfolio.objects.select_related("account").get(pk=portfolio_id)
    waiting = list(
        QueuedSignal.objects.select_for_update(of=("self",)).filter(portfolio=portfolio_id, state=State.WAITING)
        .select_related("portfolio", "instrument", "signal__instrument", "signal__deployment__version__contract")
    )  # fmt: skip
    round_ = Round(portfolio, {one.instrument_id for one in waiting})
    for one in [one for one in waiting if one.expires_at <= round_.wall]:
        round_.end(one, State.EXPIRED, IN_VAIN[Cause(one.cause)])
        waiting.remove(one)
    promoted = bool(waiting) and round_.ready and _let_one_in(round_, waiting, now)
    round_.write()
    if promoted:
        crashpoint("pool.promoted")
    return promoted


def _let_one_in(round_: Round, waiting: list[QueuedSignal], now: datetime) -> bool:
    for one in _rank(round_, waiting):
        unseen = one.cause == Cause.ENGINE_NOT_READY  # nobody has told yet what else it waits for
        cause = "" if unseen else _waits_for(one, round_, now)
        if cause:
            round_.wait_for(one, cause)
            continue
        signal = Signal.objects.select_for_update(of=("self",)).get(pk=one.signal_id)
        signal.portfolio, signal.instrument, signal.deployment = round_.portfolio, one.instrument, one.signal.deployment
        how = "Forced" if one.over_limit else "Let"
        said = f"{how} in by {one.force_by}." if one.force_by else f"Its turn: {one.rank_reason}."
        crashpoint("pool.promoting")
        decided = enter(round_, signal, now=now, queued=one)
        if decided.state == Signal.State.ACCEPTED:
            round_.end(one, State.PROMOTED, said)
            return True
        if decided.state != Signal.State.QUEUED:  # else it has to wait after all; the others may go
            round_.end(one, State.REFUSED, decided.refusal)
    return False


def _waits_for(one: QueuedSignal, round_: Round, now: datetime) -> str:
    """The cause for which a signal cannot go now; "" where it may."""
    if round_.metadata_is_stale(one.instrument, now):
        round_.ask_for_masters()
        return Cause.METADATA_STALE
    live = round_.live(one.instrument_id)
    hook = one.signal.source == Signal.Source.HOOK
    if any(group.side != one.side or group.close_reason or not hook for group in live):
        return Cause.NOT_FLAT
    return "" if live or has_slot(round_.room, one) else Cause.POOL_FULL


def _adds_to_a_trade(one: QueuedSignal, round_: Round) -> bool:
    """Whether it would be a pyramid. A contract's signal is a trade of its own: it waits for the end of another."""
    live = round_.live(one.instrument_id)
    mine = one.signal.source == Signal.Source.HOOK and bool(live)
    return mine and all(group.side == one.side and not group.close_reason for group in live)


def _rank(round_: Round, waiting: list[QueuedSignal]) -> list[QueuedSignal]:
    """Forced ones first, then by the rules; each row keeps its rank and the reason, for people to see."""
    portfolio, rules = round_.portfolio, round_.settings.ranking
    quotes = last_quotes(portfolio.account.feed, {one.instrument.symbol for one in waiting})
    by_name = {one.pk: one for one in waiting}
    candidates = []
    for one in waiting:
        quote = quotes.get(one.instrument.symbol)
        loss = None
        if quote is not None and one.entry_price:
            loss = float((one.entry_price - quote.last_price) * Side(one.side).sign * 100 / one.entry_price)
        candidates.append(
            Candidate(
                one.pk, _adds_to_a_trade(one, round_), loss, one.replacement_count, float(one.expected_profit_pct),
                one.enqueued_at,
            )
        )  # fmt: skip
    found = ranked(candidates, rules)
    moved = False
    for place in found:
        one = by_name[place.candidate.name]
        if (one.rank, one.rank_reason) != (place.rank, place.reason):
            moved = True
            one.rank, one.rank_reason = place.rank, place.reason
            one.save(update_fields=["rank", "rank_reason"])
    if moved:
        publish(portfolio.owner_id, "signal", portfolio=portfolio.pk, queue=len(waiting))
    order = [by_name[place.candidate.name] for place in found]
    return sorted(order, key=lambda one: not one.force_by)
