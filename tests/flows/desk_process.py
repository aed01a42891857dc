"""A whole desk as somebody runs it: `manage.py desk` on a folder and ports of its own, every process of it real.

What happened is read where it is kept: the desk's rows by SQL, the exchange's books over its own HTTP. Whatever is
started here is ended here, by its process id.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row

from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.login import App, sign_in_sandbox
from trading.desk.paths import Folders
from trading.desk.seed import SANDBOX_APP, SANDBOX_SECRET
from trading.desk.servers import CHECKOUT

T = TypeVar("T")
Row = dict[str, Any]
OPENS_WITHIN_S = 90
FINAL = ("WITHDRAWN", "FILLED", "CANCELLED", "EXPIRED", "REJECTED", "NOT_PLACED")


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def until(true: Callable[[], T], *, within_s: float, what: str, every_s: float = 0.1) -> T:
    """The first truthy answer; AssertionError when there is none in time."""
    end = time.monotonic() + within_s
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, f"waited {within_s:g} s in vain: {what}"
        time.sleep(every_s)


class DeskProcess:
    """`manage.py desk` on the folder `var`, which may have been used before: then it goes on from there."""

    def __init__(self, var: Path, **environment: str) -> None:
        self.var = var
        self.port, self.sandbox_port = free_port(), free_port()
        self.more = environment
        self.process: subprocess.Popen[str] | None = None
        self.said: list[str] = []
        self.passwords: dict[str, str] = {}
        self._open = threading.Event()
        self._reader: threading.Thread | None = None
        self._rows: psycopg.Connection[Row] | None = None
        self._token = ""

    # -- up and down -------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def environment(self) -> dict[str, str]:
        dropped = ("DATABASE_URL", "REDIS_URL", "SANDBOX_URL", "DJANGO_", "TARAZU_", "TEST_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        ours = {
            "TARAZU_VAR": str(self.var), "PORT": str(self.port), "TARAZU_SANDBOX_PORT": str(self.sandbox_port),
            "NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"],
        }  # fmt: skip
        return kept | ours | self.more

    def start(self) -> float:
        """Start it and wait until it says that it is open; the seconds that took."""
        began = time.monotonic()
        self._open.clear()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "desk"],
            cwd=CHECKOUT, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._listen, args=[self.process], daemon=True)
        self._reader.start()
        until(
            lambda: self._open.is_set() or self.process.poll() is not None,  # type: ignore[union-attr]
            within_s=OPENS_WITHIN_S, what=f"the desk opens: {self.said}", every_s=0.02,
        )  # fmt: skip
        assert self._open.is_set(), f"the desk did not open: {''.join(self.said)}"
        return time.monotonic() - began

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.said.append(line)
                words = line.split()
                if len(words) == 3 and words[0] in ("operator", "trader"):
                    self.passwords[words[0]] = words[1]
                if line.startswith("Tarazu is open"):
                    self._open.set()

    def refuse(self, **more: str) -> str:
        """It must end by itself, with status 2 and one line: that line."""
        done = subprocess.run(
            [sys.executable, "manage.py", "desk"],
            cwd=CHECKOUT, env=self.environment() | more, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def stop(self, *, within_s: float = 30, with_signal: signal.Signals = signal.SIGINT) -> float:
        """Ctrl-C; the seconds until it had ended."""
        assert self.process is not None
        self._let_go()
        began = time.monotonic()
        self.process.send_signal(with_signal)
        self.process.wait(timeout=within_s)
        return time.monotonic() - began

    def is_ready(self) -> bool:
        try:
            reply = httpx.get(f"{self.address}/readyz", timeout=5)
        except httpx.HTTPError:
            return False
        return reply.status_code == 200 and bool(reply.json()["ready"])

    def clean_up(self) -> None:
        """Whatever happened: nothing of it runs any more, and its folder is gone."""
        self._let_go()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)
        end = time.monotonic() + 15
        while self.ours() and time.monotonic() < end:
            time.sleep(0.1)
        for pid in self.ours():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.var, ignore_errors=True)

    def _let_go(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    # -- its processes -----------------------------------------------------------------------------------------------

    def ours(self) -> dict[int, str]:
        """Every living process that belongs to this folder: pid → command."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue  # it ended while we looked
            if state != "Z" and (f"TARAZU_VAR={self.var}" in words or str(self.var) in command):
                found[int(entry.name)] = command
        return found

    def pid(self, name: str) -> int:
        """Of `sandbox`, `engine`, `worker`, `research`, `beat` or `web`; 0 while it is down."""
        wanted = {"sandbox": "execution.sandbox", "research": "manage.py worker --research"}.get(
            name, f"manage.py {name}"
        )
        return next(
            (
                pid for pid, command in self.ours().items()
                if wanted in command and (name == "research" or "--research" not in command)
            ),
            0,
        )  # fmt: skip

    def kill(self, name: str) -> int:
        """`kill -9`; the number of the process that is no more."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    def started_again(self, name: str, *, instead_of: int, within_s: float = 30) -> int:
        """The supervisor has started another one: its pid."""
        return until(
            lambda: (found := self.pid(name)) != instead_of and found, within_s=within_s, what=f"{name} starts again"
        )

    def log(self, name: str) -> str:
        path = self.var / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self, code: str) -> str:
        """Python in the desk's own shell, beside the running desk."""
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v0", "-c", code],
            cwd=CHECKOUT, env=self.environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # -- what it knows -----------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[Row]:
        if self._rows is None or self._rows.closed:
            where = Folders(self.var).database_url
            self._rows = psycopg.connect(where, autocommit=True, row_factory=dict_row, connect_timeout=5)
        return self._rows.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> Any:
        """The first value of the first row; None where there is none."""
        found = self.rows(sql, *values)
        return next(iter(found[0].values())) if found else None

    def group(self, group_id: str) -> Row:
        return self.rows("SELECT * FROM execution_group WHERE id = %s", group_id)[0]

    def orders_of(self, group_id: str) -> list[Row]:
        return self.rows("SELECT * FROM execution_order WHERE group_id = %s ORDER BY id", group_id)

    def is_protected(self, group_id: str) -> bool:
        """It is held, and a stop as large as what is held waits at the broker."""
        return bool(
            self.one(
                """SELECT count(*) FROM execution_group g
                   JOIN execution_order e ON e.group_id = g.id AND e.reason = 'ENTRY' AND e.filled_quantity > 0
                   JOIN execution_order s ON s.group_id = g.id AND s.reason = 'STOP' AND s.trigger_price IS NOT NULL
                    AND s.state = 'OPEN' AND s.pending_op = 'NONE' AND s.quantity = e.filled_quantity
                   WHERE g.id = %s AND g.state IN ('PARTIAL', 'ACTIVE')""",
                group_id,
            )
        )

    def engine_state(self) -> str:
        return str(self.one("SELECT state FROM execution_enginelease"))

    # -- what the exchange knows -------------------------------------------------------------------------------------

    def venue(self, path: str, **body: Any) -> Row:
        """One of the sandbox's own controls: `venue("clock")` asks, with values it sets."""
        url = f"{self.sandbox}/sandbox/{path}"
        reply = httpx.post(url, json=body, timeout=10) if body else httpx.get(url, timeout=10)
        reply.raise_for_status()
        return dict(reply.json())

    def broker(self, path: str, **query: str) -> Row:
        """What the broker says to somebody who is nobody of the desk: `/api/v3/orders`, `/data/quotes` …"""
        if not self._token:
            app = App(app_id=SANDBOX_APP, secret=SANDBOX_SECRET, redirect_uri=f"{self.sandbox}/callback")
            self._token = sign_in_sandbox(endpoints=Endpoints.of(self.sandbox), app=app).access_token
        headers = {"Authorization": f"{SANDBOX_APP}:{self._token}"}
        for _ in range(40):  # the desk draws on the same allowance of calls
            reply = httpx.get(f"{self.sandbox}{path}", params=query, headers=headers, timeout=10)
            if reply.status_code != 429:
                break
            time.sleep(0.5)
        reply.raise_for_status()
        return dict(reply.json())

    def last_price(self, symbol: str) -> float:
        return float(self.broker("/data/quotes", symbols=symbol)["d"][0]["v"]["lp"])

    # -- acting as its people do -------------------------------------------------------------------------------------

    def signed_in(self, name: str = "trader") -> httpx.Client:
        """A browser's session: its cookies, and the token that its forms carry."""
        client = httpx.Client(base_url=self.address, timeout=10)
        client.get("/account/login/").raise_for_status()
        reply = client.post(
            "/account/login/",
            data={
                "login": name, "password": self.passwords[name], "csrfmiddlewaretoken": client.cookies["csrftoken"],
            },
        )  # fmt: skip
        assert reply.status_code == 302, reply.text[:500]
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        return client

    def place(self, client: httpx.Client, symbol: str, *, quantity: int, last: float) -> httpx.Response:
        """A market order to buy, its stop three per cent below `last`."""
        stop = (Decimal(str(last)) * Decimal("0.97")).quantize(Decimal(1))
        wish = {
            "symbol": symbol, "side": "BUY", "quantity": quantity, "order_type": "MARKET", "product": "INTRADAY",
            "stop_price": str(stop),
        }  # fmt: skip
        return client.post("/api/v1/orders/", json=wish, headers={"Idempotency-Key": uuid.uuid4().hex})

    def enter(
        self, client: httpx.Client, symbol: str, *, quantity: int = 10, last: float | None = None, within_s: float = 90
    ) -> Row:
        """An entry that risk allows, as the API tells it; asked again while the market or the engine is not ready."""
        answers: list[str] = []
        price = last or self.last_price(symbol)

        def try_it() -> Row | None:
            reply = self.place(client, symbol, quantity=quantity, last=price)
            answers.append(f"{reply.status_code} {reply.text[:160]}")
            return dict(reply.json()) if reply.status_code == 201 else None

        try:
            return until(try_it, within_s=within_s, what=f"an entry in {symbol}", every_s=1.0)
        except AssertionError:
            raise AssertionError(f"no entry in {symbol}: {answers[-1]}") from None

    def close(self, client: httpx.Client, group_id: str) -> None:
        reply = client.post(
            f"/api/v1/positions/{group_id}/close/", headers={"Idempotency-Key": uuid.uuid4().hex}
        )  # fmt: skip
        assert reply.status_code == 202, reply.text

    def closed(self, group_id: str, *, within_s: float = 40) -> None:
        until(
            lambda: self.group(group_id)["state"] == "CLOSED",
            within_s=within_s, what=f"the trade ends: {self.orders_of(group_id)}",
        )  # fmt: skip


