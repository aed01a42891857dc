"""Winners pay for a loser: which trade is given up, and how much of which others is sold to pay for it.

Nothing here acts. A look takes all trades of a portfolio as they stand, says of each why it may or may not be given
up, and makes one plan, or says why there is none. The same trades and rules give the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

from trading.domain.money import to_paise, to_tick
from trading.domain.orders import Side
from trading.venue.charges import ChargeBroker, ChargeSegment, charges_for_order
from trading.venue.sessions import exchange_date


@dataclass(frozen=True, slots=True)
class OffsetRules:
    """When a loser counts, and what winners may give. Seconds of wall time; percents of cost; paise."""

    pyramids: int
    wait_s: int
    loss_pct: Decimal
    min_age_s: int
    max_winners: int
    min_close_paise: int


@dataclass(frozen=True, slots=True)
class Venue:
    """What closing costs: whose price list, of what."""

    broker: ChargeBroker
    segment: ChargeSegment
    exchange: str = "NSE"


@dataclass(frozen=True, slots=True)
class HeldTrade:
    """One open trade as it stands. Units are those that nobody has asked to close yet; paise are of exactly these.

    `timer_at`: wall time from which its wait is counted, None while it has not begun. `blocked`: why it is not to be
    touched at all, and `passed_over` why it is not to be given up this once; empty: nothing of the kind.
    """

    key: str
    label: str
    side: Side
    quantity: int
    cost_paise: int
    price: Decimal | None
    lot: int
    opened_at: datetime
    pyramids: int
    timer_at: datetime | None
    venue: Venue
    blocked: str = ""
    passed_over: str = ""

    @property
    def value_paise(self) -> int:
        return 0 if self.price is None else to_paise(self.price * self.quantity)

    @property
    def profit_paise(self) -> int:
        """Unrealised, before charges; below zero is a loss. Zero where no price is known."""
        return 0 if self.price is None else self.side.sign * (self.value_paise - self.cost_paise)

    @property
    def loss_pct(self) -> Decimal:
        """Loss in percent of its cost; below zero is a gain."""
        return Decimal(-self.profit_paise * 100) / self.cost_paise if self.cost_paise else Decimal(0)

    def part_profit_paise(self, quantity: int) -> int:
        """What a part of it earns before charges, rounded down."""
        return self.profit_paise * quantity // self.quantity

    def charges_paise(self, quantity: int, now: datetime) -> int:
        """What closing a part in one order costs at the last price."""
        if self.price is None or quantity < 1:
            return 0
        return charges_for_order(
            broker=self.venue.broker, segment=self.venue.segment, side=self.side.opposite, quantity=quantity,
            value_paise=to_paise(self.price * quantity), on_date=exchange_date(now), exchange=self.venue.exchange,
        ).total  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlannedClose:
    """Units of one trade that are to be closed, at the price known now. `profit_paise` before, `net_paise` after the
    charges of closing; both below zero for the loser."""

    trade: HeldTrade
    quantity: int
    price: Decimal
    profit_paise: int
    charges_paise: int

    @property
    def net_paise(self) -> int:
        return self.profit_paise - self.charges_paise


@dataclass(frozen=True, slots=True)
class Offset:
    """A plan. `required_paise`: the loss that is to be paid for; what the winners bring is that or more."""

    loser: PlannedClose
    winners: tuple[PlannedClose, ...]
    required_paise: int

    @property
    def covered_paise(self) -> int:
        return sum(one.profit_paise for one in self.winners)

    @property
    def net_paise(self) -> int:
        """What is left of it all after charges."""
        return self.loser.net_paise + sum(one.net_paise for one in self.winners)


@dataclass(frozen=True, slots=True)
class Judged:
    """A losing trade and why it is not given up; `code` is empty where it may be."""

    trade: HeldTrade
    code: str
    said: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to: a plan, or the code and the sentence why there is none. `losers` in the order of choice."""

    losers: tuple[Judged, ...]
    winners: tuple[HeldTrade, ...]
    plan: Offset | None
    code: str
    said: str


def look(trades: Sequence[HeldTrade], rules: OffsetRules, now: datetime) -> Look:
    """One look at all open trades of a portfolio. `now` is wall time."""
    losers = sorted((one for one in trades if one.profit_paise < 0), key=_deepest)
    judged = tuple(Judged(one, *why_not(one, rules, now)) for one in losers)
    winners = tuple(sorted((one for one in trades if _may_pay(one)), key=lambda one: (-one.profit_paise, one.key)))
    chosen = next((one.trade for one in judged if not one.code), None)
    if chosen is None:
        code, said = ("NO_LOSER", "No trade has a loss.") if not judged else ("NONE_ELIGIBLE", _why_none(judged))
        return Look(judged, winners, None, code, said)
    required = -chosen.profit_paise
    closes = _cover(required, winners, rules, now)
    if closes is None:
        offered = sum(one.profit_paise for one in winners[: rules.max_winners])
        said = f"{chosen.label} lost {_rupees(required)}; what the winners have earned, {_rupees(offered)}, cannot pay."
        return Look(judged, winners, None, "NOT_COVERED", said)
    return Look(judged, winners, Offset(_close(chosen, chosen.quantity, now), closes, required), "", "")


