"""`manage.py backtest`: contracts on stored candles, rules on a file, and what it answers to nonsense."""

import gzip
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command

from strategies.contracts.publish import publish_library
from tests.factories.market import stored_candles
from tests.factories.world import house_policy
from tests.unit.backtest.markets import together, wandering
from trading.domain.clock import IST
from trading.marketdata.candles import candles_of
from trading.marketdata.models import Feed, Instrument, Universe, UniverseMember
from trading.venue.sessions import session_on

CHECKOUT = Path(__file__).resolve().parents[2]
UP, DOWN = "crosses_above(sma(close, 5), sma(close, 15))", "crosses_below(sma(close, 5), sma(close, 15))"
DAYS = [date(2026, 2, 16), date(2026, 2, 17), date(2026, 2, 18), date(2026, 2, 19)]


@dataclass
class Told:
    code: int
    out: str
    errors: str

    @property
    def report(self) -> dict:
        return json.loads(self.out)


def backtest(*arguments: object) -> Told:
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("backtest", *map(str, arguments), stdout=out, stderr=err)
    except SystemExit as gone:
        code = int(gone.code or 0)
    return Told(code, out.getvalue(), err.getvalue())


def refused(told: Told, code: str) -> None:
    assert told.code == 2, told
    assert told.out == ""
    (line,) = told.errors.strip().splitlines()
    assert line.startswith(f"error: {code}"), line
    assert "Traceback" not in told.errors


# Rules on a file


def written(path: Path, *, seed: int = 3, bars: int = 300, header: str = ",Open,High,Low,Close,Volume") -> Path:
    market = together(wandering(seed, bars), timeframe=1440)
    rows = [header]
    for at, day in enumerate(market.day_ordinals):
        prices = ",".join(f"{column[0, at]:.2f}" for column in market.prices)
        rows.append(f"{date.fromordinal(int(day))},{prices},1000")
    path.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    return path


def on_file(path: Path, *more: object, rules: tuple[object, ...] = ("--long", UP, "--short", DOWN)) -> Told:
    return backtest("--candles", path, "--symbol", "MADE", "--timeframe", "1d", *rules, *more)


def test_rules_on_a_file(tmp_path):
    told = on_file(written(tmp_path / "MADE.csv.gz"), "--reverse", "--cash", "100000", "--json", "-")
    assert told.code == 0
    report = told.report
    assert report["trades"] == len(report["trade_list"]) > 5
    assert {"final_equity", "return_pct", "max_drawdown_pct", "win_rate_pct", "sharpe"} <= report.keys()
    assert (len(report["data_hash"]), len(report["run_hash"])) == (64, 64)
    assert report["symbols"] == ["MADE"] and report["bars"] == 300
    settled = 100_000 + sum(trade["pnl"] for trade in report["trade_list"])
    assert settled == pytest.approx(report["final_equity"], abs=1e-6)
    for before, after in zip(report["trade_list"], report["trade_list"][1:], strict=False):
        assert after["entry_at"] == before["exit_at"] and after["side"] != before["side"]


def test_the_same_bytes_every_time_and_in_the_file(tmp_path):
    path, kept = written(tmp_path / "MADE.csv.gz"), tmp_path / "out.json"
    costs = ("--charges", "fyers", "--slippage", "2.5", "--stop", "3", "--target", "6", "--trailing", "2:1")
    first = on_file(path, *costs, "--json", "-")
    assert first.code == 0 and first.out == on_file(path, *costs, "--json", "-").out
    shown = on_file(path, *costs, "--json", kept)
    assert kept.read_text() == first.out and "final equity" in shown.out
    dearer = on_file(path, *costs[:3], "5", *costs[4:], "--json", "-").report
    assert dearer["run_hash"] != first.report["run_hash"] and dearer["data_hash"] == first.report["data_hash"]


def test_a_range_trades_only_its_days_with_the_history_before_them(tmp_path):
    path = written(tmp_path / "MADE.csv.gz")
    whole = on_file(path, "--max-bars", 3, "--json", "-").report
    part = on_file(path, "--max-bars", 3, "--from", "2026-06-01", "--to", "2026-09-30", "--json", "-").report
    assert part["from"] == "2026-06-01" and part["to"] == "2026-09-30"
    expected = [one["entry_at"] for one in whole["trade_list"] if "2026-06-01" < one["entry_at"] <= "2026-09-30"]
    assert [one["entry_at"] for one in part["trade_list"]] == expected


