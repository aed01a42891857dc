"""Step the sandbox tick by tick, and let the desk do at each tick all that it would do live.

Everything that streams is waited for before the next tick, and after each thing we send the books are read: so a run
depends on the candles and the contract alone, and a second run makes the same trades.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from accounts.models import BrokerAccount
from execution.brokers.control import SandboxControl
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.order_socket import OrderSocket
from execution.brokers.fyers.price_socket import PriceSocket
from execution.brokers.port import BookOrder, StepResult
from execution.brokers.registry import credentials_of, endpoints_of, sign_in
from execution.brokers.socket_loop import Pace
from execution.engine.account_engine import AccountEngine
from execution.engine.lease import State, acquire, give_up, renew, set_state
from execution.engine.show import keep_equity
from execution.models import Group, Order
from execution.replay.desk import APP_SECRET, replay_desk
from execution.replay.session_file import SessionFile, write_session_file
from strategies.models import Deployment, Signal
from strategies.scanner.run import scan_due
from trading.domain.errors import TradingError
from trading.domain.fills import FillFact
from trading.marketdata.models import Candle, CandleCoverage, Feed, Instrument
from trading.marketdata.quotes import drop_quotes, store_quotes
from trading.marketdata.watermark import set_candles_through
from trading.portfolio.models import Portfolio

APP = "REPLAY0001-100"
HEARD_WITHIN_S = 5.0
ROUNDS = 20


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


class ReplayFailed(TradingError):
    """The sandbox did not start, or fell out of step."""


class Sandbox:
    """A sandbox exchange of our own, for one day, gone with the `with` block."""

    def __init__(self, session: Path, folder: Path, *, cash_paise: int) -> None:
        command = [
            sys.executable, "-m", "execution.sandbox", "--host", "127.0.0.1", "--port", "0", "--print-port",
            "--state-dir", str(folder), "--session", str(session), "--stepped", "--no-rate-limit",
            "--app", f"{APP}:{APP_SECRET}:XR00001:{cash_paise // 100}",
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, error = self._process.communicate(timeout=5)
            raise ReplayFailed("SANDBOX_NOT_STARTED", (error.strip().splitlines() or ["no word from the sandbox"])[-1])
        self.url = f"http://127.0.0.1:{json.loads(line)['port']}"

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


class LockStep:
    """The desk's side of a stepped venue: both sockets in threads that only fill a queue."""

    def __init__(self, account: BrokerAccount, engine: AccountEngine, symbols: list[str]) -> None:
        self.engine = engine
        self.control = SandboxControl(control_url=endpoints_of(account).control)
        self._news: queue.Queue[BookOrder | FillFact] = queue.Queue()
        self._order_events = 0
        self._ready = {"orders": threading.Event(), "prices": threading.Event()}
        self._stop = threading.Event()
        pace = Pace(silence=None)
        self._orders = OrderSocket(
            endpoints=endpoints_of(account), credentials=credentials_of(account), on_order=self._hear,
            on_fill=self._hear, on_position=lambda _: self._count(), pace=pace,
            on_state=lambda state, cause="": self._state("orders", state),
        )  # fmt: skip
        self._prices = PriceSocket(
            endpoints=endpoints_of(account), credentials=credentials_of(account), on_ticks=engine.hear_ticks,
            symbols=symbols, pace=pace, on_state=lambda state, cause="": self._state("prices", state),
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=one.run, args=(self._stop,), daemon=True) for one in (self._orders, self._prices)
        ]

    def __enter__(self) -> "LockStep":
        for thread in self._threads:
            thread.start()
        for name, ready in self._ready.items():
            if not ready.wait(HEARD_WITHIN_S):
                self.__exit__()
                raise ReplayFailed("STREAM_NOT_CONNECTED", f"The stream of {name} did not connect.")
        time.sleep(0.05)  # the subscription's own first frames
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=3)
        self.control.close()

    def step(self) -> StepResult:
        """One tick of the venue; returns when everything it sent has arrived and is applied."""
        done = self.control.step(ticks=1)
        deadline = time.monotonic() + HEARD_WITHIN_S
        while self._prices.heard < done.price_frames or self._order_events < done.order_events:
            if time.monotonic() > deadline:
                raise ReplayFailed(
                    "OUT_OF_STEP",
                    f"Heard {self._prices.heard} of {done.price_frames} frames and {self._order_events} of "
                    f"{done.order_events} order events.",
                )
            time.sleep(0.0002)
        self.drain()
        return done

    def drain(self) -> int:
        """Apply the order news that has arrived, in the order in which it came."""
        applied = 0
        while not self._news.empty():
            news = self._news.get()
            if isinstance(news, FillFact):
                self.engine.hear_fill(news)
            else:
                self.engine.hear_order(news)
            applied += 1
        return applied

    def _hear(self, news: BookOrder | FillFact) -> None:
        self._news.put(news)
        self._count()

    def _count(self) -> None:
        self._order_events += 1

    def _state(self, name: str, state: object) -> None:
        if str(state) == "connected":
            self._ready[name].set()


