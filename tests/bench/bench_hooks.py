"""Alerts by the door of real web processes: how soon each is answered, and whether a burst loses or doubles any.

One sender, one alert after the other, beside `/healthz` of the same process in the same run (what HTTP and Django cost
before a hook is looked up). Then the campaign: an exchange, an engine and the desk's own number of web processes; 200
alerts a second from eight senders for a minute, a copy of every tenth, and the rows counted afterwards: each alert one
signal, each signal decided, and how long after the last alert that took. Senders, PostgreSQL, Valkey and the desk share
the machine. At the end, as many alerts as one and two web processes take in.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from statistics import median
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from execution.hooks.keep import hook_create
from execution.models import Delivery, EngineLease, Hook
from strategies.models import Signal
from tests.bench import small_desk
from tests.bench.bench_order_path import START, traders
from tests.bench.harness import Figure, Run, bench, percentile
from tests.bench.small_desk import wait_for

WARM_UP = 100
RATE = 200
SECONDS = 60
SENDERS = 8
COPY_EVERY = 10
SYMBOLS = ("SBIN", "RELIANCE", "INFY")
DRAINED_WITHIN_S = 240
_numbers = count()


@bench
def hooks(run: Run) -> Iterator[Figure]:
    """An alert's answer over HTTP; then 200 a second for a minute with an engine at work, and the rows counted."""
    with ExitStack() as stack:
        port = stack.enter_context(small_desk.sandbox(run.var, start=START))
        mine, *_ = traders(f"http://127.0.0.1:{port}")
        values = {"name": "bench", "rate_per_minute": 60_000}
        door = hook_create(portfolio=mine.portfolio, values=values, actor="bench", wall=timezone.now())
        with small_desk.web(run.var) as address:
            yield from _one_by_one(address, *door, run)
        stack.enter_context(
            small_desk.process("manage.py", "engine", "--account", str(mine.account.pk), log=run.var / "engine.log")
        )
        lease = EngineLease.objects.filter(account=mine.account, state=EngineLease.State.RUNNING)
        wait_for(lease.exists, 60, f"the engine: {run.var / 'engine.log'}")
        with small_desk.web(run.var, workers=settings.WEB_PROCESSES) as address:
            yield from _campaign(address, *door, seconds=10 if run.quick else SECONDS)
    for workers in (1, 2):
        with small_desk.web(run.var, workers=workers) as address:
            yield Figure(f"alerts taken in by {workers} web", _flood(address, *door, run.rounds(2400)), "1/s")


class Sender:
    """A kept line to the door, and as little else as can be: it shares the machine with what it measures."""

    def __init__(self, address: str, hook: Hook) -> None:
        self.line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        self.path = hook.path

    def send(self, body: bytes) -> int:
        self.line.request("POST", self.path, body, {"content-type": "application/json"})
        return self._answer()

    def ask(self, path: str) -> int:
        self.line.request("GET", path)
        return self._answer()

    def _answer(self) -> int:
        reply = self.line.getresponse()
        reply.read()
        return reply.status


def _alert(secret: str, number: int, price: str = "") -> bytes:
    """One of a strategy on one of a few charts: in, further in, out. Without a price it means the market's."""
    goes_out = number % 7 == 6
    position = {"market_position": "flat", "prev_market_position": "long"} if goes_out else {
        "market_position": "long", "prev_market_position": "flat"
    }  # fmt: skip
    tv = {"exchange": "NSE", "symbol": SYMBOLS[number % len(SYMBOLS)], "timeframe": "15", "entry_price": price,
          "action": "sell" if goes_out else "buy", "order_size": "10", **position}  # fmt: skip
    named = {"trade_id": f"bench {number}", "alert_name": "bench"}
    said_at = timezone.now().isoformat()
    return json.dumps({"secret": secret, "timestamp": said_at, "tv": tv, "strategy_info": named}).encode()


def _one_by_one(address: str, hook: Hook, secret: str, run: Run) -> Iterator[Figure]:
    sender = Sender(address, hook)
    bare = _timed(lambda: sender.ask("/healthz"), WARM_UP, run.rounds(600))
    ours = _timed(lambda: sender.send(_alert(secret, next(_numbers), "812.35")), WARM_UP, run.rounds(1000))
    peer = "/healthz of the same process"
    yield Figure("hook answer, p50", median(ours), "ms", peer, median(bare))
    yield Figure("hook answer, p99", percentile(ours, 0.99), "ms", peer, percentile(bare, 0.99))


def _timed(call: Callable[[], object], warm_up: int, rounds: int) -> list[float]:
    took = []
    for _ in range(warm_up + rounds):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return took[warm_up:]


def _campaign(address: str, hook: Hook, secret: str, *, seconds: int) -> Iterator[Figure]:
    """Senders keep the pace by the clock, not by the answers: an alert's time runs from when it was due."""
    signals = Signal.objects.filter(hook_ref=hook.pk, created_at__gt=timezone.now())
    lock = threading.Lock()
    took: list[float] = []
    codes: Counter[tuple[str, int]] = Counter()
    places = iter(range(RATE * seconds))
    began = time.perf_counter() + 0.5

    def send() -> None:
        last, sender = b"", Sender(address, hook)
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            due = began + place / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            is_copy = place % COPY_EVERY == 0 and last
            body = last if is_copy else _alert(secret, next(_numbers))
            code = sender.send(body)
            with lock:
                took.append((time.perf_counter() - due) * 1000)
                codes["copy" if is_copy else "new", code] += 1
            last = body

    _together(send)
    lasted = time.perf_counter() - began
    waiting = signals.filter(state=Signal.State.NEW)
    left, drained_from = waiting.count(), time.perf_counter()
    wait_for(lambda: not waiting.exists(), DRAINED_WITHIN_S, "every signal to be decided")
    drained_s = time.perf_counter() - drained_from
    fresh = sum(n for (kind, _), n in codes.items() if kind == "new")
    made = signals.count()
    linked = Delivery.objects.filter(hook=hook, first=True).annotate(made=Count("signals"))
    told = signals.values_list("state", "refusal_code").annotate(n=Count("pk")).order_by("-n")
    print(
        f"   answers {dict(codes)}; signals {made} of {fresh}; decided: "
        + ", ".join(f"{s} {c} {n}" for s, c, n in told)
    )
    yield Figure("alerts answered", len(took) / lasted, "1/s")
    yield Figure("campaign answer, p50", median(took), "ms")
    yield Figure("campaign answer, p99", percentile(took, 0.99), "ms")
    yield Figure(
        "alerts not taken", sum(n for (kind, code), n in codes.items() if code != {"new": 202}.get(kind, 200)), ""
    )
    yield Figure("signals lost", max(0, fresh - made), "")
    yield Figure("signals doubled", max(0, made - fresh) + linked.exclude(made=1).count(), "")
    yield Figure("signals undecided after the last alert", left, "")
    yield Figure("signals too old when they were decided", signals.filter(state=Signal.State.EXPIRED).count(), "")
    yield Figure("until the last was decided", drained_s, "s")


def _flood(address: str, hook: Hook, secret: str, most: int) -> float:
    """Each sender as fast as it is answered."""
    bodies = iter([_alert(secret, next(_numbers)) for _ in range(most)])
    lock = threading.Lock()

    def send() -> None:
        sender = Sender(address, hook)
        while True:
            with lock:
                body = next(bodies, None)
            if body is None:
                return
            assert sender.send(body) == 202

    began = time.perf_counter()
    _together(send)
    return most / (time.perf_counter() - began)


def _together(send: Callable[[], None]) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        for one in [pool.submit(send) for _ in range(SENDERS)]:
            one.result()
