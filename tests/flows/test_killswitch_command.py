"""The kill switch from a terminal, with the sandbox exchange at the other end and no engine at work."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from execution.models import EngineLease, Order
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, stepped_desk
from trading.domain.orders import Reason


def killswitch(*arguments: str) -> tuple[int, str]:
    """Its exit status, and all it said."""
    out = StringIO()
    try:
        call_command("killswitch", *arguments, stdout=out, stderr=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def sandbox(start_sandbox):
    return start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")


@pytest.fixture
def desk(transactional_db, valkey, sandbox):
    with stepped_desk(sandbox.base_url) as desk:
        desk.enter()
        EngineLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1), holder="gone")
        yield desk


def test_it_flattens_alone_and_a_second_call_finds_nothing_left(desk, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # nobody there
    status, said = killswitch("--level", "4", "--reason", "power cut", "--timeout", "30")
    assert status == 0 and "LEFT" not in said and "no engine is at work" in said, said
    assert desk.held() == 0 == desk.broker_net() and desk.working() == 0
    order = Order.objects.get(reason=Reason.KILL)
    assert (order.filled_quantity, desk.tagged(order)) == (50, 1)
    status, said = killswitch("--level", "4", "--reason", "pressed again", "--timeout", "30")
    assert status == 0 and "LEFT" not in said, said
    assert Order.objects.filter(reason=Reason.KILL).count() == 1 and desk.broker_net() == 0


def test_a_broker_that_cannot_be_reached_is_named(desk, sandbox):
    sandbox.stop()
    status, said = killswitch("--level", "4", "--reason", "line cut", "--timeout", "1")
    assert status == 2 and "LEFT" in said, said
    assert desk.held() == 50
