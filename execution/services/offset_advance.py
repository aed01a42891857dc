"""The next step of a plan in which winners pay for a loser. Looks at the rows, does one thing, and may be killed and
repeated at any line.

Winners first: their parts are asked for under keys of the plan, so that asking again finds what was asked. When what
they brought is booked, and only then, the loser's end is asked for. What was sold is never bought back: a plan that
cannot go on is abandoned, says why, and leaves the loser as it is; when something was sold for it, winners are not sold
for the same loser again before a person has looked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from execution.engine_settings import settings_of
from execution.kill_scopes import keys_of
from execution.models import EngineSettings, Fill, Group, OffsetLine, OffsetMark, OffsetPlan, Order, PartExit
from execution.offset_facts import FRESH_S, rules_of, trades_of
from execution.services.group_exit import group_exit
from execution.services.part_exit import part_exit
from execution.services.part_withdraw import part_withdraw
from execution.states import OFFSET_MOVES
from risk.kill_switch import kill_state
from risk.models import TradingState
from strategies.tactics.offsets import HeldTrade, edge_of_band, slippage_pct
from trading.audit.record import record
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotAllowed
from trading.domain.formatting import rupees
from trading.domain.money import to_paise
from trading.domain.orders import Reason, Side
from trading.marketdata.quotes import last_quote
from trading.monitoring.alerts import Level, raise_alert
from trading.realtime.publish import publish

State = OffsetPlan.State
Line = OffsetLine.State
Action = EngineSettings.SlippageAction
STALE_AFTER = timedelta(seconds=60)
"""Wall time after which a plan that nobody began is worth nothing any more."""
PATIENCE = timedelta(seconds=120)
"""Wall time that winners have to be sold, and that the loser's price has to be inside the band."""
MOST_STEPS = 12


def offset_advance(*, plan_id: int, now: datetime) -> bool:
    """Take a plan as far as it goes now; whether anything moved. `now` is venue time."""
    moved = False
    for _ in range(MOST_STEPS):
        state = OffsetPlan.objects.values_list("state", flat=True).get(pk=plan_id)
        step = STEPS.get(state)
        if step is None or not step(plan_id, now):
            break
        moved = True
    return moved


@dataclass(slots=True)
class _Work:
    """A live plan under its lock, with what is known now."""

    plan: OffsetPlan
    settings: EngineSettings
    lines: list[OffsetLine]
    now: datetime
    wall: datetime

    @property
    def loser(self) -> OffsetLine:
        return self.lines[0]

    @property
    def winners(self) -> list[OffsetLine]:
        return self.lines[1:]

    def trades(self) -> dict[str, HeldTrade]:
        return {one.key: one for one in trades_of(self.plan.portfolio, self.settings, self.now)}

    @property
    def waited(self) -> bool:
        return self.wall - self.plan.step_at > PATIENCE

    @property
    def sold(self) -> int:
        return sum(line.closed_quantity for line in self.winners)


def _locked(plan_id: int, state: str, now: datetime) -> _Work | None:
    """The plan under a row lock; None where somebody else has moved it on."""
    plan = (
        OffsetPlan.objects.select_for_update(of=("self",))
        .select_related("portfolio__account", "portfolio__owner")
        .get(pk=plan_id)
    )
    if plan.state != state:
        return None
    lines = list(
        plan.lines.select_related(
            "group__instrument", "group__portfolio__account", "group__signal__deployment__version", "part"
        )
    )
    return _Work(plan, settings_of(plan.portfolio_id), lines, now, timezone.now())


# -- nothing was asked for yet -----------------------------------------------------------------------------------------


def _begin(plan_id: int, now: datetime) -> bool:
    with transaction.atomic():
        work = _locked(plan_id, State.PLANNED, now)
        if work is None:
            return True
        against = _against(work)
        if against is not None:
            _abandon(work, *against)
            return True
        _move(work, State.CLOSING_WINNERS)
    crashpoint("offset.begun")
    return True


