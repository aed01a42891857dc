"""The port: what the desk asks of a broker, whichever it is, in the desk's own words.

Prices are rupees as Decimal, quantities units, instants aware UTC. Reads raise a `BrokerError`; an empty list means
that the broker said there is nothing, never that it could not be asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, runtime_checkable

from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.marketdata.quality.impossible import RefusedLine
from trading.marketdata.sources import HistoryLimits

# -- what became of something we sent ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker took it and gave it a number. Whether it trades is told by the book."""

    broker_order_id: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Certain: it is not working anywhere. `code` is ours and stable, `message` the broker's own sentence."""

    code: str
    message: str
    broker_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It left us, and nobody can say what became of it. To be looked up by its tag, never sent again."""

    cause: str


SendResult = Acknowledged | Refused | Unknown
MARGIN_ORDERS = 10
"""The most orders of which the margin is asked at once: what the stricter broker takes in a basket."""


class CallClass(StrEnum):
    """What a call is for. A rate bucket lets exits pass before entries, and both before reads."""

    ORDER = "order"
    CANCEL = "cancel"
    EXIT = "exit"
    READ = "read"
    DATA = "data"
    PACED = "paced"  # its turn was taken with the claim of its order
    PACED_EXIT = "paced_exit"

    @property
    def has_its_turn(self) -> bool:
        return self in (CallClass.PACED, CallClass.PACED_EXIT)


# -- what the broker's books say -----------------------------------------------------------------------------------


class BrokerStatus(StrEnum):
    TRANSIT = "TRANSIT"  # accepted by the broker, not yet by the exchange
    PENDING = "PENDING"  # working; a partial fill is PENDING with a filled quantity
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        return self not in (BrokerStatus.TRANSIT, BrokerStatus.PENDING)


@dataclass(frozen=True, slots=True)
class BookOrder:
    """One order as the broker keeps it. `client_order_id` is None for orders that carry no tag of ours.

    `product` is a Product, or the broker's own word where the desk has none (cover and bracket orders).
    """

    broker_order_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    order_type: OrderType
    product: str
    quantity: int
    filled_quantity: int
    remaining_quantity: int
    limit_price: Decimal | None
    trigger_price: Decimal | None
    average_price: Decimal | None
    status: BrokerStatus
    message: str
    updated_at: datetime | None
    source: str
    raw_status: str


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What the broker says we hold. `net_quantity` is signed, averages rupees a unit, profits rupees."""

    symbol: str
    product: str
    net_quantity: int
    average_price: Decimal
    realised: Decimal
    unrealised: Decimal
    last_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Funds:
    """Rupees, to the paisa."""

    total: Decimal
    utilised: Decimal
    available: Decimal
    realised: Decimal


@dataclass(frozen=True, slots=True)
class Margin:
    """What a basket of orders would block, beside all that is held. Rupees, to the paisa.

    `required` is for all of them together, where one may cover another; `each` for each alone, in the order asked,
    where the broker tells it; `available` what is free, where the broker tells it.
    """

    required: Decimal
    available: Decimal | None
    each: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokerHolding:
    """Shares in the demat account, or on their way into it. `quantity` units held when the day began.

    `sellable` is what is left of it and not pledged, `unsettled` the part that is bought and not yet delivered;
    averages are rupees a unit, 0 where the broker knows none.
    """

    symbol: str
    isin: str
    quantity: int
    sellable: int
    unsettled: int
    average_price: Decimal
    last_price: Decimal | None


class TriggerStatus(StrEnum):
    ACTIVE = "ACTIVE"
    TRIGGERED = "TRIGGERED"  # an order was placed, or tried to be: see the order book
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class TriggerLeg:
    """When the last price reaches `trigger_price`, a limit order of the day at `limit_price` is placed. Rupees."""

    trigger_price: Decimal
    limit_price: Decimal
    quantity: int


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """An order that waits at the broker for a price, for up to a year, over nights and without us.

    One leg, or two of which the first to be reached ends the other: one below `last_price`, one above. `last_price` is
    where the market is now, rupees.
    """

    symbol: str
    side: Side
    product: Product
    legs: tuple[TriggerLeg, ...]
    last_price: Decimal

    @property
    def rising(self) -> tuple[TriggerLeg, ...]:
        return tuple(sorted(self.legs, key=lambda leg: leg.trigger_price))


