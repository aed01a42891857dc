"""Backtests on the pages and by program: asked, watched, read, kept as a file, compared, deleted."""

import json
import re
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from strategies.backtest.request_fields import MONEY
from strategies.models import BacktestRun
from strategies.reports.export import csv_text, safe
from strategies.runs.work import work
from tests.factories import InstrumentFactory, PortfolioFactory, PositionFactory, UserFactory
from tests.factories.history import stored_history
from tests.factories.runs import finished_run, small_result
from tests.factories.world import open_feed
from tests.unit.backtest.markets import wandering
from trading.domain.clock import IST
from trading.marketdata.builder import Bar
from trading.marketdata.candles import store_bars
from trading.venue.sessions import session_on

DAYS = {"from": "2026-02-17", "to": "2026-02-27"}
FORM = DAYS | {
    "contract": "ema-alignment@1", "feed": "NSE", "symbols": "sbin, ITC", "cash": "1000000", "sizing": "",
    "charges": "fyers", "slippage": "2", "slots": "", "rank": "", "p.fast": "5", "p.slow": "",
}  # fmt: skip


@pytest.fixture
def trader(valkey, db, client) -> Client:
    client.user = UserFactory()
    client.force_login(client.user)
    return client


def text(reply, status: int = 200) -> str:
    assert reply.status_code == status, (reply.status_code, reply.content[:400])
    return reply.content.decode()


@pytest.mark.django_db(transaction=True)
def test_from_the_form_to_the_tear_sheet(trader):
    stored_history()
    page = text(trader.get("/backtests/new/?contract=ema-alignment@1"))
    assert "ema-alignment@1" in page and 'name="p.fast"' in page
    assert all(f'name="{one.name}"' in page for one in MONEY)
    form = FORM | {"key": str(uuid.uuid4())}
    reply = trader.post("/backtests/new/", form)
    assert reply.status_code == 302
    assert trader.post("/backtests/new/", form)["Location"] == reply["Location"]  # a second press is the same wish
    run = BacktestRun.objects.get()
    assert run.request["symbols"] == ["SBIN", "ITC"] and run.request["parameters"] == {"fast": "5"}
    page = text(trader.get(reply["Location"]))
    assert "waits for a free worker" in page and "Cancel" in page
    waiting = trader.get(f"{reply['Location']}progress/", headers={"hx-request": "true"})
    assert "HX-Refresh" not in waiting
    work()
    assert trader.get(f"{reply['Location']}progress/", headers={"hx-request": "true"})["HX-Refresh"] == "true"
    page = text(trader.get(reply["Location"]))
    for said in ["Equity and drawdown", "By hour of entry", "By weekday", "By regime", "Every figure", "By symbol",
                 "To find it again", run.result.data_hash, "2 000", "candles-of-trade"][:8]:  # fmt: skip
        assert said in page, said
    assert "<script>" not in page and " style=" not in page  # the policy allows neither
    candles = trader.get(f"{reply['Location']}candles/?trade=0").json()
    times = [row[0] for row in candles["candles"]]
    assert {mark["time"] for mark in candles["marks"]} <= set(times) and {one["kind"] for one in candles["levels"]}
    assert trader.get(f"{reply['Location']}candles/?trade=99999").status_code == 404
    listed = text(trader.get("/backtests/"))
    assert run.title in listed and "Done" in listed
    sheet = text(trader.get(f"{reply['Location']}files/tear-sheet.html"))
    assert "▲" in sheet and "▼" in sheet  # the best and worst trades on their candles


def test_the_page_of_nothing_and_the_page_of_nonsense(trader):
    assert "No backtest yet" in text(trader.get("/backtests/"))
    assert "There is no contract to test yet" in text(trader.get("/backtests/new/"))
    page = text(trader.post("/backtests/new/", FORM | {"contract": "none@1"}), 422)
    assert "UNKNOWN_CONTRACT" in page and 'value="2026-02-17"' in page  # what was typed is still there
    assert "COMPARE" in text(trader.get("/backtests/compare/"), 422)
    assert trader.get(f"/backtests/{uuid.uuid4()}/").status_code == 404


def test_a_run_is_cancelled_asked_again_and_deleted_by_its_owner(trader):
    stored_history(days=[])
    text(trader.post("/backtests/new/", FORM), 302)
    run = BacktestRun.objects.get()
    assert trader.post(f"/backtests/{run.pk}/delete/").status_code == 409
    text(trader.post(f"/backtests/{run.pk}/cancel/"), 302)
    page = text(trader.get(f"/backtests/{run.pk}/"))
    assert f"Cancelled by {trader.user.username}" in page and f"like={run.pk}" in page
    assert 'value="2026-02-17"' in text(trader.get(f"/backtests/new/?like={run.pk}"))
    text(trader.post(f"/backtests/{run.pk}/again/", {"key": str(uuid.uuid4())}), 302)
    assert BacktestRun.objects.count() == 2
    assert "Delete this run?" in text(trader.get(f"/backtests/{run.pk}/delete/", headers={"hx-request": "true"}))
    text(trader.post(f"/backtests/{run.pk}/delete/"), 302)
    assert not BacktestRun.objects.filter(pk=run.pk).exists()