def _against(work: _Work) -> tuple[str, str] | None:
    """Why a plan of which nothing was asked yet must not be begun any more: code and sentence."""
    if work.wall - work.plan.created_at > STALE_AFTER:
        return "STALE", "Nobody began it while its prices were true."
    trades = work.trades()
    loser = trades.get(str(work.loser.group_id))
    if loser is None:
        return "LOSER_ENDED", "The loser is closed, or on its way out."
    if loser.blocked:
        return "LOSER_BLOCKED", loser.blocked
    if loser.loss_pct < rules_of(work.settings).loss_pct:
        return "RECOVERED", f"The loser has lost {loser.loss_pct:.2f} %, which does not count any more."
    for line in work.winners:
        winner = trades.get(str(line.group_id))
        if winner is None or winner.blocked or winner.quantity < line.quantity:
            said = winner.blocked if winner is not None else "It is closed, or on its way out."
            return "WINNER_GONE", f"{line.group.instrument.ticker}: {said or 'Less of it is held.'}"
    if work.settings.slippage_action == Action.REJECT:
        for line in work.lines:
            slipped = _slipped(line, trades[str(line.group_id)].price)
            if slipped is not None and slipped > work.settings.slippage_guard_pct:
                return "BEYOND_BAND", f"{line.group.instrument.ticker} trades {slipped:.2f} % worse than planned."
    return None


# -- the winners -------------------------------------------------------------------------------------------------------


def _sell(plan_id: int, now: datetime) -> bool:
    """Ask for the parts of the winners, one after the other; book what traded; go on when all of them are over."""
    asked = False
    for line_id in OffsetLine.objects.filter(
        plan=plan_id, role=OffsetLine.Role.WINNER, state=Line.PLANNED
    ).values_list("pk", flat=True):  # fmt: skip
        asked |= _ask(plan_id, line_id, now)
        crashpoint("offset.winner_asked")
    return _settle(plan_id, now) or asked


@transaction.atomic
def _ask(plan_id: int, line_id: int, now: datetime) -> bool:
    work = _locked(plan_id, State.CLOSING_WINNERS, now)
    if work is None:
        return False
    line = next(one for one in work.winners if one.pk == line_id)
    if line.state != Line.PLANNED or _no_longer(work) is not None:
        return False
    winner = work.trades().get(str(line.group_id))
    if winner is None or winner.blocked or winner.quantity < line.quantity:
        line.state, line.ended_at = Line.DROPPED, work.wall
        line.save()
        return True
    guard = work.settings.slippage_guard_pct
    line.limit_price = None
    if work.settings.slippage_action != Action.WARN:
        tick = line.group.instrument.tick_size
        line.limit_price = edge_of_band(line.closing_side, line.planned_price, guard, tick)
    try:
        line.part = part_exit(
            group_id=line.group_id, key=line.key, quantity=line.quantity, reason=Reason.OFFSET,
            actor=work.plan.actor, limit_price=line.limit_price, rests=line.limit_price is not None,
        )  # fmt: skip
    except NotAllowed:
        line.state, line.ended_at = Line.DROPPED, work.wall  # it ended in this very moment
    else:
        line.state, line.asked_at = Line.ASKED, work.wall
    line.save()
    return True


def _settle(plan_id: int, now: datetime) -> bool:
    with transaction.atomic():
        work = _locked(plan_id, State.CLOSING_WINNERS, now)
        if work is None:
            return True
        for line in work.winners:
            _book(line, work)
        if any(line.state not in OffsetLine.ENDED for line in work.winners):
            _give_up_waiting(work)
            return False
        crashpoint("offset.winners_booked")
        against = _against_loser(work)
        if against is not None:
            _abandon(work, *against)
        else:
            _move(work, State.CLOSING_LOSER)
    return True


def _book(line: OffsetLine, work: _Work) -> None:
    """What of a line has traded; it is over when its part is, or its trade."""
    if line.state in OffsetLine.ENDED:
        return
    over = line.part is not None and line.part.state in (PartExit.State.DONE, PartExit.State.DROPPED)
    elsewise = line.group.state == Group.State.CLOSED and not (over and line.part.state == PartExit.State.DONE)  # type: ignore[union-attr]
    _count(line, work.plan, elsewise=elsewise)
    if over or line.group.state == Group.State.CLOSED:
        if line.closed_quantity >= line.quantity:
            line.state = Line.ELSEWISE if elsewise else Line.DONE
        else:
            line.state = Line.SHORT if line.closed_quantity else Line.DROPPED
        line.ended_at = work.wall
        _tell_of_slippage(line, work)
    line.save()


