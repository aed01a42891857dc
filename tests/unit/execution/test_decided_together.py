"""Orders of one account that come together are decided in one transaction: each sees what those before it took."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models import Sum

from execution.engine_settings import publish_settings
from execution.models import Group, Intent, Order, OrderEvent
from execution.services.intent_create import Ask, Decided, intents_create
from execution.services.intent_judge import Wish
from risk.models import Assessment, Reservation, RiskBucket
from risk.policies import publish_policy
from risk.reserve import Kind
from tests.factories import InstrumentFactory, PortfolioFactory
from tests.factories.world import World, open_market, quote
from trading.domain import crashpoint
from trading.domain.errors import Conflict
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.portfolio.models import Portfolio

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


@pytest.fixture
def world() -> World:
    return open_market()


def beside(world: World) -> Portfolio:
    """Another portfolio of the same account."""
    return PortfolioFactory(owner=world.user, account=world.portfolio.account)


def ask(world: World, *, portfolio: Portfolio | None = None, instrument=None, **changes) -> Ask:
    """Ten of a share of its own at 812.35, stop at 804."""
    instrument = instrument or InstrumentFactory(sector="")
    quote(world.feed, instrument)
    wish = {
        "source": Intent.Source.API, "reason": Reason.ENTRY, "dedupe_key": uuid4().hex, "actor": "me",
        "instrument": instrument, "side": Side.BUY, "quantity": 10, "order_type": OrderType.LIMIT,
        "product": Product.INTRADAY, "limit_price": Decimal("812.35"), "stop_price": Decimal("804.00"),
    } | changes  # fmt: skip
    return Ask(portfolio or world.portfolio, Wish(**wish), world.feed.venue_at)


def told(decided: list[Decided | Exception]) -> list[str]:
    """APPROVED, or why not."""
    return [
        getattr(one, "code", "error") if isinstance(one, Exception) else one.intent.refusal_code or one.intent.state
        for one in decided
    ]


def nothing_drifts() -> None:
    for bucket in RiskBucket.objects.all():
        held = Reservation.objects.filter(bucket=bucket, released_at=None).aggregate(total=Sum("amount"))["total"]
        assert bucket.reserved == (held or 0), bucket.key


def test_each_has_the_rows_that_it_would_have_alone(world):
    others = [ask(world, portfolio=beside(world)) for _ in range(2)]
    decided = intents_create([ask(world), *others])
    alone = intents_create([ask(world, portfolio=beside(world))])
    assert told(decided) == ["APPROVED"] * 3
    orders = Order.objects.order_by("id")
    assert [one.orders[0].pk for one in [*decided, *alone] if isinstance(one, Decided)] == [one.pk for one in orders]
    for one in orders:
        assert (one.state, one.quantity, one.group.state) == ("QUEUED", 10, Group.State.WAITING)
        event = OrderEvent.objects.get(order=one)
        assert (event.seq, event.kind, event.source) == (1, "order.queued", "RISK")
        assert event.detail == {"quantity": "10", "reason": "ENTRY"}
        seen = Assessment.objects.get(intent_id=one.intent_id)
        assert (seen.allowed_quantity, len(seen.verdicts)) == (10, len(decided[0].judged.verdict.findings))
        assert Reservation.objects.filter(intent_id=one.intent_id).count() == 7
    nothing_drifts()


def test_the_last_slot_goes_to_the_first_of_them(world):
    publish_settings(portfolio=world.portfolio, values={"max_open_groups": 2}, actor="test")
    assert told(intents_create([ask(world) for _ in range(3)])) == ["APPROVED", "APPROVED", "POOL_FULL"]
    assert Group.objects.count() == 2
    nothing_drifts()


def test_room_that_the_first_takes_makes_the_next_smaller_and_the_last_find_none(world):
    cap = RiskBucket.objects.filter(kind=Kind.EXPOSURE)
    publish_policy(
        portfolio=world.portfolio, actor="test",
        values={"total_exposure_pct": Decimal(2), "position_size_pct": Decimal(2)},
    )  # fmt: skip
    decided = intents_create([ask(world, quantity=15) for _ in range(3)])
    assert told(decided) == ["APPROVED", "APPROVED", "TOTAL_EXPOSURE"]
    assert [one.intent.allowed_quantity for one in decided if isinstance(one, Decided)] == [15, 9, 0]
    assert cap.get().reserved == 24 * 81235
    nothing_drifts()


def test_the_same_share_twice_in_a_portfolio_is_one_trade(world):
    share = InstrumentFactory(sector="")
    assert told(intents_create([ask(world, instrument=share) for _ in range(2)])) == ["APPROVED", "ALREADY_POSITIONED"]
    assert Order.objects.count() == 1


def test_nobody_trades_with_himself_within_one_batch(world):
    share = InstrumentFactory(sector="")
    sell = {"side": Side.SELL, "stop_price": Decimal("820.00")}
    decided = intents_create(
        [ask(world, instrument=share), ask(world, instrument=share, portfolio=beside(world), **sell)]
    )
    assert told(decided) == ["APPROVED", "SELF_TRADE"]


def test_copies_of_a_wish_are_one_intent_and_another_wish_under_its_key_a_conflict(world):
    share = InstrumentFactory(sector="")
    same = {"instrument": share, "dedupe_key": "one"}
    decided = intents_create([ask(world, **same), ask(world, **same), ask(world, quantity=11, **same)])
    assert told(decided) == ["APPROVED", "APPROVED", "IDEMPOTENCY_KEY_REUSED"]
    assert decided[0].intent == decided[1].intent
    assert decided[1].judged is None and not decided[1].orders
    assert isinstance(decided[2], Conflict)
    assert Intent.objects.count() == Order.objects.count() == 1


def test_one_that_breaks_the_transaction_fails_alone(world):
    good, late = ask(world), ask(world, portfolio=beside(world))
    broken = ask(world, actor="x" * 200)  # longer than its column
    decided = intents_create([good, broken, late])
    assert told(decided) == ["APPROVED", "error", "APPROVED"]
    assert Order.objects.count() == Intent.objects.count() == 2
    nothing_drifts()


def test_where_others_take_the_room_meanwhile_each_is_judged_anew(world):
    """The gates have looked, and before the room is taken somebody else has it."""
    asks = [ask(world), ask(world)]
    publish_policy(portfolio=world.portfolio, actor="test", values={"max_open_positions": 3})
    key = f"{Kind.SLOTS}:{world.portfolio.pk}"
    seen = []

    def somebody(point: str) -> None:
        seen.append(point)
        if seen.count("risk.assessed") == 2 and point == "risk.assessed":
            RiskBucket.objects.create(portfolio=world.portfolio, key=key, kind=Kind.SLOTS, reserved=0, used=2)

    crashpoint.arm(somebody)
    try:
        decided = intents_create(asks)
    finally:
        crashpoint.arm(None)
    # What somebody wrote in this very transaction went with it: alone, both have room.
    assert seen.count("risk.assessed") == 4 and told(decided) == ["APPROVED", "APPROVED"]
    nothing_drifts()


def test_a_database_in_trouble_is_asked_once_more_and_not_once_for_each(world):
    asks, seen = [ask(world) for _ in range(5)], []

    def trouble(point: str) -> None:
        if point == "risk.assessed":
            seen.append(point)
            raise OperationalError("the server closed the connection")

    crashpoint.arm(trouble)
    try:
        decided = intents_create(asks)
    finally:
        crashpoint.arm(None)
    assert len(seen) == 2 and {type(one) for one in decided} == {OperationalError}
    assert Intent.objects.count() == 0
