"""Price-time order book of one name: the users' orders beside the simulated market's displayed depth.

Rules, in the order an exchange would apply them:
- an incoming order takes the best opposite price first; at one price the displayed market stands first, then users
  by time;
- what it took of the display is gone until the next tick refreshes it;
- a resting order fills at its own price when the market trades through it, or when more than the queue ahead of it
  has traded at its price;
- the rest of an order that was marketable goes on taking the refreshed display up to its limit;
- stops wake on the last trade. A user never trades with himself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from execution.sandbox.market import Depth, Level

CANCELLED, FILLED, REJECTED, PENDING, EXPIRED = 1, 2, 5, 6, 7
LIMIT, MARKET, STOP, STOP_LIMIT = 1, 2, 3, 4
HIDDEN_QUEUE = 3  # beyond the display the queue is taken to be this many of its deepest level


@dataclass(slots=True)
class Order:
    """One order as the exchange holds it. Prices in paise; `side` is 1 or -1; `limit` is 0 for market and SL-M."""

    id: str
    user: str
    symbol: str
    side: int
    qty: int
    type: int
    product: str
    validity: str
    limit: int
    stop: int
    tag: str
    status: int
    placed_at: float
    priority: int
    filled: int = 0
    value: int = 0
    working_limit: int = 0  # the limit it really works at; market orders get a protection price
    triggered: bool = True
    passive: bool = False
    queue_ahead: int = 0
    trades: int = 0
    message: str = ""
    source: str = "ITS"
    disclosed: int = 0
    updated_at: float = 0.0

    @property
    def remaining(self) -> int:
        return max(0, self.qty - self.filled)

    @property
    def is_live(self) -> bool:
        return self.status == PENDING

    @property
    def average(self) -> float:
        """Average traded price in paise, 0 if nothing traded."""
        return self.value / self.filled if self.filled else 0.0


@dataclass(frozen=True, slots=True)
class Execution:
    """`qty` of `order` traded at `price` (paise)."""

    order: Order
    qty: int
    price: int


@dataclass
class OrderBook:
    """Live orders of one name. The caller owns ids, money and memory; the book only decides who trades."""

    live: list[Order] = field(default_factory=list)
    stops: list[Order] = field(default_factory=list)
    _taken: dict[tuple[int, int], int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.live or self.stops)

    def add(self, order: Order, depth: Depth) -> list[Execution]:
        """Match what can be matched, rest the remainder; that of an IOC is the caller's to cancel."""
        if not order.triggered:
            self.stops.append(order)
            return []
        done = list(self._take(order, depth))
        if order.remaining and order.validity != "IOC":
            self._rest(order, depth)
        return done

    def restore(self, order: Order) -> None:
        """Put a live order back as it was, without matching."""
        (self.live if order.triggered else self.stops).append(order)

    def remove(self, order: Order) -> None:
        for queue in (self.live, self.stops):
            if order in queue:
                queue.remove(order)

    def forget_display(self) -> None:
        """A new tick refreshes what is displayed."""
        self._taken.clear()

    def tick(self, *, last: int, volume: int, depth: Depth) -> Iterator[Execution]:
        """The market traded `volume` at `last` and shows a fresh `depth`. Yields executions as they happen."""
        self.forget_display()
        for side in (1, -1):
            yield from self._fill_resting(side, last, volume, depth)
        for order in [o for o in self.stops if o.side * (last - o.stop) >= 0]:
            self.stops.remove(order)
            order.triggered = True
            yield from self.add(order, depth)

    # -- inside -------------------------------------------------------------------------------------------------

    def _rest(self, order: Order, depth: Depth) -> None:
        order.passive = not self._is_marketable(order, depth)
        if order.passive:
            order.queue_ahead = self._queue_at(order, depth)
        if order not in self.live:
            self.live.append(order)

    def _queue_at(self, order: Order, depth: Depth) -> int:
        """Shares ahead at this price: what is displayed there, never fewer than an earlier user's order has ahead."""
        own_side = depth.bids if order.side == 1 else depth.asks
        shown = next((level.size for level in own_side if level.price == order.working_limit), 0)
        if not shown and own_side and order.side * (own_side[-1].price - order.working_limit) > 0:
            shown = own_side[-1].size * HIDDEN_QUEUE
        earlier = [
            o.queue_ahead
            for o in self.live
            if o.side == order.side and o.working_limit == order.working_limit and o.passive
        ]
        return max([shown, *earlier])

    def _is_marketable(self, order: Order, depth: Depth) -> bool:
        opposite = depth.asks if order.side == 1 else depth.bids
        return bool(opposite) and order.side * (order.working_limit - opposite[0].price) >= 0

    def _left_of(self, level: Level, side: int) -> int:
        return level.size - self._taken.get((side, level.price), 0)

    def _take(self, order: Order, depth: Depth) -> Iterator[Execution]:
        """Walk the opposite side from its best price to the order's limit."""
        opposite = depth.asks if order.side == 1 else depth.bids
        while order.remaining:
            shown = next((level for level in opposite if self._left_of(level, -order.side) > 0), None)
            resting = self._best_user(order)
            if shown and order.side * (order.working_limit - shown.price) < 0:
                shown = None
            if shown and (resting is None or order.side * (resting.working_limit - shown.price) >= 0):
                qty = min(order.remaining, self._left_of(shown, -order.side))
                key = (-order.side, shown.price)
                self._taken[key] = self._taken.get(key, 0) + qty
                yield self._execute(order, qty, shown.price)
            elif resting is not None:
                qty = min(order.remaining, resting.remaining)
                yield self._execute(resting, qty, resting.working_limit)
                yield self._execute(order, qty, resting.working_limit)
            else:
                return

    def _best_user(self, order: Order) -> Order | None:
        """The opposite user order that comes first by price, then time, within the limit; never the owner's own."""
        rivals = [
            o
            for o in self.live
            if o.side == -order.side
            and o.user != order.user
            and o.remaining
            and order.side * (order.working_limit - o.working_limit) >= 0
        ]
        return min(rivals, key=lambda o: (order.side * o.working_limit, o.priority), default=None)

    def _fill_resting(self, side: int, last: int, volume: int, depth: Depth) -> Iterator[Execution]:
        through = volume  # shares traded at `last` that reach the users of this side
        blocked_at: int | None = None
        for order in sorted(
            (o for o in self.live if o.side == side), key=lambda o: (-side * o.working_limit, o.priority)
        ):
            if not order.remaining:
                continue
            if order.passive:
                beyond = side * (order.working_limit - last)
                if beyond > 0:
                    yield self._execute(order, order.remaining, order.working_limit)
                elif beyond == 0:
                    reach = max(0, through - order.queue_ahead)
                    order.queue_ahead = max(0, order.queue_ahead - through)
                    if reach and blocked_at != order.working_limit:
                        qty = min(order.remaining, reach)
                        through -= qty
                        yield self._execute(order, qty, order.working_limit)
                    if order.remaining:
                        blocked_at = order.working_limit
            if order.remaining and self._is_marketable(order, depth):
                yield from self._take(order, depth)
            if order.remaining and not order.passive:
                self._rest(order, depth)

    def _execute(self, order: Order, qty: int, price: int) -> Execution:
        order.filled += qty
        order.value += qty * price
        if not order.remaining:
            order.status = FILLED
            if order in self.live:
                self.live.remove(order)
        return Execution(order, qty, price)
