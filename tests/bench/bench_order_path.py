"""From a decision to the first byte of its order at the broker, through real processes.

PostgreSQL, Valkey, `manage.py engine`, uvicorn and a broker that answers at once, each its own process; the broker
stamps the arrival of each order on the clock that all processes share, and prices are the sandbox's. One sample at a
time: each order rests below the market, is cancelled through the desk, and the next begins when its trade is closed.
The account's order-rate bucket is emptied between samples, so that its waiting is never part of a figure.
"""

import http.client
import json
import queue
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count, pairwise
from statistics import median
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from accounts.models import ApiKey, BrokerAccount, User
from accounts.secrets import seal
from execution.brokers.registry import SECRET, sign_in, token_of
from execution.engine_settings import publish_settings
from execution.models import EngineLease, Group, Intent, Order
from execution.services.intent_create import Decided
from execution.services.order_cancel import order_cancel
from execution.services.order_ticket import ticket_ask, tickets_decide
from execution.states import AT_EXCHANGE
from risk.models import OrderRate
from risk.policies import publish_policy
from strategies.contracts.publish import publish_library
from strategies.deploy import deploy
from strategies.models import Deployment, Signal
from strategies.scanner.emit_signal import emit_signal
from tests.bench import small_desk
from tests.bench.harness import Figure, Run, bench, percentile
from tests.bench.small_desk import APP_SECRET, APPS, Stamps, wait_for
from trading.celery import app as celery
from trading.desk.seed import seed_instruments
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Side
from trading.domain.signals import SignalDraft
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed, Instrument, PriceBand, UniverseMember
from trading.marketdata.quotes import Quote, last_quote, store_quotes
from trading.portfolio.ledger import open_portfolio
from trading.portfolio.models import Portfolio

T = TypeVar("T")
SYMBOL = "NSE:SBIN-EQ"
START = "2026-02-16T10:30"
WARM_UP = 12
REST_S = 0.1  # the tidying after a trade is over before the next sample begins
API_WRITES_A_KEY = 100  # the throttle lets a key write 120 times a minute: several keys take turns
STAGES = ("asked_to_judged", "judged_to_written", "written_to_claimed", "claimed_to_wire")
"""Until the gates have spoken and the room is reserved; until the order's row is made; until an engine has claimed it,
after the commit and its turn in the rate; until the first byte is out."""
CLIENTS, WARM_ROUNDS = 32, 5
ORDERS_A_PORTFOLIO = 45
# The same idea again and again, none of which fills: every gate is asked, and none may end the measuring.
AGAIN = {
    "max_trades_per_day": 100_000, "duplicate_window_s": 0, "runaway_orders_per_fill": 10_000, "max_open_positions": 50,
    "spread_to_deviation": Decimal(1), "min_volume_ratio": Decimal(0), "price_collar_pct": Decimal(10),
}  # fmt: skip
_number = count()


@dataclass
class Trader:
    """One account with its portfolio, and what is needed to give it a signal."""

    portfolio: Portfolio
    deployment: Deployment

    @property
    def account(self) -> BrokerAccount:
        return self.portfolio.account