def test_it_needs_no_server_at_all(tmp_path):
    """In a process of its own, with an empty folder for the desk: nothing is started, nothing but JSON is printed."""
    path, var = written(tmp_path / "MADE.csv.gz"), tmp_path / "var"
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {"DJANGO_SETTINGS_MODULE": "trading.settings.dev", "TARAZU_VAR": str(var)}
    done = subprocess.run(
        [sys.executable, "manage.py", "backtest", "--candles", path, "--timeframe", "1d", "--long", UP, "--json", "-",
         "--max-bars", "4"],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trades"] > 0
    assert not list(var.rglob("*.pid")) and not (var / "postgres").exists()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("2026-02-16,1,2,nan,1.5,10", "NOT_A_NUMBER"),
        ("2026-02-16,1,2,,1.5,10", "NOT_A_NUMBER"),
        ("2026-02-16,1,inf,1,1.5,10", "NOT_A_NUMBER"),
        ("2026-02-16,1,2,0,1.5,10", "BAD_BAR"),
        ("2026-02-16,3,2,1,1.5,10", "BAD_BAR"),
        ("2026-02-16,1,2", "BAD_ROW"),
        ("yesterday,1,2,1,1.5,10", "NOT_A_TIME"),
        ("2026-02-17,1,2,1,1.5,10\n2026-02-17,1,2,1,1.5,10", "DUPLICATE_BAR"),
        ("2026-02-17,1,2000001,1,1.5,10", "PRICE_TOO_LARGE"),
        ("", "NO_CANDLES"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, code):
    path = tmp_path / "BAD.csv"
    path.write_text(f"date,open,high,low,close,volume\n{line}\n")
    told = on_file(path)
    refused(told, code)
    if code in {"NOT_A_NUMBER", "BAD_BAR", "BAD_ROW", "NOT_A_TIME"}:
        assert "line 2" in told.errors


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--long", "close > nothing"), "RULE_UNKNOWN_NAME"),
        (("--long", "close >"), "RULE_"),
        (("--long", "close + 1"), "RULE_WRONG_KIND"),
        ((), "NO_RULE"),
        (("--long", "close > 10 * highest(high, 5)"), "NEVER_FIRED"),
        (("--long", "close > sma(close, 400)"), "TOO_SHORT"),
        (("--long", UP, "--from", "2030-01-01"), "EMPTY_RANGE"),
        (("--long", UP, "--from", "2026-06-02", "--to", "2026-06-01"), "EMPTY_RANGE"),
        (("--long", UP, "--from", "first of May"), "NOT_A_DATE"),
        (("--long", UP, "--cash", "0"), "CASH"),
        (("--long", UP, "--cash", "much"), "NOT_A_NUMBER"),
        (("--long", UP, "--cash", "nan"), "NOT_A_NUMBER"),
        (("--long", UP, "--sizing", "half"), "UNKNOWN_SIZING"),
        (("--long", UP, "--sizing", "risk:1"), "NO_STOP"),
        (("--long", UP, "--sizing", "percent:400"), "SIZING"),
        (("--long", UP, "--slippage", "-3"), "SLIPPAGE"),
        (("--long", UP, "--leverage", "900"), "LEVERAGE"),
        (("--long", UP, "--slots", "0"), "SLOTS"),
        (("--long", UP, "--stop", "0"), "OUT_OF_RANGE"),
        (("--long", UP, "--trailing", "200"), "TRAILING"),
        (("--long", UP, "--max-bars", "0"), "MAX_BARS"),
        (("--long", UP, "--tick", "0.00001"), "TICK"),
        (("--long", UP, "--timeframe", "7m"), "TIMEFRAME"),
        (("--long", UP, "--symbols", "SBIN"), "ARGUMENTS"),
        (("--long", UP, "--json", "/nowhere/out.json"), "NOT_WRITTEN"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path, given, code):
    refused(on_file(written(tmp_path / "MADE.csv.gz"), rules=given), code)


def test_files_that_are_no_candles(tmp_path):
    refused(on_file(tmp_path / "none.csv"), "NO_SUCH_FILE")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(b"date,open,high,low,close\n")[:20])
    refused(on_file(tmp_path / "torn.csv.gz"), "NOT_CANDLES")
    (tmp_path / "names.csv").write_text("name,age\nA,1\n")
    refused(on_file(tmp_path / "names.csv"), "NOT_CANDLES")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe" * 40)
    refused(on_file(tmp_path / "picture.csv"), "NOT_CANDLES")
    (tmp_path / "empty.csv").write_text("")
    refused(on_file(tmp_path / "empty.csv"), "NO_CANDLES")
    refused(backtest(), "ARGUMENTS")


