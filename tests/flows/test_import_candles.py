"""`manage.py import_candles`: files with the defects that vendors' files have, and files that are no candles at all."""

import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command

from trading.audit.models import AuditEntry
from trading.domain.clock import IST
from trading.marketdata.builder import Bar
from trading.marketdata.candles import bars_of_block
from trading.marketdata.files import reading as import_reading
from trading.marketdata.marks import Mark
from trading.marketdata.models import CandleBlock, Feed, Instrument, QualityDay

pytestmark = pytest.mark.django_db
MONDAY = date(2026, 2, 16)
HEADER = "ts,open,high,low,close,volume"


def stamp(day: date, minute: int, *, zone: str = "+05:30") -> str:
    """`minute` counts from 09:15 in India."""
    return (datetime.combine(day, time(9, 15)) + timedelta(minutes=minute)).isoformat() + zone


def row(minute: int, *, day: date = MONDAY, close: str = "101.5", volume: str = "120", zone: str = "+05:30") -> str:
    return f"{stamp(day, minute, zone=zone)},101.0,103.25,100.05,{close},{volume}"


def rows(*days: date, minutes: Iterable[int] = range(375), zone: str = "+05:30") -> list[str]:
    return [row(minute, day=day, zone=zone) for day in days for minute in minutes]


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    text = "\n".join([header, *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def stored() -> list[Bar]:
    """Every stored candle, by block."""
    blocks = CandleBlock.objects.select_related("series__instrument").order_by("series", "first_day")
    return [bar for block in blocks for bar in bars_of_block(block)]


@dataclass
class Told:
    code: int
    report: dict
    errors: str

    @property
    def first(self) -> dict:
        return self.report["files"][0]


def run(*arguments: object) -> Told:
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("import_candles", *map(str, arguments), "--json", stdout=out, stderr=err)
    except SystemExit as gone:
        code = int(gone.code or 0)
    return Told(code, json.loads(out.getvalue()) if out.getvalue() else {}, err.getvalue())


def test_a_clean_file_is_stored_as_it_is(tmp_path):
    told = run(write(tmp_path / "RELIANCE.csv.gz", rows(MONDAY)))
    assert told.code == 0
    assert (told.first["symbol"], told.first["rows"], told.first["stored"]) == ("NSE:RELIANCE-EQ", 375, 375)
    candle = stored()[0]
    assert candle.started_at == datetime.combine(MONDAY, time(9, 15), IST)
    assert (candle.open, candle.high, candle.low, candle.close) == tuple(
        map(Decimal, ("101.0", "103.25", "100.05", "101.5"))
    )
    assert (candle.volume, candle.source, Feed.objects.get().kind) == (120, "IMPORT", Feed.Kind.EXCHANGE)


def test_twice_is_once(tmp_path):
    path = write(tmp_path / "RELIANCE.csv", rows(MONDAY))
    run(path)
    before = list(CandleBlock.objects.order_by("id").values())
    told = run(path)
    assert (told.first["stored"], told.first["unchanged"]) == (0, 375)
    assert list(CandleBlock.objects.order_by("id").values()) == before
    assert AuditEntry.objects.filter(action="candles.imported").count() == 1


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path):
    path = write(tmp_path / "RELIANCE.csv", rows(MONDAY, minutes=range(3, 300)) + [row(4), row(400)])
    told = run(path, "--dry-run")
    assert not CandleBlock.objects.exists() and not Instrument.objects.exists() and not Feed.objects.exists()
    assert not AuditEntry.objects.exists()
    stored = run(path)
    for report in (told.first, stored.first):
        del report["stored"], report["unchanged"]
    assert told.first == stored.first


def test_the_report_is_the_same_every_time(tmp_path):
    for name in ("TCS", "ITC", "SBIN"):
        write(tmp_path / f"{name}.csv", rows(MONDAY, minutes=range(20)))
    assert run(tmp_path, "--dry-run").report == run(tmp_path, "--dry-run").report
    told = run(tmp_path, "--dry-run")
    assert [one["symbol"] for one in told.report["files"]] == ["NSE:ITC-EQ", "NSE:SBIN-EQ", "NSE:TCS-EQ"]
    assert told.report["total"]["rows"] == 60


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("NIFTY.csv", "NSE:NIFTY50-INDEX"),
        ("NIFTY50.csv.gz", "NSE:NIFTY50-INDEX"),
        ("banknifty.csv", "NSE:NIFTYBANK-INDEX"),
        ("SENSEX.csv", "BSE:SENSEX-INDEX"),
        ("M&M.csv", "NSE:M&M-EQ"),
        ("BAJAJ-AUTO.csv.gz", "NSE:BAJAJ-AUTO-EQ"),
    ],
)
def test_a_file_is_named_after_its_instrument(tmp_path, name, symbol):
    assert run(write(tmp_path / name, rows(MONDAY, minutes=range(5)))).first["symbol"] == symbol
    instrument = Instrument.objects.get()
    assert instrument.symbol == symbol
    assert instrument.is_tradable is not symbol.endswith("INDEX")