def _count(line: OffsetLine, plan: OffsetPlan, *, elsewise: bool) -> None:
    """Quantity, price and money of a line, from the fills of its part; of all exits since the plan was made where its
    trade was closed by something else, as far as they are of the planned quantity."""
    exits = Order.objects.filter(group=line.group_id, side=line.closing_side, filled_quantity__gt=0)
    if line.part_id is not None and not elsewise:
        exits = exits.filter(intent__part=line.part_id)
    fills = Fill.objects.filter(order__in=exits, pk__gt=plan.fills_before, bust=None)
    sums = fills.aggregate(quantity=Sum("quantity"), value=Sum("value_paise"))
    quantity, value = sums["quantity"] or 0, sums["value"] or 0
    if not quantity:
        return
    charges = 0
    for order in exits.filter(fills__in=fills).distinct():
        mine = fills.filter(order=order).aggregate(quantity=Sum("quantity"))["quantity"] or 0
        charges += order.charges_paise * mine // order.filled_quantity
    counted = min(quantity, line.quantity)
    value, charges = value * counted // quantity, charges * counted // quantity
    cost = line.cost_paise * counted // line.quantity
    line.closed_quantity = counted
    line.average_price = (Decimal(value) / 100 / counted).quantize(Decimal("0.0001"))
    line.gross_paise = Side(line.group.side).sign * (value - cost)
    line.realised_paise = line.gross_paise - charges
    line.slippage_pct = slippage_pct(line.closing_side, line.planned_price, line.average_price).quantize(
        Decimal("0.0001")
    )


def _tell_of_slippage(line: OffsetLine, work: _Work) -> None:
    guard = work.settings.slippage_guard_pct
    if line.slippage_pct is None or line.slippage_pct <= guard or line.state == Line.ELSEWISE:
        return
    raise_alert(
        "OFFSET_SLIPPAGE",
        f"{line.group.instrument.ticker}: closed {line.slippage_pct:.2f} % worse than planned, {guard:f} % allowed.",
        owner_id=work.plan.portfolio.owner_id, about=f"{work.plan.pk}:{line.rank}",
        next_step="Read the plan on the page of the engine.",
    )  # fmt: skip


def _give_up_waiting(work: _Work) -> None:
    """Winners that do not sell in time, or need not any more: what is left of their parts is taken back."""
    why = _no_longer(work)
    if why is None:
        return
    for line in work.winners:
        if line.state == Line.PLANNED:
            line.state, line.ended_at = Line.DROPPED, work.wall
            line.save()
        elif line.state == Line.ASKED and line.part_id is not None:
            part_withdraw(part_id=line.part_id, actor=f"offset {work.plan.pk}: {why}"[:150])


def _no_longer(work: _Work) -> str | None:
    """Why no more of the winners is to be sold; None: all goes on."""
    loser = work.loser.group
    if work.waited:
        return "not sold in time"
    if loser.state == Group.State.CLOSED or loser.close_reason:
        return "the loser is on its way out"
    if any(line.state == Line.DROPPED for line in work.winners):
        return "one of the winners is gone"
    if _killed(work, loser):
        return "a kill switch is pulled"
    price = _price(loser)
    if (
        price is not None
        and (to_paise(price * work.loser.quantity) - work.loser.cost_paise) * Side(loser.side).sign >= 0
    ):
        return "the loser has recovered"
    return None


def _killed(work: _Work, group: Group) -> bool:
    """A switch that cancels exits, too, stops a plan; one that only keeps entries out lets it be finished."""
    keys = keys_of(work.plan.portfolio, group.instrument_id, group.signal)
    return kill_state(keys).level >= TradingState.Level.CANCEL_ALL


def _against_loser(work: _Work) -> tuple[str, str] | None:
    """What was sold is booked: why the loser is not closed all the same. Code and sentence."""
    group = work.loser.group
    if group.state == Group.State.CLOSED or group.close_reason:
        return "LOSER_ENDED", f"The loser was closed by something else: {group.close_reason or 'its orders'}."
    if _killed(work, group):
        return "KILL_SWITCH", "A kill switch is pulled."
    price = _price(group)
    if price is None:
        return "NO_PRICE", "The loser has no fresh price."
    loss = -(to_paise(price * work.loser.quantity) - work.loser.cost_paise) * Side(group.side).sign
    if loss <= 0:
        return "RECOVERED", "The loser has recovered."
    paid = sum(line.gross_paise for line in work.winners)
    turnover = sum(to_paise(line.planned_price * line.quantity) for line in work.lines)
    allowed = int(turnover * work.settings.slippage_guard_pct / 100)
    if paid + allowed >= loss:
        return None
    whole = all(line.closed_quantity >= line.quantity for line in work.winners)
    if whole and work.settings.slippage_action == Action.WARN:
        return None  # it is closed and told: so it was asked for
    said = f"The winners brought {rupees(paid, symbol=True)}, the loser has lost {rupees(loss, symbol=True)}."
    return "SHORT", said


# -- the loser ---------------------------------------------------------------------------------------------------------