@dataclass(frozen=True, slots=True)
class StandingTrigger:
    """One trigger as the broker keeps it; legs rise. It carries no tag of ours: it is known by its number alone."""

    trigger_id: str
    symbol: str
    side: Side
    product: str
    legs: tuple[TriggerLeg, ...]
    status: TriggerStatus
    message: str
    created_at: datetime | None


def what_is_wrong_with_order(request: OrderRequest) -> str | None:
    """Why no broker may be asked for this; None if one may. The broker checks the rest."""
    if request.quantity <= 0:
        return "The quantity must be positive."
    for name, value in (("limit", request.limit_price), ("trigger", request.trigger_price)):
        if value is not None and not (value.is_finite() and value > 0):
            return f"The {name} price must be positive."
    if request.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) and request.limit_price is None:
        return "This order type needs a limit price."
    if request.order_type in (OrderType.STOP, OrderType.STOP_LIMIT) and request.trigger_price is None:
        return "This order type needs a trigger price."
    return None


def what_is_wrong_with_trigger(request: TriggerRequest) -> str | None:
    """Why this must not be sent at all; None if it may. The broker checks the rest."""
    if len(request.legs) not in (1, 2):
        return "A trigger has one leg or two."
    for leg in request.legs:
        if leg.quantity <= 0:
            return "The quantity must be positive."
        for price in (leg.trigger_price, leg.limit_price):
            if not (price.is_finite() and price > 0):
                return "A price must be positive."
    low, high = request.rising[0].trigger_price, request.rising[-1].trigger_price
    if len(request.legs) == 2 and not low < request.last_price < high:
        return "Of two triggers one must be below the last price and one above it."
    if len(request.legs) == 1 and low == request.last_price:
        return "The trigger price is the last price."
    return None


@dataclass(frozen=True, slots=True)
class Profile:
    user_id: str
    name: str


# -- what the market says ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quote:
    """Where an instrument stands. None where the venue has nothing to show (an index has no bid)."""

    symbol: str
    last_price: Decimal
    bid: Decimal | None
    ask: Decimal | None
    volume: int
    previous_close: Decimal | None
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    traded_at: datetime | None


