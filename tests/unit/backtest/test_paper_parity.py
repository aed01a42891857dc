"""Paper fills as the backtest does, fill for fill: what it would have done on bars, a paper account gets of them.

A desk on paper is played by a few lines: an order at the market after the signal, a stop at the broker, a target that
is watched, and out at the market where the rule says so. Nothing that the backtest decided is told to it but that.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from execution.brokers.paper.book import meet, open_book
from execution.brokers.paper.rules import Terms
from execution.brokers.port import BrokerStatus
from execution.models import PaperOrder
from strategies.backtest.engine import run
from strategies.backtest.plan import Account, Costs
from tests.factories.people import BrokerAccountFactory, paper_account_on
from tests.unit.backtest.markets import NICKEL, plan, together, wandering
from tests.unit.backtest.test_fills import FALLS, RISES, UNIT, stop, target
from trading.domain.orders import OrderType, Product, Side, Validity
from trading.venue.fill_model import Friction, Stretch
from trading.venue.sessions import SessionKind

BARS = 80
FIXTURES = range(20)


@dataclass(frozen=True)
class Case:
    """A backtest on random bars, with levels and slippage of its own."""

    rows: np.ndarray
    trades: list[dict]
    slippage: Decimal

    @classmethod
    def of(cls, seed: int) -> "Case":
        draw = np.random.default_rng(seed)
        slippage = Decimal(int(draw.integers(0, 12)))
        rows = wandering(seed, BARS)
        levels = (f"{draw.uniform(0.4, 2.5):.1f}" for _ in range(2))
        tested = plan(
            RISES, FALLS, sizing=UNIT, stop=stop(next(levels)), target=target(next(levels)),
            costs=Costs(slippage_bps=slippage), account=Account(cash=Decimal(10_000_000)),
        )  # fmt: skip
        return cls(rows, run(tested, together(rows)).trade_list(), slippage)

    def stretch(self, bar: int) -> Stretch:
        first, high, low, _ = (Decimal(str(round(float(price), 2))) for price in self.rows[bar])
        return Stretch(first, high, low, opens=True)


def an_order(side: Side, order_type: OrderType, *, limit: float | None = None, trigger: float | None = None):
    return PaperOrder(
        side=side.value, order_type=order_type.value, quantity=10, triggered=False,
        limit_price=None if limit is None else Decimal(str(limit)),
        trigger_price=None if trigger is None else Decimal(str(trigger)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", FIXTURES)
def test_paper_fills_what_the_backtest_fills(seed):
    case = Case.of(seed)
    friction = Friction(case.slippage)
    assert case.trades
    for trade in case.trades:
        side = Side(trade["side"])
        out = side.opposite

        def price_of(order: PaperOrder, bar: int) -> Decimal | None:
            return meet(order, case.stretch(bar), tick=NICKEL, friction=friction).price

        assert price_of(an_order(side, OrderType.MARKET), trade["entry_bar"]) == Decimal(str(trade["entry_price"]))
        protection = an_order(out, OrderType.STOP, trigger=trade["stop"])
        profit = an_order(out, OrderType.LIMIT, limit=trade["target"])
        got = None
        for bar in range(trade["entry_bar"], trade["exit_bar"] + 1):
            decided = bar == trade["exit_bar"] and trade["reason"] not in ("STOP", "TARGET")
            if decided:
                got = (bar, price_of(an_order(out, OrderType.MARKET), bar), trade["reason"])
            elif (price := price_of(protection, bar)) is not None:
                got = (bar, price, "STOP")
            elif (price := price_of(profit, bar)) is not None:
                got = (bar, price, "TARGET")
            if got is not None:
                break
        assert got == (trade["exit_bar"], Decimal(str(trade["exit_price"])), trade["reason"])


def test_both_levels_were_reached_somewhere():
    reasons = {trade["reason"] for seed in FIXTURES for trade in Case.of(seed).trades}
    assert {"STOP", "TARGET"} <= reasons


@pytest.mark.django_db
@pytest.mark.parametrize("seed", [1, 2])
def test_the_book_itself_trades_as_the_backtest_does(seed):
    """The same through the rows: the entry is met by the bar after its signal, the stop by every bar from there on."""
    case = Case.of(seed)
    account = paper_account_on(BrokerAccountFactory(), cash="10000000", slippage_bps=case.slippage)
    terms = Terms("NSE:S0-EQ", "", NICKEL, 1, None, SessionKind.EQUITY, True, True)
    now = datetime(2026, 2, 16, 5, 0, tzinfo=UTC)
    stopped = [trade for trade in case.trades if trade["reason"] == "STOP"]
    assert stopped
    for trade in stopped:
        side = Side(trade["side"])
        kept: list[str] = []
        for order_type, way, trigger in (
            (OrderType.MARKET, side, None), (OrderType.STOP, side.opposite, Decimal(str(trade["stop"]))),
        ):  # fmt: skip
            with open_book(account.pk) as book:
                book.begin(now)
                order, refused = book.admit(
                    tag="P", symbol=terms.symbol, side=way, product=Product.INTRADAY, order_type=order_type,
                    validity=Validity.DAY, quantity=10, limit=None, trigger=trigger, terms=terms, band=None,
                    stretch=case.stretch(trade["entry_bar"]) if trigger is None else None, last=Decimal(500), now=now,
                )  # fmt: skip
            assert refused is None
            kept.append(order.number)
        for bar in range(trade["entry_bar"], trade["exit_bar"] + 1):
            with open_book(account.pk) as book:
                book.take(terms.symbol, case.stretch(bar), terms=terms, band=None, now=now)
            over = PaperOrder.objects.get(number=kept[1]).status == BrokerStatus.FILLED
            assert over is (bar == trade["exit_bar"])
        prices = [PaperOrder.objects.get(number=number).average_price for number in kept]
        assert prices == [Decimal(str(trade["entry_price"])), Decimal(str(trade["exit_price"]))]
    with open_book(account.pk) as book:
        assert not any(one.net_quantity for one in book.positions())
        gained = sum(one.realised for one in book.positions())
        assert book.funds().total == Decimal(10_000_000) + gained and book.day == date(2026, 2, 16)
