"""A slot is free, or an instrument flat: who is next, and why."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.engine_settings import settings_of
from execution.models import Group, QueuedSignal
from execution.outstanding import engine_ready
from execution.services.queue_enqueue import end_wait
from execution.services.signal_enter import enter, has_slot, metadata_is_stale
from execution.services.slot_reserve import Room, slot_room
from strategies.models import Signal
from strategies.tactics.ranking import Candidate, ranked
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Side
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish

State = QueuedSignal.State


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
    """True while another look is worth it."""
    room = slot_room(portfolio_id)
    portfolio = Portfolio.objects.select_related("account").get(pk=portfolio_id)
    ready, _ = engine_ready(portfolio.account_id)
    waiting = list(
        QueuedSignal.objects.select_for_update(of=("self",)).filter(portfolio=portfolio_id, state=State.WAITING)
        .select_related("portfolio", "instrument", "signal__portfolio__account", "signal__instrument",
                        "signal__deployment__version__contract")
    )  # fmt: skip
    wall = timezone.now()
    for one in [one for one in waiting if one.expires_at <= wall]:
        end_wait(one, State.EXPIRED, "Nothing came free while it could wait.")
        waiting.remove(one)
    if not waiting or not ready:
        return False
    live = {
        (group.instrument_id, group.side): group
        for group in Group.objects.filter(portfolio=portfolio_id).exclude(state=Group.State.CLOSED)
    }
    order = _rank(portfolio, waiting, live)
    for one in order:
        unseen = one.cause == QueuedSignal.Cause.ENGINE_NOT_READY  # nobody has told yet what else it waits for
        if not unseen and not _may_go(one, live, room, now):
            continue
        signal = Signal.objects.select_for_update(of=("self",)).get(pk=one.signal_id)
        signal.portfolio, signal.instrument, signal.deployment = portfolio, one.instrument, one.signal.deployment
        how = "Forced" if one.over_limit else "Let"
        said = f"{how} in by {one.force_by}." if one.force_by else f"Its turn: {one.rank_reason}."
        crashpoint("pool.promoting")
        decided = enter(signal, now=now, queued=one)
        if decided.state == Signal.State.QUEUED:
            continue  # it has to wait after all; the others may go
        let_in = decided.state == Signal.State.ACCEPTED
        end_wait(one, State.PROMOTED if let_in else State.REFUSED, said if let_in else decided.refusal)
        crashpoint("pool.promoted")
        return True
    return False


def _may_go(one: QueuedSignal, live: dict[tuple[int, str], Group], room: Room, now: datetime) -> bool:
    mine = live.get((one.instrument_id, one.side))
    other = live.get((one.instrument_id, Side(one.side).opposite.value))
    if metadata_is_stale(one.portfolio, one.instrument, now):
        return False
    if other is not None or (mine is not None and (mine.close_reason or one.signal.source != Signal.Source.HOOK)):
        return False
    return mine is not None or has_slot(room, one)


def _rank(
    portfolio: Portfolio, waiting: list[QueuedSignal], live: dict[tuple[int, str], Group]
) -> list[QueuedSignal]:  # fmt: skip
    """Forced ones first, then by the rules; each row keeps its rank and the reason, for people to see."""
    rules = settings_of(portfolio.pk).ranking
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
                one.pk, (one.instrument_id, one.side) in live, loss, one.replacement_count,
                float(one.expected_profit_pct), one.enqueued_at,
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