def test_what_cannot_be_traded_is_said_not_shown_as_zero(tmp_path):
    told = on_file(written(tmp_path / "MADE.csv.gz"), "--cash", "5", "--json", "-")
    assert told.code == 0 and "warning: NO_TRADES" in told.errors
    report = told.report
    assert (report["trades"], report["final_equity"], report["win_rate_pct"]) == (0, 5.0, None)
    assert report["signals"]["no_money"] == report["signals"]["fired"] > 0


def test_bars_without_volume_are_told(tmp_path):
    path = tmp_path / "STILL.csv"
    lines = gzip.decompress(written(tmp_path / "MADE.csv.gz").read_bytes()).decode().replace(",1000", ",0")
    path.write_text(lines)
    told = on_file(path, "--reverse", "--json", "-")
    assert told.code == 0
    assert any(line.startswith("ZERO_VOLUME_BARS: 300 of 300") for line in told.report["warnings"])
    assert any(line.startswith("ZERO_VOLUME:") for line in told.report["warnings"])


def test_entries_too_large_for_the_market_are_told(tmp_path):
    path = written(tmp_path / "MADE.csv.gz")  # a thousand units trade in each bar

    def entries_said(cash: str, *more: str) -> list[str]:
        told = on_file(path, "--reverse", "--cash", cash, *more, "--json", "-").report
        assert told["trades"] > 5
        return [line for line in told["warnings"] if line.startswith("LARGE_ENTRIES")]

    assert entries_said("5000") == []
    (said,) = entries_said("10000000")
    large, entries = said.removeprefix("LARGE_ENTRIES: ").split(" entries")[0].split(" of ")
    assert large == entries and int(large) > 5
    assert entries_said("10000000", "--slippage", "share:5") == []


def test_a_year_reckoned_of_a_few_days_is_told(tmp_path):
    for bars, told_of in ((19, ["FEW_DAYS: there are returns of 19 days"]), (20, [])):
        report = on_file(
            written(tmp_path / "MADE.csv.gz", bars=bars), "--json", "-", rules=("--long", "close > 0")
        ).report
        assert [line.partition(".")[0] for line in report["warnings"] if "FEW_DAYS" in line] == told_of


# A contract on stored candles


@pytest.fixture
def stored(db) -> None:
    """Four days of five-minute candles of two shares; one is in the contract's universe."""
    house_policy()
    publish_library(actor="test")
    feed = Feed.objects.create(name="NSE", kind=Feed.Kind.EXCHANGE)
    universe = Universe.objects.create(name="nifty50")
    for place, ticker in enumerate(("SBIN", "ITC")):
        share = Instrument.objects.create(symbol=f"NSE:{ticker}-EQ", name=ticker, tick_size=Decimal("0.05"))
        if ticker == "SBIN":
            UniverseMember.objects.create(universe=universe, instrument=share, from_date=date(2020, 1, 1))
        rows = wandering(40 + place, 75 * len(DAYS), spread=0.004)
        starts = [at for day in DAYS for at in session_on(day).bar_starts(5)]  # type: ignore[union-attr]
        stored_candles(feed, share, starts, [[f"{price:.2f}" for price in row] for row in rows], timeframe=5)
    Instrument.objects.create(
        symbol="NSE:NIFTY50-INDEX", name="NIFTY", instrument_type="INDEX", tick_size=Decimal("0.05")
    )


CONTRACT = ("ema-alignment", "--symbols", "SBIN", "--from", "2026-02-17", "--to", "2026-02-19", "--timeframe", "5m")


