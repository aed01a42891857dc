"""What can be asked of a broker."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell: quantity times sign is the change of the position."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @classmethod
    def of(cls, net_quantity: int) -> "Side":
        """The side that made a position of this sign."""
        return cls.BUY if net_quantity > 0 else cls.SELL


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP = "STOP"  # becomes a market order at the trigger (SL-M)
    STOP_LIMIT = "STOP_LIMIT"  # becomes a limit order at the trigger (SL-L)


class Product(StrEnum):
    INTRADAY = "INTRADAY"
    CNC = "CNC"
    MARGIN = "MARGIN"


class Validity(StrEnum):
    DAY = "DAY"
    IOC = "IOC"


class Reason(StrEnum):
    """Why an order exists. Entries open or add; every other reason only reduces."""

    ENTRY = "ENTRY"
    STOP = "STOP"
    TARGET = "TARGET"
    TIME = "TIME"  # the contract's own limit of bars, or its time of day
    RULE = "RULE"  # the contract's exit rule
    TRAILING = "TRAILING"  # the trailing stop, watched by the engine
    OFFSET = "OFFSET"  # a winner pays for a loser, or is paid for: see `offset_run`
    SQUARE_OFF = "SQUARE_OFF"
    MANUAL = "MANUAL"
    KILL = "KILL"

    @property
    def opens(self) -> bool:
        return self is Reason.ENTRY


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as a broker needs it. Prices in rupees on the tick, quantity in units and positive."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity = Validity.DAY
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What is wanted, before risk has looked at it. Prices in rupees, quantity in units.

    `price` is what it is expected to trade at: the limit, or the last price for a market order. `reduces` says that
    it can only make the position smaller. `strategy` and `family` name whose idea it is ("" for a hand); bands and
    freeze quantity are the exchange's, None where it sets none; ages are wall seconds, None where there is none.
    """

    instrument_id: int
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    product: Product
    reason: Reason
    lot_size: int
    tick_size: Decimal
    tradable: bool = True
    stop_price: Decimal | None = None
    reduces: bool = False
    signal_age_s: float | None = None
    strategy: str = ""
    family: str = ""
    sector: str = ""
    underlying: str = ""  # of a future or an option, by its name: SBIN
    segment: str = "CM"
    is_option: bool = False
    freeze_quantity: int | None = None
    lower_band: Decimal | None = None
    upper_band: Decimal | None = None
    repeat_age_s: float | None = None  # since the same idea of the same contract, None: never
    adds: bool = False  # to a trade that was let in: it takes no further place, and must be of its side
    unit_margin: Decimal | None = None  # rupees the broker asks for one unit; None: reckoned here
