"""The layouts vendors use, Parquet, daily bars, and the exchange's own daily files."""

import gzip
import io
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from django.core.management import call_command

from tests.factories.market import InstrumentFactory
from trading.audit.models import AuditEntry
from trading.domain.clock import IST
from trading.marketdata.candles import candles_of
from trading.marketdata.marks import Mark
from trading.marketdata.models import CandleBlock, CorporateAction, Feed, FormerIdentity, Instrument, QualityDay
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
MONDAY = date(2026, 2, 16)
OPEN = datetime(2026, 2, 16, 9, 15, tzinfo=IST)


def run(command: str, *arguments: object):
    """Exit code, the report, and what was said beside it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(command, *map(str, arguments), "--json", stdout=out, stderr=err)
    except SystemExit as gone:
        code = int(gone.code or 0)
    told = json.loads(out.getvalue())
    return code, (told["files"] if isinstance(told, dict) else told), err.getvalue()


def bars(timeframe: int = 1, symbol: str = "NSE:TCS-EQ", days: int = 1):
    share = Instrument.objects.get(symbol=symbol)
    return candles_of(
        Feed.objects.get(), share, timeframe, start=OPEN - timedelta(days=9), end=OPEN + timedelta(days=days)
    )


KITE = ["date,open,high,low,close,volume", "{0:%Y-%m-%d %H:%M:%S}+05:30,101.5,102,100.05,101,{1}"]
FYERS = ["timestamp,open,high,low,close,volume", "{2},101.5,102,100.05,101,{1}"]
MILLISECONDS = ["Time,Open,High,Low,Close,Volume", "{2}000,101.5,102,100.05,101,{1}"]
YAHOO = [
    "Datetime,Open,High,Low,Close,Adj Close,Volume",
    "{0:%Y-%m-%d %H:%M:%S}+05:30,101.5,102.0,100.05,101.0,99.1,{1}",
]
PARTED = ["Date,Time,Open,High,Low,Close,Volume", "{0:%d-%m-%Y},{0:%H:%M},101.5,102,100.05,101,{1}"]
COMPACT = [
    "<ticker>,<date>,<time>,<open>,<high>,<low>,<close>,<vol>",
    "TCS,{0:%Y%m%d},{0:%H:%M:%S},101.5,102,100.05,101,{1}",
]
SPOKEN = ["Date, Open, High, Low, Close, Volume", "{0:%d-%b-%Y} {0:%I:%M} {0:%p},101.5,102,100.05,101,{1}"]


@pytest.mark.parametrize("layout", [KITE, FYERS, MILLISECONDS, YAHOO, PARTED, COMPACT, SPOKEN])
def test_the_layouts_of_vendors_are_read_as_what_they_are(tmp_path, layout):
    header, row = layout
    lines = [row.format(at, minute, int(at.timestamp())) for minute in range(375)
             if (at := OPEN + timedelta(minutes=minute))]  # fmt: skip
    (tmp_path / "TCS.csv").write_text("\n".join([header, *lines]))
    code, (report,), _ = run("import_candles", tmp_path)
    assert (code, report["stored"], report["missing"], report["bad_bars"]) == (0, 375, 0, 0), report
    first, *_, last = bars()
    assert (first.started_at, first.open, first.high, first.low, first.close, first.volume) == (
        OPEN, Decimal("101.5"), 102, Decimal("100.05"), 101, 0,
    )  # fmt: skip
    assert (last.started_at, last.volume) == (OPEN + timedelta(minutes=374), 374)


def parquet(path: Path, query: str) -> Path:
    with duckdb.connect() as database:
        database.execute(f"COPY ({query}) TO '{path}' (FORMAT PARQUET)")
    return path


@pytest.mark.parametrize("stamp", ["TIMESTAMP", "TIMESTAMPTZ", "BIGINT", "VARCHAR"])
def test_parquet_is_read_whatever_its_stamps_are(tmp_path, stamp):
    start = {
        "TIMESTAMP": "TIMESTAMP '2026-02-16 09:15:00' + to_minutes(i)", "BIGINT": f"{int(OPEN.timestamp())} + 60 * i",
        "TIMESTAMPTZ": f"make_timestamptz(({int(OPEN.timestamp())} + 60 * i) * 1000000)",
        "VARCHAR": "strftime(TIMESTAMP '2026-02-16 09:15:00' + to_minutes(i), '%Y-%m-%dT%H:%M:%S')",
    }[stamp]  # fmt: skip
    path = parquet(
        tmp_path / "TCS.parquet",
        f"SELECT {start} AS timestamp, 101.5::FLOAT AS open, 102.0 AS high, 100.05::FLOAT AS low, 101.0 AS close,"
        " i::DOUBLE AS volume FROM range(375) AS t(i)",
    )
    code, (report,), _ = run("import_candles", path)
    assert (code, report["symbol"], report["stored"]) == (0, "NSE:TCS-EQ", 375), report
    assert (bars()[0].started_at, bars()[0].low, bars()[5].volume) == (OPEN, Decimal("100.05"), 5)


def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "TCS.parquet").write_bytes(b"PAR1 and then something else PAR1")
    code, (report,), said = run("import_candles", tmp_path)
    assert (code, report["error"]["code"]) == (2, "BROKEN_PARQUET") and said.count("error: ") == 1


def test_daily_bars_begin_with_their_session(tmp_path):
    lines = ["2026-02-13,10,11,9,10,5", "2026-02-14,10,11,9,10,5", "16-Feb-2026,10,11,9,10,5", "2026-02-16,1,1,1,1,1",
             "2026-02-17,10,9,9,10,5"]  # fmt: skip
    (tmp_path / "TCS.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]))
    code, (report,), _ = run("import_candles", tmp_path, "--timeframe", "1d")
    assert (code, report["stored"], report["duplicates"], report["bad_bars"]) == (0, 2, 1, 1)
    assert report["out_of_session"]["closed_day"] == 1  # a Saturday
    assert [bar.started_at for bar in bars(1440)] == [OPEN - timedelta(days=3), OPEN]


def test_an_index_may_come_without_volume_and_a_share_may_not(tmp_path):
    for name in ("NIFTY", "TCS"):
        (tmp_path / f"{name}.csv").write_text("Date,Open,High,Low,Close\n2026-02-16,10,11,9,10\n")
    code, reports, _ = run("import_candles", tmp_path, "--timeframe", "1d")
    assert (code, [one["stored"] for one in reports]) == (1, [1, 0])
    assert reports[1]["error"]["code"] == "WRONG_COLUMNS"


def test_a_file_of_many_shares_is_not_mixed_up(tmp_path):
    (tmp_path / "TCS.csv").write_text(
        "symbol,date,open,high,low,close,volume\nTCS,2026-02-16,1,1,1,1,1\nITC,2026-02-16,1,1,1,1,1\n"
    )
    code, (report,), _ = run("import_candles", tmp_path, "--timeframe", "1d")
    assert (code, report["error"]["code"]) == (2, "MANY_SYMBOLS")


def test_what_looks_labelled_by_its_ends_is_not_stored_until_somebody_says_what_it_is(tmp_path):
    lines = [
        f"{OPEN + timedelta(days=day, minutes=minute):%Y-%m-%d %H:%M:%S},1,1,1,1,1"
        for day in range(3)
        for minute in range(1, 376)
    ]
    (tmp_path / "TCS.csv").write_text("\n".join(["ts,open,high,low,close,volume", *lines]))
    code, (report,), _ = run("import_candles", tmp_path)
    assert (code, report["error"]["code"]) == (2, "SUSPECTED_LABEL") and not CandleBlock.objects.exists()
    code, (report,), _ = run("import_candles", tmp_path, "--label", "end")
    assert (code, report["stored"], report["missing"]) == (0, 1125, 0)


HEADER = ("SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE,"
          " TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER")  # fmt: skip
LINES = [
    "TCS, EQ, 16-Feb-2026, 100.5, 101.05, 103, 100, 102.5, 102.6, 101.9, 12345, 12.5, 99, 1000, 8.1",
    "OLDNAME, EQ, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -",
    "ITC, BE, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -",
    "SILENT, EQ, 16-Feb-2026, 10, -, -, -, -, -, 10, 0, 0, 0, -, -",
    "STRANGER, EQ, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -",
    "BOND, GS, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -",
    "TCS, EQ, 15-Feb-2026, 100.5, 101.05, 103, 100, 102.5, 102.6, 101.9, 12345, 12.5, 99, 1000, 8.1",
]  # fmt: skip


@pytest.fixture
def shares(db):
    renamed = InstrumentFactory(symbol="NSE:NEWNAME-EQ")
    FormerIdentity.objects.create(
        instrument=renamed, symbol="NSE:OLDNAME-EQ", until_date=date(2026, 2, 27), source="test"
    )
    return [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("TCS", "ITC")] + [renamed]


@pytest.mark.parametrize("packed", [False, True])
def test_the_exchanges_daily_file_is_read_as_it_is_published(tmp_path, shares, packed):
    path, text = tmp_path / "sec_bhavdata_full_16022026.csv", "\n".join([HEADER, *LINES]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    code, (report,), _ = run("import_bhavcopy", path)
    assert code == 0
    counts = ("rows", "stored", "other_series", "bad", "closed_days", "unknown", "duplicates")
    assert [report[name] for name in counts] == [7, 3, 1, 1, 1, 1, 0]
    assert report["unknown_names"] == ["NSE:STRANGER-EQ"]
    (bar,) = bars(1440)
    assert (bar.open, bar.close, bar.volume, bar.source) == (Decimal("101.05"), Decimal("102.6"), 12345, "IMPORT")
    assert bars(1440, "NSE:NEWNAME-EQ")[0].close == Decimal("10.5")
    assert run("import_bhavcopy", path)[1][0]["stored"] == 0
    assert AuditEntry.objects.filter(action="candles.imported").count() == 1


def test_a_step_that_no_trading_explains_waits_for_a_person_whichever_file_it_lies_in(tmp_path, shares):
    friday = "TCS, EQ, 13-Feb-2026, 199, 200, 202, 199, 200, 200, 200, 500, 1, 9, -, -"
    monday = "TCS, EQ, 16-Feb-2026, 100, 101, 103, 100, 102, 102, 101, 900, 1, 9, -, -"
    quiet = "ITC, EQ, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -"
    for name, lines in (("one.csv", [friday]), ("two.csv", [quiet, monday]), ("both.csv", [monday, friday])):
        (tmp_path / name).write_text("\n".join([HEADER, *lines]) + "\n")
    found = [run("import_bhavcopy", tmp_path / name)[1][0]["suspected"] for name in ("one.csv", "two.csv", "both.csv")]
    assert found == [0, 1, 0]
    action = CorporateAction.objects.get()
    assert (action.instrument.symbol, action.ex_date, action.factor) == (
        "NSE:TCS-EQ",
        date(2026, 2, 16),
        Decimal("0.5"),
    )
    assert (action.state, action.source) == ("SUSPECTED", "two.csv")
    action.delete()
    assert run("import_bhavcopy", tmp_path / "both.csv")[1][0]["suspected"] == 1


def test_minutes_that_leave_the_exchange_s_own_day_are_disputed_when_its_file_comes(tmp_path, shares):
    lines = ["ts,open,high,low,close,volume"]
    for n, start in enumerate(session_on(date(2026, 2, 16)).bar_starts(1)):
        high = 120 if n == 50 else 102.9
        lines.append(f"{start.astimezone(IST).isoformat()},102,{high},101,102.5,20")
    minutes = tmp_path / "TCS.csv"
    minutes.write_text("\n".join(lines))
    run("import_candles", minutes, "--timeframe", "1m", "--label", "start", "--tz", "Asia/Kolkata", "--feed", "NSE")
    assert not bars(1)[50].mark & Mark.DISPUTED
    path = tmp_path / "day.csv"
    path.write_text("\n".join([HEADER, LINES[0]]))
    (report,) = run("import_bhavcopy", path)[1]
    assert report["compared"] == 1
    assert [n for n, bar in enumerate(bars(1)) if bar.mark & Mark.DISPUTED] == [50]
    assert QualityDay.objects.get().defects["DISPUTED_BARS"] == 1


def test_unknown_shares_are_made_when_that_is_asked_for_and_a_dry_run_makes_none(tmp_path, shares):
    path = tmp_path / "today.csv"
    path.write_text("\n".join([HEADER, *LINES]))
    run("import_bhavcopy", path, "--create", "--dry-run")
    assert not Instrument.objects.filter(symbol="NSE:STRANGER-EQ").exists() and not CandleBlock.objects.exists()
    assert run("import_bhavcopy", path, "--create")[1][0]["created"] == 1
    assert Instrument.objects.get(symbol="NSE:STRANGER-EQ").tick_size == Decimal("0.01")


def test_a_share_that_is_made_is_one_under_all_its_names(tmp_path, shares):
    rest = "200, 200, 202, 199, 200, 200, 200, 500, 1, 9, -, -"
    path = tmp_path / "years.csv"
    path.write_text("\n".join([HEADER, f"ZOMATO, EQ, 08-Apr-2025, {rest}", f"ETERNAL, EQ, 09-Apr-2025, {rest}"]))
    (report,) = run("import_bhavcopy", path, "--create")[1]
    assert (report["created"], report["stored"]) == (1, 2)
    assert not Instrument.objects.filter(symbol="NSE:ZOMATO-EQ").exists()


def test_the_newer_daily_file_and_parquet_are_read_too(tmp_path, shares):
    (tmp_path / "udiff.csv").write_text(
        "TradDt,BizDt,Sgmt,FinInstrmTp,ISIN,TckrSymb,SctySrs,OpnPric,HghPric,LwPric,ClsPric,TtlTradgVol\n"
        "2026-02-16,2026-02-16,CM,STK,INE467B01029,TCS,EQ,101.05,103,100,102.6,12345\n"
    )
    assert run("import_bhavcopy", tmp_path / "udiff.csv")[1][0]["stored"] == 1
    path = parquet(
        tmp_path / "all.parquet",
        "SELECT DATE '2026-02-17' AS date, 'TCS' AS symbol, 'EQ' AS series, 101.05 AS open, 103.0 AS high, 100.0 AS low"
        ", 102.6 AS close, 12345 AS volume",
    )
    assert run("import_bhavcopy", path)[1][0]["stored"] == 1
    assert len(bars(1440, days=3)) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "EMPTY_FILE"), (b"a,b\n1,2\n", "NOT_A_BHAVCOPY"), (bytes(range(256)), "NOT_A_BHAVCOPY"),
     (b"PAR1xx", "BROKEN_PARQUET"),
     (HEADER.encode() + b"\n", "EMPTY_FILE")],
)  # fmt: skip
def test_what_is_no_daily_file_is_refused(tmp_path, content, code):
    (tmp_path / "x.csv").write_bytes(content)
    exit_code, (report,), _ = run("import_bhavcopy", tmp_path / "x.csv")
    assert (exit_code, report["error"]["code"]) == (2, code)