@pytest.mark.parametrize(("close", "tick"), [("101.5", "0.01"), ("400", "0.05"), ("1400", "0.10"), ("7000", "0.50")])
def test_an_unknown_instrument_gets_the_tick_of_its_price(tmp_path, close, tick):
    lines = [f"{stamp(MONDAY, 0)},{close},{close},{close},{close},1"]
    run(write(tmp_path / "NEWCOMER.csv", lines))
    assert Instrument.objects.get().tick_size == Decimal(tick)


def test_the_tick_of_old_prices_gives_way_to_newer_ones(tmp_path):
    old = [f"{stamp(date(2016, 8, 16), 0)},1400,1400,1400,1400,1"]
    new = [f"{stamp(MONDAY, 0)},1400,1400,1400,1400,1"]
    run(write(tmp_path / "RELIANCE.csv", old))
    assert Instrument.objects.get().tick_size == Decimal("0.05")
    for lines in (new, old):
        run(write(tmp_path / "RELIANCE.csv", lines))
        assert Instrument.objects.get().tick_size == Decimal("0.10")


def test_rows_out_of_order_are_counted_and_stored(tmp_path):
    lines = rows(MONDAY)
    lines[100:103] = reversed(lines[100:103])
    told = run(write(tmp_path / "SBIN.csv", lines))
    assert (told.first["unsorted"], told.first["stored"], told.first["missing"]) == (2, 375, 0)


def test_bad_bars_are_reported_and_never_stored(tmp_path):
    at = [stamp(MONDAY, minute) for minute in range(20)]
    bad = [
        f"{at[1]},100,99,98,98.5,5",  # high below open
        f"{at[2]},100,101,100.5,101,5",  # low above open
        f"{at[3]},0,101,0,101,5",
        f"{at[4]},-1,101,-1,101,5",
        f"{at[5]},100,nan,100,100,5",
        f"{at[6]},100,inf,100,100,5",
        f"{at[7]},100,abc,100,100,5",
        f"{at[8]},100,101,100,100,-5",
        f"{at[9]},100,101,100,100,5.5",
        f"{at[10]},100,101,100",
        f"{at[11]},1_00,1_01,1_00,1_00,5",
        f"{at[12]},१००,१०१,१००,१००,5",
        f'{at[13]},"100\t",101,100,100,5',
        f"{at[14]},1e300,1e300,1e300,1e300,5",
        f"{at[15]},100,101,100,100,1e30",
        "yesterday,100,101,100,100,5",
        "2026-02-16,100,101,100,100,5",
        "9999-12-31T09:15:00+05:30,100,101,100,100,5",
    ]
    told = run(write(tmp_path / "SBIN.csv", [row(0), *bad, row(19)]))
    assert (told.code, told.first["rows"], told.first["bad_bars"], told.first["stored"]) == (0, 20, len(bad), 2)


