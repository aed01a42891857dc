"""A signal that wants in: a slot and a trade, a pyramid of the trade that lives, or a place in the queue."""

from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.deployment_works import work_of
from execution.models import EngineSettings, Group, Intent, LadderPlan, ParentOrder, QueuedSignal
from execution.services.group_state import move_group
from execution.services.intent_create import intent_create
from execution.services.intent_judge import Wish
from execution.services.leg_send import leg_send
from execution.services.parent_ask import Ask, parent_ask
from execution.services.pyramid_add import pyramid_add, pyramid_plan, pyramids_in
from execution.services.signal_round import Round
from execution.services.slot_reserve import Room
from risk.assess import RefusedIntent
from risk.drawdown import DrawdownStep, tightened_stop
from risk.sizing import percent_equity
from risk.snapshot import Standing
from strategies.models import Deployment, Signal
from strategies.scanner.scan_bar import VOLATILITY, compile_deployment
from strategies.tactics.ladder import PlannedLeg, plan_legs
from strategies.tactics.sizes import units_wanted
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotAllowed, TradingError
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio
from trading.statements import Select
from trading.venue.sessions import exchange_date

State = Signal.State
# How far beyond its price an entry may reach, so that it trades on a moving market and still has a limit.
ENTRY_REACH = 0.001
LIVE = Select(
    Group, "signal", "ladder",
    where="WHERE t.id = %(group)s AND t.state <> 'CLOSED' AND t.close_reason = '' FOR UPDATE OF t",
)  # fmt: skip


def enter(round_: Round, signal: Signal, *, now: datetime, queued: QueuedSignal | None = None) -> Signal:
    """Decide a locked signal that opens or adds; the round stores its fate with all that follows from it.

    `queued`: where it waited, when its turn has come. While the engine is not ready everything waits.
    """
    try:
        if not round_.ready:
            return round_.wait(signal, QueuedSignal.Cause.ENGINE_NOT_READY)
        if signal.source == Signal.Source.HOOK:
            return _enter_ladder(round_, signal, now=now, queued=queued)
        return _enter_once(round_, signal, now=now, queued=queued)
    except TradingError as error:
        return round_.decide(signal, State.REFUSED, error.code, error.message)


def has_slot(room: Room, queued: QueuedSignal | None) -> bool:
    """Whether a trade may begin: in a slot that is free, in the one a person promised, in one that is made for it."""
    if queued is None or not queued.force_by:
        return room.free > 0
    return queued.over_limit or room.left > 0


# -- a contract's entry: one order ---------------------------------------------------------------------------------


def _enter_once(round_: Round, signal: Signal, *, now: datetime, queued: QueuedSignal | None) -> Signal:
    assert signal.deployment is not None
    portfolio = signal.portfolio
    age_s = (timezone.now() - signal.created_at).total_seconds()
    known = round_.of_a_contract(signal, now)
    if not known.is_at_work:
        return round_.decide(signal, State.REFUSED, "DEPLOYMENT_PAUSED", "Its deployment is paused.")
    full = _over_its_own_limits(signal, now)
    if full is not None:
        return round_.decide(signal, State.REFUSED, *full)
    if not has_slot(round_.room, queued):
        return round_.wait(signal, QueuedSignal.Cause.POOL_FULL)
    side = Side(signal.side)
    tick = signal.instrument.tick_size
    reach = float(signal.entry) * ENTRY_REACH
    # Rounding away from the market would leave the order short of the price it is meant to reach.
    limit = to_tick(float(signal.entry) + side.sign * reach, tick=tick, side=side)
    standing = known.standing
    quantity = wanted_quantity(signal, standing=standing, limit=limit)
    if quantity is None:
        said = "Its size goes by a volatility that is not known."
        return round_.decide(signal, State.REFUSED, "VOLATILITY_UNKNOWN", said)
    if quantity < 1:
        return round_.decide(signal, State.REFUSED, "TOO_SMALL", "The risk budget does not pay for one unit.")
    wish = Wish(
        source=Intent.Source.SIGNAL,
        reason=Reason.ENTRY,
        dedupe_key=f"signal:{signal.pk}",
        actor=str(signal.deployment.version),
        instrument=signal.instrument,
        side=side,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        product=Product(signal.deployment.version.body.get("product", Product.INTRADAY)),
        limit_price=limit,
        stop_price=_protected(signal, standing, limit),
        target_price=signal.target,
        signal=signal,
        signal_age_s=age_s,
        needs_approval=portfolio.approval_mode == Portfolio.ApprovalMode.MANUAL,
        forced_by=queued.force_by if queued else "",  # its slot was looked for above, under the same lock
    )
    worked = _as_a_large_order(round_, signal, wish, now=now)
    if worked is not None:
        refused = worked.state == ParentOrder.State.REFUSED
        return round_.decide(signal, State.REFUSED if refused else State.ACCEPTED, worked.code, worked.said)
    intent = intent_create(portfolio=portfolio, wish=wish, now=now, standing=standing, room=round_.room)
    return _told(round_, signal, intent)


