"""Money and positions of one user, in whole paise. Charges are not simulated: the desk books its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from execution.sandbox.order_book import Order

INTRADAY, CNC = "INTRADAY", "CNC"
PRODUCTS = (INTRADAY, CNC)
MARGIN_PCT = {INTRADAY: 20, CNC: 100}  # intraday: the 20 % floor; delivery in full


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution, numbered for ever. `at` is venue time, epoch seconds; price in paise."""

    id: str
    order_id: str
    user: str
    symbol: str
    side: int
    qty: int
    price: int
    product: str
    type: int
    tag: str
    at: float

    @property
    def value(self) -> int:
        return self.qty * self.price


@dataclass(slots=True)
class Position:
    """Sum of the day's trades of one user in one name and product. Values are paise."""

    symbol: str
    product: str
    buy_qty: int = 0
    buy_val: int = 0
    sell_qty: int = 0
    sell_val: int = 0

    def add(self, trade: Trade) -> None:
        if trade.side == 1:
            self.buy_qty += trade.qty
            self.buy_val += trade.value
        else:
            self.sell_qty += trade.qty
            self.sell_val += trade.value

    @property
    def id(self) -> str:
        return f"{self.symbol}-{self.product}"

    @property
    def net(self) -> int:
        return self.buy_qty - self.sell_qty

    @property
    def side(self) -> int:
        return (self.net > 0) - (self.net < 0)

    @property
    def buy_avg(self) -> float:
        return self.buy_val / self.buy_qty if self.buy_qty else 0.0

    @property
    def sell_avg(self) -> float:
        return self.sell_val / self.sell_qty if self.sell_qty else 0.0

    @property
    def net_avg(self) -> float:
        """Average of the side that is open; 0 when flat."""
        return self.buy_avg if self.net > 0 else self.sell_avg if self.net < 0 else 0.0

    @property
    def realised(self) -> float:
        """Paise gained on the matched quantity."""
        return min(self.buy_qty, self.sell_qty) * (self.sell_avg - self.buy_avg)

    def unrealised(self, last: int) -> float:
        return self.net * (last - self.net_avg) if self.net else 0.0


@dataclass(slots=True)
class Account:
    """A user of the sandbox. `cash` is what the day began with; `holdings` {symbol: [quantity, cost in paise]}."""

    user: str
    cash: int
    holdings: dict[str, list[int]] = field(default_factory=dict)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)

    def position(self, symbol: str, product: str) -> Position:
        return self.positions.setdefault((symbol, product), Position(symbol, product))

    def net(self, symbol: str, product: str) -> int:
        held = self.positions.get((symbol, product))
        return held.net if held else 0

    def sellable(self, symbol: str) -> int:
        """Shares that may be sold from delivery: holdings and what was bought today, less what was sold."""
        return self.holdings.get(symbol, [0, 0])[0] + self.net(symbol, CNC)

    def realised(self) -> float:
        return sum(position.realised for position in self.positions.values())

    def blocked(self, live: list[Order]) -> float:
        """Paise of margin in positions and in the opening part of live orders."""
        total = sum(abs(p.net) * p.net_avg * MARGIN_PCT[p.product] / 100 for p in self.positions.values() if _costs(p))
        closable: dict[tuple[str, str, int], int] = {}
        for order in sorted(live, key=lambda o: o.priority):
            key = (order.symbol, order.product, order.side)
            if key not in closable:
                closable[key] = max(0, -order.side * self.net(order.symbol, order.product))
            closing = min(order.remaining, closable[key])
            closable[key] -= closing
            if order.product == CNC and order.side == -1:
                continue
            total += (order.remaining - closing) * margin_price(order) * MARGIN_PCT[order.product] / 100
        return total

    def available(self, live: list[Order]) -> float:
        return self.cash + self.realised() - self.blocked(live)

    def settle_day(self) -> None:
        """Cash and deliveries of the day become tomorrow's opening state; positions start at zero."""
        for position in self.positions.values():
            self.cash += position.sell_val - position.buy_val
            if position.product == CNC and position.net:
                held = self.holdings.setdefault(position.symbol, [0, 0])
                average = held[1] / held[0] if held[0] else 0.0
                held[1] = (
                    round(held[1] + position.net * position.buy_avg)
                    if position.net > 0
                    else round(held[1] + position.net * average)
                )
                held[0] += position.net
                if held[0] <= 0:
                    del self.holdings[position.symbol]
        self.positions.clear()


def margin_price(order: Order) -> int:
    """The price an order is margined at: its limit, for a market order the protection limit, for SL-M its trigger."""
    return order.working_limit or order.limit or order.stop


def _costs(position: Position) -> bool:
    return position.net != 0 and not (position.product == CNC and position.net < 0)
