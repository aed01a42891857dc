"""By shares of the day's limit; latched; the next session and a person."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from risk.loss_locks import latch_losses, locks_in_force, release_lock
from risk.models import LossLock, RiskPolicy
from risk.policies import publish_policy
from risk.runaway import Activity, Bounds, signs_of
from tests.factories import PortfolioFactory
from tests.factories.world import ELEVEN, house_policy
from trading.domain.errors import NotAllowed, NotFound
from trading.venue.sessions import exchange_date

LAKH = 1_00_000_00


def lose(portfolio, pct: str, policy: RiskPolicy, now=ELEVEN):
    value = SimpleNamespace(opening_equity_paise=10 * LAKH, day_pnl_paise=-int(10 * LAKH * Decimal(pct) / 100))
    return [lock.kind for lock in latch_losses(portfolio=portfolio, value=value, policy=policy, now=now)]


@pytest.mark.django_db
def test_shares_of_the_soft_limit():
    portfolio, policy = PortfolioFactory(), house_policy()
    said = [lose(portfolio, pct, policy) for pct in ("2.4", "2.5", "3.75", "1", "5", "6.25", "10", "12")]
    assert said == [[], ["WARN"], ["HALF"], [], ["SOFT"], [], ["HARD"], []]


@pytest.mark.django_db
def test_flattening_past_the_soft_limit_is_the_policys_choice():
    portfolio = PortfolioFactory()
    house_policy()
    policy = publish_policy(portfolio=portfolio, values={"flatten_on_soft": True}, actor="me")
    assert lose(portfolio, "6.25", policy) == ["WARN", "HALF", "SOFT", "FLATTEN"]


@pytest.mark.django_db
def test_a_lock_holds_until_the_next_session_and_a_person():
    portfolio, policy = PortfolioFactory(), house_policy()
    lose(portfolio, "5", policy)
    lock, tomorrow = LossLock.objects.get(kind="SOFT"), ELEVEN + timedelta(days=1)
    with pytest.raises(NotAllowed, match="next session"):
        release_lock(portfolio=portfolio, lock_id=lock.pk, reason="I looked", actor="me", now=ELEVEN)
    day = exchange_date(tomorrow)
    assert [one.kind for one in locks_in_force(portfolio, day=day, policy=policy)] == ["SOFT"], "warnings are over"
    with pytest.raises(NotAllowed):
        release_lock(portfolio=portfolio, lock_id=lock.pk, reason=" ", actor="me", now=tomorrow)
    with pytest.raises(NotFound):
        release_lock(portfolio=PortfolioFactory(), lock_id=lock.pk, reason="not mine", actor="me", now=tomorrow)
    assert release_lock(portfolio=portfolio, lock_id=lock.pk, reason="I looked", actor="me", now=tomorrow)
    assert not release_lock(portfolio=portfolio, lock_id=lock.pk, reason="I looked", actor="me", now=tomorrow)
    assert locks_in_force(portfolio, day=day, policy=policy) == []


BOUNDS = Bounds(orders_per_intent=12, orders_per_fill=30, rejections=8, loss_pct=Decimal(2))


@pytest.mark.parametrize(
    ("activity", "codes"),
    [
        (Activity(12, 29, 0, 7, 100, 99), []),
        (Activity(13, 20, 5), ["ORDERS_PER_TRADE"]),
        (Activity(60, 29, 5, planned=5), []),
        (Activity(61, 29, 5, planned=5), ["ORDERS_PER_TRADE"]),
        (Activity(5, 31, 0), ["ORDERS_PER_FILL"]),
        (Activity(5, 31, 2), []),
        (Activity(rejections_in_row=8), ["REJECTIONS"]),
        (Activity(equity_high_paise=100, equity_paise=98), ["LOSS_VELOCITY"]),
        (Activity(13, 90, 1, 9, 100, 90), ["LOSS_VELOCITY", "ORDERS_PER_TRADE", "ORDERS_PER_FILL", "REJECTIONS"]),
    ],
)
def test_signs_of_a_program_that_runs_away(activity, codes):
    assert [one.code for one in signs_of(activity, BOUNDS)] == codes
