"""What a trade costs besides its price: brokerage, taxes and fees, by date, in whole paise.

Rates are dated facts, kept in the tables below with their source. Lines are reckoned exactly and rounded half up to
the paisa each; the total is the sum of the rounded lines. On the day's contract note STT alone is rounded to the
rupee, per scrip (`contract_note`), so a note and the sum of its orders may differ by a few rupees.

Before the first row of a table its first row is used: an approximation for simulations of older years
(`rates_known`). Not reckoned: FYERS's clearing fee on derivatives (its published figure is contradicted by the rest
of the same page), exercise STT, the broker's fee for squaring off in our place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final, TypeVar

from trading.domain.orders import Side

CRORE: Final = 10_000_000
_Rates = TypeVar("_Rates")


class ChargeSegment(StrEnum):
    """What is charged differently. Intraday and delivery are products of the same share."""

    EQUITY_INTRADAY = "EQUITY_INTRADAY"
    EQUITY_DELIVERY = "EQUITY_DELIVERY"
    FUTURES = "FUTURES"
    OPTIONS = "OPTIONS"

    @property
    def is_equity(self) -> bool:
        return self in (ChargeSegment.EQUITY_INTRADAY, ChargeSegment.EQUITY_DELIVERY)


class ChargeBroker(StrEnum):
    """Whose price list applies. The sandbox exchange charges what FYERS does."""

    FYERS = "FYERS"
    ZERODHA = "ZERODHA"
    SANDBOX = "SANDBOX"


@dataclass(frozen=True, slots=True)
class ChargeSheet:
    """Charges in whole paise, line by line. Sheets add and subtract, so a growing order posts what is new."""

    brokerage: int = 0
    stt: int = 0
    exchange: int = 0
    sebi: int = 0
    stamp: int = 0
    gst: int = 0
    ipft: int = 0
    dp: int = 0

    @property
    def total(self) -> int:
        """The sum of all lines, paise."""
        return sum(self.lines().values())

    def lines(self) -> dict[str, int]:
        """Lines by name, paise."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __add__(self, other: ChargeSheet) -> ChargeSheet:
        return ChargeSheet(**{name: paise + getattr(other, name) for name, paise in self.lines().items()})

    def __sub__(self, other: ChargeSheet) -> ChargeSheet:
        return ChargeSheet(**{name: paise - getattr(other, name) for name, paise in self.lines().items()})


@dataclass(frozen=True, slots=True)
class BrokerageRate:
    """`per_order` rupees per executed order, or `percent` of its value if that is less."""

    per_order: Decimal
    percent: Decimal | None = None

    def paise_on(self, value_paise: int) -> Decimal:
        cap = self.per_order * 100
        return cap if self.percent is None else min(cap, value_paise * self.percent / 100)


@dataclass(frozen=True, slots=True)
class SttRate:
    """Percent of the traded value, on the sides that pay it."""

    percent: Decimal
    on_buy: bool


EQ_I, EQ_D = ChargeSegment.EQUITY_INTRADAY, ChargeSegment.EQUITY_DELIVERY
FUT, OPT = ChargeSegment.FUTURES, ChargeSegment.OPTIONS


def _each(**values: str) -> dict[ChargeSegment, Decimal]:
    equity = {segment: Decimal(values["equity"]) for segment in (EQ_I, EQ_D)}
    return equity | {FUT: Decimal(values["futures"]), OPT: Decimal(values["options"])}


# STT. Equity unchanged since 2016. Derivatives: Finance Acts 2023, 2024 and 2026 (NSE circular 2026-03-31).
# For options the base is the premium; a sold future or option pays, a bought one does not.
_STT_EQUITY: Final = {EQ_I: SttRate(Decimal("0.025"), on_buy=False), EQ_D: SttRate(Decimal("0.1"), on_buy=True)}
_STT: Final[list[tuple[date, dict[ChargeSegment, SttRate]]]] = [
    (start, _STT_EQUITY | {FUT: SttRate(Decimal(future), on_buy=False), OPT: SttRate(Decimal(option), on_buy=False)})
    for start, future, option in (
        (date(2016, 6, 1), "0.01", "0.05"),
        (date(2023, 4, 1), "0.0125", "0.0625"),
        (date(2024, 10, 1), "0.02", "0.1"),
        (date(2026, 4, 1), "0.05", "0.15"),
    )
]