def disagreements(desk: DeskProcess) -> list[str]:
    """Everything in which the desk's rows and the broker's books of today differ; empty is what must be.

    Orders by number and by tag, with how they ended; fills by trade number with quantity and price; positions; cash.
    To be asked when no order is live.
    """
    wrong: list[str] = []
    today = desk.venue("clock")["session_date"]  # the broker forgets yesterday
    book = {row["id"]: row for row in desk.broker("/api/v3/orders")["orderBook"]}
    trades = {row["tradeNumber"]: row for row in desk.broker("/api/v3/tradebook")["tradeBook"]}
    held = {row["symbol"]: row["netQty"] for row in desk.broker("/api/v3/positions")["netPositions"] if row["netQty"]}
    ours = {
        row["broker_order_id"]: row
        for row in desk.rows(
            """SELECT * FROM execution_order WHERE broker_order_id IS NOT NULL
               AND (placed_at AT TIME ZONE 'Asia/Kolkata')::date = %s""",
            today,
        )
    }
    ended = {1: "CANCELLED", 2: "FILLED", 5: "REJECTED", 7: "EXPIRED", 6: "OPEN"}
    tags = [row["orderTag"] for row in book.values()]
    wrong += [f"the tag {tag} is at the broker twice" for tag in set(tags) if tags.count(tag) > 1]
    wrong += [f"order {number} is at the broker alone" for number in book.keys() - ours.keys()]
    wrong += [f"order {number} is on the desk alone" for number in ours.keys() - book.keys()]
    for number in book.keys() & ours.keys():
        there, here = book[number], ours[number]
        if (there["orderTag"], there["qty"], there["filledQty"], ended[there["status"]]) != (
            f"1:{here['client_order_id']}", here["quantity"], here["filled_quantity"], here["state"],
        ):  # fmt: skip
            wrong.append(f"order {number}: {there} but {here}")
    fills = desk.rows(
        """SELECT f.*, o.side, o.broker_order_id FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
           WHERE (f.filled_at AT TIME ZONE 'Asia/Kolkata')::date = %s""",
        today,
    )
    for fill in fills:  # within an order the desk counts: the broker's number is both together
        fill["number"] = f"{fill['broker_order_id']}-{fill['broker_trade_id']}"
    numbers = [fill["number"] for fill in fills]
    wrong += [f"trade {number} is booked twice" for number in set(numbers) if numbers.count(number) > 1]
    wrong += [f"trade {number} is lost" for number in trades.keys() - set(numbers)]
    wrong += [f"trade {number} never was" for number in set(numbers) - trades.keys()]
    paid = 0
    for fill in fills:
        there = trades.get(fill["number"])
        if there is None:
            continue
        value = round(Decimal(str(there["tradePrice"])) * 100) * there["tradedQty"]
        paid += there["side"] * value
        if (there["tradedQty"], value, there["orderNumber"]) != (
            fill["quantity"], fill["value_paise"], fill["broker_order_id"],
        ):  # fmt: skip
            wrong.append(f"trade {fill['number']}: {there} but {fill}")
    posted = desk.one(
        """SELECT coalesce(sum(e.amount_paise), 0) FROM portfolio_ledgerentry e
           JOIN portfolio_ledgertransaction t ON t.id = e.transaction_id
           WHERE e.account = 'CASH' AND t.kind = 'FILL' AND (t.occurred_at AT TIME ZONE 'Asia/Kolkata')::date = %s""",
        today,
    )
    if posted != -paid:
        wrong.append(f"the ledger moved {posted} paise for trades of {-paid}")
    positions = {
        row["symbol"]: row["net_quantity"]
        for row in desk.rows(
            """SELECT i.symbol, p.net_quantity FROM portfolio_position p
               JOIN marketdata_instrument i ON i.id = p.instrument_id WHERE p.net_quantity <> 0"""
        )
    }
    if positions != held:
        wrong.append(f"the broker holds {held}, the desk {positions}")
    return wrong + left_over(desk)