def _told(round_: Round, signal: Signal, intent: Intent) -> Signal:
    if intent.state == Intent.State.REFUSED:
        return round_.decide(signal, State.REFUSED, intent.refusal_code, intent.refusal)
    return round_.decide(signal, State.ACCEPTED)


def _as_a_large_order(round_: Round, signal: Signal, wish: Wish, *, now: datetime) -> ParentOrder | None:
    """The entry let out in children, where it is large enough for the settings and for lots; else None."""
    settings, lot = round_.settings, signal.instrument.lot_size
    work = work_of(signal.deployment_id, settings)
    assert wish.limit_price is not None
    if work.style == EngineSettings.Work.NONE or wish.quantity < 2 * lot:
        return None
    if wish.quantity * wish.limit_price < work.from_rupees:
        return None
    side, tick, furthest = wish.side, signal.instrument.tick_size, wish.limit_price
    if work.style == EngineSettings.Work.TWAP:
        reach = to_tick(signal.entry * (1 + side.sign * settings.chase_reach_pct / 100), tick=tick, side=side)
        furthest = max(furthest, reach) if side is Side.BUY else min(furthest, reach)
    visible = max(lot, int(wish.quantity * work.visible_pct / 100) // lot * lot)
    ask = Ask(
        source=wish.source, dedupe_key=wish.dedupe_key, actor=wish.actor, instrument=wish.instrument, side=side,
        product=wish.product, style=work.style, quantity=wish.quantity, limit_price=furthest,
        stop_price=wish.stop_price, target_price=wish.target_price, minutes=work.minutes,
        slices=min(work.slices, wish.quantity // lot), visible=visible, signal=signal,
        signal_age_s=wish.signal_age_s, needs_approval=wish.needs_approval, forced_by=wish.forced_by,
    )  # fmt: skip
    return parent_ask(portfolio=signal.portfolio, ask=ask, now=now)


def _over_its_own_limits(signal: Signal, now: datetime) -> tuple[str, str] | None:
    """Code and sentence where the contract itself allows no more positions or trades; None: there is room.

    Signals of one deployment are decided one after the other, so that two cannot take the last place.
    """
    limits = compile_deployment(signal.deployment).body.risk  # type: ignore[arg-type]
    if limits.max_positions is None and limits.max_trades_per_day is None:
        return None
    Deployment.objects.select_for_update(of=("self",)).get(pk=signal.deployment.pk)  # type: ignore[union-attr]
    taken = Signal.objects.filter(deployment=signal.deployment_id, state=State.ACCEPTED)
    if limits.max_positions is not None:
        held = Group.objects.filter(signal__in=taken).exclude(state=Group.State.CLOSED).count()
        if held >= limits.max_positions:
            return "CONTRACT_POSITIONS", f"Its contract allows {limits.max_positions} positions, and {held} are open."
    if limits.max_trades_per_day is not None:
        today = datetime.combine(exchange_date(now), time(), tzinfo=IST)
        since = min(today, signal.bar_at or today)  # what a daily bar says is done a day later
        made = taken.filter(bar_at__gte=since).count()
        if made >= limits.max_trades_per_day:
            return "CONTRACT_TRADES", f"Its contract allows {limits.max_trades_per_day} trades a day: {made} were made."
    return None


def _protected(signal: Signal, standing: Standing, limit: Decimal) -> Decimal | None:
    """The stop of the signal; nearer to the entry while the portfolio is on the defensive. The size is that of the
    stop it had: a nearer one is to lose less, not to buy more."""
    if signal.stop is None:
        return None
    side = Side(signal.side)
    stop = tightened_stop(
        DrawdownStep(standing.drawdown[0]), entry=limit, stop=signal.stop,
        share_pct=standing.policy.defensive_stop_pct,
    )  # fmt: skip
    return signal.stop if stop == signal.stop else to_tick(stop, tick=signal.instrument.tick_size, side=side)


def wanted_quantity(signal: Signal, *, standing: Standing, limit: Decimal) -> int | None:
    """Units the contract asks for, in whole lots, before the gates; None where what its size goes by is not known."""
    assert signal.deployment is not None and signal.stop is not None
    units = units_wanted(
        compile_deployment(signal.deployment).body.sizing, equity_paise=standing.equity_paise,
        most_risk_pct=standing.policy.risk_per_trade_pct, entry=limit, stop=signal.stop,
        volatility_pct=signal.features.get(VOLATILITY),
    )  # fmt: skip
    if units is None:
        return None
    units = units * signal.deployment.allocation_pct // 100
    return signal.instrument.spec.whole_lots(units)


# -- a hook's entry: a ladder --------------------------------------------------------------------------------------


def _enter_ladder(round_: Round, signal: Signal, *, now: datetime, queued: QueuedSignal | None) -> Signal:
    instrument, side = signal.instrument, Side(signal.side)
    if not instrument.is_tradable:
        return round_.decide(signal, State.REFUSED, "NOT_TRADABLE", f"{instrument.symbol} cannot be traded.")
    if round_.metadata_is_stale(instrument, now):
        return round_.wait(signal, QueuedSignal.Cause.METADATA_STALE)
    live = round_.live(instrument.pk)
    if any(group.side != side or group.close_reason for group in live):
        return round_.wait(signal, QueuedSignal.Cause.NOT_FLAT)
    if not live and not has_slot(round_.room, queued):
        return round_.wait(signal, QueuedSignal.Cause.POOL_FULL)
    age_s = None if queued else (timezone.now() - signal.created_at).total_seconds()
    entry = _plan(round_, signal, live[0] if live else None, now=now, age_s=age_s)
    said = round_.assess(entry.wish, now)  # before a row is written: most of a flood ends here
    if isinstance(said.verdict, RefusedIntent):
        return round_.refuse(signal, said)
    with transaction.atomic():
        return _told(round_, signal, _begin(entry, signal, standing=round_.standing(instrument, now), now=now))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A pyramid as it would be, and the wish of its first leg. `group`: the trade that it adds to, None for a new."""

    group: Group | None
    index: int
    ladder: LadderPlan
    stop_price: Decimal | None
    legs: tuple[PlannedLeg, ...]
    min_notional: Decimal
    wish: Wish


def _plan(
    round_: Round, signal: Signal, group: Group | None, *, now: datetime, age_s: float | None
) -> _Entry:  # fmt: skip
    """Raises NotAllowed for what cannot be an entry, whatever risk says."""
    settings, instrument, side = round_.settings, signal.instrument, Side(signal.side)
    index = 0
    if group is None:
        ladder = _ladder_of(signal, settings)
        stop, product = _stop_of(signal, ladder), Product(signal.product or Product.INTRADAY)
    else:
        if group.ladder is None:
            raise NotAllowed("ALREADY_POSITIONED", "The trade in it was not begun by a hook.")
        if pyramids_in(group) >= settings.max_pyramids:
            raise NotAllowed("PYRAMIDS_FULL", f"A trade has at most {settings.max_pyramids} pyramids.")
        ladder, stop, product, index = group.ladder, group.stop_price, Product(group.product), group.pyramids.count()
    limit = _edge(signal, side, instrument.tick_size)
    legs = pyramid_plan(
        side=side, instrument=instrument, entry=signal.entry, quantity=_units(round_, signal, limit, now),
        rungs=ladder.rungs_for(index), min_notional=settings.min_notional_rupees,
    )  # fmt: skip
    wish = Wish(
        source=Intent.Source.SIGNAL, reason=Reason.ENTRY, dedupe_key=f"signal:{signal.pk}",
        actor=signal.origin or "hook", instrument=instrument, side=side, quantity=legs[0].quantity,
        order_type=OrderType.LIMIT, product=product, limit_price=limit, stop_price=stop, signal=signal,
        signal_age_s=age_s, group=group, adds=group is not None,
        needs_approval=round_.portfolio.approval_mode == Portfolio.ApprovalMode.MANUAL,
    )  # fmt: skip
    return _Entry(group, index, ladder, stop, legs, settings.min_notional_rupees, wish)


def _begin(entry: _Entry, signal: Signal, *, standing: Standing, now: datetime) -> Intent:
    """Write the trade and its pyramid and ask for the first leg; the others follow with the next step of the trade.

    Its room may be gone since risk was asked: then the trade is over in the same transaction, and its slot free.
    """
    group = entry.group
    if group is None:
        group = Group.objects.create(
            portfolio=signal.portfolio, instrument=signal.instrument, product=entry.wish.product, side=entry.wish.side,
            signal=signal, timeframe=signal.timeframe, ladder=entry.ladder, stop_price=entry.stop_price,
            target_price=signal.target, created_at=timezone.now(),
        )  # fmt: skip
        crashpoint("ladder.group_written")
    else:
        group = _locked(group, signal)
    assert entry.wish.limit_price is not None
    first = pyramid_add(
        group=group, signal=signal, index=entry.index, entry=signal.entry, first_limit=entry.wish.limit_price,
        legs=entry.legs, min_notional=entry.min_notional,
    )  # fmt: skip
    crashpoint("ladder.pyramid_written")
    intent = leg_send(
        leg=first, group=group, actor=entry.wish.actor, now=now, signal_age_s=entry.wish.signal_age_s,
        needs_approval=entry.wish.needs_approval, standing=standing,
    )  # fmt: skip
    if intent is None:
        raise NotAllowed("TOO_SMALL", "Its first leg is no order.")
    if intent.state == Intent.State.REFUSED:
        first.pyramid.legs.filter(blocked_code="").update(blocked_code="PYRAMID_REFUSED", blocked=intent.refusal)
        if entry.group is None:
            move_group(group, Group.State.CLOSED)
            group.failure_code, group.failure = intent.refusal_code, intent.refusal
            group.save(update_fields=["state", "failure_code", "failure"])
    after_commit("engine.group", account_id=signal.portfolio.account_id, group_id=str(group.pk))
    return intent


def _locked(group: Group, signal: Signal) -> Group:
    """The trade that an entry adds to, as it is now. NotAllowed where it has ended, or is about to, in this moment."""
    found = LIVE.rows({"group": group.pk})
    if not found:
        raise NotAllowed("NOT_LIVE", "The trade it would have added to has just ended.")
    locked = found[0]
    locked.portfolio, locked.instrument = signal.portfolio, signal.instrument
    return locked


def _edge(signal: Signal, side: Side, tick: Decimal) -> Decimal:
    """As far as the entry may reach: the alert's own slippage, else what every entry may."""
    share = signal.max_slippage_pct / 100 if signal.max_slippage_pct is not None else Decimal(str(ENTRY_REACH))
    return to_tick(signal.entry * (1 + side.sign * share), tick=tick, side=side)


def _units(round_: Round, signal: Signal, limit: Decimal, now: datetime) -> int:
    if signal.quantity is not None:
        return signal.instrument.spec.whole_lots(signal.quantity)
    equity_paise = round_.standing(signal.instrument, now).equity_paise
    units = percent_equity(equity_paise=equity_paise, share_pct=round_.settings.pyramid_pct, entry=limit)
    return signal.instrument.spec.whole_lots(units)


def _ladder_of(signal: Signal, settings: EngineSettings) -> LadderPlan:
    """The hook's own plan, else that of the settings."""
    if signal.ladder_ref is None:
        return settings.ladder
    plan = LadderPlan.objects.filter(pk=signal.ladder_ref, portfolio__in=[signal.portfolio_id]).first()
    plan = plan or LadderPlan.objects.filter(pk=signal.ladder_ref, portfolio=None).first()
    if plan is None:
        raise NotAllowed("UNKNOWN_LADDER", "The ladder that its hook names does not exist.")
    return plan


def _stop_of(signal: Signal, ladder: LadderPlan) -> Decimal | None:
    """The alert's stop, else beyond the furthest leg of the plan; None where the plan has none."""
    side, tick = Side(signal.side), signal.instrument.tick_size
    if signal.stop is not None:
        return to_tick(signal.stop, tick=tick, side=side)
    if ladder.stop_pct is None:
        return None
    legs = plan_legs(side, signal.entry, 0, ladder.rungs_for(0), tick=tick, lot=1)
    return to_tick(legs[-1].limit_price * (1 - side.sign * ladder.stop_pct / 100), tick=tick, side=side)