@dataclass
class Street:
    """Where samples are taken."""

    instrument: Instrument
    stamps: Stamps

    def price(self) -> Decimal:
        quote = last_quote("BENCH", SYMBOL)
        assert quote is not None
        return to_tick(quote.last_price * Decimal("0.985"), tick=self.instrument.tick_size, side=Side.BUY)

    def draft(self) -> SignalDraft:
        entry = self.price()
        return SignalDraft(
            instrument_id=self.instrument.pk, side=Side.BUY, entry=entry, stop=entry - 10, target=entry + 20,
            bar_at=venue_now("BENCH"), dedupe_key=f"bench:{next(_number)}", explanation="A bench asks.",
        )  # fmt: skip

    def sample(self, trader: Trader, act: Callable[[], int]) -> dict[str, float]:
        """Milliseconds from the instant that `act` tells to the order's first byte, and where they went; then the
        street is swept."""
        all_turns_come(trader)
        self.stamps.forget()
        began = act()
        arrived = self.arrival(trader)
        stages = self.stages(trader, began, arrived)
        self.sweep(trader)
        return stages

    def stages(self, trader: Trader, began: int, arrived: int) -> dict[str, float]:
        """The instants that the desk itself keeps of an order, between ours."""
        wall_of = time.time_ns() - time.monotonic_ns()
        order = Order.objects.filter(account=trader.account).select_related("intent").order_by("-pk")[0]
        assert order.sent_at is not None
        instants = [
            (began + wall_of) / 1e6, *(one.timestamp() * 1000 for one in (
                order.intent.created_at, order.created_at, order.sent_at,
            )), (arrived + wall_of) / 1e6,
        ]  # fmt: skip
        stages = dict(zip(STAGES, (later - earlier for earlier, later in pairwise(instants)), strict=True))
        return {"": instants[-1] - instants[0], **stages}

    def arrival(self, trader: Trader, within_s: float = 5.0) -> int:
        try:
            return self.stamps.next(within_s)
        except queue.Empty:
            asked = Signal.objects.filter(portfolio=trader.portfolio).values_list("state", "refusal").first()
            sent = Order.objects.filter(portfolio=trader.portfolio).values_list("state", "broker_message").first()
            raise AssertionError(f"no order arrived: signal {asked}, order {sent}") from None

    def sweep(self, trader: Trader) -> None:
        """Cancel what rests and let its trade close, so that the next sample meets an empty book."""
        mine = Order.objects.filter(account=trader.account).order_by("-pk")
        wait_for(lambda: mine.filter(state__in=AT_EXCHANGE).exists(), 5, "the order to be acknowledged")
        order_cancel(order_id=mine[0].pk, actor="bench", now=venue_now("BENCH"))
        open_groups = Group.objects.filter(portfolio=trader.portfolio).exclude(state=Group.State.CLOSED)
        wait_for(lambda: not open_groups.exists(), 5, "the trade to close")
        time.sleep(REST_S)


