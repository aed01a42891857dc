"""Sweeps, walk-forwards and the rest as runs: planned, spread over workers, concluded, shown, refused with a code."""

import io
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from strategies.backtest.errors import BacktestRefused
from strategies.models import BacktestRun
from strategies.runs.answers import answer_of
from strategies.runs.create import run_create
from strategies.runs.studies import sweep
from strategies.runs.work import work
from tests.factories import UserFactory
from tests.factories.history import stored_history
from tests.factories.runs import finished_run
from trading.domain.errors import NotFound

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST = {"contract": "ema-alignment", "symbols": ["SBIN", "ITC"], "from": "2026-02-17", "to": "2026-02-27"}
RANGES = {"fast": {"from": "4", "to": "8", "step": "2"}, "slow": {"from": "15", "to": "30", "step": "5"}}


@pytest.fixture
def user(valkey):
    stored_history(tickers=("SBIN", "ITC"))
    return UserFactory()


def ask(user, kind, *, study, request=REQUEST) -> BacktestRun:
    return run_create(owner=user, kind=kind, request=request, study=study, key=uuid.uuid4(), wall=timezone.now())


def done(run: BacktestRun):
    work()
    run.refresh_from_db()
    assert run.state == "DONE", (run.error_code, run.error)
    return answer_of(run)


def page_of(user, run, query: str = "") -> str:
    client = Client()
    client.force_login(user)
    reply = client.get(f"/backtests/{run.pk}/{query}")
    assert reply.status_code == 200
    page = reply.content.decode()
    assert " style=" not in page and "<script>" not in page
    return page


def test_a_sweep_spread_over_workers_finds_what_single_runs_find(user, monkeypatch):
    monkeypatch.setattr(sweep, "MOST_CHUNK", 4)
    run = ask(user, "SWEEP", study={"ranges": RANGES, "fewest_trades": "1"})
    assert run.units == 12 and run.chunks.count() == 3
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: _alone(work), range(2)))
    answer = done(run)
    report = answer.report
    assert report["combinations"] == 12 == len(report["rows"])
    best = report["best"][0]
    out = io.StringIO()
    words = ["ema-alignment", "--symbols", "SBIN", "ITC", "--from", REQUEST["from"], "--to", REQUEST["to"], "--set"]
    words += [f"{name}={value:g}" for name, value in best["parameters"].items()]
    call_command("backtest", *words, "--json", "-", stdout=out, stderr=io.StringIO())
    import json

    single = json.loads(out.getvalue())
    for name in ("trades", "final_equity", "sharpe", "max_drawdown_pct"):
        assert best["figures"][name] == pytest.approx(single[name]), name
    assert report["deflated_sharpe"]["trials"] == 12 and 0 <= report["deflated_sharpe"]["probability"] <= 1
    page = page_of(user, run)
    for said in ["Sets tried", "Judged by its neighbours", "data-best", "More than luck"]:
        assert said in page, said
    client = Client()
    client.force_login(user)
    rows = client.get(f"/backtests/{run.pk}/files/sets.csv").content.decode().splitlines()
    assert len(rows) == 13 and rows[0].startswith("fast,slow,final_equity")
    assert client.get(f"/backtests/{run.pk}/files/trades.csv").status_code == 404


def _alone(act):
    try:
        return act()
    finally:
        connection.close()


def test_a_search_by_lot_and_one_that_learns_are_the_same_again(user):
    pytest.importorskip("optuna")
    wide = {"fast": {"from": "4", "to": "9"}, "slow": {"from": "15", "to": "24"}}
    for method, count in (("random", 5), ("optuna", 20)):
        study = {"ranges": wide, "method": method, "samples": str(count), "seed": "3"}
        first, second = done(ask(user, "SWEEP", study=study)), done(ask(user, "SWEEP", study=study))
        assert first.text == second.text and first.report["combinations"] == count
        assert np.array_equal(first.arrays["values"], second.arrays["values"])
        page_of(user, first.run)
    assert BacktestRun.objects.order_by("-created_at").first().generation == 0  # twenty fit into one asking
    longer = ask(user, "SWEEP", study={"ranges": wide, "method": "optuna", "samples": "40"})
    found = done(longer)
    assert found.report["combinations"] == 40 == len(np.unique(found.arrays["values"], axis=0))
    longer.refresh_from_db()
    assert longer.generation == 1
    small = ask(user, "SWEEP", study={"ranges": RANGES, "method": "optuna", "samples": "200"})
    sets = done(small).arrays["values"]
    assert len(sets) == len(np.unique(sets, axis=0)) == small.units < 200  # all there are, each once