def _deepest(one: HeldTrade) -> tuple[Decimal, int, datetime, str]:
    """The order in which losers are taken: by percent, then by rupees, then the oldest."""
    return (-one.loss_pct, one.profit_paise, one.opened_at, one.key)


def why_not(one: HeldTrade, rules: OffsetRules, now: datetime) -> tuple[str, str]:
    """Code and sentence of the first rule that keeps a losing trade; two empty strings where none does."""
    if one.blocked:
        return "BLOCKED", one.blocked
    if one.price is None:
        return "NO_PRICE", "No price is known."
    if one.quantity < 1:
        return "NOTHING_HELD", "All of it is on its way out."
    if one.loss_pct < rules.loss_pct:
        return "LOSS_SMALL", f"It has lost {one.loss_pct:.2f} %; from {rules.loss_pct.normalize():f} % on it counts."
    if one.pyramids < rules.pyramids:
        return "PYRAMIDS", f"{one.pyramids} of {rules.pyramids} pyramids have come."
    if one.timer_at is None:
        return "TIMER", "Its wait has not begun."
    left = one.timer_at + timedelta(seconds=rules.wait_s) - now
    if left > timedelta(0):
        return "WAITING", f"Its wait ends in {ceil(left.total_seconds())} s."
    young = one.opened_at + timedelta(seconds=rules.min_age_s) - now
    if young > timedelta(0):
        return "YOUNG", f"It is old enough in {ceil(young.total_seconds())} s."
    if one.passed_over:
        return "PASSED_OVER", one.passed_over
    return "", ""


def _may_pay(one: HeldTrade) -> bool:
    return not one.blocked and one.price is not None and one.quantity > 0 and one.profit_paise > 0


def _cover(
    required_paise: int, winners: Sequence[HeldTrade], rules: OffsetRules, now: datetime
) -> tuple[PlannedClose, ...] | None:  # fmt: skip
    """Parts of the best winners that earn what is required, or None. A winner too small to be worth an order is passed
    over. All but the last are given up whole: the last gives no lot more than needed, or than an order must have."""
    closes: list[PlannedClose] = []
    missing = required_paise
    for winner in winners:
        if missing <= 0 or len(closes) == rules.max_winners:
            break
        quantity = _units(winner, missing, rules.min_close_paise)
        if quantity:
            closes.append(_close(winner, quantity, now))
            missing -= closes[-1].profit_paise
    return tuple(closes) if missing <= 0 else None


def _units(winner: HeldTrade, missing_paise: int, min_close_paise: int) -> int:
    """Units that earn what is missing, in whole lots and worth an order; all of it at most; 0: it is worth none."""
    assert winner.price is not None
    unit_paise = Fraction(winner.price) * 100
    least = ceil(min_close_paise / unit_paise) if min_close_paise else 1
    needed = ceil(Fraction(missing_paise * winner.quantity, winner.profit_paise))
    quantity = min(winner.quantity, _to_lot(max(needed, least), winner.lot))
    return quantity if quantity * unit_paise >= min_close_paise else 0


def _to_lot(quantity: int, lot: int) -> int:
    return -(-quantity // lot) * lot


def _close(trade: HeldTrade, quantity: int, now: datetime) -> PlannedClose:
    assert trade.price is not None
    return PlannedClose(
        trade, quantity, trade.price, trade.part_profit_paise(quantity), trade.charges_paise(quantity, now)
    )


def _why_none(judged: Sequence[Judged]) -> str:
    return f"{judged[0].trade.label}: {judged[0].said}"


def _rupees(paise: int) -> str:
    return f"₹{Decimal(paise) / 100:.2f}"


# -- the guard of a close ----------------------------------------------------------------------------------------------


def slippage_pct(side: Side, expected: Decimal, price: Decimal) -> Decimal:
    """How much worse than expected an order of `side` trades, percent; below zero is better."""
    return (price - expected) * side.sign * 100 / expected


def edge_of_band(side: Side, expected: Decimal, guard_pct: Decimal, tick: Decimal) -> Decimal:
    """The worst price of an order of `side` that the guard allows, on the tick and inside the band."""
    return to_tick(expected * (1 + side.sign * guard_pct / 100), tick=tick, side=side)