@bench
def order_path(run: Run) -> Iterator[Figure]:
    """Signal to the wire and API to the wire; beside a Celery hop, and beside a view that calls the broker."""
    samples = run.rounds(200)
    with ExitStack() as stack:
        port = stack.enter_context(small_desk.sandbox(run.var, start=START))
        url, stamps = stack.enter_context(small_desk.broker(port, run.var))
        mine, peer, *_ = traders(url)
        street = Street(Instrument.objects.get(symbol=SYMBOL), stamps)
        stack.enter_context(
            small_desk.process("manage.py", "engine", "--account", str(mine.account.pk), log=run.var / "engine.log")
        )
        lease = EngineLease.objects.filter(account=mine.account, state=EngineLease.State.RUNNING)
        wait_for(lease.exists, 60, f"the engine: {run.var / 'engine.log'}")

        ours = measured(samples, lambda: street.sample(mine, lambda: signal(mine, street)))
        with celery_peer(peer, run):
            theirs = measured(samples // 2, lambda: celery_sample(peer, street))
        yield from figures("signal_to_wire", ours, "the same services behind a Celery task", theirs)

        added = [one[""] for one in measured(samples // 2, lambda: street.sample(mine, lambda: intent(mine, street)))]
        yield Figure("intent_committed_to_wire_p50", median(added), "ms")
        yield Figure("intent_committed_to_wire_p99", percentile(added, 0.99), "ms")

        web = stack.enter_context(small_desk.web(run.var))
        yield from counted(mine, street)
        call = api_caller(web, mine, street)
        ours = measured(samples, lambda: street.sample(mine, call))
        with naive_peer(url, peer, street, run) as naive:
            theirs = measured(samples, naive)
        yield from figures("api_order_to_wire", ours, "a Django view that calls the broker, no row or gate", theirs)
        yield from in_turn(web, mine, street, samples)


def in_turn(web: str, trader: Trader, street: Street, samples: int) -> Iterator[Figure]:
    """One client that sends its next order when its last has reached the broker, as the floors were measured: nothing
    of the desk has gone cold between two orders. They rest; several portfolios, because each may hold so many."""
    waits: list[float] = []
    with quoted(ORDERS_A_PORTFOLIO) as prices:
        portfolios = [another_portfolio(trader, 100 + n) for n in range(-(-(samples + WARM_UP) // len(prices)))]
        requests = [request for portfolio in portfolios for request in order_requests(portfolio, prices)]
        host, port = urlsplit(web).netloc.split(":")
        with socket.create_connection((host, int(port))) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in requests[: samples + WARM_UP]:
                all_turns_come(trader)
                street.stamps.forget()
                began, answer = time.monotonic_ns(), b""
                line.sendall(request)
                while not is_whole(answer):
                    answer += line.recv(65536)
                assert answer.startswith(b"HTTP/1.1 201"), answer
                waits.append((street.arrival(trader) - began) / 1e6)
    yield Figure("api_order_to_wire.in_turn_p50", median(waits[WARM_UP:]), "ms")
    yield Figure("api_order_to_wire.in_turn_p99", percentile(waits[WARM_UP:], 0.99), "ms")


@bench
def order_throughput(run: Run) -> Iterator[Figure]:
    """Thirty-two clients at once, each with its own portfolio, on one broker account: the worst case."""
    yield from throughput(run, accounts=1)


@bench
def order_throughput_accounts(run: Run) -> Iterator[Figure]:
    """The same thirty-two clients on four broker accounts, as a desk of several traders has them."""
    yield from throughput(run, accounts=4)


def throughput(run: Run, *, accounts: int) -> Iterator[Figure]:
    """Orders a second, answered and on the wire, and the processor time of an order by process."""
    rounds, name = run.rounds(40), f"api_32_clients.{accounts}_account{'s' if accounts > 1 else ''}"
    with ExitStack() as stack:
        port = stack.enter_context(small_desk.sandbox(run.var, start=START))
        url, stamps = stack.enter_context(small_desk.broker(port, run.var))
        people = traders(url)[:accounts]
        portfolios = [
            another_portfolio(people[number % accounts], number) for number in range(CLIENTS)
        ]  # fmt: skip
        # The order rate of an account lets eight through a second: here it is the desk that is measured.
        numbers = [trader.account.pk for trader in people]
        stack.enter_context(
            small_desk.process("-m", "tests.bench.unpaced_engine", *map(str, numbers), log=run.var / "engine.log")
        )  # fmt: skip
        running = EngineLease.objects.filter(account__in=numbers, state=EngineLease.State.RUNNING)
        wait_for(lambda: running.count() == accounts, 60, f"the engine: {run.var / 'engine.log'}")
        web = stack.enter_context(small_desk.web(run.var))
        prices = stack.enter_context(quoted(rounds + WARM_ROUNDS))
        stamps.forget()
        orders = [order_requests(portfolio, prices) for portfolio in portfolios]
        connection.close()
        for _ in at_once(web, [some[:WARM_ROUNDS] for some in orders]):
            stamps.next(60)
        analyze()
        spent, began = small_desk.cpu_s(), time.monotonic()
        took = sorted(at_once(web, [some[WARM_ROUNDS:] for some in orders]))
        answered = time.monotonic() - began
        for _ in took:
            last = stamps.next(60)
        yield Figure(f"{name}.answered", len(took) / answered, "1/s")
        yield Figure(f"{name}.on_the_wire", len(took) / (last / 1e9 - began), "1/s")
        yield Figure(f"{name}.answer_p50", median(took), "ms")
        yield Figure(f"{name}.answer_p99", percentile(took, 0.99), "ms")
        for role, seconds in small_desk.cpu_s().items():
            yield Figure(f"{name}.cpu_an_order.{role}", (seconds - spent[role]) / len(took) * 1000, "ms")


def another_portfolio(trader: Trader, number: int) -> Portfolio:
    portfolio = open_portfolio(
        owner=trader.portfolio.owner, name=f"Bench {number}", account=trader.account, opening_cash_paise=10**10,
        now=timezone.now(),
    )  # fmt: skip
    publish_policy(portfolio=portfolio, actor="bench", values=AGAIN)
    publish_settings(portfolio=portfolio, actor="bench", values={"max_open_groups": 50})
    return portfolio


@contextmanager
def quoted(most: int) -> Iterator[dict[str, Decimal]]:
    """Fresh prices in the middle of the day's band, also of what the engine does not follow; the prices to buy at."""
    bands = PriceBand.objects.filter(feed__name="BENCH", instrument__instrument_type="EQ").select_related("instrument")
    wait_for(lambda: bands.count() >= most, 60, "the day's bands")
    ticks = {band.instrument.symbol: band.instrument.tick_size for band in bands[:most]}
    middles = {
        band.instrument.symbol: to_tick((band.lower + band.upper) / 2, tick=band.instrument.tick_size, side=Side.BUY)
        for band in bands[:most]
    }
    stop = threading.Event()

    def keep() -> None:
        while not stop.is_set():
            now, at = venue_now("BENCH"), time.time()
            store_quotes("BENCH", [
                Quote(symbol, price, price, price + ticks[symbol], price, 100_000, now, at)
                for symbol, price in middles.items()
            ])  # fmt: skip
            stop.wait(0.5)
        connection.close()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield {
            symbol: to_tick(price * Decimal("0.985"), tick=ticks[symbol], side=Side.BUY)
            for symbol, price in middles.items()
        }
    finally:
        stop.set()
        keeper.join()


def all_turns_come(trader: Trader) -> None:
    """The account's rate as after a pause. Its rows stay: an account has them from its first call on."""
    OrderRate.objects.filter(account_id=trader.account.pk).update(next_free_at=timezone.now() - timedelta(hours=1))


def analyze() -> None:
    """What autovacuum does within a minute of a desk's first orders: else plans are those of empty tables."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connection.close()


def order_requests(portfolio: Portfolio, prices: dict[str, Decimal]) -> list[bytes]:
    """Orders of one client, one for each price, as they go over its line."""
    token = issue(owner=portfolio.owner, name=portfolio.name, scope=ApiKey.Scope.TRADE, now=timezone.now())[1]
    written = []
    for symbol, price in prices.items():
        body, headers = order_request(token, portfolio, symbol, price)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /api/v1/orders/ HTTP/1.1", "Host: 127.0.0.1", *lines, f"Content-Length: {len(body)}", "", body]
        written.append("\r\n".join(head).encode())
    return written


def at_once(web: str, requests: list[list[bytes]]) -> list[float]:
    """Each client sends its requests one after the other over a kept line, all clients side by side; milliseconds until
    each was answered. One thread for all of them: what a client costs is taken from the desk on the same machine."""
    host, port = urlsplit(web).netloc.split(":")
    took: list[float] = []
    with selectors.DefaultSelector() as lines, ExitStack() as opened:
        for some in requests:
            line = opened.enter_context(socket.create_connection((host, int(port))))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting = iter(some)
            line.sendall(next(waiting))
            lines.register(line, selectors.EVENT_READ, [line, waiting, time.monotonic_ns(), b""])
        while lines.get_map():
            for key, _ in lines.select(60):
                line, waiting, began, answer = key.data
                answer += line.recv(65536)
                if not is_whole(answer):
                    key.data[3] = answer
                    continue
                took.append((time.monotonic_ns() - began) / 1e6)
                assert answer.startswith(b"HTTP/1.1 201"), answer
                request = next(waiting, None)
                if request is None:
                    lines.unregister(line)
                else:
                    key.data[2:] = time.monotonic_ns(), b""
                    line.sendall(request)
    return took


def is_whole(answer: bytes) -> bool:
    """Whether all of an answer has come: as long as it says, or the last of its chunks."""
    head, found, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(found) and (len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n"))


def order_request(token: str, portfolio: Portfolio, symbol: str, price: Decimal) -> tuple[str, dict[str, str]]:
    body = json.dumps({
        "portfolio": portfolio.pk, "symbol": symbol, "side": "BUY", "quantity": 10, "order_type": "LIMIT",
        "product": "INTRADAY", "limit_price": str(price), "stop_price": str(price - 10),
    })  # fmt: skip
    return body, {
        "Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": uuid4().hex,
    }  # fmt: skip


def post_order(
    line: http.client.HTTPConnection, token: str, portfolio: Portfolio, symbol: str, price: Decimal
) -> tuple[int, bytes]:
    body, headers = order_request(token, portfolio, symbol, price)
    line.request("POST", "/api/v1/orders/", body, headers)
    reply = line.getresponse()
    return reply.status, reply.read()


def counted(trader: Trader, street: Street) -> Iterator[Figure]:
    """Statements that one order by API makes: until its row has committed, and all of them, the answer among them."""
    token = issue(owner=trader.portfolio.owner, name="counts", scope=ApiKey.Scope.TRADE, now=timezone.now())[1]
    caller = Client()
    for _ in range(2):  # what is read once and kept is not counted
        all_turns_come(trader)
        price = street.price()
        body = {
            "portfolio": trader.portfolio.pk, "symbol": SYMBOL, "side": "BUY", "quantity": 10, "order_type": "LIMIT",
            "product": "INTRADAY", "limit_price": str(price), "stop_price": str(price - 10),
        }  # fmt: skip
        statements: list[str] = []

        def heard(execute: Any, statement: Any, parameters: Any, many: bool, context: Any, to=statements) -> Any:
            to.append(str(statement))
            return execute(statement, parameters, many, context)

        with connection.execute_wrapper(heard):
            reply = caller.post(
                "/api/v1/orders/", body, content_type="application/json",
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex},
            )  # fmt: skip
        assert reply.status_code == 201, reply.content
        street.sweep(trader)
    written = max(place for place, one in enumerate(statements) if "INSERT INTO execution_orderevent" in one)
    yield Figure("api_order.statements_to_commit", written + 1, "")
    yield Figure("api_order.statements", len(statements), "")


def measured(samples: int, sample: Callable[[], T]) -> list[T]:
    taken = [sample() for _ in range(samples + WARM_UP)]
    return taken[WARM_UP:]


def figures(name: str, ours: list[dict[str, float]], peer: str, theirs: list[float]) -> Iterator[Figure]:
    whole = [one[""] for one in ours]
    yield Figure(f"{name}_p50", median(whole), "ms", peer, median(theirs))
    yield Figure(f"{name}_p99", percentile(whole, 0.99), "ms", peer, percentile(theirs, 0.99))
    for stage in STAGES:
        part = [one[stage] for one in ours]
        yield Figure(f"{name}.{stage}_p50", median(part), "ms")
        yield Figure(f"{name}.{stage}_p99", percentile(part, 0.99), "ms")


# -- ours --------------------------------------------------------------------------------------------------------------


def signal(trader: Trader, street: Street) -> int:
    """A signal's row commits; the instant after."""
    committed: list[int] = []
    draft = street.draft()
    with transaction.atomic():
        transaction.on_commit(lambda: committed.append(time.monotonic_ns()))  # before the bell rings
        assert emit_signal(deployment=trader.deployment, draft=draft)
    return committed[0]


def intent(trader: Trader, street: Street) -> int:
    """An order's rows commit, written here; the instant after."""
    committed: list[int] = []
    price, portfolio = street.price(), Portfolio.objects.select_related("account", "owner").get(pk=trader.portfolio.pk)
    ask = ticket_ask(
        user=portfolio.owner, portfolio=portfolio, instrument=street.instrument, side=Side.BUY,
        quantity=10, order_type=OrderType.LIMIT, limit_price=price, stop_price=price - 10, target_price=None,
        product=Product.INTRADAY, idempotency_key=uuid4().hex, source=Intent.Source.API, now=venue_now("BENCH"),
    )  # fmt: skip
    with transaction.atomic():
        transaction.on_commit(lambda: committed.append(time.monotonic_ns()))  # before the bell rings
        (decided,) = tickets_decide([ask])
    assert isinstance(decided, Decided), decided
    assert decided.orders, decided.intent.refusal
    return committed[0]


def api_caller(web: str, trader: Trader, street: Street) -> Callable[[], int]:
    """Posts an order over a kept connection; the instant before its first byte."""
    owner = trader.portfolio.owner
    tokens = [issue(owner=owner, name=f"bench {n}", scope=ApiKey.Scope.TRADE, now=timezone.now())[1] for n in range(8)]
    line = http.client.HTTPConnection(urlsplit(web).netloc)
    calls = count()

    def call() -> int:
        token = tokens[next(calls) // API_WRITES_A_KEY % len(tokens)]
        price = street.price()
        began = time.monotonic_ns()
        status, said = post_order(line, token, trader.portfolio, SYMBOL, price)
        assert status == 201, said
        return began

    return call


# -- the peers ---------------------------------------------------------------------------------------------------------


@contextmanager
def celery_peer(trader: Trader, run: Run) -> Iterator[None]:
    """A worker with one process that takes nothing but our task."""
    sign_in(trader.account)
    EngineLease.objects.create(
        account=trader.account, holder="bench", token=1, state=EngineLease.State.RUNNING, beat_at=timezone.now(),
        expires_at=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    worker = small_desk.process(
        "-m", "celery", "-A", "tests.bench.order_path_peers", "worker", "-P", "solo", "-Q", "bench",
        "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning",
        log=run.var / "celery.log", BENCH_ACCOUNT=str(trader.account.pk),
    )  # fmt: skip
    with worker:
        yield


def celery_sample(trader: Trader, street: Street) -> float:
    # The peer has no engine that beats; a worker may take its time to start on a busy machine.
    EngineLease.objects.filter(account=trader.account).update(beat_at=timezone.now() + timedelta(minutes=1))
    all_turns_come(trader)
    street.stamps.forget()
    draft, wall, committed = street.draft(), timezone.now(), []
    with transaction.atomic():
        transaction.on_commit(lambda: committed.append(time.monotonic_ns()))
        row = Signal.objects.create(
            portfolio=trader.portfolio, deployment=trader.deployment, instrument=street.instrument, side=draft.side,
            entry=draft.entry, stop=draft.stop, target=draft.target, explanation=draft.explanation, bar_at=draft.bar_at,
            created_at=wall, expires_at=wall + timedelta(seconds=60), dedupe_key=draft.dedupe_key,
        )  # fmt: skip
        transaction.on_commit(
            lambda: celery.send_task("bench.signal", args=[str(row.pk)], queue="bench", retry=False, ignore_result=True)
        )
    took = (street.arrival(trader, 30) - committed[0]) / 1e6  # the first one waits for the worker to start
    mine = Order.objects.filter(account=trader.account).order_by("-pk")
    wait_for(lambda: mine.filter(state__in=AT_EXCHANGE).exists(), 5, "the worker's order to be acknowledged")
    clear(trader)
    time.sleep(REST_S)
    return took


def clear(trader: Trader) -> None:
    """The peer has no engine to close its trades: its rows are closed by hand, outside what is measured."""
    from risk.reserve import release

    for order in Order.objects.filter(account=trader.account, state__in=AT_EXCHANGE):
        Order.objects.filter(pk=order.pk).update(state="CANCELLED", done_at=timezone.now())
        release(intent_id=order.intent_id, keep_trades=False)
    Group.objects.filter(portfolio=trader.portfolio).update(state=Group.State.CLOSED)


@contextmanager
def naive_peer(url: str, trader: Trader, street: Street, run: Run) -> Iterator[Callable[[], float]]:
    trader.account.refresh_from_db()
    served = small_desk.web(
        run.var, "tests.bench.order_path_peers:naive_application", "--factory",
        BENCH_ORDERS_URL=f"{url}/api/v3/orders/sync",
        BENCH_AUTHORIZATION=f"{trader.account.app_id}:{token_of(trader.account)}",
    )  # fmt: skip
    with served as address:
        line = http.client.HTTPConnection(urlsplit(address).netloc)

        def sample() -> float:
            body = json.dumps({
                "symbol": SYMBOL, "quantity": 10, "limit_price": str(street.price()), "tag": f"naive{next(_number)}"
            })  # fmt: skip
            street.stamps.forget()
            began = time.monotonic_ns()
            line.request("POST", "/order", body, {"Content-Type": "application/json"})
            reply = line.getresponse()
            said = reply.read()
            assert reply.status == 200, said
            return (street.stamps.next() - began) / 1e6

        yield sample


# -- the people --------------------------------------------------------------------------------------------------------


def traders(url: str) -> list[Trader]:
    """People on one exchange, each with an account."""
    feed, _ = Feed.objects.get_or_create(name="BENCH", defaults={"kind": Feed.Kind.SANDBOX})
    universe = seed_instruments()
    keep = Instrument.objects.filter(symbol__in=[SYMBOL, "NSE:RELIANCE-EQ", "NSE:INFY-EQ"])
    UniverseMember.objects.filter(universe=universe).exclude(instrument__in=keep).delete()
    version = next(one for one in publish_library(actor="bench") if one.contract.slug == "ema-alignment")
    found = []
    for app, name in APPS.items():
        user = User.objects.create_user(f"{name.lower()}-{next(_number)}", f"{name}@localhost", uuid4().hex)
        account = BrokerAccount.objects.create(
            owner=user, name="Bench", broker=BrokerAccount.Broker.FYERS, app_id=app, feed=feed.name, base_url=url,
            environment=BrokerAccount.Environment.SANDBOX,
            app_secret_sealed=seal(APP_SECRET, owner_id=user.pk, purpose=SECRET),
        )  # fmt: skip
        portfolio = open_portfolio(
            owner=user, name="Bench", account=account, opening_cash_paise=10**10, now=timezone.now()
        )
        publish_policy(portfolio=portfolio, actor="bench", values=AGAIN)
        deployment = deploy(portfolio=portfolio, version=version, universe=universe, parameters={}, actor="bench")
        found.append(Trader(portfolio, deployment))
    return found