# Rupees per crore of turnover. NSE: press 2024-09-27 (true to label, from 2024-10-01) and NSE/FA/73061, 2026-02-27.
# Until 2024-09-30 the fee fell with a member's volume: these rows are what the large brokers passed on; the rows of
# 2021 and 2023 are confirmed for equity (and 2023 for options) by published contract notes.
_EXCHANGE: Final[dict[str, list[tuple[date, dict[ChargeSegment, Decimal]]]]] = {
    "NSE": [
        (date(2021, 1, 1), _each(equity="345", futures="200", options="5300")),
        (date(2023, 4, 1), _each(equity="325", futures="190", options="5000")),
        (date(2024, 4, 1), _each(equity="322", futures="188", options="4950")),
        (date(2024, 10, 1), _each(equity="297", futures="173", options="3503")),
        (date(2026, 3, 1), _each(equity="306.99", futures="182.99", options="3552")),
    ],
    # BSE options: SENSEX and BANKEX; the exchange's other contracts pay 500 and are not traded here.
    "BSE": [(date(2024, 10, 1), _each(equity="375", futures="0", options="3250"))],
}

# Investor protection fund trust, rupees per crore, NSE only: NSE/FA/56129; NSE/FA/73061. It carries no GST.
_IPFT: Final[dict[str, list[tuple[date, dict[ChargeSegment, Decimal]]]]] = {
    "NSE": [
        (date(2021, 1, 1), _each(equity="0", futures="0", options="0")),
        (date(2023, 4, 1), _each(equity="10", futures="10", options="50")),
        (date(2026, 3, 1), _each(equity="0.01", futures="0.01", options="1")),
    ],
    "BSE": [(date(2024, 10, 1), _each(equity="0", futures="0", options="0"))],
}

SEBI_PER_CRORE: Final = Decimal(10)
GST_PERCENT: Final = Decimal(18)  # on brokerage, exchange fee, SEBI fee and DP charge

# Stamp duty, percent of a purchase, uniform in India since 2020-07-01 (Indian Stamp Act as amended).
_STAMP: Final = {EQ_I: Decimal("0.003"), EQ_D: Decimal("0.015"), FUT: Decimal("0.002"), OPT: Decimal("0.003")}

_TWENTY: Final = Decimal(20)
_CAPPED: Final = BrokerageRate(_TWENTY, Decimal("0.03"))
_FLAT: Final = BrokerageRate(_TWENTY)
_FREE: Final = BrokerageRate(Decimal(0))
# FYERS support pages, 2025-06 (delivery free until 2024-09-30); Zerodha's list of charges.
_FYERS: Final[list[tuple[date, dict[ChargeSegment, BrokerageRate]]]] = [
    (date(2021, 1, 1), {EQ_I: _CAPPED, EQ_D: _FREE, FUT: _CAPPED, OPT: _FLAT}),
    (date(2024, 10, 1), {EQ_I: _CAPPED, EQ_D: BrokerageRate(_TWENTY, Decimal("0.3")), FUT: _CAPPED, OPT: _FLAT}),
]
_BROKERAGE: Final[dict[ChargeBroker, list[tuple[date, dict[ChargeSegment, BrokerageRate]]]]] = {
    ChargeBroker.FYERS: _FYERS,
    ChargeBroker.SANDBOX: _FYERS,
    ChargeBroker.ZERODHA: [(date(2021, 1, 1), {EQ_I: _CAPPED, EQ_D: _FREE, FUT: _CAPPED, OPT: _FLAT})],
}

