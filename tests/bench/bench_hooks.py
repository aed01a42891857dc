"""Alerts by the door of a real web process: how soon each is answered, and whether a burst loses or doubles any.

One sender, one alert after the other, beside `/healthz` of the same process in the same run (what HTTP and Django cost
before a hook is looked up). Then a campaign: 200 alerts a second from eight senders, a copy of every tenth, and the
rows counted afterwards.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from statistics import median

import httpx
from django.utils import timezone

from execution.hooks.keep import hook_create
from execution.models import Delivery, Hook
from strategies.models import Signal
from tests.bench import small_desk
from tests.bench.harness import Figure, Run, bench, percentile
from trading.desk.seed import seed_instruments
from trading.marketdata.models import Feed
from trading.portfolio.models import Portfolio

WARM_UP = 100
RATE = 200
SECONDS = 60
SENDERS = 8
COPY_EVERY = 10


@bench
def hooks(run: Run) -> Iterator[Figure]:
    """An alert's answer over HTTP; then 200 a second for a minute, with the rows counted."""
    hook, secret = _door()
    numbers = count()
    with small_desk.web(run.var) as address:
        with httpx.Client(base_url=address, timeout=30) as client:
            bare = [_timed(lambda: client.get("/healthz")) for _ in range(WARM_UP + run.rounds(600))][WARM_UP:]
            ours = [
                _timed(lambda: _sent(client, hook, _alert(secret, next(numbers))))
                for _ in range(WARM_UP + run.rounds(1000))
            ][WARM_UP:]
        peer = "/healthz of the same process"
        yield Figure("hook answer, p50", median(ours), "ms", peer, median(bare))
        yield Figure("hook answer, p99", percentile(ours, 0.99), "ms", peer, percentile(bare, 0.99))
        yield from _campaign(address, hook, secret, numbers, seconds=10 if run.quick else SECONDS)


def _door() -> tuple[Hook, str]:
    from tests.factories import PortfolioFactory

    seed_instruments()
    Feed.objects.get_or_create(name="sandbox", defaults={"kind": Feed.Kind.SANDBOX})
    values = {"name": "bench", "rate_per_minute": 60_000}
    portfolio: Portfolio = PortfolioFactory.create()
    return hook_create(portfolio=portfolio, values=values, actor="bench", wall=timezone.now())


def _alert(secret: str, number: int) -> bytes:
    tv = {"exchange": "NSE", "symbol": "SBIN", "timeframe": "15", "action": "buy", "market_position": "long",
          "prev_market_position": "flat", "entry_price": "812.35", "order_size": "10"}  # fmt: skip
    named = {"trade_id": f"bench {number}", "alert_name": "bench"}
    said_at = timezone.now().isoformat()
    return json.dumps({"secret": secret, "timestamp": said_at, "tv": tv, "strategy_info": named}).encode()


def _timed(call: object) -> float:
    began = time.perf_counter()
    call()  # type: ignore[operator]
    return (time.perf_counter() - began) * 1000


def _sent(client: httpx.Client, hook: Hook, body: bytes) -> int:
    return client.post(hook.path, content=body, headers={"content-type": "application/json"}).status_code


def _campaign(address: str, hook: Hook, secret: str, numbers: Iterator[int], *, seconds: int) -> Iterator[Figure]:
    """Senders keep the pace by the clock, not by the answers: an alert's time runs from when it was due."""
    before = Signal.objects.filter(hook_ref=hook.pk).count()
    lock = threading.Lock()
    took: list[float] = []
    codes: Counter[tuple[str, int]] = Counter()
    total = RATE * seconds
    places = iter(range(total))
    began = time.perf_counter() + 0.5

    def sender() -> None:
        last = b""
        with httpx.Client(base_url=address, timeout=30) as client:
            while True:
                with lock:
                    place = next(places, None)
                if place is None:
                    return
                due = began + place / RATE
                time.sleep(max(0.0, due - time.perf_counter()))
                is_copy = place % COPY_EVERY == 0 and last
                body = last if is_copy else _alert(secret, next(numbers))
                code = _sent(client, hook, body)
                with lock:
                    took.append((time.perf_counter() - due) * 1000)
                    codes["copy" if is_copy else "new", code] += 1
                last = body

    with ThreadPoolExecutor(SENDERS) as pool:
        for one in [pool.submit(sender) for _ in range(SENDERS)]:
            one.result()
    lasted = time.perf_counter() - began
    fresh = sum(n for (kind, _), n in codes.items() if kind == "new")
    made = Signal.objects.filter(hook_ref=hook.pk).count() - before
    print(
        f"   answers: {dict(codes)}; signals {made} of {fresh}; held keys {Delivery.objects.filter(first=True).count()}"
    )
    yield Figure("alerts answered", len(took) / lasted, "1/s")
    yield Figure("campaign answer, p50", median(took), "ms")
    yield Figure("campaign answer, p99", percentile(took, 0.99), "ms")
    yield Figure("signals lost", max(0, fresh - made), "")
    yield Figure("signals doubled", max(0, made - fresh), "")
