"""Chains are kept as they were seen, read as they were known, and say when they are stale."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from execution.brokers.chain_source import chain_of, keep_chain
from execution.brokers.errors import UnexpectedReply
from execution.brokers.fyers.mapping import expiry_stamps, read_option_chain
from tests.factories import UserFactory
from trading.indicators.greeks import option_price, years_to
from trading.marketdata.files.chains import import_chains
from trading.marketdata.models import ChainSnapshot
from trading.marketdata.option_chain import (
    Chain,
    ChainRefused,
    chain_at,
    chain_expiries,
    chains_between,
    greeks_of,
    parity_spot,
    staleness,
    store_chain,
)

pytestmark = pytest.mark.django_db
EXPIRY = date(2026, 2, 24)
NOON = datetime(2026, 2, 16, 6, 30, tzinfo=UTC)
ENDS = datetime(2026, 2, 24, 10, 0, tzinfo=UTC)
STRIKES = np.arange(23_000.0, 25_001.0, 100.0)


def chain(*, spot: float = 24_000.0, vol: float = 0.14, now: datetime = NOON, oi: float = 650.0) -> Chain:
    """A chain whose prices are exactly those of one volatility."""
    years = years_to(ENDS, now)
    columns = {"strike": STRIKES, "ce_oi": STRIKES * 0 + oi, "pe_oi": STRIKES * 0 + 2 * oi}
    for side, is_call in (("ce", True), ("pe", False)):
        price = option_price(spot, STRIKES, years, vol, is_call, rate=0.07)
        columns |= {f"{side}_bid": price - 0.05, f"{side}_ask": price + 0.05, f"{side}_ltp": price}
    return Chain.of(columns)


def store(one: Chain, at: datetime = NOON, *, lag_s: float = 30, **more):
    given = {
        "exchange": "NSE", "underlying": "NIFTY", "expiry": EXPIRY, "source": "TEST", "exchange_at": at,
        "stored_at": at + timedelta(seconds=lag_s),
    }  # fmt: skip
    return store_chain(one, **(given | more))


def test_a_chain_comes_back_as_it_was_stored():
    row, new = store(chain())
    seen = chain_at("NIFTY", EXPIRY, NOON + timedelta(minutes=1))
    assert new and seen.snapshot == row and seen.stale == ""
    assert np.array_equal(seen.chain.values, chain().values, equal_nan=True)
    assert (row.strikes, row.call_oi, row.put_call_ratio) == (21, 21 * 650, 2.0)


def test_nothing_is_known_before_we_had_it():
    store(chain(), lag_s=90)
    store(chain(vol=0.2), NOON + timedelta(minutes=3))
    assert chain_at("NIFTY", EXPIRY, NOON + timedelta(seconds=89)) is None
    assert chain_at("NIFTY", EXPIRY, NOON + timedelta(seconds=90)).snapshot.exchange_at == NOON
    assert chain_expiries("NIFTY", NOON + timedelta(minutes=5)) == [EXPIRY]
    assert len(chains_between("NIFTY", EXPIRY, start=NOON, end=NOON + timedelta(minutes=2))) == 1


def test_the_same_chain_again_is_counted_and_grows_stale():
    first, _ = store(chain())
    for more in (60, 120, 180):
        row, new = store(chain(), lag_s=30 + more)
        assert not new and row == first
    assert row.repeats == 3
    assert ChainSnapshot.objects.count() == 1
    told = staleness(row, now=NOON + timedelta(minutes=4))
    assert told == "STALE_CHAIN: the exchange's time is 240 s old, and came 4 times unchanged"
    assert staleness(row, now=NOON + timedelta(hours=12)) == ""  # the market sleeps: nothing newer can be expected


def test_a_chain_that_came_late_is_stale_at_once():
    row, _ = store(chain(), lag_s=139)
    assert staleness(row, now=row.stored_at).startswith("STALE_CHAIN: stored 139 s after")


def test_a_source_without_a_time_of_its_own_is_judged_by_its_first_arrival():
    row, new = store(chain(), exchange_at=None)
    again, more = store(chain(), exchange_at=None, stored_at=NOON + timedelta(minutes=9))
    assert new and not more and again == row and again.repeats == 1
    assert "unchanged" not in staleness(again, now=NOON + timedelta(minutes=9))
    assert "STALE_CHAIN" in staleness(again, now=NOON + timedelta(minutes=9))
    _, other = store(chain(vol=0.15), exchange_at=None, stored_at=NOON + timedelta(minutes=10))
    assert other


@pytest.mark.parametrize("columns", [{}, {"strike": [100.0, 100.0]}, {"strike": [-5.0]}, {"strike": [math.nan]}])
def test_what_is_no_chain_is_refused(columns):
    with pytest.raises(ChainRefused):
        Chain.of(columns)


def test_a_chain_of_the_future_or_of_the_past_is_refused():
    with pytest.raises(ChainRefused, match="FROM_THE_FUTURE"):
        store(chain(), lag_s=-120)
    with pytest.raises(ChainRefused, match="EXPIRED"):
        store(chain(), expiry=date(2026, 2, 10))


def test_volatility_and_greeks_come_from_the_prices_where_the_exchange_gave_none():
    one = chain(vol=0.14)
    found = greeks_of(one, spot=24_000.0, expiry=EXPIRY, now=NOON)
    middle = int(np.searchsorted(STRIKES, 24_000))
    assert found.call["iv"][middle] == pytest.approx(0.14, abs=1e-6)
    assert found.put["iv"][middle - 3] == pytest.approx(0.14, abs=1e-5)
    assert found.call["delta"][middle] - found.put["delta"][middle] == pytest.approx(1.0, abs=1e-6)
    assert found.call["theta"][middle] < 0 < found.call["vega"][middle]
    one.values[9] = 0.22  # the exchange's own word comes first
    assert greeks_of(one, spot=24_000.0, expiry=EXPIRY, now=NOON).call["iv"][middle] == 0.22


def test_the_underlying_is_what_calls_and_puts_agree_on():
    assert parity_spot(chain(spot=23_873.0), years=years_to(ENDS, NOON)) == pytest.approx(23_873.0, abs=0.01)
    assert parity_spot(Chain.of({"strike": STRIKES}), years=0.1) is None


def test_max_pain_is_where_the_holders_get_least():
    one = Chain.of({"strike": [90.0, 100.0, 110.0], "ce_oi": [0.0, 0.0, 10.0], "pe_oi": [10.0, 0.0, 0.0]})
    assert one.max_pain in (90.0, 100.0, 110.0)
    one = Chain.of({"strike": [90.0, 100.0, 110.0], "ce_oi": [10.0, 50.0, 0.0], "pe_oi": [0.0, 50.0, 10.0]})
    assert one.max_pain == 100.0


def test_recorded_snapshots_are_imported_once_with_lots_as_units(tmp_path):
    lines = ["file_ts,fetch_ts,underlying,expiry,strike,ce_oi,ce_vol,ce_iv,ce_ltp,pe_oi,pe_iv,pe_ltp"]
    for stored, exchange in (("09:24:16", "09:23:45"), ("09:25:28", "09:23:45"), ("09:26:40", "09:26:10")):
        for strike in (24_000, 24_100):
            lines.append(
                f"2026-02-16 {stored},2026-02-16 {exchange},NIFTY,2026-02-24,{strike},85,12,13.5,101.599998,90,0,0"
            )
    path = tmp_path / "chains.csv"
    path.write_text("\n".join(lines) + "\n")
    report = import_chains(path, lot_size=65, source="RECORDED", actor="test")
    assert (report.chains, report.stored, report.repeated, report.refused) == (3, 2, 1, {})
    assert {found["code"] for found in report.as_dict()["defects"]} >= {"REPEATED_CHAIN", "CHAIN_WITHOUT_IV"}
    seen = chain_at("NIFTY", EXPIRY, datetime(2026, 2, 16, 4, 0, tzinfo=UTC))
    assert seen.chain.column("ce_oi").tolist() == [85 * 65, 85 * 65]
    assert seen.chain.column("ce_iv")[0] == pytest.approx(0.135) and seen.chain.column("ce_ltp")[0] == 101.6
    assert np.isnan(seen.chain.column("pe_iv")).all()
    assert import_chains(path, lot_size=65, source="RECORDED", actor="test").stored == 0


FYERS = {
    "callOi": 10, "putOi": 20,
    "expiryData": [{"date": "24-02-2026", "expiry": "1771927200"}, {"date": "30-03-2026", "expiry": "1774864800"}],
    "optionsChain": [
        {"symbol": "NSE:NIFTY50-INDEX", "option_type": "", "strike_price": -1, "ltp": Decimal("24000.5")},
        {"symbol": "NSE:NIFTY26FEB24000CE", "option_type": "CE", "strike_price": 24000, "ltp": Decimal("101.5"),
         "bid": Decimal("101.4"), "ask": Decimal("101.6"), "oi": 6500, "oich": -650, "volume": 13000},
        {"symbol": "NSE:NIFTY26FEB24000PE", "option_type": "PE", "strike_price": 24000, "ltp": Decimal("98"),
         "bid": 0, "ask": 0, "oi": 7150, "oich": 0, "volume": 0},
        {"symbol": "NSE:NIFTY26FEB24100CE", "option_type": "CE", "strike_price": 24100, "ltp": 60, "oi": 65},
    ],
}  # fmt: skip


def test_a_brokers_chain_is_read_and_kept():
    said = read_option_chain(FYERS)
    assert (said.underlying, said.spot, said.expiries) == (
        "NSE:NIFTY50-INDEX", Decimal("24000.5"), (EXPIRY, date(2026, 3, 30)),
    )  # fmt: skip
    assert expiry_stamps(FYERS)[EXPIRY] == "1771927200"
    one = chain_of(said)
    assert one.strikes.tolist() == [24000.0, 24100.0]
    assert one.column("ce_oi").tolist() == [6500.0, 65.0] and np.isnan(one.column("pe_ltp")[1])
    assert np.isnan(one.column("pe_bid")[0])  # zero means: nobody there

    row, new = keep_chain(said, exchange="NSE", expiry=EXPIRY, source="FYERS", now=NOON)
    assert new and (row.underlying, row.expiry, row.spot) == ("NIFTY", EXPIRY, Decimal("24000.5"))


@pytest.mark.parametrize("wrong", [{}, {"optionsChain": []}, {**FYERS, "optionsChain": FYERS["optionsChain"][:1]}])
def test_a_reply_that_is_no_chain_is_no_chain(wrong):
    with pytest.raises(UnexpectedReply):
        read_option_chain(wrong)


def test_programs_read_a_chain_as_it_was_known(client):
    store(chain(), spot=Decimal(24000))
    client.force_login(UserFactory())
    at = (NOON + timedelta(minutes=1)).isoformat()
    reply = client.get("/api/v1/option-chain/", {"underlying": "nifty", "expiry": "2026-02-24", "at": at})
    said = reply.json()
    assert reply.status_code == 200 and said["stale"] == "" and said["spot"] == 24000.0
    row = next(one for one in said["rows"] if one["strike"] == 24000.0)
    assert row["call"]["iv"] == pytest.approx(0.14, abs=1e-4) and row["put"]["oi"] == 1300.0
    listed = client.get("/api/v1/option-chain/expiries/", {"underlying": "NIFTY", "at": at}).json()
    assert listed["expiries"] == ["2026-02-24"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"underlying": "NIFTY", "expiry": "2026-02-24", "at": "2026-02-16T04:00:00Z"}, 404),
        ({"underlying": "NIFTY", "expiry": "2026-02-31"}, 400),
        ({"underlying": "NIFTY"}, 400),
        ({"expiry": "2026-02-24"}, 400),
        ({"underlying": "NIFTY", "expiry": "2026-02-24", "at": "noon"}, 400),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(client, query, status):
    client.force_login(UserFactory())
    assert client.get("/api/v1/option-chain/", query).status_code == status
    client.logout()
    assert client.get("/api/v1/option-chain/", query).status_code in (401, 403)


def test_an_operator_sees_a_chain_strike_by_strike(client):
    row, _ = store(chain())
    client.force_login(UserFactory(operator=True))
    page = client.get(f"/console/marketdata/chainsnapshot/{row.pk}/change/")
    assert page.status_code == 200 and b"<td>24000</td>" in page.content
