"""Walk a replayed day tick by tick, doing at each tick what the desk would do live.

Where nothing can have changed nothing is asked: a tick without order news, without a bar to scan and without a price
that ends a trade leaves every row as it is, so the database is left alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Prefetch

from execution.engine.account_engine import AccountEngine
from execution.engine.lease import renew
from execution.models import Group, Order, OrderEvent
from execution.replay.lock_step import LockStep
from execution.replay.session_file import SessionFile
from execution.states import LIVE_STATES, OrderState, PendingOp
from strategies.models import Deployment
from strategies.scanner.run import scan_due
from strategies.scanner.scan_bar import compile_deployment
from trading.domain.orders import Reason
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import store_quotes
from trading.marketdata.watermark import set_candles_through
from trading.portfolio.models import EquityPoint, Portfolio
from trading.portfolio.valuation import Valuation
from trading.venue.sessions import exchange_date

ROUNDS = 20
POINTS_KEPT = 100


@dataclass(slots=True)
class Progress:
    """How far a replay has come."""

    venue: datetime
    steps: int


@dataclass(slots=True)
class Replayed:
    """A finished replay; the rows tell the rest."""

    portfolio: Portfolio
    feed: Feed
    deployment: Deployment
    session: SessionFile
    steps: int = 0
    duration_s: float = 0.0
    instruments: list[Instrument] = field(default_factory=list)


class Walk:
    """One day from its first tick to its last bar. `clock["now"]` is the venue time that the engine goes by."""

    def __init__(
        self, result: Replayed, engine: AccountEngine, venue: LockStep, clock: dict[str, datetime], fence: int
    ) -> None:
        self.result = result
        self.engine = engine
        self.venue = venue
        self.clock = clock
        self.fence = fence
        self.account_id = result.portfolio.account_id
        self.symbols = frozenset(one.symbol for one in result.instruments)
        minutes = compile_deployment(result.deployment).body.timeframe_minutes
        session = result.session.session
        self._bar_ends = [session.bar_end(start, minutes) for start in session.bar_starts(minutes)]
        self._through: datetime | None = None
        self._trading = False  # some trade is not over
        self._waiting = False  # and something of it is under way, so that every tick may move it on
        self._worth: Valuation | None = None  # of a portfolio that holds nothing: the same until it trades
        self._points: list[EquityPoint] = []

    def to_the_close(self, *, speed: float | None, on_progress: Callable[[Progress], None]) -> None:
        renewed = time.monotonic()
        while True:
            before = self.clock["now"]
            step, news = self.venue.step()
            self.clock["now"] = max(before, step.venue)
            self.result.steps += 1
            if time.monotonic() - renewed > 1.0:
                renew(self.account_id, self.fence)
                renewed = time.monotonic()
            self._tick(news, on_progress)
            if step.done:
                break
            if speed:
                time.sleep(max(0.0, (self.clock["now"] - before).total_seconds() / speed))
        # No tick comes after the last one: the clock alone ends the last bar.
        self.clock["now"] = max(self.clock["now"], self.result.session.session.closes_at + self.engine.market.grace)
        self._tick(self.venue.drain(), on_progress)
        self._keep_points()

    def _tick(self, news: int, on_progress: Callable[[Progress], None]) -> None:
        due = news
        exits, self.engine.exits_asked = self.engine.exits_asked, 0
        due += exits
        through = self.engine.keep_candles()
        if self._through is None or through > self._through:
            due += self._minute(through)
            self._through = through
            on_progress(Progress(self.clock["now"], self.result.steps))
        if due or self._waiting:
            self._settle()

    def _minute(self, through: datetime) -> int:
        """A minute of candles is complete: scan what it completes; returns how much there is to act on."""
        due = 0
        seen = self._through
        if any((seen is None or seen < end) and end <= through for end in self._bar_ends):
            set_candles_through(self.result.feed.name, through)
            due += scan_due(feed_name=self.result.feed.name, now=self.clock["now"], symbols=self.symbols)
        if self._trading:
            due += self.engine.keep_rules_of_time()
        if self._trading or self._worth is None:
            self._worth = self.engine.value(self.result.portfolio)
        self._points.append(
            EquityPoint(
                portfolio=self.result.portfolio, at=self.clock["now"].replace(second=0, microsecond=0),
                session_date=exchange_date(self.clock["now"]), equity_paise=self._worth.equity_paise,
                day_pnl_paise=self._worth.day_pnl_paise,
            )
        )  # fmt: skip
        if len(self._points) >= POINTS_KEPT:
            self._keep_points()
        return due

    def _keep_points(self) -> None:
        EquityPoint.objects.bulk_create(self._points, ignore_conflicts=True)
        self._points = []

    def _settle(self) -> None:
        """Let the desk act until it has nothing more to do at this instant."""
        self._worth = None
        store_quotes(self.result.feed.name, self.engine.market.quotes().values())
        said = OrderEvent.objects.filter(order__account_id=self.account_id)
        for _ in range(ROUNDS):
            before = said.count()
            self.engine.sweep()
            self.engine.read_books()
            self.venue.drain()
            if said.count() == before:
                break
        live = Order.objects.filter(state__in=LIVE_STATES)
        groups = list(
            Group.objects.filter(portfolio__account_id=self.account_id).exclude(state=Group.State.CLOSED)
            .prefetch_related(Prefetch("orders", live, to_attr="living"))
        )  # fmt: skip
        self._trading = bool(groups)
        self._waiting = not all(_at_rest(group) for group in groups)


def _at_rest(group: Any) -> bool:
    """Held, protected, and nothing asked for: only news, a price or the clock's rules can move it."""
    if group.state not in Group.HELD or group.close_reason:
        return False
    protected = group.stop_price is None or len(group.living) == 1
    return protected and all(
        order.reason == Reason.STOP and order.trigger_price is not None and order.state == OrderState.OPEN
        and order.pending_op == PendingOp.NONE
        for order in group.living
    )  # fmt: skip
