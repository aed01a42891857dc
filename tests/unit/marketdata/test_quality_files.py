"""Vendors' files are recognised by their columns, and each of their defects is met under its name."""

import gzip
import json
from datetime import date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.unit.marketdata.test_day_quality import MONDAY, day_of
from trading.domain.clock import IST
from trading.marketdata.files.tables import TableRefused, read_table
from trading.marketdata.listing.actions import ExchangeDay, kind_of, steps_between, steps_of
from trading.marketdata.quality.files import check_files

HEAD = "ts,open,high,low,close,volume"


def written(folder, name: str, lines: list[str]):
    path = folder / name
    body = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return path


def rows_of(day: date, *, shift: int = 0, volume: int = 1000) -> list[str]:
    bars = day_of(day)
    stamps = (datetime.fromtimestamp(int(at) + shift, IST).isoformat() for at in bars.starts)
    prices = zip(stamps, bars.open, bars.high, bars.low, bars.close, strict=True)
    return [f"{at},{o:.2f},{h:.2f},{lo:.2f},{c:.2f},{volume}" for at, o, h, lo, c in prices]


def codes(checked) -> dict[str, int]:
    return {found.defect.value: found.count for found in checked.findings.met.values()}


def test_a_clean_file_has_no_defects(tmp_path):
    (checked,) = check_files([written(tmp_path, "ABC.csv.gz", [HEAD, *rows_of(MONDAY)])])
    assert (checked.kind, checked.timeframe, checked.rows, codes(checked)) == ("BARS", 1, 375, {})
    assert checked.score == 100 and checked.error is None


def test_end_labels_are_seen_and_the_bars_judged_by_their_true_start(tmp_path):
    lines = [HEAD, *(row for n in range(3) for row in rows_of(MONDAY + timedelta(days=n), shift=60))]
    (checked,) = check_files([written(tmp_path, "NIFTY.csv", lines)])
    assert "END_LABELLED" in codes(checked) and "LATE_BARS" not in codes(checked)


def test_rows_out_of_order_and_twice(tmp_path):
    rows = rows_of(MONDAY)
    (checked,) = check_files([written(tmp_path, "ABC.csv", [HEAD, *rows[100:], *rows[:101]])])
    assert codes(checked) == {"UNSORTED_ROWS": 1, "DUPLICATE_BARS": 1}


def test_a_first_bar_of_one_tick_with_a_large_volume_holds_the_running_total(tmp_path):
    rows = [f"{row},60" for row in rows_of(MONDAY)][9:]
    first = rows[0].split(",")
    first[5], first[6] = "869135", "1"
    (checked,) = check_files([written(tmp_path, "ABC.csv", [f"{HEAD},ticks", ",".join(first), *rows[1:]])])
    assert codes(checked) == {"PREOPEN_VOLUME": 1, "MISSING_BARS": 9}


def test_a_symbol_that_stops_while_the_others_go_on_was_renamed_or_ended(tmp_path):
    days = [date(2026, 2, 23) + timedelta(days=n) for n in (0, 1, 2, 3, 4, 7, 9, 10)]
    whole = [row for day in days for row in rows_of(day)]
    short = [row for day in days[:4] for row in rows_of(day)]
    files = [written(tmp_path, f"{name}.csv", [HEAD, *whole]) for name in ("ABC", "DEF", "GHI")]
    files += [written(tmp_path, f"{name}.csv", [HEAD, *short]) for name in ("LTIM", "XYZ")]
    checked = {one.symbol: codes(one) for one in check_files(files)}
    assert checked["LTIM"] == {"RENAMED_SYMBOL": 1}
    assert checked["XYZ"] == {"SYMBOL_ENDS": 1}
    assert checked["ABC"] == {}


def test_ticks_with_empty_stamps_repeats_and_running_totals(tmp_path):
    start = datetime(2021, 6, 11, 9, 15, 52)
    lines = [f"{start + timedelta(seconds=n)},{2188 + n % 5},{133_620 + 500 * n}" for n in range(300)]
    lines += [lines[-1], "1970-01-01 05:30:00,2022.95,0", "2021-06-12 20:13:55,2190,0"]
    (checked,) = check_files([written(tmp_path, "ABC.csv", ["timestamp,ltp,volume", *lines])])
    assert checked.kind == "TICKS"
    assert codes(checked) == {
        "EPOCH_ZERO_TICK": 1, "DUPLICATE_TICK": 1, "OTHER_DAY_TICK": 1, "RUNNING_VOLUME": 301,
    }  # fmt: skip


def test_chains_that_are_stale_repeated_or_missing(tmp_path):
    def rows(stored: str, exchange: str) -> list[str]:
        return [f"2025-08-29 {stored},2025-08-29 {exchange},NIFTY,2025-09-02,24000,0,12.5"]

    lines = ["file_ts,fetch_ts,underlying,expiry,strike,ce_iv,pe_iv", *rows("09:24:00", "09:23:30")]
    lines += rows("09:25:00", "09:23:30") + rows("09:26:20", "09:24:00") + rows("09:45:00", "09:44:40")
    (checked,) = check_files([written(tmp_path, "chain.csv", lines)])
    assert codes(checked) == {
        "STALE_CHAIN": 1, "REPEATED_CHAIN": 1, "CHAIN_HOLE": 1, "LATE_CHAIN_START": 1, "CHAIN_WITHOUT_IV": 4,
    }  # fmt: skip