def replay_day(
    *, feed: Feed, instruments: list[Instrument], day, cash_paise: int, contract: str, speed: float | None,
    keep_candles: bool = False, on_progress: Callable[[Progress], None] = lambda _: None,
) -> Replayed:  # fmt: skip
    """Replay one day of imported candles of `feed` through the whole path.

    `speed` paces it in venue seconds a second; None runs as fast as the machine can. TradingError: no candles, no
    session, a contract that is not there, or a sandbox that fell out of step.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tarazu-replay-") as folder:
        session = write_session_file(Path(folder) / "session.json", feed=feed, instruments=instruments, day=day)
        with Sandbox(session.path, Path(folder) / "state", cash_paise=cash_paise) as sandbox:
            opens = session.session.opens_at
            portfolio, own_feed, deployment = replay_desk(
                day=day, base_url=sandbox.url, app_id=APP, cash_paise=cash_paise, contract=contract, now=opens
            )
            result = Replayed(portfolio, own_feed, deployment, session, instruments=instruments)
            try:
                _drive(result, speed=speed, on_progress=on_progress)
            finally:
                Deployment.objects.filter(pk=deployment.pk).update(state=Deployment.State.RETIRED)
                drop_quotes(own_feed.name)
                if not keep_candles:
                    Candle.objects.filter(feed=own_feed).delete()
                    CandleCoverage.objects.filter(feed=own_feed).delete()
    result.duration_s = time.monotonic() - began
    return result


def _drive(result: Replayed, *, speed: float | None, on_progress: Callable[[Progress], None]) -> None:
    account = BrokerAccount.objects.get(pk=result.portfolio.account_id)
    sign_in(account)
    gateway = FyersGateway(endpoints=endpoints_of(account), credentials=credentials_of(account))
    fence = acquire(account.pk, f"replay:{os.getpid()}")
    assert fence is not None  # the account is a moment old and ours alone
    clock = {"now": result.session.session.opens_at}
    engine = AccountEngine(
        account=account, feed=result.feed, gateway=gateway, fence=fence, now=lambda: clock["now"]
    )
    symbols = [one.symbol for one in result.instruments]
    try:
        set_state(account.pk, fence, State.RUNNING)
        engine.fill_history(result.instruments, start=clock["now"] - timedelta(days=12))
        with LockStep(account, engine, symbols) as venue:
            _walk(result, engine, venue, clock, fence, speed=speed, on_progress=on_progress)
    finally:
        gateway.close()
        give_up(account.pk, fence)


def _walk(
    result: Replayed, engine: AccountEngine, venue: LockStep, clock: dict[str, datetime], fence: int, *,
    speed: float | None, on_progress: Callable[[Progress], None],
) -> None:  # fmt: skip
    renewed = time.monotonic()
    scanned: datetime | None = None
    symbols = frozenset(one.symbol for one in result.instruments)
    account_id = result.portfolio.account_id
    while True:
        before = clock["now"]
        step = venue.step()
        clock["now"] = max(before, step.venue)
        result.steps += 1
        if time.monotonic() - renewed > 1.0:
            renew(account_id, fence)
            renewed = time.monotonic()
        store_quotes(result.feed.name, engine.market.quotes().values())
        through = engine.keep_candles()
        if scanned is None or through > scanned:
            set_candles_through(result.feed.name, through)
            scan_due(feed_name=result.feed.name, now=clock["now"], symbols=symbols)
            engine.keep_rules_of_time()
            keep_equity(result.portfolio, engine.value(result.portfolio), now=clock["now"])
            scanned = through
            on_progress(Progress(clock["now"], result.steps))
        _settle(engine, venue, account_id)
        if step.done:
            break
        if speed:
            time.sleep(max(0.0, (clock["now"] - before).total_seconds() / speed))


def _settle(engine: AccountEngine, venue: LockStep, account_id: int) -> None:
    """Let the desk act until it has nothing more to do at this instant."""
    for _ in range(ROUNDS):
        if not _has_work(account_id):
            return
        events = Order.objects.filter(account_id=account_id).values_list("events__id", flat=True).count()
        engine.sweep()
        engine.read_books()
        venue.drain()
        if events == Order.objects.filter(account_id=account_id).values_list("events__id", flat=True).count():
            return


def _has_work(account_id: int) -> bool:
    if Signal.objects.filter(portfolio__account_id=account_id, state=Signal.State.NEW).exists():
        return True
    return Group.objects.filter(portfolio__account_id=account_id).exclude(state=Group.State.CLOSED).exists()


