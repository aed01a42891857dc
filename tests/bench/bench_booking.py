"""What an order costs the engine from its committed row until it is booked and protected, in processor time.

The engine of a desk on a broker that answers at once and costs nothing: what is left is our own part. Hundreds of
trades in thirty portfolios; each order is sent, heard of at rest, filled and protected by a stop. Alone, and several
together. Processor time hardly depends on what else the machine does.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.bench.harness import Figure, Run, bench
from tests.bench.small_desk import cpu_s

PORTFOLIOS, A_PORTFOLIO = 30, 10
TOGETHER = 8  # in one statement; an engine claims as many as it has hands free
PRICE = Decimal("812.35")
AGAIN = {
    "max_trades_per_day": 100_000, "duplicate_window_s": 0, "runaway_orders_per_fill": 10_000, "max_open_positions": 50,
    "spread_to_deviation": Decimal(1), "min_volume_ratio": Decimal(0),
}  # fmt: skip


@bench
def booking(run: Run) -> Iterator[Figure]:
    """From the committed order to its fill and its stop: processor time of the engine, and of the database."""
    from django.db import connection

    street = _Street()
    street.ask(rounds=1)  # plans are kept, and what is read once has been read
    for _ in _life(street, together=1):
        pass
    for name, together in (("alone", 1), (f"{TOGETHER}_together", TOGETHER)):
        street.ask(rounds=run.rounds(A_PORTFOLIO))
        for what, orders, engine, database in _life(street, together=together):
            yield Figure(f"booking.{what}.{name}.engine", engine / orders * 1000, "ms")
            yield Figure(f"booking.{what}.{name}.postgresql", database / orders * 1000, "ms")
    trades = street.trades()
    for what, work in (
        ("sweep_while_all_are_held", street.sweep),
        ("look_at_every_trade", street.look_at_every_trade),
        ("reading_of_the_books", lambda: street.desk.engine.read_books()),
        ("figures_for_pages", street.show),
    ):
        engine, _ = _spent(work)
        yield Figure(f"booking.{what}.a_trade", engine / trades * 1000, "ms")
    connection.close()


def _life(street: "_Street", *, together: int) -> Iterator[tuple[str, int, float, float]]:
    """What was done, of how many orders, and the seconds of the engine and of PostgreSQL that it took."""
    from execution.brokers.port import BrokerStatus
    from execution.states import OrderState

    engine, broker = street.desk.engine, street.desk.broker
    queued = street.queued()
    before = set(broker.book)

    def by_parts(work: Callable[[list[Any]], object], rows: list[Any]) -> tuple[float, float]:
        return _spent(lambda: [work(rows[at : at + together]) for at in range(0, len(rows), together)])

    yield "sent", len(queued), *by_parts(engine.give, queued)
    news = [one for number, one in broker.book.items() if number not in before]
    assert len(news) == len(queued)
    yield "seen_at_rest", len(news), *by_parts(engine.hear, news)
    assert street.count(state=OrderState.OPEN, reason="ENTRY") == len(news)
    facts = [broker.fill(one.broker_order_id, one.quantity, str(PRICE)) for one in news]
    yield "filled", len(facts), *by_parts(engine.hear, facts)
    ended = [replace(one, status=BrokerStatus.FILLED, filled_quantity=one.quantity) for one in news]
    yield "seen_filled", len(ended), *by_parts(engine.hear, ended)
    steps = [("engine.group", {"group_id": group_id}) for group_id in street.to_protect()]
    give, engine.give = engine.give, lambda order_ids: True  # type: ignore[method-assign]
    yield "step_to_its_stop", len(steps), *by_parts(engine.answer_all, steps)
    engine.give = give  # type: ignore[method-assign]
    stops = street.queued()
    assert len(stops) == len(news)
    yield "stop_sent", len(stops), *by_parts(engine.give, stops)


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of this process and of PostgreSQL."""
    before, began = cpu_s()["postgresql"], time.process_time()
    work()
    return time.process_time() - began, cpu_s()["postgresql"] - before


class _Street:
    """One account with many portfolios, whose limits let the same idea in again and again."""

    def __init__(self) -> None:
        from execution.engine_settings import publish_settings
        from risk.policies import publish_policy
        from tests.factories import PortfolioFactory
        from tests.small_desk import small_desk

        self.desk = small_desk()
        self.portfolios = [self.desk.portfolio] + [
            PortfolioFactory(account=self.desk.account, owner=self.desk.portfolio.owner) for _ in range(PORTFOLIOS - 1)
        ]
        for portfolio in self.portfolios:
            publish_policy(portfolio=portfolio, actor="bench", values=AGAIN)
            publish_settings(portfolio=portfolio, actor="bench", values={"max_open_groups": 50})

    def ask(self, *, rounds: int) -> None:
        """A share a round, wished for in every portfolio, through every gate; none of it is measured."""
        from execution.models import Intent
        from tests.factories import InstrumentFactory
        from tests.factories.world import quote

        for _ in range(rounds):
            share = InstrumentFactory()
            for portfolio in self.portfolios:
                quote(self.desk.world.feed, share, str(PRICE))
                intent = self.desk.ask(portfolio=portfolio, symbol=share.symbol)
                assert intent.state == Intent.State.APPROVED, intent.refusal

    def queued(self) -> list[int]:
        from execution.models import Order

        return list(Order.objects.filter(state="QUEUED").order_by("pk").values_list("pk", flat=True))

    def count(self, **what: object) -> int:
        from execution.models import Order

        return Order.objects.filter(**what).count()

    def to_protect(self) -> list[str]:
        """Trades that have filled and have no stop yet."""
        from execution.models import Group

        bought = Group.objects.filter(orders__reason="ENTRY", orders__filled_quantity__gt=0)
        return [str(pk) for pk in bought.exclude(orders__reason="STOP").distinct().values_list("pk", flat=True)]

    def trades(self) -> int:
        from execution.models import Group

        return Group.objects.exclude(state=Group.State.CLOSED).count()

    def sweep(self) -> None:
        """One of the usual ones, which leave at rest what rests."""
        self.desk.engine._swept = True
        self.desk.engine.sweep()

    def look_at_every_trade(self) -> None:
        self.desk.engine._swept = False
        self.desk.engine.advance_groups()

    def show(self) -> None:
        from execution.engine.show import show_summary

        for portfolio in self.portfolios:
            value = self.desk.engine.value(portfolio)
            show_summary(portfolio, value, feed=self.desk.world.feed, now=self.desk.now[0], tick_age_s=0.1)
