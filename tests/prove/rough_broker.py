"""A broker on a bad day, the same bad day for the same seed: late books, doubled and shuffled trades, lost words.

Its own books are always true: they are what the desk is measured against at the end.
"""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from execution.brokers.http import Reply
from execution.brokers.port import BookOrder, SendResult
from tests.small_broker import LOST, NOT_SENT, VANISHED, Refuse, SmallBroker
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, Side

DOUBTFUL_400 = "doubtful 400"  # taken, and answered with 400 "order request timed out"
TIMED_OUT = Reply(400, {}, b'{"s":"error","code":-99,"message":"order request timed out"}')
LONGEST_LAG = 8  # readings of the book, three a turn: well inside the six over three minutes that a proof takes
PRICES = [Decimal("812.30"), Decimal("812.35"), Decimal("812.05"), Decimal("811.90")]


class RoughBroker(SmallBroker):
    """`roughness` 0 is an honest broker, 1 one whose every second word is lost, late or doubled."""

    def __init__(
        self, *, at: datetime, seed: str, roughness: float = 0.5, lag: int = LONGEST_LAG,
        doubts: tuple[object, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(at=at)
        self.doubts = doubts  # what goes wrong with an order, when something does; empty: everything that can
        self.random = random.Random(seed)
        self.roughness = roughness
        self.longest_lag = lag
        self.tagless = self.random.random() < 0.5 * bool(roughness)  # trades carry no tag, as at some brokers
        self.requests: list[OrderRequest] = []
        self.priced: dict[str, str] = {}  # where a share trades, by symbol, once it is not where all began
        self.most_sold_beyond = 0  # units on sale beyond what was held, at worst
        self._lag: dict[str, int] = {}
        self._news: list[BookOrder | FillFact] = []

    # -- the port ------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, **how: object) -> SendResult | Reply:  # type: ignore[override]
        told = bool(self.answers)  # the trial itself decides what this one gets, and that the book is as late as can be
        answer = self._answer((LOST, LOST, DOUBTFUL_400, VANISHED, NOT_SENT, Refuse("RATE_LIMITED", "429")))
        if answer is not None and answer != DOUBTFUL_400:
            self.answers.appendleft(answer)
        before = self.taken
        result = super().place(request)
        if self.taken > before:
            self.requests.append(request)
            lag = self.longest_lag if told else self.random.randint(0, self.longest_lag)
            self._lag[self.newest()] = lag if self.roughness or told else 0
            self._watch()
        return TIMED_OUT if answer == DOUBTFUL_400 else result

    def modify(self, broker_order_id: str, **how: object) -> SendResult | Reply:  # type: ignore[override]
        return self._change(super().modify, (LOST, DOUBTFUL_400, NOT_SENT), broker_order_id, **how)

    def cancel(self, broker_order_id: str) -> SendResult | Reply:  # type: ignore[override]
        return self._change(super().cancel, (LOST, DOUBTFUL_400, NOT_SENT, "slow"), broker_order_id)

    def _change(self, call, doubts, *args: object, **how: object) -> SendResult | Reply:
        answer = self._answer(doubts)
        if answer is not None and answer != DOUBTFUL_400:
            self.answers.appendleft(answer)
        result = call(*args, **how)
        self.answers.clear()
        self._watch()
        return TIMED_OUT if answer == DOUBTFUL_400 else result

    def _answer(self, doubts: tuple[object, ...]) -> object:
        if self.answers:
            return self.answers.popleft()
        return self.random.choice(self.doubts or doubts) if self.random.random() < 0.5 * self.roughness else None

    def orders(self) -> list[BookOrder]:
        shown = []
        for order in self.book.values():
            if self._lag.get(order.broker_order_id, 0) > 0:
                self._lag[order.broker_order_id] -= 1
            else:
                shown.append(order)
        return self._shuffled(shown)

    def trades(self) -> list[FillFact]:
        # Where trades carry no tag the trade book may also be ahead of the order book.
        told = [fact for fact in self.facts if fact.broker_trade_id not in self.untold]
        facts = [fact for fact in told if self.tagless or not self._lag.get(fact.broker_order_id)]
        doubled = [fact for fact in facts if self.random.random() < 0.3 * self.roughness]
        return self._shuffled(facts + doubled)

    def _shuffled(self, rows: list) -> list:
        if self.roughness:
            self.random.shuffle(rows)
        return rows

    def news(self) -> list[BookOrder | FillFact]:
        """What the order socket brings: some of it lost, some twice, some late, none of it in order."""
        waiting, self._news = self._news, []
        heard: list[BookOrder | FillFact] = []
        for one in waiting:
            chance = self.random.random() / (self.roughness or 1e-9)
            if chance < 0.2:
                continue
            if chance < 0.4:
                self._news.append(one)
                continue
            heard += [one, one] if chance < 0.6 else [one]
        return self._shuffled(heard)

    # -- the market ----------------------------------------------------------------------------------------------

    def live(self, *, side: Side | None = None, stops: bool = False) -> list[BookOrder]:
        """Orders that can trade now; with `stops` those that wait for their trigger, too."""
        return [
            order for order in self.book.values()
            if not order.status.is_final and (side is None or order.side is side)
            and (stops or order.trigger_price is None)
        ]  # fmt: skip

    def stop_hit(self, part: float) -> int:
        """The price falls through the stop, which trades this part of itself."""
        return self.trade(part, stops=True)

    def trade(self, part: float, *, stops: bool = False) -> int:
        """The market takes this part of what rests, at least a unit of each. Returns how many units traded."""
        traded = 0
        for order in self.live(stops=stops):
            quantity = max(1, int(order.remaining_quantity * part)) if order.remaining_quantity else 0
            if quantity:
                price = self.priced.get(order.symbol) or str(self.random.choice(PRICES))
                self.fill(order.broker_order_id, quantity, price)
                traded += quantity
        return traded

    def count(self, part: float) -> int:
        """The market takes this part, of which the order book tells the sum and nothing else tells the trades."""
        before = len(self.facts)
        traded = self.trade(part)
        self.untold |= {fact.broker_trade_id for fact in self.facts[before:]}
        self._news = [one for one in self._news if not isinstance(one, FillFact)]
        return traded

    def tell(self) -> int:
        """The trade book catches up."""
        self.untold.clear()
        return 0

    def part_ways(self, prices: dict[str, str]) -> int:
        """From now on each share trades at a price of its own."""
        self.priced = prices
        return 0

    def by_hand(self, symbol: str, quantity: int) -> int:
        """Somebody sells in the broker's own app, no more than is held."""
        quantity = min(quantity, self.net())
        if quantity > 0:
            self.fill(self.outside(symbol, Side.SELL, quantity), quantity, "812.00")
        return max(0, quantity)

    def fill(self, order_id: str, quantity: int, price: str) -> FillFact:
        self.at += timedelta(milliseconds=1)
        fact = super().fill(order_id, quantity, price)
        if self.tagless:
            fact = self.facts[-1] = replace(fact, client_order_id=None)
        self._news.append(fact)
        self._watch()
        return fact

    def _put(self, order: BookOrder, **changes: object) -> BookOrder:
        changed = super()._put(order, **changes)
        self._news.append(changed)
        return changed

    def calm(self) -> None:
        """From now on no word is lost or doubled. What is late stays so until its time."""
        self.roughness = 0.0
        self.answers.clear()
        self.tell()

    def net(self) -> int:
        return sum(fact.side.sign * fact.quantity for fact in self.facts)

    def _watch(self) -> None:
        on_sale = sum(order.remaining_quantity for order in self.live(side=Side.SELL, stops=True))
        bought = max(0, self.net())
        self.most_sold_beyond = max(self.most_sold_beyond, on_sale - bought if self.net() >= 0 else on_sale)

    # -- what is true at the end ---------------------------------------------------------------------------------

    def truth(self) -> dict[str, object]:
        """The broker's side of the account, for the oracle."""
        return {
            "orders": list(self.book.values()), "facts": list(self.facts), "requests": list(self.requests),
            "net": self.net(), "most_sold_beyond": self.most_sold_beyond,
        }  # fmt: skip