def test_the_first_of_two_rows_with_one_stamp_is_stored(tmp_path):
    told = run(write(tmp_path / "SBIN.csv", [row(0, close="102"), row(1), row(0, close="103")]))
    assert (told.first["duplicates"], told.first["stored"]) == (1, 2)
    assert stored()[0].close == 102


def test_duplicates_are_found_however_far_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(import_reading, "CHUNK_ROWS", 50)
    told = run(write(tmp_path / "SBIN.csv", rows(MONDAY) + [row(3)]))
    assert (told.first["duplicates"], told.first["unsorted"], told.first["stored"]) == (1, 1, 375)


def test_what_is_out_of_session_is_told_apart_and_not_stored(tmp_path):
    saturday = date(2026, 3, 21)
    lines = [row(-6), *rows(MONDAY), row(375), *rows(saturday, minutes=range(19)), *rows(date(2026, 3, 23))]
    told = run(write(tmp_path / "SENSEX.csv", lines))
    assert told.first["out_of_session"] == {
        "pre_open": 1, "after_close": 1, "pause": 0, "closed_day": 19, "off_grid": 0,
    }  # fmt: skip
    assert told.first["stored"] == 750


def test_the_special_sunday_and_the_evening_session_are_sessions(tmp_path):
    budget, muhurat = date(2026, 2, 1), date(2021, 11, 4)
    evening = [row(minute, day=muhurat) for minute in range(540, 600)]  # 18:15 to 19:15
    told = run(write(tmp_path / "TCS.csv", evening + rows(budget)))
    assert (told.first["stored"], told.first["days"], told.first["missing"]) == (435, 2, 0)


def test_end_labels_are_suspected_named_and_read_right_when_told(tmp_path):
    days = [MONDAY + timedelta(days=one) for one in range(3)]
    path = write(tmp_path / "NIFTY.csv", rows(*days, minutes=range(1, 376)))
    told = run(path, "--dry-run")
    assert told.first["suspected_label"] == "end"
    assert "--label end" in told.first["warnings"][0] and "--label end" in told.errors
    told = run(path, "--label", "end")
    assert (told.first["warnings"], told.first["missing"], told.first["stored"]) == ([], 0, 1125)
    assert stored()[0].started_at == datetime.combine(MONDAY, time(9, 15), IST)


def test_start_labels_read_as_ends_are_suspected_too(tmp_path):
    days = [MONDAY + timedelta(days=one) for one in range(3)]
    told = run(write(tmp_path / "NIFTY.csv", rows(*days)), "--dry-run", "--label", "end")
    assert told.first["suspected_label"] == "start"
    assert "--label start" in told.first["warnings"][0]


def test_the_short_last_bar_of_the_day_is_known_by_its_end(tmp_path):
    ends = [*range(60, 375, 60), 375]
    told = run(write(tmp_path / "TCS.csv", rows(MONDAY, minutes=ends)), "--label", "end", "--timeframe", "60m")
    assert (told.first["stored"], told.first["missing"]) == (7, 0)
    assert stored()[-1].started_at == datetime.combine(MONDAY, time(15, 15), IST)


def test_bare_stamps_are_read_in_the_zone_given(tmp_path):
    bare = write(tmp_path / "TCS.csv", rows(MONDAY, zone=""))
    assert run(bare).first["first"] == "2026-02-16T03:45:00+00:00"
    utc = [line.replace("T09:", "T03:") for line in rows(MONDAY, minutes=range(40), zone="")]
    told = run(write(tmp_path / "ITC.csv", utc), "--tz", "UTC", "--dry-run")
    assert (told.first["good"], told.first["out_of_session"]["pre_open"]) == (10, 30)  # 03:15 UTC is half past eight


def test_more_columns_and_another_order_do_no_harm(tmp_path):
    lines = [f"7,{stamp(MONDAY, minute)},120,101.5,100.05,103.25,101.0,x" for minute in range(9)]
    told = run(write(tmp_path / "TCS.csv", lines, header="ticks,TS,Volume,Close,Low,High,Open,note"))
    assert told.first["stored"] == 9
    assert stored()[0].high == Decimal("103.25")