# Rupees per scrip and day on a delivery sale, before GST. FYERS since 2024-10-01; Zerodha's figure is not confirmed.
_DP: Final = {
    ChargeBroker.FYERS: Decimal("3.50"),
    ChargeBroker.SANDBOX: Decimal("3.50"),
    ChargeBroker.ZERODHA: Decimal("13.00"),
}


def charges_for_order(
    *,
    broker: ChargeBroker | str,
    segment: ChargeSegment | str,
    side: Side | str,
    quantity: int,
    value_paise: int,
    on_date: date,
    exchange: str = "NSE",
) -> ChargeSheet:
    """Charges of all fills of one order so far; brokerage is capped per order, however many fills it had.

    `quantity` units and `value_paise` turnover are sums over the order's fills (premium for options). A later call
    with larger sums, minus the earlier sheet, is what the new fill costs. An order without a fill costs nothing.
    The DP charge is per scrip and day, hence not here: see `contract_note`. ValueError: negative or unmatched sums,
    unknown exchange, broker or segment.
    """
    return _rounded(
        exact_lines(
            broker=broker,
            segment=segment,
            side=side,
            quantity=quantity,
            value_paise=value_paise,
            on_date=on_date,
            exchange=exchange,
        )
    )


def exact_lines(
    *,
    broker: ChargeBroker | str,
    segment: ChargeSegment | str,
    side: Side | str,
    quantity: int,
    value_paise: int,
    on_date: date,
    exchange: str = "NSE",
) -> dict[str, Decimal]:
    """The lines of `charges_for_order` in paise before rounding."""
    broker, segment, side = ChargeBroker(broker), ChargeSegment(segment), Side(side)
    if quantity < 0 or value_paise < 0 or (quantity == 0 and value_paise > 0):
        raise ValueError(f"no order has {quantity} units worth {value_paise} paise")
    if exchange not in _EXCHANGE:
        raise ValueError(f"charges of {exchange} are not known")
    if quantity == 0:
        return {}
    stt = _on(_STT, on_date)[segment]
    brokerage = _on(_BROKERAGE[broker], on_date)[segment].paise_on(value_paise)
    exchange_fee = value_paise * _on(_EXCHANGE[exchange], on_date)[segment] / CRORE
    sebi = value_paise * SEBI_PER_CRORE / CRORE
    return {
        "brokerage": brokerage,
        "stt": value_paise * stt.percent / 100 if side is Side.SELL or stt.on_buy else Decimal(0),
        "exchange": exchange_fee,
        "sebi": sebi,
        "stamp": value_paise * _STAMP[segment] / 100 if side is Side.BUY else Decimal(0),
        "gst": (brokerage + exchange_fee + sebi) * GST_PERCENT / 100,
        "ipft": value_paise * _on(_IPFT[exchange], on_date)[segment] / CRORE,
    }


def rates_known(on_date: date, *, exchange: str = "NSE") -> bool:
    """Whether the tables hold rates for this day, or the earliest ones stand in for it."""
    return on_date >= _EXCHANGE[exchange][0][0]


@dataclass(frozen=True, slots=True)
class NoteOrder:
    """One executed order as a contract note groups it: all its fills, units and turnover in paise."""

    order_id: str
    symbol: str
    segment: ChargeSegment
    side: Side
    quantity: int
    value_paise: int


@dataclass(frozen=True, slots=True)
class ContractNote:
    """One day with one broker. `stt_by_symbol`: paise, whole rupees, intraday and delivery rounded apart."""

    on_date: date
    sheet: ChargeSheet
    stt_by_symbol: dict[str, int]