def test_a_sweep_of_one_parameter_is_a_curve(user):
    run = ask(user, "SWEEP", study={"ranges": {"fast": {"values": ["4", "6", "8"]}}, "fewest_trades": "1"})
    done(run)
    assert "along fast" in page_of(user, run)


def test_a_walk_forward_tests_what_it_learned_before(valkey):
    days = [date(2025, month, day) for month in range(9, 13) for day in (3, 4, 10, 11, 17, 18)]
    stored_history(days=[day for day in days if day.weekday() < 5], tickers=("SBIN",))
    user = UserFactory()
    asked = {"contract": "ema-alignment", "symbols": ["SBIN"], "from": "2025-09-01", "to": "2025-12-31"}
    study = {"ranges": {"fast": {"from": "5", "to": "9", "step": "4"}}, "train_months": "2", "fewest_trades": "1"}
    run = ask(user, "WALK_FORWARD", request=asked, study=study)
    assert run.chunks.count() == 2 and run.units == 6
    answer = done(run)
    windows = answer.report["windows"]
    assert [one["test_from"] for one in windows] == ["2025-11-01", "2025-12-01"]
    assert all(one["train_to"] < one["test_from"] for one in windows)
    assert answer.report["passed"] is (answer.report["windows_with_profit"] > 1.2)
    assert {"max_drawdown_pct", "win_rate_pct", "trades", "sharpe"} <= answer.stored.figures.keys()
    assert "test windows earned" in page_of(user, run)


def test_months_without_candles_are_windows_that_earn_nothing(user):
    asked = REQUEST | {"from": "2026-01-01", "to": "2026-03-31"}
    run = ask(user, "WALK_FORWARD", request=asked, study={"ranges": RANGES, "train_months": "1", "test_months": "1"})
    report = done(run).report
    assert not report["passed"] and report["windows"][0]["test"] is None
    assert "NO_CANDLES" in report["windows"][0]["note"] and "NO_CANDLES" in page_of(user, run)


def test_a_contract_is_checked_for_a_look_ahead(user):
    run = ask(user, "LOOK_AHEAD", study={"cuts": "6"})
    report = done(run).report
    assert report["passed"] and len(report["cuts_made"]) == 6
    assert "No look ahead" in page_of(user, run)


def test_trades_in_other_orders(user):
    source = finished_run(user)
    study = {"runs": [str(source.pk)], "paths": "500", "seed": "4"}
    first = done(ask(user, "MONTE_CARLO", request=None, study=study))
    again = done(ask(user, "MONTE_CARLO", request=None, study=study))
    assert first.text == again.text
    final = first.report["final_equity"]
    assert final["5"] == pytest.approx(final["95"]) == pytest.approx(first.report["actual_final_equity"])
    drawn = done(ask(user, "MONTE_CARLO", request=None, study=study | {"draw": "bootstrap"}))
    assert drawn.report["final_equity"]["5"] < drawn.report["final_equity"]["95"]
    for one in (first, drawn):
        assert "Largest drawdown of each path" in page_of(user, one.run)


def test_strategies_held_together(user):
    parts = [finished_run(user, days=20, seed=seed, fast=fast) for seed, fast in ((7, 5), (8, 4), (9, 3))]
    ids = [str(one.pk) for one in parts]
    found = {}
    for how in ("equal", "inverse_volatility", "risk_parity"):
        run = ask(user, "PORTFOLIO", request=None, study={"runs": ids, "weighting": how})
        found[how] = done(run).report
        assert sum(one["weight"] for one in found[how]["parts"]) == pytest.approx(1)
        assert "Share of risk" in page_of(user, run)
    assert all(one["risk_share"] == pytest.approx(1 / 3) for one in found["risk_parity"]["parts"])
    weights = {"runs": ids, "weighting": "custom", "custom": {ids[0]: 3, ids[1]: 1, ids[2]: 0}}
    custom = ask(user, "PORTFOLIO", request=None, study=weights)
    assert [one["weight"] for one in done(custom).report["parts"]] == [0.75, 0.25, 0]


