"""What the engine waits for, each gate with its cause, and what only keeps entries out."""

import pytest

from execution.engine.clock_check import RIGHT, ClockState
from execution.engine.preflight import as_plain, preflight
from execution.models import Mismatch
from risk.drawdown_watch import watch_drawdown
from risk.kill_switch import Level, of_portfolio, raise_level
from risk.policies import active_policy
from trading.venue.sessions import exchange_date

CONNECTED = {"orders": "connected", "prices": "connected"}


def gates(desk, **changes):
    given = {
        "account": desk.account, "feed": desk.world.feed, "streams": CONNECTED, "compared": True, "clock": RIGHT,
        "tick_age_s": 0.3, "caught_up": True, "now": desk.now[0],
    } | changes  # fmt: skip
    return {gate.name: gate for gate in preflight(**given)}


def test_all_is_well_in_the_session(desk):
    found = gates(desk)
    assert list(found) == [
        "database",
        "broker",
        "road",
        "streams",
        "reconciliation",
        "clock",
        "session",
        "data",
        "risk",
    ]
    assert all(gate.ok and gate.cause for gate in found.values()), found
    assert as_plain(tuple(found.values()))[0] == {
        "name": "database", "ok": True, "cause": "answers", "blocks": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes", "cause", "blocks"),
    [
        ("streams", {"streams": {"orders": "connected"}}, "waiting for the stream of prices", True),
        ("reconciliation", {"compared": False}, "comparing with the broker", True),
        ("clock", {"clock": ClockState("this machine's clock is 4.0 s behind", True)}, "4.0 s behind", True),
        ("data", {"tick_age_s": None}, "no price was heard yet", False),
        ("data", {"tick_age_s": 5.1}, "no price since 5 s", False),
        ("data", {"caught_up": False}, "fetching the candles", False),
    ],
)
def test_each_says_what_is_missing(desk, name, changes, cause, blocks):
    found = gates(desk, **changes)
    assert [one for one, gate in found.items() if not gate.ok] == [name]
    assert cause in found[name].cause and found[name].blocks is blocks


def test_a_broker_that_is_not_signed_in_blocks_with_its_own_words(desk):
    type(desk.account).objects.filter(pk=desk.account.pk).update(auth_state="NEEDS_LOGIN", auth_cause="Sign in anew.")
    broker = gates(desk)["broker"]
    assert (broker.ok, broker.blocks, broker.cause) == (False, True, "Sign in anew.")


def test_outside_the_session_nothing_is_stale(desk):
    desk.pass_time(hours=14)
    found = gates(desk, tick_age_s=9_000)
    assert not found["session"].ok and not found["session"].blocks
    assert found["data"].ok


def test_what_keeps_entries_out_is_named_and_blocks_no_exit(desk):
    Mismatch.objects.create(
        account=desk.account, kind="POSITION", symbol="NSE:SBIN-EQ", session_date=exchange_date(desk.now[0]), ours=5,
        theirs=0, state="OPEN", first_seen_at=desk.now[0], last_seen_at=desk.now[0],
    )  # fmt: skip
    policy = active_policy(desk.portfolio.pk)
    for equity in (100_000, 79_000):
        watch_drawdown(portfolio=desk.portfolio, equity_paise=equity, policy=policy, now=desk.now[0])
    found = gates(desk)
    assert found["reconciliation"].cause == "1 difference with the broker in quarantine"
    assert "halted after a drawdown" in found["risk"].cause
    assert not any(gate.blocks for gate in found.values() if not gate.ok)
    raise_level(scope=of_portfolio(desk.portfolio), level=Level.NO_ENTRIES, reason="a test", actor="me")
    assert "the kill switch is pulled" in gates(desk)["risk"].cause