EXCHANGE_HEAD = "date,symbol,series,prev_close,open,high,low,last,close,volume"


def test_the_exchanges_days_show_splits_missing_days_and_renames(tmp_path):
    lines = [EXCHANGE_HEAD]
    days = [date(2025, 4, n) for n in (2, 3, 4, 7, 8, 9, 11, 15, 16, 17)]
    for at, day in enumerate(days):
        level = 400 if day >= date(2025, 4, 7) else 800
        lines.append(f"{day},ABC,EQ,{level},{level},{level + 1},{level - 1},{level},{level},1000")
        lines.append(f"{day},{'ETERNAL' if at >= 5 else 'ZOMATO'},EQ,200,200,201,199,200,200,1000")
    (checked,) = check_files([written(tmp_path, "days.csv", lines)])
    assert codes(checked) == {"UNADJUSTED_ACTION": 1, "RENAMED_SYMBOL": 1}
    (split,) = checked.suspicions["ABC"]
    assert (split.ex_date, split.factor, split.kind) == (date(2025, 4, 7), 0.5, "SPLIT_OR_BONUS")
    (checked,) = check_files([written(tmp_path, "hole.csv", [row for row in lines if "2025-04-15" not in row])])
    assert codes(checked)["MISSING_DAY"] == 1


def test_an_unadjusted_previous_close_still_shows_a_split_at_the_open():
    days = [ExchangeDay(date(2024, 10, 25), 2680, 2655.70, 2680), ExchangeDay(date(2024, 10, 28), 2655.70, 1334, 1338)]
    (found,) = steps_of(days)
    assert (found.factor, found.kind) == (0.5, "SPLIT_OR_BONUS")
    calm = [ExchangeDay(date(2024, 10, 25), 2680, 2655.70, 2680), ExchangeDay(date(2024, 10, 28), 2655.70, 2400, 2402)]
    assert steps_of(calm) == []
    apart = [days[0], ExchangeDay(date(2024, 10, 29), 1334, 1340, 1335)]
    assert steps_of(apart) == []  # the session between is not there: nothing can be said


def test_two_views_of_one_past_part_at_its_ex_date():
    days = [date(2024, 10, n) for n in (24, 25, 28, 29)]
    raw = dict(zip(days, (2679.60, 2655.70, 1334.35, 1340.00), strict=True))
    adjusted = dict(zip(days, (1339.80, 1327.85, 1334.35, 1340.00), strict=True))
    (found,) = steps_between(adjusted, raw)
    assert (found.ex_date, round(found.factor, 4)) == (date(2024, 10, 28), 0.5)


@pytest.mark.parametrize(("factor", "kind"), [(0.5, "SPLIT_OR_BONUS"), (0.6667, "SPLIT_OR_BONUS"), (0.953, "OTHER")])
def test_a_simple_fraction_looks_like_a_split(factor, kind):
    assert kind_of(factor)[0] == kind


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("EMPTY_FILE", b""),
        ("EMPTY_FILE", b"ts,open,high\n"),
        ("NOT_TEXT", b"\xff\xfe\x00"),
        ("NOT_A_TABLE", b"a,a,b\n1,2,3\n"),
        ("UNEVEN_ROWS", b"a,b,c\n1,2\n"),
        ("BROKEN_ARCHIVE", gzip.compress(b"a,b,c\n1,2,3\n" * 99, mtime=0)[:30]),
    ],
)
def test_what_is_no_table_is_refused_with_its_reason(tmp_path, code, body):
    path = tmp_path / "file.csv"
    path.write_bytes(body)
    with pytest.raises(TableRefused) as refused:
        read_table(path)
    assert refused.value.code == code


def test_the_command_tells_of_files_in_json_and_goes_on_after_a_bad_one(tmp_path):
    written(tmp_path, "ABC.csv", [HEAD, *rows_of(MONDAY)[:-3]])
    written(tmp_path, "bad.csv", ["a,b,c,d", "1,2,3,4"])
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_quality", str(tmp_path), "--json", "--days", stdout=out)
    good, bad = json.loads(out.getvalue())
    assert ended.value.code == 1
    assert (good["symbol"], good["defects"][0]["code"], good["by_day"][0]["present"]) == ("ABC", "MISSING_BARS", 372)
    assert bad["error"]["code"] == "UNKNOWN_LAYOUT"


@pytest.mark.parametrize("minutes", ["0", "1440"])
def test_stored_bars_of_a_timeframe_that_is_not_judged_are_refused_in_words(minutes):
    with pytest.raises(CommandError, match="TIMEFRAME: stored bars"):
        call_command("check_quality", "--stored", "--timeframe", minutes)
