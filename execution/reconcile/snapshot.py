"""The broker's books, read until they can be believed. A call that fails makes them invalid, never empty."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from execution.brokers.port import BookOrder, BrokerGateway, BrokerHolding, BrokerPosition, Funds
from trading.domain.errors import TradingError
from trading.domain.fills import FillFact

TRIES = 3


class NotBelievable(TradingError):
    """The books contradict each other, or what they said before."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One picture of the account. `asked_at` is wall time before the first call."""

    orders: tuple[BookOrder, ...]
    trades: tuple[FillFact, ...]
    positions: tuple[BrokerPosition, ...]
    funds: Funds
    asked_at: datetime
    holdings: tuple[BrokerHolding, ...] = ()

    @property
    def inputs_hash(self) -> str:
        """The same books in any order have the same hash. Funds move with prices and are not of it."""
        rows = sorted(repr(row) for row in (*self.orders, *self.trades, *self.positions))
        return hashlib.blake2b("\n".join(rows).encode(), digest_size=16).hexdigest()


def take_snapshot(gateway: BrokerGateway, *, known: Set[str], deliveries: bool = False) -> Snapshot:
    """Orders, trades, positions, funds, and orders again until two order books agree. `known` are our orders of today;
    holdings are read where there are `deliveries` to find in them.

    Raises NotBelievable where they never do, where the book has shrunk, or where the trade book is behind it; a
    BrokerError where the broker could not be asked.
    """
    asked_at = timezone.now()
    orders = gateway.orders()
    for _ in range(TRIES):
        trades, positions, funds = gateway.trades(), gateway.positions(), gateway.funds()
        again = gateway.orders()
        if _picture(orders) == _picture(again):
            break
        orders = again
    else:
        raise NotBelievable("BOOKS_MOVE", f"The order book changed between {TRIES} readings.")
    shown = {order.broker_order_id for order in orders}
    if gone := known - shown:
        raise NotBelievable(
            "BOOK_SHRANK", f"{len(gone)} orders that the book had are not in it any more.", example=min(gone)
        )
    trades = list(
        {(fact.broker_order_id, fact.broker_trade_id, fact.quantity, fact.price): fact for fact in trades}.values()
    )
    _check_trades(orders, trades)
    holdings = tuple(gateway.holdings()) if deliveries else ()
    return Snapshot(tuple(orders), tuple(trades), tuple(positions), funds, asked_at, holdings)


def _picture(orders: Iterable[BookOrder]) -> Counter[tuple[str, str, int, int]]:
    return Counter((one.broker_order_id, one.status.value, one.quantity, one.filled_quantity) for one in orders)


def _check_trades(orders: Iterable[BookOrder], trades: Iterable[FillFact]) -> None:
    traded: Counter[str] = Counter()
    for fact in trades:
        traded[fact.broker_order_id] += fact.quantity
    for order in orders:
        if traded[order.broker_order_id] < order.filled_quantity:
            raise NotBelievable(
                "TRADES_BEHIND",
                f"Order {order.broker_order_id} has traded {order.filled_quantity}, the trade book has "
                f"{traded[order.broker_order_id]} of it.",
            )  # fmt: skip
