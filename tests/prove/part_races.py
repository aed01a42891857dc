"""Many at once: room under a limit, one wish in many copies, the pace of an account."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from threading import Barrier
from uuid import uuid4

from django.db import connection, connections
from django.db.models import Sum

from execution.models import Intent
from execution.services.order_ticket import order_ticket
from risk.models import Reservation, RiskBucket
from risk.order_rate import RATES, take_turn
from risk.reserve import Claim, Kind, release, reserve
from tests.factories import BrokerAccountFactory, InstrumentFactory, PortfolioFactory
from tests.factories.world import open_market
from tests.prove.parts import Part, Tried, register
from tests.races.test_races import race
from trading.domain.errors import NotAllowed, TradingError
from trading.domain.orders import OrderType, Product, Side

PROCESSES, COPIES, LANES = 8, 50, 25


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _take_room(_: None, unit: str) -> Tried:
    """Eight processes ask for the same five slots at once."""
    portfolio, slots, cap = PortfolioFactory().pk, 5, 1_000

    def work(number: int) -> int:
        intent = uuid4()
        claims = [
            Claim(Kind.SLOTS, f"SLOTS:{portfolio}", 1, slots),
            Claim(Kind.EXPOSURE, f"EXPOSURE:{portfolio}", 150 + number, cap),
        ]
        try:
            reserve(portfolio_id=portfolio, intent_id=intent, claims=claims if number % 2 else claims[::-1])
        except NotAllowed:
            return 0
        if number == 0:
            release(intent_id=intent, keep_trades=False)
            return 0
        return 1

    won = sum(int(one) for one in race(work, workers=PROCESSES))  # type: ignore[call-overload]
    trouble = []
    for bucket in RiskBucket.objects.filter(portfolio_id=portfolio):
        held = Reservation.objects.filter(bucket=bucket, released_at=None).aggregate(total=Sum("amount"))["total"] or 0
        limit = slots if bucket.kind == Kind.SLOTS else cap
        if bucket.reserved != held:
            trouble.append(f"{bucket.key} drifted: {bucket.reserved} and {held}")
        if bucket.reserved > limit:
            trouble.append(f"{bucket.key} was passed: {bucket.reserved} of {limit}")
        if bucket.kind == Kind.SLOTS and bucket.reserved != won:
            trouble.append(f"{won} won, {bucket.reserved} are taken")
    return Tried({"tries": PROCESSES, "won": won}, trouble)


@contextmanager
def _market() -> Iterator[object]:
    yield open_market()


def _fifty_copies(world, unit: str) -> Tried:
    """One body, fifty times at once: one intent, whatever was decided about it."""
    instrument = world.instrument = InstrumentFactory()
    world.still_running()
    start = Barrier(LANES)

    def send(number: int) -> str:
        try:
            if number < LANES:
                start.wait(timeout=30)
            intent = order_ticket(
                user=world.user, portfolio=world.portfolio, symbol=instrument.symbol, side=Side.BUY, quantity=1,
                order_type=OrderType.LIMIT, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"),
                target_price=None, product=Product.INTRADAY, idempotency_key=unit, source=Intent.Source.PAGE,
                now=world.feed.venue_at,
            )  # fmt: skip
            return str(intent.pk)
        except TradingError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(LANES) as pool:
        answers = set(pool.map(send, range(COPIES)))
    stored = {str(pk) for pk in Intent.objects.filter(instrument=instrument).values_list("pk", flat=True)}
    trouble = [] if len(stored) == 1 else [f"{len(stored)} intents"]
    if strange := answers - stored - {"ALREADY_POSITIONED"}:
        trouble.append(f"answers that name none of them: {strange}")
    return Tried({"copies": COPIES, "intents": len(stored)}, trouble)


def _keep_the_pace(_: None, unit: str) -> Tried:
    """Eight processes ask for turns of one account as fast as they can: when each may leave, second by second."""
    account = BrokerAccountFactory().pk

    def work(number: int) -> list[float]:
        leaves = []
        for _turn in range(6):
            for kind in RATES:
                asked = time.time()
                leaves.append(asked + take_turn(account, kind))
        return leaves

    leaves = sorted(at for part in race(work, workers=PROCESSES) for at in part)  # type: ignore[attr-defined]
    busiest = max(sum(1 for other in leaves if at <= other < at + 0.98) for at in leaves)
    connections.close_all()
    return Tried({"calls": len(leaves), "busiest second": busiest}, [] if busiest <= 10 else [f"{busiest} in a second"])


for name, claim, size, prepare, attempt, word in (
    (
        "room",
        "eight processes never take more room than there is, and nothing drifts",
        100,
        _nothing,
        _take_room,
        "round",
    ),
    ("copies", "fifty copies of a body at once are one intent", 200, _market, _fifty_copies, "body"),
    ("pace", "eight processes never pass ten calls in a second", 5, _nothing, _keep_the_pace, "rush"),
):
    register(
        Part(
            name=name, claim=claim, size=size, prepare=prepare, attempt=attempt,
            units=lambda size, word=word: [f"{word} {number}" for number in range(size)],
        )
    )  # fmt: skip
