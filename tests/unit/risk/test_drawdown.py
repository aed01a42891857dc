"""Down at once, up with hysteresis, out of a halt by a person alone."""

from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from risk.drawdown import ORDER, DrawdownStep, Steps, drawdown_pct, next_step, size_share_pct, tightened_stop
from risk.drawdown_watch import resume_after_review, watch_drawdown
from risk.models import DrawdownMove
from tests.factories import PortfolioFactory
from tests.factories.world import house_policy
from trading.audit.models import AuditEntry
from trading.domain.errors import NotAllowed
from trading.monitoring.models import Alert

STEPS = Steps()
N, C, D, H = DrawdownStep


@pytest.mark.parametrize(
    ("before", "deep", "after"),
    [
        (N, "9.99", N), (N, "10", C), (N, "15", D), (N, "20", H), (C, "8.01", C), (C, "7.99", N), (D, "13.01", D),
        (D, "13", C), (D, "12.99", C), (D, "7.9", N), (D, "8.01", C), (D, "8", N), (H, "0", H),
    ],
)  # fmt: skip
def test_the_steps(before, deep, after):
    assert next_step(before, Decimal(deep), STEPS) is after


@given(st.lists(st.decimals(0, 30, places=2), max_size=40))
def test_a_step_never_changes_twice_within_its_hysteresis(path):
    step = N
    for deep in path:
        before, step = step, next_step(step, deep, STEPS)
        if ORDER.index(step) < ORDER.index(before):
            assert deep <= STEPS.at(before) - STEPS.hysteresis
        assert next_step(step, deep, STEPS) is step, "looking again changes nothing"


def test_sizes_and_stops_by_step():
    assert [size_share_pct(step, Decimal(50)) for step in ORDER] == [100, 50, 50, 0]
    stop = {"entry": Decimal(100), "stop": Decimal(95), "share_pct": Decimal(80)}
    assert tightened_stop(D, **stop) == 96 and tightened_stop(C, **stop) == 95
    assert drawdown_pct(peak_paise=0, equity_paise=-5) == 0 and drawdown_pct(peak_paise=100, equity_paise=120) == 0


@pytest.mark.django_db
def test_moves_are_rows_alerts_and_audit_and_a_halt_waits_for_a_person():
    portfolio, policy, now = PortfolioFactory(), house_policy(), timezone.now()
    for equity, step in [(100, N), (120, N), (107, C), (101, D), (110, C), (96, H), (200, H)]:
        assert watch_drawdown(portfolio=portfolio, equity_paise=equity, policy=policy, now=now) is step
    assert list(DrawdownMove.objects.order_by("id").values_list("to_step", flat=True)) == [C, D, C, H]
    assert Alert.objects.filter(code="DRAWDOWN").exists()
    with pytest.raises(NotAllowed, match="review"):
        resume_after_review(portfolio=portfolio, reason=" ", actor="me", now=now)
    resume_after_review(portfolio=portfolio, reason="the feed was wrong", actor="me", now=now)
    assert watch_drawdown(portfolio=portfolio, equity_paise=190, policy=policy, now=now) is N
    assert AuditEntry.objects.filter(action="drawdown.moved").count() == 5
    with pytest.raises(NotAllowed):
        resume_after_review(portfolio=portfolio, reason="again", actor="me", now=now)
