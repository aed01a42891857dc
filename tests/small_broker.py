"""A broker in memory, for what the sandbox exchange is too honest to do: lost replies, lies, news out of order.

It speaks the port and keeps books of its own. Nothing trades by itself: a test says what trades, and when.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from execution.brokers.port import (
    Acknowledged,
    BookOrder,
    BrokerHolding,
    BrokerPosition,
    BrokerStatus,
    CallClass,
    Funds,
    Refused,
    SendResult,
    Unknown,
)
from execution.reconcile.money import Flow, day_realised
from trading.domain.fills import FillFact
from trading.domain.money import to_paise
from trading.domain.orders import OrderRequest, OrderType

LOST = "lost"  # taken, and the reply never came
VANISHED = "vanished"  # never arrived, and nobody can say so
NOT_SENT = "not sent"  # no connection
LIE = "lie"  # refused in plain words, and taken all the same


@dataclass(frozen=True)
class Refuse:
    """A plain refusal."""

    code: str = "REJECTED"
    message: str = "RED:no"


class SmallBroker:
    """`answers` are what the next calls get; an empty queue means all is well."""

    def __init__(self, *, at: datetime) -> None:
        self.at = at
        self.answers: deque[object] = deque()
        self.book: dict[str, BookOrder] = {}
        self.facts: list[FillFact] = []
        self.calls: list[str] = []
        self.taken = 0
        self.hidden: set[str] = set()  # orders that the book does not show (yet)
        self.demat: dict[str, int] = {}  # units delivered before today
        self.untold: set[str] = set()  # trades that the trade book does not show (yet)
        self.surplus = 0  # units in every position that no trade explains
        self.paid_in = self.bound = self.odd_profit = Decimal(0)  # rupees that no trade explains

    # -- the port ------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        self.calls.append(f"place {request.side} {request.quantity} {request.order_type}")
        answer = self.answers.popleft() if self.answers else None
        if answer == NOT_SENT:
            return Refused("NOT_SENT", "POST /orders: ConnectError.")
        if isinstance(answer, Refuse):
            return Refused(answer.code, answer.message)
        if answer == VANISHED:
            return Unknown("ReadTimeout")
        order_id = self._take(request)
        if answer == LOST:
            return Unknown("ReadTimeout")
        if answer == LIE:
            return Refused("REJECTED", "RED:no")
        return Acknowledged(order_id)

    def modify(
        self, broker_order_id: str, *, order_type: OrderType, quantity: int | None = None,
        limit_price: Decimal | None = None, trigger_price: Decimal | None = None,
    ):  # fmt: skip
        at = "" if limit_price is None else f" at {limit_price}"
        self.calls.append(f"modify {quantity}{at}" + ("" if trigger_price is None else f" from {trigger_price}"))
        answer = self.answers.popleft() if self.answers else None
        order = self.book[broker_order_id]
        if answer == NOT_SENT:
            return Refused("NOT_SENT", "PATCH /orders: ConnectError.", broker_order_id)
        quantity = quantity or order.quantity
        if isinstance(answer, Refuse) or order.status.is_final or quantity <= order.filled_quantity:
            return Refused("REJECTED", "too late", broker_order_id)
        self._put(
            order, quantity=quantity, remaining_quantity=quantity - order.filled_quantity,
            limit_price=limit_price or order.limit_price, trigger_price=trigger_price or order.trigger_price,
        )  # fmt: skip
        return Unknown("ReadTimeout") if answer == LOST else Acknowledged(broker_order_id)

    def cancel(self, broker_order_id: str) -> SendResult:
        self.calls.append(f"cancel {broker_order_id}")
        answer = self.answers.popleft() if self.answers else None
        if answer == NOT_SENT:
            return Refused("NOT_SENT", "DELETE /orders: ConnectError.", broker_order_id)
        if broker_order_id not in self.book or self.book[broker_order_id].status.is_final:
            return Refused("REJECTED", "the order is already over", broker_order_id)
        if answer != "slow":  # slow: heard, and done later or never
            self.end(broker_order_id)
        return Unknown("ReadTimeout") if answer == LOST else Acknowledged(broker_order_id)

    def orders(self) -> list[BookOrder]:
        return [order for order in self.book.values() if order.broker_order_id not in self.hidden]

    def trades(self) -> list[FillFact]:
        return [fact for fact in self.facts if fact.broker_trade_id not in self.untold]

    def positions(self) -> list[BrokerPosition]:
        """What the day's trades add up to, one line for each symbol and product."""
        net: Counter[tuple[str, str]] = Counter()
        for fact in self.facts:
            net[fact.symbol, self.book[fact.broker_order_id].product] += fact.side.sign * fact.quantity
        zero = Decimal(0)
        return [
            BrokerPosition(symbol, product, quantity + self.surplus, zero, zero, zero, None)
            for (symbol, product), quantity in net.items()
        ]

    def holdings(self) -> list[BrokerHolding]:
        """What was delivered before today, as a test says."""
        zero = Decimal(0)
        return [BrokerHolding(symbol, "", units, units, 0, zero, None) for symbol, units in self.demat.items()]

    def funds(self) -> Funds:
        """Ten lakh, what was paid in, and the profit of the day."""
        profit = Decimal(day_realised(self._flows())) / 100
        total = Decimal(1_000_000) + self.paid_in + profit
        return Funds(total=total, utilised=Decimal(0), available=total - self.bound, realised=profit + self.odd_profit)

    def _flows(self) -> list[Flow]:
        return [
            Flow((fact.symbol, self.book[fact.broker_order_id].product), fact.side.sign * fact.quantity,
                 to_paise(fact.price * fact.quantity))
            for fact in self.facts
        ]  # fmt: skip

    def close(self) -> None: ...

    # -- what happens at the exchange ----------------------------------------------------------------------------

    def _take(self, request: OrderRequest) -> str:
        self.taken += 1
        order_id = f"B{self.taken:06d}"
        self.book[order_id] = BookOrder(
            order_id, request.client_order_id, request.symbol, request.side, request.order_type, request.product,
            request.quantity, 0, request.quantity, request.limit_price, request.trigger_price, None,
            BrokerStatus.PENDING, "", self.at, "API", "6",
        )  # fmt: skip
        return order_id

    def outside(self, symbol, side, quantity, product="INTRADAY") -> str:
        """An order that somebody placed in the broker's own app."""
        self.taken += 1
        order_id = f"X{self.taken:06d}"
        self.book[order_id] = BookOrder(
            order_id, None, symbol, side, OrderType.MARKET, product, quantity, 0, quantity, None, None, None,
            BrokerStatus.PENDING, "", self.at, "WEB", "6",
        )  # fmt: skip
        return order_id

    def _put(self, order: BookOrder, **changes: object) -> BookOrder:
        changed = replace(order, updated_at=self.at, **changes)  # type: ignore[arg-type]
        self.book[order.broker_order_id] = changed
        return changed

    def fill(self, order_id: str, quantity: int, price: str) -> FillFact:
        order = self.book[order_id]
        filled = order.filled_quantity + quantity
        status = BrokerStatus.FILLED if filled >= order.quantity else order.status
        worth = (order.average_price or 0) * order.filled_quantity + Decimal(price) * quantity
        self._put(
            order, filled_quantity=filled, remaining_quantity=max(0, order.quantity - filled), status=status,
            average_price=worth / filled,
        )  # fmt: skip
        fact = FillFact(
            order_id, f"{order_id}-{len(self.facts) + 1}", order.symbol, order.side, quantity, Decimal(price), self.at,
            order.client_order_id,
        )  # fmt: skip
        self.facts.append(fact)
        return fact

    def end(self, order_id: str, status: BrokerStatus = BrokerStatus.CANCELLED) -> BookOrder:
        return self._put(self.book[order_id], status=status)

    def newest(self) -> str:
        return next(reversed(self.book))
