"""Files as people have them: of other countries' offices, of websites, of two shares, and of what is stored already."""

import gzip
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from django.core.management import CommandError, call_command

from tests.factories.market import InstrumentFactory
from tests.flows.test_import_layouts import HEADER, OPEN, bars, run
from trading.marketdata.files import reading
from trading.marketdata.listing.universes import members
from trading.marketdata.models import CandleBlock, Instrument, Universe
from trading.marketdata.quality.files import check_files

pytestmark = pytest.mark.django_db


def minutes(count: int = 375) -> list[datetime]:
    return [OPEN + timedelta(minutes=minute) for minute in range(count)]


def test_fields_may_be_parted_by_semicolons_or_tabs(tmp_path):
    for name, mark in (("TCS", ";"), ("ITC", "\t")):
        lines = [mark.join([f"{at:%Y-%m-%d %H:%M}", "101.5", "102", "100.05", "101", "7"]) for at in minutes()]
        text = "\r\n".join([mark.join(["ts", "open", "high", "low", "close", "volume"]), *lines])
        (tmp_path / f"{name}.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    code, found, _ = run("import_candles", tmp_path)
    assert (code, [one["stored"] for one in found]) == (0, [375, 375]), found


def test_a_price_in_thousands_is_the_price_it_says(tmp_path):
    """As the exchange's own site hands it out: quoted, newest first, blanks behind the names."""
    (tmp_path / "TCS.csv").write_bytes(
        b'\xef\xbb\xbf"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","VOLUME "\r\n'
        b'"17-Feb-2026","EQ","3,010.00","3,052.35","2,998.05","3,005.00","3,050.00","3,051.20","3,030.1","1,23,45,678"\r\n'
        b'"16-Feb-2026","EQ","999.50","1,01,052.35","998.05","999.00","1,050.00","1,051.20","1,030.10","12,345"\r\n'
    )
    code, (report,), _ = run("import_candles", tmp_path, "--timeframe", "1d")
    assert (code, report["bad_bars"], report["stored"]) == (0, 0, 2), report
    first, second = bars(1440, days=3)
    assert (first.high, first.close, first.volume) == (Decimal("101052.35"), Decimal("1051.2"), 12345)
    assert (second.open, second.close, second.volume) == (3010, Decimal("3051.2"), 12345678)


@pytest.mark.parametrize("price", ["1,5", "2456,50", "10,0000", "1,2,3", ",500", "1,234,56.7"])
def test_a_comma_that_parts_no_thousands_makes_no_price(tmp_path, price):
    rows = [f"{at:%Y-%m-%d %H:%M},101.5,102,100.05,101,7" for at in minutes(3)]
    rows.append(f'{OPEN + timedelta(minutes=3):%Y-%m-%d %H:%M},"{price}",99999999,0.5,"{price}",7')
    (tmp_path / "TCS.csv").write_text("\n".join(["ts,open,high,low,close,volume", *rows]))
    _, (report,), _ = run("import_candles", tmp_path)
    assert (report["bad_bars"], report["stored"]) == (1, 3)


def test_a_file_that_says_it_is_of_another_share_is_refused(tmp_path):
    rows = [f"{at:%Y-%m-%d %H:%M},INFY,101.5,102,100.05,101,7" for at in minutes()]
    path = tmp_path / "TCS.csv"
    path.write_text("\n".join(["ts,symbol,open,high,low,close,volume", *rows]))
    code, (report,), _ = run("import_candles", path)
    assert (code, report["error"]["code"]) == (2, "OTHER_SYMBOL") and not CandleBlock.objects.exists()
    code, (report,), _ = run("import_candles", path, "--symbol", "NSE:TCS-EQ")  # somebody said whose it is
    assert (code, report["stored"]) == (0, 375)


@pytest.mark.parametrize("written", ["TCS", "tcs", "NSE:TCS", "NSE:TCS-EQ", "TCS.NS", "TCS-EQ", "Tata Consultancy"])
def test_a_share_is_written_in_many_ways(tmp_path, written):
    rows = [f"{at:%Y-%m-%d %H:%M},{written},101.5,102,100.05,101,7" for at in minutes(5)]
    (tmp_path / "TCS.csv").write_text("\n".join(["ts,symbol,open,high,low,close,volume", *rows]))
    code, (report,), _ = run("import_candles", tmp_path)
    assert (code, report["stored"]) == ((2, 0) if " " in written else (0, 5)), report


def test_two_shares_one_after_the_other_are_not_mixed_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_ROWS", 10)
    rows = [f"{at:%Y-%m-%d %H:%M},{name},101.5,102,100.05,101,7" for name, at in
            zip(["TCS"] * 10 + ["INFY"] * 10, minutes(20), strict=True)]  # fmt: skip
    (tmp_path / "TCS.csv").write_text("\n".join(["ts,symbol,open,high,low,close,volume", *rows]))
    code, (report,), _ = run("import_candles", tmp_path)
    assert (code, report["error"]["code"]) == (2, "MANY_SYMBOLS") and not CandleBlock.objects.exists()


def test_bars_that_are_stored_with_other_numbers_are_told(tmp_path):
    for folder, close in (("one", "101"), ("two", "101.6")):
        rows = [f"{at:%Y-%m-%d %H:%M},101.5,102,100.05,{close if n % 2 else 101},7" for n, at in enumerate(minutes())]
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "TCS.csv").write_text("\n".join(["ts,open,high,low,close,volume", *rows]))
    _, (first,), _ = run("import_candles", tmp_path / "one")
    _, (again,), _ = run("import_candles", tmp_path / "one")
    _, (other,), _ = run("import_candles", tmp_path / "two")
    told = [(one["stored"], one["unchanged"], one["differing"]) for one in (first, again, other)]
    assert told == [(375, 0, 0), (0, 375, 0), (0, 188, 187)]