@dataclass(frozen=True, slots=True)
class DepthLevel:
    price: Decimal
    quantity: int
    orders: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Best levels first on both sides."""

    symbol: str
    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
    last_price: Decimal | None
    lower_band: Decimal | None
    upper_band: Decimal | None
    total_bid_quantity: int
    total_ask_quantity: int


@dataclass(frozen=True, slots=True)
class Bar:
    """`started_at` is when the bar began. A daily bar is stamped 00:00 UTC of its exchange day."""

    started_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True, slots=True)
class History:
    """Past bars, oldest first, and the lines of the answer that cannot be bars: set aside, and told."""

    bars: list[Bar] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ListedInstrument:
    """A line of the broker's instrument master. Bands and freeze are None where none is given."""

    symbol: str
    name: str
    fy_token: str
    exchange: str  # NSE, BSE, MCX
    segment: str  # CM, FO, CD, COM
    instrument_type: str  # EQ, INDEX, ETF, FUTIDX, OPTSTK …
    isin: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None
    lower_band: Decimal | None
    upper_band: Decimal | None
    previous_close: Decimal | None
    expiry: date | None
    strike: Decimal | None
    option_type: str | None  # CE, PE
    underlying: str | None
    sector: str | None = None
    underlying_token: str = ""  # as fy_token
    kite_token: str = ""
    exchange_token: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """One change of price as it streams in. `volume` is the day's running total."""

    symbol: str
    last_price: Decimal
    volume: int
    traded_at: datetime | None
    bid: Decimal | None = None
    ask: Decimal | None = None
    previous_close: Decimal | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A simulated venue's clock: at `wall` it was `venue` there, and it runs at `speed`."""

    wall: datetime
    venue: datetime
    speed: float
    phase: str
    session_date: date
    running: bool = True
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step of a stepped venue did. `done`: the session has no more to give.

    Frames are counted since each price connection opened, events since the venue started: whoever listens has heard
    everything once its own count has caught up.
    """

    venue: datetime
    done: bool
    price_frames: int
    order_events: int
    frames_by_connection: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in yields. Not to be printed, hence without a repr of the secrets."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ChainLine:
    """One option of a chain. Prices in rupees, quantities in units; None where the venue shows nothing."""

    symbol: str
    strike: Decimal
    option_type: str  # CE, PE
    last_price: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    open_interest: int
    open_interest_change: int | None
    volume: int


@dataclass(frozen=True, slots=True)
class OptionChain:
    """The chain of one expiry around the money. `expiries`: all that are listed, rising."""

    underlying: str
    spot: Decimal | None
    expiries: tuple[date, ...]
    lines: tuple[ChainLine, ...]


# -- the port ------------------------------------------------------------------------------------------------------


@runtime_checkable
class SendsTogether(Protocol):
    """A gateway that puts several placements on the wire side by side, and hears their answers in one thread."""

    def place_together(
        self, requests: Sequence[OrderRequest], *, klass: CallClass = CallClass.ORDER
    ) -> Iterator[list[tuple[int, SendResult]]]:
        """As `place` for each; every result with its place among them, those that came together in one list. None
        waits for the answer to another: where the iteration is left, what is not told yet is in doubt."""


@runtime_checkable
class BrokerGateway(Protocol):
    """One account at one broker. Safe to use from several threads."""

    def profile(self) -> Profile: ...

    def funds(self) -> Funds: ...

    def margin(self, requests: Sequence[OrderRequest]) -> Margin:
        """What these orders would block; nothing is placed. ValueError: none, or more than MARGIN_ORDERS."""

    def holdings(self) -> list[BrokerHolding]:
        """What lies in the demat account, as the day began; trades of the day are in positions()."""

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        """Send once, whatever happens. Doubt is a result: see `Unknown`."""

    def modify(
        self,
        broker_order_id: str,
        *,
        order_type: OrderType,
        quantity: int | None = None,
        limit_price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> SendResult:
        """Change what is given, keep the rest."""

    def cancel(self, broker_order_id: str) -> SendResult:
        """Ask for a cancel. Acknowledged means asked for; the book says when it is done."""

    def place_trigger(self, request: TriggerRequest) -> SendResult:
        """Send once. Acknowledged carries the trigger's number. After doubt see triggers(): no tag leads there."""

    def modify_trigger(self, trigger_id: str, request: TriggerRequest) -> SendResult:
        """New prices and quantities; symbol, side, product and the number of legs stay."""

    def cancel_trigger(self, trigger_id: str) -> SendResult: ...

    def triggers(self) -> list[StandingTrigger]:
        """Those that wait and those that ended, as far back as the broker tells."""

    def orders(self) -> list[BookOrder]: ...

    def trades(self) -> list[FillFact]: ...

    def positions(self) -> list[BrokerPosition]: ...

    def quotes(self, symbols: Iterable[str]) -> list[Quote]: ...

    def depth(self, symbol: str) -> Depth: ...

    @property
    def bands_a_call(self) -> int:
        """Of how many symbols one call tells the day's price bands."""

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        """The lowest and the highest price taken today, by symbol; what has none, or is not known, is left out."""

    @property
    def history_limits(self) -> HistoryLimits:
        """What one request of `history` may span."""

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        """Bars that begin within [start, end), oldest first; the last may still be forming. What cannot be a bar is set
        aside in `History.refused` and costs nothing of the rest.

        Timeframes: 1m, 5m, 15m, 30m, 60m, 1d … Long spans are asked for in pieces.
        """

    def instruments(self) -> list[ListedInstrument]: ...

    def option_chain(self, symbol: str, *, expiry: date | None = None, strikes: int = 50) -> OptionChain:
        """The chain of an underlying's expiry, up to `strikes` (1 to 50) on each side of the money; None: the nearest.

        BusinessError: UNKNOWN_EXPIRY where no such day is listed, or another code where there are no options at all.
        """

    def market_open(self) -> bool: ...

    def clock_skew_s(self) -> float | None:
        """How far the broker's clock was ahead of ours at its last reply, to half a second; None: it told none."""

    def close(self) -> None: ...