def test_prices_keep_the_digits_they_came_with(tmp_path):
    lines = [f"{stamp(MONDAY, 0)},1533.8501,1533.8501,1533.05,1533.1,5"]
    told = run(write(tmp_path / "TCS.csv", lines))
    assert told.first["float_noise"] == 1
    assert stored()[0].open == Decimal("1533.8501")


def no_candles(folder: Path) -> dict[str, Path]:
    made = {
        name: folder / f"{name}.csv" for name in ("EMPTY", "HEADER", "BINARY", "PARQUET", "COLUMNS", "HUGE", "LONG")
    }
    made["EMPTY"].write_bytes(b"")
    made["HEADER"].write_text(HEADER + "\n")
    made["BINARY"].write_bytes(bytes(range(256)) * 20)
    made["PARQUET"].write_bytes(b"PAR1" + b"\x15\x04" * 50)
    made["COLUMNS"].write_text("date,o,h,l,c\n2026-02-16,1,1,1,1\n")
    made["HUGE"].write_text(f"{HEADER}\n{row(0)}\n" + "9" * 1_000_000 + ",1,1,1,1,1\n")
    made["LONG"].write_text(f"{HEADER}\n{row(0)}\n{stamp(MONDAY, 1)},1,1,1,{'x' * 500},1\n")
    made["CUT"] = folder / "CUT.csv.gz"
    made["CUT"].write_bytes(gzip.compress((HEADER + "\n" + "\n".join(rows(MONDAY))).encode())[:-200])
    made["LATIN"] = folder / "LATIN.csv"
    made["LATIN"].write_bytes(HEADER.encode() + b"\n\xe9\xff,1,1,1,1,1\n")
    made["MIXED"] = write(
        folder / "MIXED.csv",
        [
            line
            for one in range(4)
            for line in rows(MONDAY + timedelta(days=one), minutes=range(one % 2, 375 + one % 2))
        ],
    )
    made["ZONES"] = write(folder / "ZONES.csv", [row(0), row(1, zone="+00:00")])
    made["NIGHT"] = write(folder / "NIGHT.csv", rows(MONDAY, minutes=range(600, 700)))
    made["RUBBISH"] = write(folder / "RUBBISH.csv", ["a,b,c,d,e,f", "1,2,3,4,5,6"])
    return made


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("EMPTY", "EMPTY_FILE"), ("HEADER", "EMPTY_FILE"), ("BINARY", "NOT_TEXT"), ("PARQUET", "BROKEN_PARQUET"),
        ("COLUMNS", "WRONG_COLUMNS"), ("HUGE", "HUGE_FIELD"), ("LONG", "HUGE_FIELD"), ("CUT", "BROKEN_ARCHIVE"),
        ("LATIN", "NOT_TEXT"), ("MIXED", "MIXED_LABELS"), ("ZONES", "MIXED_ZONES"), ("NIGHT", "NOTHING_IN_SESSION"),
        ("RUBBISH", "NO_GOOD_BAR"),
    ],
)  # fmt: skip
def test_what_is_no_candle_file_is_refused_in_one_line_and_leaves_nothing(tmp_path, name, code):
    told = run(no_candles(tmp_path)[name])
    assert told.code == 2
    assert told.first["error"]["code"] == code
    complaints = [line for line in told.errors.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 1 and complaints[0].startswith(f"error: {code}: ") and len(complaints[0]) < 400
    assert not CandleBlock.objects.exists() and not Instrument.objects.exists()


def test_one_bad_file_does_not_keep_the_others_out(tmp_path):
    write(tmp_path / "ITC.csv", rows(MONDAY))
    (tmp_path / "SBIN.csv").write_bytes(b"")
    write(tmp_path / "TCS.csv", rows(MONDAY))
    told = run(tmp_path)
    assert told.code == 1
    assert [bool(one["error"]) for one in told.report["files"]] == [False, True, False]
    assert len(stored()) == 750


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{there}/nowhere.csv"], "NO_SUCH_FILE"),
        (["{there}/empty"], "EMPTY_FOLDER"),
        (["{there}/A.csv", "--tz", "Mars/Olympus"], "UNKNOWN_ZONE"),
        (["{there}/A.csv", "--tz", "../../etc/passwd"], "UNKNOWN_ZONE"),
        (["{there}/A.csv", "--label", "middle"], "UNKNOWN_LABEL"),
        (["{there}/A.csv", "--timeframe", "7q"], "UNKNOWN_TIMEFRAME"),
        (["{there}/A.csv", "--feed", "NOWHERE"], "UNKNOWN_FEED"),
        (["{there}/A.csv", "--symbol", "reliance"], "WRONG_SYMBOL"),
        (["{there}/A.csv", "{there}/B.csv", "--symbol", "NSE:TCS-EQ"], "ONE_SYMBOL_MANY_FILES"),
    ],
)
def test_a_call_that_makes_no_sense_does_nothing(tmp_path, arguments, code):
    (tmp_path / "empty").mkdir()
    for name in ("A.csv", "B.csv"):
        write(tmp_path / name, rows(MONDAY))
    told = run(*[one.format(there=tmp_path) for one in arguments])
    assert (told.code, told.report) == (2, {})
    assert told.errors.startswith(f"error: {code}: ") and len(told.errors.strip().splitlines()) == 1
    assert not CandleBlock.objects.exists()