def test_a_file_with_one_column_broken_says_which(tmp_path):
    rows = [f"{at:%Y-%m-%d %H:%M},101.5,102,100.05,n/a,7" for at in minutes()]
    (tmp_path / "TCS.csv").write_text("\n".join(["ts,open,high,low,close,volume", *rows]))
    code, (report,), _ = run("import_candles", tmp_path)
    assert (code, report["error"]["code"]) == (2, "NO_GOOD_BAR")
    assert "n/a" in report["error"]["message"]


@pytest.mark.parametrize("name", ["TCS-EQ.csv", "NSE_TCS.csv", "NSE_TCS-EQ.csv", "tcs.csv", "TCS.NS.csv"])
def test_a_file_may_carry_its_market_in_its_name(tmp_path, name):
    rows = [f"{at:%Y-%m-%d %H:%M},101.5,102,100.05,101,7" for at in minutes(3)]
    (tmp_path / name).write_text("\n".join(["ts,open,high,low,close,volume", *rows]))
    _, (report,), _ = run("import_candles", tmp_path)
    assert report["symbol"] == "NSE:TCS-EQ"


def test_the_index_of_a_frame_is_its_time(tmp_path):
    path = tmp_path / "TCS.parquet"
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(
            "COPY (SELECT 101.5 AS open, 102.0 AS high, 100.05 AS low, 101.0 AS close, 7 AS volume,"
            f" TIMESTAMPTZ '{OPEN.isoformat()}' + to_minutes(i) AS __index_level_0__ FROM range(375) t(i))"
            f" TO '{path}' (FORMAT PARQUET)"
        )
    code, (report,), _ = run("import_candles", path)
    assert (code, report.get("stored")) == (0, 375), report


def test_instants_of_a_parquet_file_are_judged_in_the_zone_they_name(tmp_path):
    path = tmp_path / "TCS.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT TIMESTAMPTZ '{OPEN.isoformat()}' + to_minutes(i) AS ts, 101.5 AS open, 102.0 AS high,"
            f" 100.05 AS low, 101.0 AS close, 7 AS volume FROM range(375) t(i)) TO '{path}' (FORMAT PARQUET)"
        )
    (one,) = check_files([path])
    assert (one.error, one.score, one.first) == (None, 100.0, "2026-02-16T09:15+05:30")


@pytest.mark.parametrize(
    "lines",
    [["BOND, GS, 16-Feb-2026, 10, 10, 11, 9, 10, 10.5, 10, 500, 1, 9, -, -"],
     ["TCS, EQ, 15-Feb-2026, 100.5, 101.05, 103, 100, 102.5, 102.6, 101.9, 12345, 12.5, 99, 1000, 8.1"],
     ["TCS, EQ, 16-Feb-2026, 10, -, -, -, -, -, 10, 0, 0, 0, -, -"]],
)  # fmt: skip
def test_a_daily_file_of_which_nothing_can_be_stored_says_so(tmp_path: Path, lines):
    InstrumentFactory(symbol="NSE:TCS-EQ")
    (tmp_path / "x.csv").write_text("\n".join([HEADER, *lines]))
    code, (report,), _ = run("import_bhavcopy", tmp_path / "x.csv")
    assert (code, report["rows"], report["good"], report["stored"]) == (0, 1, 0, 0)
    assert Instrument.objects.count() == 1


@pytest.mark.parametrize("packed", [False, True])
def test_the_list_of_an_index_is_read_packed_or_not(tmp_path, packed, capsys):
    shares = [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("TCS", "ITC")]
    text = "Company Name,Industry,Symbol,Series,ISIN Code\r\nOne,IT,TCS,EQ,INE1\r\nTwo,FMCG,ITC,EQ,INE2\r\n"
    body = b"\xef\xbb\xbf" + text.encode()
    path = tmp_path / ("list.csv.gz" if packed else "list.csv")
    path.write_bytes(gzip.compress(body) if packed else body)
    call_command("import_universe", str(path), "--name", "two", "--as-of", "2026-02-16")
    assert "two: 2 listed, 2 joined, 0 left" in capsys.readouterr().out
    assert {one.pk for one in members(Universe.objects.get(name="two"), OPEN.date())} == {one.pk for one in shares}


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b\x08cut", bytes(range(256)), b"Symbol\nNOBODY\n"])
def test_what_is_no_list_changes_nothing(tmp_path, body):
    (tmp_path / "list.csv").write_bytes(body)
    with pytest.raises(CommandError):
        call_command("import_universe", str(tmp_path / "list.csv"), "--name", "two", "--as-of", "2026-02-16")
    assert not Universe.objects.exists()