def test_a_contract_on_stored_candles(stored):
    told = backtest(*CONTRACT, "--json", "-")
    assert told.code == 0, told.errors
    report = told.report
    assert report["symbols"] == ["NSE:SBIN-EQ"] and report["bars"] == 225
    assert report["plan"]["name"] == "ema-alignment@1" and report["plan"]["charges"] == "fyers"
    assert report["plan"]["intraday"]["square_off_min"] == 15
    assert (report["plan"]["position_cap_pct"], report["plan"]["exposure_cap_pct"]) == ("20", "70")
    assert report["trades"] > 0
    for trade in report["trade_list"]:
        assert trade["entry_at"][:10] == trade["exit_at"][:10]  # nothing stays overnight
        assert "09:20" <= trade["entry_at"][11:16] < "15:00"
        assert trade["stop"] and trade["target"] and trade["charges"] > 0
    assert backtest(*CONTRACT, "--json", "-").out == told.out
    entered = datetime.fromisoformat(report["trade_list"][0]["entry_at"]).astimezone(UTC)
    share = Instrument.objects.get(symbol="NSE:SBIN-EQ")
    (candle,) = candles_of(Feed.objects.get(), share, 5, start=entered, end=entered + timedelta(minutes=5))
    assert float(candle.open) == report["trade_list"][0]["entry_price"]
    assert entered.astimezone(IST).date() >= DAYS[1]


def test_the_contracts_universe_is_the_default_and_its_parameters_can_be_set(stored):
    days = ("--from", "2026-02-16", "--to", "2026-02-19", "--json", "-")
    usual = backtest("ema_alignment", *days).report
    tuned = backtest("ema_alignment@1", *days, "--set", "fast=5", "rsi_ceiling=80").report
    assert usual["symbols"] == tuned["symbols"] == ["NSE:SBIN-EQ"]
    assert (
        "ema(close, 9)" in usual["plan"]["rules"]["long_entry"]
        and "ema(close, 5)" in tuned["plan"]["rules"]["long_entry"]
    )
    assert any(line.startswith("SHORT_HISTORY") for line in usual["warnings"])


def test_a_share_of_the_universe_without_candles_is_left_out_aloud(stored):
    lacking = Instrument.objects.create(symbol="NSE:TCS-EQ", name="TCS", tick_size=Decimal("0.05"))
    universe = Universe.objects.get(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=lacking, from_date=date(2020, 1, 1))
    days = ("--from", "2026-02-17", "--to", "2026-02-19")
    told = backtest("ema-alignment", *days, "--json", "-")
    assert told.report["symbols"] == ["NSE:SBIN-EQ"]
    assert told.report["warnings"][0] == "LEFT_OUT: there are no candles of NSE:TCS-EQ"
    refused(backtest("ema-alignment", "--symbols", "SBIN", "TCS", *days), "NO_CANDLES")


def test_sizing_of_ones_own_is_not_capped(stored):
    report = backtest(*CONTRACT, "--sizing", "all_in", "--charges", "none", "--json", "-").report
    assert report["plan"]["position_cap_pct"] is None and report["charges"] == 0
    first = report["trade_list"][0]
    assert 0.99 < first["quantity"] * first["entry_price"] / 1_000_000 <= 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({0: "ema-alignmend"}, "UNKNOWN_CONTRACT"),
        ({0: "ema-alignment@7"}, "UNKNOWN_CONTRACT"),
        ({2: "SBI"}, "UNKNOWN_SYMBOL"),
        ({2: "NSE:NIFTY50-INDEX"}, "NOT_TRADABLE"),
        ({2: "ITC"}, "UNIVERSE_NOT_ALLOWED"),
        ({8: "15m"}, "TIMEFRAME_NOT_ALLOWED"),
        ({8: "5 minutes"}, "TIMEFRAME"),
        ({4: "2026-02-21", 6: "2026-02-22"}, "NO_CANDLES"),
        ({4: "2026-02-20", 6: "2026-02-19"}, "EMPTY_RANGE"),
        ({7: "--feed", 8: "MARS"}, "UNKNOWN_FEED"),
        ({7: "--set", 8: "fast=900"}, "OUT_OF_RANGE"),
        ({7: "--set", 8: "fats=9"}, "UNKNOWN_PARAMETER"),
        ({7: "--long", 8: "close > open"}, "ARGUMENTS"),
    ],
)
def test_what_a_contract_does_not_allow(stored, change, code):
    words = list(CONTRACT)
    for place, word in change.items():
        words[place] = word
    told = backtest(*words)
    refused(told, code)
    if code == "UNKNOWN_CONTRACT" and "@" not in words[0]:
        assert "did you mean ema-alignment?" in told.errors
