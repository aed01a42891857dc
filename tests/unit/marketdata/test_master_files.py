"""Masters of both brokers are read by what is in them; what cannot be one is refused with its reason."""

import gzip
import json
from datetime import date
from decimal import Decimal

import pytest

from execution.brokers.instrument_refresh import refresh_from_files
from execution.brokers.master_files import read_master
from tests.unit.marketdata.test_instrument_identity import MONDAY
from trading.domain.symbols import parse_symbol
from trading.marketdata.listing.instruments import MasterRefused
from trading.marketdata.models import Instrument, InstrumentRefresh

TAIL = "0915-1530|1815-1915:,2026-02-16"
SHARE = f"10100000000111,ABC LIMITED,0,1,0.05,INE111A01011,{TAIL},,NSE:ABC-EQ,10,10,111,ABC,111,-1.0,XX,10100000000111,None,0,0.0"  # noqa: E501
INDEX = f"101000000026000,NIFTY50-INDEX,10,0,0.05,,{TAIL},,NSE:NIFTY50-INDEX,10,10,26000,NIFTY,26000,-1.0,XX,101000000026000,None,0,0.0"  # noqa: E501
OPTION = f"1011260825111,NIFTY 26 Aug 25 24000 CE,14,65,0.05,,{TAIL},1787652000,NSE:NIFTY26AUG24000CE,10,11,5111,NIFTY,26000,24000.0,CE,101000000026000,None,0,0.0"  # noqa: E501
OLD_SHARE = ",".join(SHARE.split(",")[:14])
DUMP_HEAD = "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,segment,exchange"  # noqa: E501
DUMP = [
    DUMP_HEAD,
    "1308416,5111,NIFTY26AUG24000CE,NIFTY,0.0,2026-08-25,24000.0,0.05,65,CE,NFO-OPT,NFO",
    "28416,111,ABC,ABC LIMITED,0.0,,0.0,0.05,1,EQ,NSE,NSE",
    "256265,1001,NIFTY 50,NIFTY 50,0.0,,0.0,0.0,0,EQ,INDICES,NSE",
    "999,9,GOLD26AUGFUT,GOLD,0.0,2026-08-05,0.0,1.0,100,FUT,MCX-FUT,MCX",
]


def written(folder, name: str, lines: list[str]):
    path = folder / name
    body = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return path


def test_a_csv_master_gives_shares_indices_and_contracts(tmp_path):
    master = read_master(written(tmp_path, "master.csv.gz", [SHARE, INDEX, OPTION]))
    share, index, option = master.listed
    assert (master.source, master.as_of) == ("FYERS", date(2026, 2, 16))
    assert (share.instrument_type, share.isin, share.tick_size, share.expiry) == (
        "EQ", "INE111A01011", Decimal("0.05"), None,
    )  # fmt: skip
    assert (index.instrument_type, index.lot_size) == ("INDEX", 1)
    assert (option.expiry, option.strike, option.option_type, option.underlying_token) == (
        date(2026, 8, 25), Decimal(24000), "CE", "101000000026000",
    )  # fmt: skip


def test_the_shorter_form_of_2021_is_read_too(tmp_path):
    (share,) = read_master(written(tmp_path, "old.csv", [OLD_SHARE])).listed
    assert (share.symbol, share.underlying, share.exchange_token) == ("NSE:ABC-EQ", "ABC", "111")


def test_a_json_master_is_recognised(tmp_path):
    line = {
        "fyToken": "10100000000111", "isin": "INE111A01011", "exSymName": "ABC LIMITED", "symTicker": "NSE:ABC-EQ",
        "exchange": 10, "segment": 10, "exToken": 111, "exInstType": 0, "minLotSize": 1, "tickSize": 0.05,
        "lastUpdate": "2026-02-16", "qtyFreeze": "", "optType": "XX", "expiryDate": "", "underSym": "ABC",
    }  # fmt: skip
    master = read_master(written(tmp_path, "master.json", [json.dumps({"NSE:ABC-EQ": line})]))
    assert (master.listed[0].symbol, master.as_of) == ("NSE:ABC-EQ", date(2026, 2, 16))


