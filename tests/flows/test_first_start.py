"""A newcomer's first minutes: one command, prices that move, a trade that opens and closes; then stop and go on, heal,
and survive. One desk and one folder for all of it, in this order."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.flows.desk_process import DeskProcess, desk_process, until

pytestmark = pytest.mark.slow
FIRST_TRADE_WITHIN_S = 180
PROCESSES = ("sandbox", "engine", "worker", "research", "beat", "web")
PEOPLE = "from django.contrib.auth import get_user_model as g; print(g().objects.count())"
FILLED = "SELECT count(*) FROM execution_fill"
CLOSED = "SELECT count(*) FROM portfolio_closedtrade"
HELD = "SELECT coalesce(sum(abs(net_quantity)), 0) FROM portfolio_position"


@pytest.fixture(scope="module")
def desk() -> Iterator[DeskProcess]:
    with desk_process() as desk:
        yield desk


@pytest.fixture(scope="module")
def began(desk: DeskProcess) -> float:
    """The monotonic second at which somebody pressed Enter."""
    now = time.monotonic()
    desk.start()
    return now


def test_the_address_and_a_first_sign_in_come(desk, began, record_property):
    record_property("open", round(time.monotonic() - began, 1))
    until(lambda: {"operator", "trader"} <= desk.passwords.keys(), within_s=2, what="the first sign-in")
    said = "".join(desk.said)
    assert "First sign-in, shown this once:\n" in said
    assert all(f"  {name} " in said for name in ("postgres", "valkey", *PROCESSES))
    until(desk.is_ready, within_s=30, what="it is ready")
    assert httpx.get(f"{desk.address}/healthz").status_code == 200
    with closing(desk.signed_in()) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "10,00,000" in page.text


def test_the_first_trade_opens_and_closes_within_three_minutes(desk, began, record_property):
    def left() -> float:
        return FIRST_TRADE_WITHIN_S - (time.monotonic() - began)

    for name, question in (
        ("prices move", "SELECT count(*) FROM execution_enginelease WHERE state = 'RUNNING'"),
        ("first signal", "SELECT count(*) FROM strategies_signal"),
        ("first fill", FILLED),
        ("first trade closed", CLOSED),
    ):
        until(lambda question=question: desk.one(question), within_s=left(), what=name)
        record_property(name, round(time.monotonic() - began, 1))
        print(f"{name}: {time.monotonic() - began:.1f} s")
    assert left() > 0


def test_stopped_in_mid_trade_it_leaves_no_process_and_the_next_start_goes_on(desk, began):
    until(lambda: desk.one(HELD), within_s=120, what="a position")
    fills, closed = desk.one(FILLED), desk.one(CLOSED)
    assert desk.stop() < 30  # a busy machine is no failure; what is left behind would be
    assert desk.process is not None
    assert desk.process.returncode == 0
    assert desk.ours() == {}

    assert desk.start() < 60
    assert desk.one(FILLED) >= fills
    until(lambda: desk.engine_state() == "RUNNING", within_s=30, what="the engine runs")
    until(
        lambda: desk.one(FILLED) > fills and desk.one(CLOSED) > closed,
        within_s=120, what="the trades that were open go on",
    )  # fmt: skip
    assert desk.one("SELECT coalesce(sum(amount_paise), 0) FROM portfolio_ledgerentry") == 0
    assert desk.one("SELECT count(*) FROM execution_group WHERE quarantined") == 0


def test_nothing_it_wrote_is_an_error(desk, began):
    """What a newcomer who wonders would read: no traceback and no error in any log, no severe alert."""
    trouble = re.compile(r"\b(Traceback|ERROR|CRITICAL)\b")
    found = [
        line
        for name in ("web", "worker", "beat", "engine", "sandbox")
        for line in desk.log(name).splitlines()
        if trouble.search(line)
    ]
    assert found == []
    assert desk.rows("SELECT code, message FROM monitoring_alert WHERE level = 'SEVERE'") == []
    assert desk.stop() < 30  # a busy machine is no failure; what is left behind would be
    assert not [line for line in desk.said if "was killed" in line]  # every process went when it was asked to
    assert desk.ours() == {}


def test_a_later_start_migrates_nothing_and_heals_what_is_killed(desk, began):
    desk.said.clear()
    desk.start()
    said = "".join(desk.said)
    assert "migrations applied" not in said and "First sign-in" not in said
    assert "already running" in desk.refuse()
    for name in PROCESSES:
        desk.started_again(name, instead_of=desk.kill(name))
    until(desk.is_ready, within_s=30, what="it is ready again")

    def keeper() -> int:
        return int(json.loads((desk.var / "run" / "servers.json").read_text())["keeper"])

    before = keeper()
    os.kill(before, signal.SIGKILL)
    until(lambda: keeper() != before, within_s=20, what="another keeper of the servers")
    until(desk.is_ready, within_s=30, what="it is ready again")


def test_nothing_survives_the_supervisor_even_when_it_is_killed(desk, began):
    assert desk.process is not None
    desk.process.kill()
    desk.process.wait(timeout=20)
    until(lambda: not desk.ours(), within_s=15, what="all went with it")


def test_a_command_works_alone_and_beside_the_desk(desk, began):
    alone = desk.command(PEOPLE)
    assert int(alone) >= 2
    until(lambda: not desk.ours(), within_s=20, what="its servers stop when it ends")
    desk.start()  # it goes on after a supervisor that was killed
    assert desk.command(PEOPLE) == alone
    until(desk.is_ready, within_s=30, what="it is ready")
    assert desk.stop(with_signal=signal.SIGTERM) < 40
    assert desk.ours() == {}