def test_files_hold_every_trade_and_no_formula(trader, tmp_path):
    import duckdb

    run = finished_run(trader.user, title="=HYPERLINK(evil)", symbol="=1+1")
    trades = json.loads(text(trader.get(f"/backtests/{run.pk}/files/report.json")))["trade_list"]
    rows = text(trader.get(f"/backtests/{run.pk}/files/trades.csv")).splitlines()
    assert len(rows) == len(trades) + 1 > 3
    assert rows[1].startswith("'=1+1,BUY,") and ",-" in "".join(rows)  # text is made harmless, numbers stay numbers
    reply = trader.get(f"/backtests/{run.pk}/files/trades.parquet")
    assert reply["Content-Disposition"] == f'attachment; filename="hyperlink-evil-{str(run.pk)[:8]}-trades.parquet"'
    (tmp_path / "trades.parquet").write_bytes(reply.content)
    with duckdb.connect() as database:
        found = database.execute(f"SELECT count(*), sum(pnl), any_value(symbol) FROM '{tmp_path}/trades.parquet'")
        count, pnl, symbol = found.fetchone()
    assert (count, symbol) == (len(trades), "=1+1")
    assert pnl == pytest.approx(sum(one["pnl"] for one in trades))
    equity = text(trader.get(f"/backtests/{run.pk}/files/equity.csv")).splitlines()
    assert equity[0] == "at,equity,drawdown_pct" and len(equity) == 451
    assert trader.get(f"/backtests/{run.pk}/files/passwords.csv").status_code == 404


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_no_text_of_a_file_is_a_formula(text):
    assert safe(text) == f"'{text}"
    assert list(csv_text({"a": np.array([text], object), "b": np.array([-1.5])}))[1].startswith(("'", "\"'"))


def test_the_offline_file_needs_nothing_but_itself(trader):
    run = finished_run(trader.user, title="<script>alert(1)</script>")
    page = text(trader.get(f"/backtests/{run.pk}/files/tear-sheet.html"))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"""(src|href|action)=|@import|url\(|https?://(?!www\.w3\.org)""", page)
    for said in ["Equity and drawdown", "Distribution of trades", run.result.run_hash, "default-src 'none'"]:
        assert said in page, said


def test_two_results_side_by_side(trader):
    first, second = finished_run(trader.user), finished_run(trader.user, fast=3)
    page = text(trader.get(f"/backtests/compare/?run={first.pk}&run={second.pk}"))
    assert page.count("data-best") > 5 and "Correlation" in page and "1.00" in page
    found = trader.get(f"/api/v1/backtests/compare/?run={first.pk}&run={second.pk}").json()
    assert [one["id"] for one in found["runs"]] == [str(first.pk), str(second.pk)] and found["common_days"] == 6
    assert found["correlation"][0][0] == 1 and found["correlation"][0][1] == found["correlation"][1][0]
    other = finished_run(UserFactory())
    assert trader.get(f"/backtests/compare/?run={first.pk}&run={other.pk}").status_code == 404


# --- by program -------------------------------------------------------------------------------------------------------
class Program:
    def __init__(self, user, scope="trade"):
        _, token = issue(owner=user, name="bot", scope=scope, now=timezone.now())
        self.http = Client(headers={"authorization": f"Bearer {token}"})

    def ask(self, body, key="a-key-of-mine"):
        headers = {"idempotency-key": key}
        return self.http.post("/api/v1/backtests/", body, content_type="application/json", headers=headers)


WISH = {
    "request": DAYS
    | {"contract": "ema-alignment", "symbols": ["SBIN"], "slippage": "2+spread:1+volume:5", "leverage": "2"}
}


