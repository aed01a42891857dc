"""The signal engine as a person sees it: the pool, the trades in it with their pyramids, legs and parts, the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db.models import Prefetch

from execution.engine_settings import settings_of
from execution.models import EngineSettings, Group, Leg, Order, PartExit, Pyramid, QueuedSignal
from strategies.tactics.take_profit import FilledLeg, take_profits
from trading.domain.money import to_rupees
from trading.domain.orders import Side
from trading.marketdata.quotes import Quote
from trading.portfolio.models import Portfolio

ENDED = 8
Mode = EngineSettings.TakeProfit


@dataclass(slots=True)
class Sum:
    """Entries of one leg, one pyramid or one trade. Units and paise; `held`: what exits have not closed again."""

    asked: int = 0
    filled: int = 0
    value_paise: int = 0
    held: int = 0
    working: int = 0
    target: Decimal | None = None
    progress_pct: float | None = None

    @property
    def average(self) -> Decimal | None:
        return to_rupees(round(self.value_paise / self.filled)) if self.filled else None

    def add(self, other: "Sum") -> None:
        self.asked += other.asked
        self.filled += other.filled
        self.value_paise += other.value_paise
        self.held += other.held
        self.working += other.working


@dataclass(slots=True)
class LegRow:
    leg: Leg
    sum: Sum
    orders: list[Order] = field(default_factory=list)
    parts: list[PartExit] = field(default_factory=list)

    @property
    def state(self) -> str:
        """One word for what is with it: SMALL, BLOCKED, WAITING, RESTING, PARTLY, FILLED, CLOSED or GONE."""
        one = self.sum
        if one.filled and not one.held:
            return "CLOSED"
        if one.filled:
            return "FILLED" if one.filled >= self.leg.quantity else "PARTLY"
        if self.leg.quantity < 1:
            return "SMALL"
        if self.leg.blocked_code:
            return "BLOCKED"
        if one.working:
            return "RESTING"
        return "GONE" if self.orders else "WAITING"


@dataclass(slots=True)
class PyramidRow:
    pyramid: Pyramid
    legs: list[LegRow]
    sum: Sum
    parts: list[PartExit] = field(default_factory=list)


@dataclass(slots=True)
class TradeRow:
    """One trade that holds a slot. `parts` are those that belong to no leg and no pyramid."""

    group: Group
    pyramids: list[PyramidRow]
    sum: Sum
    last: Decimal | None
    parts: list[PartExit] = field(default_factory=list)

    @property
    def planned(self) -> int:
        """Units of all its legs together; of a trade without a ladder, of its entry."""
        return sum(row.pyramid.quantity for row in self.pyramids) or self.sum.asked

    @property
    def blocked(self) -> int:
        return sum(1 for pyramid in self.pyramids for leg in pyramid.legs if leg.state == "BLOCKED")

    @property
    def pnl_paise(self) -> int | None:
        """Unrealised, of what is held, before charges."""
        if self.last is None or not self.sum.filled:
            return None
        cost = round(self.sum.value_paise * self.sum.held / self.sum.filled)
        return Side(self.group.side).sign * (round(self.last * self.sum.held * 100) - cost)


@dataclass(slots=True)
class QueueRow:
    queued: QueuedSignal
    last: Decimal | None
    left_s: float

    @property
    def loss_pct(self) -> Decimal | None:
        """How far the market has gone against its entry price: percent, positive is against."""
        entry = self.queued.entry_price
        if self.last is None or not entry:
            return None
        return (entry - self.last) * Side(self.queued.side).sign * 100 / entry


@dataclass(slots=True)
class EngineView:
    settings: EngineSettings
    trades: list[TradeRow]
    queue: list[QueueRow]
    ended: list[QueuedSignal]

    @property
    def taken(self) -> int:
        return len(self.trades)

    @property
    def free(self) -> int:
        return max(0, self.settings.max_open_groups - self.taken)

    @property
    def blocked(self) -> int:
        return sum(trade.blocked for trade in self.trades)


def engine_view(portfolio: Portfolio, *, quotes: Mapping[str, Quote], wall: datetime) -> EngineView:
    """Pool, trades and queue of one portfolio at the last prices, in a fixed number of statements.

    NotAllowed (SETTINGS_MISSING) where nothing says how the engine behaves.
    """
    settings = settings_of(portfolio.pk)
    waiting = QueuedSignal.objects.filter(portfolio=portfolio).select_related("instrument", "signal")
    queue = [
        QueueRow(one, _last(quotes, one.instrument.symbol), max(0.0, (one.expires_at - wall).total_seconds()))
        for one in waiting.filter(state=QueuedSignal.State.WAITING)
    ]
    queue.sort(key=lambda row: (not row.queued.force_by, row.queued.rank or 1_000_000, row.queued.enqueued_at))
    ended = list(waiting.exclude(state=QueuedSignal.State.WAITING).order_by("-ended_at")[:ENDED])
    return EngineView(settings, trades_of(portfolio, settings, quotes=quotes), queue, ended)


def trades_of(portfolio: Portfolio, settings: EngineSettings, *, quotes: Mapping[str, Quote]) -> list[TradeRow]:
    """The trades that hold a slot, oldest first."""
    groups = list(
        Group.objects.filter(portfolio=portfolio).exclude(state=Group.State.CLOSED)
        .select_related("instrument", "signal", "ladder").order_by("created_at")
        .prefetch_related(
            Prefetch("pyramids", Pyramid.objects.select_related("signal").prefetch_related("legs")), "parts"
        )
    )  # fmt: skip
    orders: dict[object, list[Order]] = {}
    for order in Order.objects.filter(group__in=groups).select_related("intent").order_by("id"):
        orders.setdefault(order.group_id, []).append(order)
    return [
        _trade(group, orders.get(group.pk, []), settings, _last(quotes, group.instrument.symbol)) for group in groups
    ]


def _trade(group: Group, orders: Sequence[Order], settings: EngineSettings, last: Decimal | None) -> TradeRow:
    side = Side(group.side)
    parts = list(group.parts.all())
    pyramids = [_pyramid(pyramid, orders, parts) for pyramid in group.pyramids.all()]
    total = Sum()
    for order in orders:
        total.add(_entries(order) if order.side == side else _exits(order))
    _aim(group, pyramids, total, settings)
    for one in [total, *(row.sum for row in pyramids), *(leg.sum for row in pyramids for leg in row.legs)]:
        one.progress_pct = _progress(one, last)
    loose = [part for part in parts if part.leg_id is None and part.pyramid_id is None]
    return TradeRow(group, pyramids, total, last, loose)


def _pyramid(pyramid: Pyramid, orders: Sequence[Order], parts: Sequence[PartExit]) -> PyramidRow:
    legs, total = [], Sum()
    for leg in pyramid.legs.all():
        mine = [order for order in orders if order.intent.leg_id == leg.pk]
        own = [part for part in parts if part.leg_id == leg.pk]
        one = Sum()
        for order in mine:
            one.add(_entries(order))
        closing = {part.pk for part in own}
        one.held -= sum(order.filled_quantity for order in orders if order.intent.part_id in closing)
        one.held = max(0, one.held)
        legs.append(LegRow(leg, one, mine, own))
        total.add(one)
    own = [part for part in parts if part.pyramid_id == pyramid.pk and part.leg_id is None]
    closing = {part.pk for part in own}
    total.held = max(0, total.held - sum(one.filled_quantity for one in orders if one.intent.part_id in closing))
    return PyramidRow(pyramid, legs, total, own)


def _entries(order: Order) -> Sum:
    left = 0 if order.is_final else order.remaining_quantity
    return Sum(order.quantity, order.filled_quantity, order.fill_value_paise, order.filled_quantity, left)


def _exits(order: Order) -> Sum:
    return Sum(held=-order.filled_quantity)


def _aim(group: Group, pyramids: Sequence[PyramidRow], total: Sum, settings: EngineSettings) -> None:
    """The price at which each takes its profit, by the rule that the engine itself goes by."""
    if group.ladder is None:
        total.target = group.target_price
        return
    filled = [
        FilledLeg(
            leg.leg.pk, row.pyramid.pk, leg.sum.filled, leg.sum.value_paise, leg.sum.held, leg.leg.take_profit_pct
        )
        for row in pyramids for leg in row.legs if leg.sum.filled and leg.sum.held
    ]  # fmt: skip
    aims = take_profits(
        Side(group.side), filled, settings.take_profit, tick=group.instrument.tick_size,
        aggregate_pct=settings.aggregate_target_pct,
    )  # fmt: skip
    by_leg = {part.leg: part.price for part in aims.parts if part.leg is not None}
    by_pyramid = {part.pyramid: part.price for part in aims.parts if part.leg is None}
    total.target = aims.whole or group.target_price
    for row in pyramids:
        row.sum.target = by_pyramid.get(row.pyramid.pk)
        for leg in row.legs:
            leg.sum.target = by_leg.get(leg.leg.pk)


def _progress(one: Sum, last: Decimal | None) -> float | None:
    """How much of the way from its average to its target the market has gone: percent, 0 to 100; None: no way yet."""
    if last is None or one.average is None or one.target is None or one.target == one.average:
        return None
    return float(max(Decimal(0), min(Decimal(100), (last - one.average) * 100 / (one.target - one.average))))


def _last(quotes: Mapping[str, Quote], symbol: str) -> Decimal | None:
    quote = quotes.get(symbol)
    return quote.last_price if quote else None