def left_over(desk: DeskProcess) -> list[str]:
    """What a desk without an open trade may not have."""
    live = desk.rows("SELECT id, state, reason FROM execution_order WHERE state <> ALL(%s)", list(FINAL))
    held = desk.rows(
        """SELECT b.key, r.amount FROM risk_reservation r JOIN risk_riskbucket b ON b.id = r.bucket_id
           WHERE r.released_at IS NULL AND b.kind NOT IN ('TRADES', 'DAY')"""
    )
    buckets = desk.rows(
        """SELECT key, reserved, used FROM risk_riskbucket
           WHERE kind NOT IN ('TRADES', 'DAY') AND reserved + used <> 0"""
    )
    parked = desk.rows("SELECT * FROM execution_parkedfill WHERE drained_at IS NULL")
    cost = desk.one("SELECT coalesce(sum(amount_paise), 0) FROM portfolio_ledgerentry WHERE account = 'POSITIONS'")
    total = desk.one("SELECT coalesce(sum(amount_paise), 0) FROM portfolio_ledgerentry")
    found = [f"live order {row}" for row in live]
    found += [f"reservation {row}" for row in held] + [f"bucket {row}" for row in buckets]
    found += [f"parked fill {row}" for row in parked]
    found += [f"positions at cost: {cost} paise"] if cost else []
    found += [f"the ledger is off by {total} paise"] if total else []
    return found


@contextmanager
def desk_process(**environment: str) -> Iterator[DeskProcess]:
    """A desk in a new folder, not yet started; gone in the end, with everything that it started."""
    var = Path(tempfile.mkdtemp(prefix="tarazu-flow-"))
    var.chmod(0o755)
    desk = DeskProcess(var, **environment)
    try:
        yield desk
    finally:
        desk.clean_up()
