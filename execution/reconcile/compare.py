"""What differs between two pictures of an account. Pure: no database, no network, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from execution.brokers.port import BookOrder, BrokerPosition
from execution.identity import is_ours
from trading.domain.fills import FillFact

Key = tuple[str, str]
"""Symbol and product."""


@dataclass(frozen=True, slots=True)
class Ours:
    """The desk's side. `net` per key from the fills of our orders; `order_ids` and `fill_keys` of today.

    `accepted` are differences that a person has called right.
    """

    net: Mapping[Key, int]
    order_ids: Set[str]
    fills: Mapping[tuple[str, str], tuple[int, Key]]
    accepted: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which the two sides do not agree. Quantities in units, signed."""

    kind: str
    symbol: str
    product: str
    ours: int
    theirs: int
    reference: str = ""

    def as_dict(self) -> dict[str, object]:
        return {
            "kind": self.kind, "symbol": self.symbol, "product": self.product, "ours": self.ours,
            "theirs": self.theirs, "reference": self.reference,
        }  # fmt: skip


def compare(
    ours: Ours, *, orders: Iterable[BookOrder], trades: Iterable[FillFact], positions: Iterable[BrokerPosition]
) -> list[Difference]:
    """Differences that are left when everything the books could tell has been taken over.

    What the owner did outside the desk is explained by its trades: it counts for the broker, and for nobody here.
    """
    books = {order.broker_order_id: order for order in orders}
    found: list[Difference] = []
    outside: Counter[Key] = Counter()
    said: set[tuple[str, str]] = set()
    for fact in trades:
        said.add((fact.broker_order_id, fact.broker_trade_id))
        order = books.get(fact.broker_order_id)
        if fact.broker_order_id not in ours.order_ids and order is not None:
            outside[fact.symbol, order.product] += fact.side.sign * fact.quantity
    for order in books.values():
        if is_ours(order.client_order_id) and order.broker_order_id not in ours.order_ids:
            quantity = order.side.sign * order.filled_quantity
            found.append(
                Difference("UNKNOWN_TAG", order.symbol, order.product, 0, quantity, order.broker_order_id)
            )  # fmt: skip
    for (order_id, trade_id), (signed, (symbol, product)) in ours.fills.items():
        if order_id in books and (order_id, trade_id) not in said:
            found.append(Difference("FILL_GONE", symbol, product, signed, 0, f"{order_id}:{trade_id}"))
    theirs = Counter({(one.symbol, one.product): one.net_quantity for one in positions})
    for symbol, product in sorted({*theirs, *ours.net, *outside}):
        key = (symbol, product)
        expected = ours.net.get(key, 0) + outside[key] + ours.accepted.get(key, 0)
        if expected != theirs[key]:
            found.append(Difference("POSITION", symbol, product, ours.net.get(key, 0), theirs[key] - outside[key]))
    return found
