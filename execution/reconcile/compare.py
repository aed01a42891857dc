"""What differs between two pictures of an account. Pure: no database, no network, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from execution.brokers.port import BookOrder, BrokerHolding, BrokerPosition
from execution.identity import is_ours
from trading.domain.fills import FillFact
from trading.domain.orders import Product

Key = tuple[str, str]
"""Symbol and product."""


@dataclass(frozen=True, slots=True)
class Ours:
    """The desk's side. `net` per key from the fills of our orders; `order_ids` and `fill_keys` of today.

    `accepted` are differences that a person has called right, `accepted_orders` orders of which they said so.
    `delivered` by symbol: shares that were bought for delivery on earlier days and not sold before today; they are not
    among the positions of a broker, but holdings.
    """

    net: Mapping[Key, int]
    order_ids: Set[str]
    fills: Mapping[tuple[str, str], tuple[int, Key]]
    accepted: Mapping[Key, int]
    delivered: Mapping[str, int] = field(default_factory=dict)
    accepted_orders: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which the two sides do not agree. Quantities in units, signed."""

    kind: str
    symbol: str
    product: str
    ours: int
    theirs: int
    reference: str = ""
    working: int = 0

    def as_dict(self) -> dict[str, object]:
        return {
            "kind": self.kind, "symbol": self.symbol, "product": self.product, "ours": self.ours,
            "theirs": self.theirs, "reference": self.reference,
        }  # fmt: skip


def compare(
    ours: Ours, *, orders: Iterable[BookOrder], trades: Iterable[FillFact], positions: Iterable[BrokerPosition],
    holdings: Iterable[BrokerHolding] = (),
) -> list[Difference]:  # fmt: skip
    """Differences that are left when everything the books could tell has been taken over.

    What the owner did outside the desk is explained by its trades: it counts for the broker, and for nobody here. An
    order with our tag explains nothing: what it traded, a trade in our rows may believe that it still holds. Of
    holdings the owner may have more than the desk bought, never less. `holdings` are as the day began.
    """
    books = {order.broker_order_id: order for order in orders}
    found: list[Difference] = []
    outside: Counter[Key] = Counter()
    said: set[tuple[str, str]] = set()
    for fact in trades:
        said.add((fact.broker_order_id, fact.broker_trade_id))
        order = books.get(fact.broker_order_id)
        if fact.broker_order_id not in ours.order_ids and order is not None and not is_ours(order.client_order_id):
            outside[fact.symbol, order.product] += fact.side.sign * fact.quantity
    for order in books.values():
        known = ours.order_ids | ours.accepted_orders
        if is_ours(order.client_order_id) and order.broker_order_id not in known:
            traded = order.side.sign * order.filled_quantity
            rest = 0 if order.status.is_final else order.side.sign * order.quantity - traded
            found.append(
                Difference("UNKNOWN_TAG", order.symbol, order.product, 0, traded, order.broker_order_id, rest)
            )  # fmt: skip
    for (order_id, trade_id), (signed, (symbol, product)) in ours.fills.items():
        if order_id in books and (order_id, trade_id) not in said:
            found.append(Difference("FILL_GONE", symbol, product, signed, 0, f"{order_id}:{trade_id}"))
    theirs = Counter({(one.symbol, one.product): one.net_quantity for one in positions})
    demat = {one.symbol: one.quantity for one in holdings}
    deliveries = {(symbol, Product.CNC.value) for symbol in ours.delivered}
    for symbol, product in sorted({*theirs, *ours.net, *outside, *deliveries}):
        key = (symbol, product)
        delivered = ours.delivered.get(symbol, 0) if product == Product.CNC else 0
        there = min(delivered, demat.get(symbol, 0))
        expected = delivered + ours.net.get(key, 0) + outside[key] + ours.accepted.get(key, 0)
        if expected != there + theirs[key]:
            mine, of_the_broker = delivered + ours.net.get(key, 0), there + theirs[key] - outside[key]
            found.append(Difference("POSITION", symbol, product, mine, of_the_broker))
    return found