def test_a_dump_is_written_in_the_desks_own_symbols(tmp_path):
    master = read_master(written(tmp_path, "instruments.csv", DUMP))
    assert [one.symbol for one in master.listed] == ["NSE:NIFTY26AUG24000CE", "NSE:ABC-EQ", "NSE:NIFTY50-INDEX"]
    assert [one.instrument_type for one in master.listed] == ["OPTIDX", "EQ", "INDEX"]


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("EMPTY_FILE", b""),
        ("EMPTY_FILE", gzip.compress(b"\n", mtime=0)),
        ("NOT_TEXT", b"<html><body>404</body></html>"),
        ("NOT_TEXT", b"PAR1\x00\x00"),
        ("NOT_TEXT", "NSE,ü\n".encode("latin-1")),
        ("BROKEN_ARCHIVE", gzip.compress((SHARE + "\n").encode() * 50, mtime=0)[:60]),
        ("CUT_FILE", f"{SHARE}\n{INDEX[:80]}".encode()),
        ("CUT_FILE", f"{SHARE}\n{INDEX[:80]}\n".encode()),
        ("UNKNOWN_LAYOUT", b"ts,open,high,low,close,volume\n"),
        ("UNKNOWN_LAYOUT", b'{"NSE:ABC-EQ": 3}'),
        ("WRONG_LINE", SHARE.replace(",0.05,", ",cheap,").encode() + b"\n"),
        ("WRONG_LINE", SHARE.replace(",10,10,111,", ",99,10,111,").encode() + b"\n"),
        ("UNKNOWN_LAYOUT", f"{DUMP_HEAD.replace('strike,', '')}\n".encode()),
        ("WRONG_LINE", "\n".join([DUMP[0], DUMP[1].replace("2026-08-25", "soon")]).encode() + b"\n"),
    ],
)
def test_what_is_no_master_is_refused_with_its_reason(tmp_path, code, body):
    path = tmp_path / "master.csv"
    path.write_bytes(body)
    with pytest.raises(MasterRefused) as refused:
        read_master(path)
    assert refused.value.code == code
    assert "master.csv" in refused.value.message


@pytest.mark.django_db
def test_both_brokers_tokens_end_on_one_instrument(tmp_path):
    taken = refresh_from_files(
        [
            written(tmp_path, "cm.csv", [SHARE, INDEX]),
            written(tmp_path, "fo.csv", [OPTION]),
            written(tmp_path, "dump.csv", DUMP),
            written(tmp_path, "wrong.csv", ["nothing"]),
        ],
        now=MONDAY, actor="test", whole=False,
    )  # fmt: skip
    assert [one.error and one.error["code"] for one in taken] == [None, None, None, "UNKNOWN_LAYOUT"]
    option = Instrument.objects.get(symbol="NSE:NIFTY26AUG24000CE")
    assert (option.fy_token, option.kite_token, option.underlying.symbol) == (
        "1011260825111", "1308416", "NSE:NIFTY50-INDEX",
    )  # fmt: skip
    share = Instrument.objects.get(symbol="NSE:ABC-EQ")
    assert (share.isin, share.kite_token) == ("INE111A01011", "28416")  # what the dump does not know stays
    assert InstrumentRefresh.objects.filter(outcome="REFUSED").count() == 1


@pytest.mark.parametrize(
    ("symbol", "name", "kind", "month", "expiry", "strike"),
    [
        ("NSE:M&M-EQ", "M&M", "EQ", None, None, None),
        ("NSE:BAJAJ-AUTO-EQ", "BAJAJ-AUTO", "EQ", None, None, None),
        ("NSE:NIFTY50-INDEX", "NIFTY50", "INDEX", None, None, None),
        ("NSE:NIFTYNXT5026AUG70000CE", "NIFTYNXT50", "CE", date(2026, 8, 1), None, Decimal(70000)),
        ("BSE:SENSEX26O0173000CE", "SENSEX", "CE", None, date(2026, 10, 1), Decimal(73000)),
        ("NSE:NIFTY2681822000PE", "NIFTY", "PE", None, date(2026, 8, 18), Decimal(22000)),
        ("NSE:IDEA26AUG7.5CE", "IDEA", "CE", date(2026, 8, 1), None, Decimal("7.5")),
        ("NSE:360ONE26AUGFUT", "360ONE", "FUT", date(2026, 8, 1), None, None),
        ("NSE:BAJAJ-AUTO26AUGFUT", "BAJAJ-AUTO", "FUT", date(2026, 8, 1), None, None),
    ],
)
def test_a_symbol_says_what_it_is(symbol, name, kind, month, expiry, strike):
    parsed = parse_symbol(symbol)
    assert (parsed.name, parsed.kind, parsed.month, parsed.expiry, parsed.strike) == (name, kind, month, expiry, strike)


@pytest.mark.parametrize("symbol", ["", "SBIN", "NSE:", "NSE:CE", "NSE:26AUGFUT", ":SBIN-EQ", "NSE:-EQ", "NSE:ÄB-EQ"])
def test_what_is_no_symbol_says_nothing(symbol):
    assert parse_symbol(symbol) is None