def test_a_symbol_may_be_named_for_a_file_that_does_not_say(tmp_path):
    told = run(write(tmp_path / "download (3).csv", rows(MONDAY)), "--symbol", "NSE:TCS-EQ")
    assert (told.code, told.first["symbol"], told.first["stored"]) == (0, "NSE:TCS-EQ", 375)
    told = run(tmp_path / "download (3).csv")
    assert (told.code, told.first["error"]["code"]) == (2, "NO_SYMBOL")


def test_a_file_under_an_old_name_is_the_history_of_who_had_it_then(tmp_path, capsys):
    share = Instrument.objects.create(symbol="NSE:NEWNAME-EQ", name="NEWNAME", tick_size=Decimal("0.05"))
    share.former.create(symbol="NSE:OLDNAME-EQ", until_date=date(2026, 2, 20), source="the masters")
    told = run(write(tmp_path / "OLDNAME.csv", rows(MONDAY)))
    assert (told.first["symbol"], told.first["stored_as"]) == ("NSE:OLDNAME-EQ", "NSE:NEWNAME-EQ")
    assert (told.first["stored"], told.first["instrument_created"], Instrument.objects.count()) == (375, False, 1)
    assert {bar.symbol for bar in stored()} == {"NSE:NEWNAME-EQ"}
    call_command("import_candles", str(tmp_path / "OLDNAME.csv"))
    assert "→ NSE:NEWNAME-EQ (then NSE:OLDNAME-EQ): 375 rows" in capsys.readouterr().out


def test_people_get_a_line_a_file(tmp_path, capsys):
    write(tmp_path / "ITC.csv", rows(MONDAY, minutes=[*range(100), *range(103, 375)]))
    call_command("import_candles", str(tmp_path))
    said = capsys.readouterr()
    assert "3 missing in 1 gaps, the largest 3 on 2026-02-16 from 10:55" in said.out
    assert "rows/s" in said.err


def test_what_a_file_brings_is_judged_at_once_and_a_doubtful_bar_is_marked(tmp_path):
    lines = [row(minute, close=f"101.{minute % 3}") for minute in range(375)]
    lines[100] = f"{stamp(MONDAY, 100)},101.0,203.25,100.05,202,120"  # leaves the prices around it and comes back
    path = write(tmp_path / "TCS.csv", lines)
    for _ in range(2):
        assert run(path).first["untrusted"] == 1
    assert [bar.mark for bar in stored() if bar.mark] == [Mark.OUTLIER]
    assert QualityDay.objects.get().untrusted == 1