def contract_note(
    orders: Iterable[NoteOrder], *, broker: ChargeBroker | str, on_date: date, exchange: str = "NSE"
) -> ContractNote:
    """The day's charges as the broker's note has them.

    Shares of one symbol bought and sold on the day are intraday for STT and stamp duty, the rest is delivery, whatever
    the orders were called; equity STT is charged on the day's average price of all buys and sells, then rounded to the
    rupee half up (broker's STT article). Sold derivatives pay on their own value, rounded per contract. Brokerage
    follows each order's own segment. A delivery sale adds the DP charge once per scrip.
    """
    broker = ChargeBroker(broker)
    booked = [order for order in orders if order.quantity > 0]
    exact: dict[str, Decimal] = {}
    for order in booked:
        lines = exact_lines(
            broker=broker,
            segment=order.segment,
            side=order.side,
            quantity=order.quantity,
            value_paise=order.value_paise,
            on_date=on_date,
            exchange=exchange,
        )
        for name in ("brokerage", "exchange", "sebi", "gst", "ipft"):
            exact[name] = exact.get(name, Decimal(0)) + lines[name]

    stt_by_symbol: dict[str, int] = {}
    stamp = dp = Decimal(0)
    for symbol in sorted({order.symbol for order in booked}):
        group = [order for order in booked if order.symbol == symbol]
        day = ScripDay.of(group)
        if group[0].segment.is_equity:
            stt_by_symbol[symbol] = day.equity_stt_paise(on_date)
            stamp += day.equity_stamp()
            dp += day.dp_paise(broker)
        else:
            segment = group[0].segment
            stt_by_symbol[symbol] = _to_rupee(day.sold_value * _on(_STT, on_date)[segment].percent / 100)
            stamp += day.bought_value * _STAMP[segment] / 100
    exact |= {"stt": Decimal(sum(stt_by_symbol.values())), "stamp": stamp, "dp": dp}
    exact["gst"] = exact.get("gst", Decimal(0)) + dp * GST_PERCENT / 100
    return ContractNote(on_date=on_date, sheet=_rounded(exact), stt_by_symbol=stt_by_symbol)


@dataclass(frozen=True, slots=True)
class ScripDay:
    """One symbol's day: units and paise on either side."""

    bought: int
    sold: int
    bought_value: int
    sold_value: int

    @classmethod
    def of(cls, orders: list[NoteOrder]) -> ScripDay:
        buys = [order for order in orders if order.side is Side.BUY]
        sells = [order for order in orders if order.side is Side.SELL]
        return cls(
            bought=sum(order.quantity for order in buys),
            sold=sum(order.quantity for order in sells),
            bought_value=sum(order.value_paise for order in buys),
            sold_value=sum(order.value_paise for order in sells),
        )

    @property
    def squared(self) -> int:
        return min(self.bought, self.sold)

    def dp_paise(self, broker: ChargeBroker) -> Decimal:
        """The depository's fee where shares left the account, before GST."""
        return _DP[broker] * 100 if self.sold > self.bought else Decimal(0)

    def equity_stt_paise(self, on_date: date) -> int:
        """Whole rupees, intraday and delivery rounded apart."""
        average = Decimal(self.bought_value + self.sold_value) / (self.bought + self.sold)
        rates = _on(_STT, on_date)
        intraday = self.squared * average * rates[EQ_I].percent / 100
        delivery = abs(self.bought - self.sold) * average * rates[EQ_D].percent / 100
        return _to_rupee(intraday) + _to_rupee(delivery)

    def equity_stamp(self) -> Decimal:
        """Exact paise: intraday for what was squared, delivery for what stayed."""
        if self.bought == 0:
            return Decimal(0)
        average = Decimal(self.bought_value) / self.bought
        delivered = self.bought - self.squared
        return average * (self.squared * _STAMP[EQ_I] + delivered * _STAMP[EQ_D]) / 100


def _on(rows: list[tuple[date, _Rates]], day: date) -> _Rates:
    current = rows[0][1]
    for start, rates in rows:
        if start <= day:
            current = rates
    return current


def _rounded(exact: dict[str, Decimal]) -> ChargeSheet:
    return ChargeSheet(**{name: int(paise.quantize(Decimal(1), ROUND_HALF_UP)) for name, paise in exact.items()})


def _to_rupee(paise: Decimal) -> int:
    return int((paise / 100).quantize(Decimal(1), ROUND_HALF_UP)) * 100
