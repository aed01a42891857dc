"""The sandbox of a replayed day, and the desk's ears: nothing goes on before everything it said has been heard."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connection

from accounts.models import BrokerAccount
from execution.brokers.control import SandboxControl
from execution.brokers.dialect import Hearers, Socket
from execution.brokers.port import BookOrder, StepResult
from execution.brokers.registry import control_url_of, order_socket_of, price_socket_of
from execution.brokers.socket_loop import Pace
from execution.engine.account_engine import AccountEngine
from execution.replay.desk import APP_SECRET
from trading.domain.errors import TradingError
from trading.domain.fills import FillFact

APP = "REPLAY0001-100"
HEARD_WITHIN_S = 5.0


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
        self._process = subprocess.Popen(
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
        self.control = SandboxControl(control_url=control_url_of(account))
        self._news: queue.Queue[BookOrder | FillFact] = queue.Queue()
        self._order_events = 0
        self._tells_fills = account.broker == BrokerAccount.Broker.FYERS
        self._ready = {"orders": threading.Event(), "prices": threading.Event()}
        self._stop = threading.Event()
        pace = Pace(silence=None)
        self._orders = order_socket_of(
            account, gateway=engine.gateway, pace=pace,
            hearers=Hearers(self._hear, self._hear_fill, partial(self._state, "orders"), lambda _: self._count_more()),
        )  # fmt: skip
        self._prices = price_socket_of(
            account, gateway=engine.gateway, on_ticks=engine.hear_ticks, on_state=partial(self._state, "prices"),
            symbols=symbols, pace=pace,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._listen, args=(one,), daemon=True) for one in (self._orders, self._prices)
        ]

    def _listen(self, stream: Socket) -> None:
        try:
            stream.run(self._stop)
        finally:
            connection.close()  # whether it may connect is asked of the rows

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

    def step(self) -> tuple[StepResult, int]:
        """One tick of the venue; returns when everything it sent has arrived, with how much order news was applied."""
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
        return done, self.drain()

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

    def _hear(self, news: BookOrder) -> None:
        self._news.put(news)
        self._order_events += 1

    def _hear_fill(self, news: FillFact) -> None:
        self._news.put(news)
        self._count_more()

    def _count_more(self) -> None:
        """Fills and positions are events of the venue only where it tells of them by itself."""
        if self._tells_fills:
            self._order_events += 1

    def _state(self, name: str, state: object, _cause: object = "") -> None:
        if str(state) == "connected":
            self._ready[name].set()