@pytest.mark.django_db(transaction=True)
def test_a_program_asks_waits_and_reads(valkey):
    stored_history()
    program = Program(UserFactory())
    asked = program.ask(WISH)
    assert (asked.status_code, asked.json()["state"]) == (202, "QUEUED"), asked.json()
    assert program.ask(WISH).json()["id"] == asked.json()["id"]
    path = f"/api/v1/backtests/{asked.json()['id']}/"
    assert program.http.get(f"{path}report/").json()["code"] == "NOT_DONE"
    work()
    found = program.http.get(path).json()
    assert found["state"] == "DONE" and found["done"] == found["units"] and len(found["run_hash"]) == 64
    report = program.http.get(f"{path}report/")
    assert report.json()["run_hash"] == found["run_hash"]
    page = program.http.get(f"{path}trades/?first=1&count=2").json()
    plan = report.json()["plan"]
    costs = [plan[name] for name in ("slippage_bps", "spread_ticks", "impact_bps", "leverage")]
    assert costs == ["2", 1, "5", "2"] and found["request"]["slippage"] == "2+spread:1+volume:5"
    assert page["count"] == found["figures"]["trades"] and page["trades"] == report.json()["trade_list"][1:3]
    assert program.http.get(f"{path}trades/?first=-1").status_code == 400
    assert program.http.get(f"{path}export/report.json").content == report.content
    assert program.http.get("/api/v1/backtests/?kind=BACKTEST&state=DONE").json()["results"][0]["id"] == found["id"]
    assert program.http.get("/api/v1/backtests/?kind=NOTHING").json()["results"] == []
    assert program.http.post(f"{path}cancel/").json()["state"] == "DONE"
    assert program.http.delete(path).status_code == 204 and program.http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "NO_REQUEST"),
        ({"request": DAYS}, 400, "INVALID_REQUEST"),
        ({"request": WISH["request"] | {"to": "soon"}}, 400, "INVALID_REQUEST"),
        ({"request": WISH["request"] | {"slipage": "2"}}, 400, "INVALID_REQUEST"),
        ({"request": WISH["request"] | {"cash": "much"}}, 422, "NOT_A_NUMBER"),
        ({"request": WISH["request"] | {"slippage": "spread:two"}}, 422, "NOT_A_NUMBER"),
        ({"request": WISH["request"] | {"leverage": "6"}}, 422, "LEVERAGE"),
        ({"kind": "MAGIC", **WISH}, 400, "INVALID_REQUEST"),
    ],
)
def test_a_programs_nonsense_gets_a_code(valkey, db, body, status, code):
    stored_history(days=[])
    reply = Program(UserFactory()).ask(body)
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.json()
    assert not BacktestRun.objects.exists()


def test_a_key_that_may_only_read_asks_for_nothing(valkey, db):
    assert Program(UserFactory(), scope="read").ask(WISH).status_code == 403


def test_a_small_result_has_what_the_pages_are_made_of():
    assert len(small_result().trades) > 3


# --- what is held -----------------------------------------------------------------------------------------------------
def test_holdings_as_risk(trader):
    """Three long holdings on daily candles; shares, effective names and correlation against numpy."""
    feed = open_feed(at=datetime(2026, 2, 27, 11, 0, tzinfo=IST))
    portfolio = PortfolioFactory(owner=trader.user)
    assert "Nothing is held" in text(trader.get("/backtests/holdings/"))
    days = [date(2026, 1, 1) + timedelta(days=at) for at in range(55)]
    days = [day for day in days if session_on(day)]
    closes = []
    for place, (ticker, units) in enumerate([("SBIN", 100), ("ITC", 300), ("TCS", 50)]):
        share = InstrumentFactory(symbol=f"NSE:{ticker}-EQ")
        PositionFactory(portfolio=portfolio, instrument=share, net_quantity=units, cost_paise=units * 50_000)
        rows = wandering(60 + place, len(days), spread=0.01)
        starts = [session_on(day).bar_starts(1440)[0] for day in days]
        prices = (tuple(Decimal(f"{value:.2f}") for value in row) for row in rows)
        bars = [Bar(share.symbol, at, *four, 100) for at, four in zip(starts, prices, strict=True)]
        store_bars(feed, 1440, bars, "IMPORT")
        closes.append([float(bar.close) for bar in bars])
    lacking = InstrumentFactory(symbol="NSE:NEW-EQ")
    PositionFactory(portfolio=portfolio, instrument=lacking, net_quantity=10, cost_paise=100_000)
    found = trader.get("/api/v1/holdings/risk/").json()
    values = {"NSE:SBIN-EQ": 100 * closes[0][-1], "NSE:ITC-EQ": 300 * closes[1][-1], "NSE:TCS-EQ": 50 * closes[2][-1]}
    total = sum(values.values())
    assert found["symbols"] == sorted(values, key=lambda name: -values[name])
    assert found["weights"] == pytest.approx([values[name] / total for name in found["symbols"]])
    assert found["hhi"] == pytest.approx(sum((value / total) ** 2 for value in values.values()))
    assert found["days"] == len(days) - 1 and sum(found["risk_shares"]) == pytest.approx(1)
    order = [["NSE:SBIN-EQ", "NSE:ITC-EQ", "NSE:TCS-EQ"].index(name) for name in found["symbols"]]
    returns = np.diff(np.array(closes)[order]) / np.array(closes)[order][:, :-1]
    assert np.allclose(np.array(found["correlation"]), np.corrcoef(returns))
    page = text(trader.get("/backtests/holdings/"))
    assert "left out of the shares: NEW" in page and "Mean correlation" in page
    other = PortfolioFactory()
    assert trader.get(f"/api/v1/holdings/risk/?portfolio={other.pk}").status_code == 404