def _close_loser(plan_id: int, now: datetime) -> bool:
    with transaction.atomic():
        work = _locked(plan_id, State.CLOSING_LOSER, now)
        if work is None:
            return True
        if work.loser.state != Line.PLANNED:
            return _finish(work)
        if not _ask_loser(work):
            return not work.plan.is_live
    crashpoint("offset.loser_asked")
    return True


def _ask_loser(work: _Work) -> bool:
    """Ask for the loser's end where its price is inside the band. False: not now, or not at all."""
    line, guard, action = work.loser, work.settings.slippage_guard_pct, work.settings.slippage_action
    slipped = _slipped(line, _price(line.group))
    beyond = slipped is None or slipped > guard
    if beyond and (slipped is None or action != Action.WARN):
        said = "has no fresh price" if slipped is None else f"trades {slipped:.2f} % worse than planned"
        if work.waited or (slipped is not None and action == Action.REJECT):
            _abandon(work, "NO_PRICE" if slipped is None else "BEYOND_BAND", f"The loser {said}.")
        return False
    if not group_exit(group_id=line.group_id, reason=Reason.OFFSET, actor=work.plan.actor):
        _abandon(work, "LOSER_ENDED", "The loser was closed by something else.")
        return False
    line.state, line.asked_at = Line.ASKED, work.wall
    line.save()
    return True


def _finish(work: _Work) -> bool:
    line = work.loser
    if line.group.state != Group.State.CLOSED:
        return False
    _count(line, work.plan, elsewise=False)
    line.state, line.ended_at = Line.DONE, work.wall
    if line.closed_quantity < line.quantity:
        line.state = Line.SHORT
    line.save()
    _tell_of_slippage(line, work)
    _end(work, State.DONE, "", "")
    crashpoint("offset.finishing")
    return True


STEPS: dict[str, Callable[[int, datetime], bool]] = {
    State.PLANNED: _begin,
    State.CLOSING_WINNERS: _sell,
    State.CLOSING_LOSER: _close_loser,
}


# -- what all steps share ----------------------------------------------------------------------------------------------


def _price(group: Group) -> Decimal | None:
    quote = last_quote(group.portfolio.account.feed, group.instrument.symbol)
    if quote is None or quote.indicative or quote.is_stale or quote.age_s >= FRESH_S:
        return None
    return quote.last_price


def _slipped(line: OffsetLine, price: Decimal | None) -> Decimal | None:
    return None if price is None else slippage_pct(line.closing_side, line.planned_price, price)


def _move(work: _Work, state: str) -> None:
    OFFSET_MOVES.check(work.plan.state, state)
    work.plan.state, work.plan.step_at = state, work.wall
    work.plan.save(update_fields=["state", "step_at"])
    publish(work.plan.portfolio.owner_id, "position", offset=work.plan.pk, state=state)


def _abandon(work: _Work, code: str, said: str) -> None:
    for line in work.lines:
        if line.state not in OffsetLine.ENDED:
            line.state, line.ended_at = Line.DROPPED, work.wall
            line.save()
    _end(work, State.ABANDONED, code, said)
    if work.sold:
        # Winners must not be sold for it again and again: a person decides first.
        OffsetMark.objects.get_or_create(
            group=work.loser.group, kind=OffsetMark.Kind.BLOCK, ended_at=None,
            defaults={"actor": f"offset {work.plan.pk}", "created_at": work.wall},
        )  # fmt: skip
    todo = "What was sold stays sold. Close the loser by hand, or unblock it for another plan." if work.sold else ""
    raise_alert(
        "OFFSET_ABANDONED", f"{work.loser.group.instrument.ticker} is kept: {said}",
        level=Level.WARNING if work.sold else Level.INFO, owner_id=work.plan.portfolio.owner_id,
        about=str(work.plan.pk), next_step=todo,
    )  # fmt: skip


def _end(work: _Work, state: str, code: str, said: str) -> None:
    plan = work.plan
    plan.code, plan.reason, plan.ended_at = code[:40], said[:240], work.wall
    plan.realised_paise = sum(line.realised_paise for line in work.lines)
    plan.save(update_fields=["code", "reason", "ended_at", "realised_paise"])
    _move(work, state)
    record(
        f"offset.{state.lower()}", actor=plan.actor, owner_id=plan.portfolio.owner_id, subject=str(plan.pk),
        loser=work.loser.group.instrument.symbol, realised_paise=plan.realised_paise, code=code, said=said,
        closed={line.group.instrument.symbol: line.closed_quantity for line in work.lines},
    )  # fmt: skip
