"""Batches of eight processes at once: no limit of a portfolio is passed, nothing drifts, nobody waits in a circle."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection, connections
from django.db.models import Sum

from execution.models import Group, Intent, Order
from execution.services.order_ticket import order_ticket
from risk.models import Reservation, RiskBucket
from risk.policies import publish_policy
from risk.reserve import Kind
from tests.factories import InstrumentFactory, PortfolioFactory
from tests.factories.world import open_market
from tests.races.test_races import WORKERS, race
from trading.domain.orders import OrderType, Product, Side

pytestmark = pytest.mark.django_db(transaction=True)
EACH, PORTFOLIOS = 4, 3
LIMITS = {
    "total_exposure_pct": Decimal(5), "max_open_positions": 6, "max_trades_per_day": 100, "max_quote_age_s": 60,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _clean(valkey) -> Iterator[None]:
    yield
    connections.close_all()


def test_batches_of_many_processes_never_pass_a_limit_together():
    world = open_market()
    account = world.portfolio.account
    portfolios = [
        world.portfolio,
        *(PortfolioFactory(owner=world.user, account=account) for _ in range(PORTFOLIOS - 1)),
    ]
    for one in portfolios:
        publish_policy(portfolio=one, values=LIMITS, actor="test")
    shares = [InstrumentFactory(sector="") for _ in range(WORKERS * EACH)]
    for share in shares:
        world.instrument = share
        world.still_running()
    now = world.feed.venue_at

    def place(number: int) -> str:
        try:
            intent = order_ticket(
                user=world.user, portfolio=portfolios[number % PORTFOLIOS], symbol=shares[number].symbol,
                side=Side.BUY, quantity=10, order_type=OrderType.LIMIT, limit_price=Decimal("812.35"),
                stop_price=Decimal("804.00"), target_price=None, product=Product.INTRADAY,
                idempotency_key=f"key-{number}", source=Intent.Source.API, now=now,
            )  # fmt: skip
            return intent.refusal_code or "APPROVED"
        finally:
            connection.close()

    def work(process: int) -> str:
        with ThreadPoolExecutor(EACH) as threads:
            return " ".join(threads.map(place, range(process * EACH, process * EACH + EACH)))

    told = Counter(" ".join(map(str, race(work))).split())
    assert set(told) <= {"APPROVED", "TOTAL_EXPOSURE", "OPEN_POSITIONS"}, told
    assert Order.objects.count() == Group.objects.count() == told["APPROVED"] == 6 * PORTFOLIOS
    assert Intent.objects.count() == WORKERS * EACH
    for bucket in RiskBucket.objects.all():
        held = Reservation.objects.filter(bucket=bucket, released_at=None).aggregate(total=Sum("amount"))["total"]
        assert bucket.reserved == held, bucket.key
    for one in portfolios:
        assert RiskBucket.objects.get(portfolio=one, kind=Kind.SLOTS).reserved == 6