NONSENSE = [
    ("SWEEP", {}, "RANGES"),
    ("SWEEP", {"ranges": {"fats": {"from": "1", "to": "2"}}}, "UNKNOWN_PARAMETER"),
    ("SWEEP", {"ranges": {"fast": {"from": "1", "to": "900"}}}, "OUT_OF_RANGE"),
    ("SWEEP", {"ranges": RANGES, "method": "magic"}, "UNKNOWN_CHOICE"),
    ("SWEEP", {"ranges": RANGES, "objective": "luck"}, "UNKNOWN_FIGURE"),
    ("SWEEP", {"ranges": RANGES, "seed": "-1"}, "OUT_OF_RANGE"),
    ("SWEEP", {"ranges": RANGES, "sample": "5"}, "UNKNOWN_FIELD"),
    ("SWEEP", {"ranges": RANGES, "method": "random", "samples": "many"}, "NOT_A_NUMBER"),
    ("WALK_FORWARD", {"ranges": RANGES}, "TOO_SHORT"),
    ("WALK_FORWARD", {"ranges": RANGES, "train_months": "0"}, "OUT_OF_RANGE"),
    ("LOOK_AHEAD", {"cuts": "0"}, "OUT_OF_RANGE"),
    ("MONTE_CARLO", {}, "ONE_RUN"),
    ("MONTE_CARLO", {"runs": ["x"]}, "ONE_RUN"),
    ("PORTFOLIO", {"runs": []}, "SOME_RUNS"),
    ("PORTFOLIO", {"runs": "all"}, "SOME_RUNS"),
]


@pytest.mark.django_db
def test_nonsense_has_a_code(user):
    for kind, study, code in NONSENSE:
        with pytest.raises(BacktestRefused, match=code):
            ask(user, kind, study=study)
    theirs = finished_run(UserFactory())
    with pytest.raises(NotFound, match="RUN_NOT_FOUND"):
        ask(user, "MONTE_CARLO", request=None, study={"runs": [str(theirs.pk)]})
    mine = [str(finished_run(user).pk) for _ in range(2)]
    with pytest.raises(BacktestRefused, match="CUSTOM_WEIGHTS"):
        ask(user, "PORTFOLIO", request=None, study={"runs": mine, "weighting": "custom"})
    endless = {"fast": {"from": "3", "to": "20", "step": "0.02"}, "slow": {"from": "22", "to": "60", "step": "0.05"}}
    with pytest.raises(BacktestRefused, match="TOO_LARGE"):
        ask(user, "SWEEP", study={"ranges": endless})
    assert not BacktestRun.objects.exclude(state="DONE").exists()


@pytest.mark.django_db
def test_every_form_stands_and_keeps_what_was_typed(user):
    client = Client()
    client.force_login(user)
    finished_run(user)
    for kind in BacktestRun.Kind.values:
        reply = client.get(f"/backtests/new/?kind={kind}")
        assert reply.status_code == 200, kind
    form = {"contract": "ema-alignment@1", "feed": "NSE", "symbols": "SBIN", "from": "2026-02-17", "to": "2026-02-27"}
    sweep_form = form | {"from.fast": "4", "to.fast": "8", "step.fast": "2", "s.objective": "calmar"}
    assert client.post("/backtests/new/?kind=SWEEP", sweep_form | {"to.fast": "900"}).status_code == 422
    reply = client.post("/backtests/new/?kind=SWEEP", sweep_form)
    assert reply.status_code == 302
    run = BacktestRun.objects.get(kind="SWEEP")
    assert run.study["ranges"] == {"fast": {"from": "4", "to": "8", "step": "2"}} and run.study["objective"] == "calmar"
    page = client.get(f"/backtests/new/?kind=SWEEP&like={run.pk}").content.decode()
    assert 'name="to.fast" inputmode="decimal" value="8"' in page
