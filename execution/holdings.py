"""Open trades as a person sees them: the group, what it holds, what that is worth, and what protects it."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from execution.models import Group, Order
from trading.domain.money import to_paise
from trading.domain.orders import Product, Side
from trading.portfolio.booking import charge_segment
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import PositionValue, Valuation
from trading.venue.charges import charges_for_order
from trading.venue.sessions import next_session


@dataclass(frozen=True, slots=True)
class Holding:
    """One group that is not closed. Quantity in units, signed; profit before charges, None without a price."""

    group: Group
    value: PositionValue | None
    live_orders: list[Order] = field(default_factory=list)

    @property
    def net_quantity(self) -> int:
        return self.value.net_quantity if self.value else 0

    @property
    def last_price(self) -> Decimal | None:
        return self.value.last_price if self.value else None

    @property
    def average_price(self) -> Decimal | None:
        return self.value.average_price if self.value else None

    @property
    def pnl_paise(self) -> int | None:
        return self.value.pnl_paise if self.value else None

    @property
    def pnl_pct(self) -> Decimal | None:
        return self.value.pnl_pct if self.value else None

    @property
    def quote_age_s(self) -> float | None:
        return self.value.quote_age_s if self.value else None

    @property
    def is_closing(self) -> bool:
        """Somebody or something has asked for the end of it."""
        return bool(self.group.close_reason)

    @property
    def closing_side(self) -> Side:
        return Side.of(self.net_quantity).opposite

    @property
    def closing_quantity(self) -> int:
        return abs(self.net_quantity)

    @property
    def arrives_on(self) -> date | None:
        """The day from which shares bought for delivery are among the broker's holdings: the session after the one they
        were bought in. None of other products, and where the calendar ends."""
        if self.group.product != Product.CNC or self.group.opened_at is None or self.net_quantity <= 0:
            return None
        session = next_session(self.group.opened_at, assume_weekdays=True)
        return None if session is None else session.date

    @property
    def open_risk_paise(self) -> int | None:
        """What the stop would cost from the average price on. None without a stop; nothing once it locks in a gain."""
        if not self.net_quantity or self.group.stop_price is None or self.average_price is None:
            return None
        return max(0, to_paise((self.average_price - self.group.stop_price) * self.net_quantity))

    @property
    def exit_value_paise(self) -> int | None:
        """What a close would turn over at the last price."""
        return None if self.last_price is None else to_paise(self.last_price * abs(self.net_quantity))

    def exit_charges_paise(self, *, on_date: date) -> int | None:
        """What closing all of it in one order would cost at the last price."""
        value = self.exit_value_paise
        if value is None or not self.net_quantity:
            return None
        return charges_for_order(
            broker=self.group.portfolio.account.broker,
            segment=charge_segment(self.group.product),
            side=self.closing_side,
            quantity=abs(self.net_quantity),
            value_paise=value,
            on_date=on_date,
        ).total


def open_holdings(portfolio: Portfolio, valuation: Valuation) -> list[Holding]:
    """The open groups of a portfolio, oldest first, each with its position and its orders that may still trade."""
    values = {(value.instrument.pk, value.position.product): value for value in valuation.positions}
    groups = (
        Group.objects.filter(portfolio=portfolio)
        .exclude(state=Group.State.CLOSED)
        .select_related("instrument", "portfolio__account")
        .order_by("created_at")
    )
    live: dict[object, list[Order]] = {}
    for order in Order.objects.filter(portfolio=portfolio).live().order_by("id"):
        live.setdefault(order.group_id, []).append(order)
    return [
        Holding(group, values.get((group.instrument_id, group.product)), live.get(group.pk, [])) for group in groups
    ]
