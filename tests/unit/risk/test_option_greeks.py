"""The Greeks of what is held, as the risk page adds them up: by the kernels that the chain is reckoned with."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from execution.holdings import Holding
from execution.risk_numbers import _greeks
from tests.factories import GroupFactory, InstrumentFactory
from tests.factories.world import open_feed, quote
from trading.domain.clock import IST
from trading.indicators.greeks import option_greeks, option_price
from trading.marketdata.option_chain import RATE, years_left
from trading.portfolio.valuation import PositionValue

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 2, 16, 11, 0, tzinfo=IST)
EXPIRY = date(2026, 2, 24)


def held(instrument, units: int, price: float | None) -> Holding:
    last = None if price is None else Decimal(str(round(price, 4)))
    value = PositionValue(None, instrument, units, None, last, None, None, None)
    return Holding(GroupFactory(instrument=instrument), value)


def test_they_are_those_of_the_chain_times_the_units_and_what_has_no_price_is_left_out(valkey, db):
    feed = open_feed(at=NOW)
    index = InstrumentFactory(symbol="NSE:NIFTY50-INDEX", instrument_type="INDEX")
    quote(feed, index, "25000")
    contract = {"segment": "FO", "underlying": index, "expiry": EXPIRY, "lot_size": 65}
    call, put, other = (
        InstrumentFactory(symbol=f"NSE:NIFTY26224{strike}{kind}", instrument_type="OPTIDX", option_type=kind,
                          strike=strike, **contract)
        for kind, strike in (("CE", 25_100), ("PE", 24_900), ("CE", 26_000))
    )  # fmt: skip
    years = years_left(EXPIRY, NOW)
    prices = option_price(25_000, [25_100, 24_900], years, 0.14, [True, False], rate=RATE)
    holdings = [held(call, 65, prices[0]), held(put, -130, prices[1]), held(other, 65, None)]
    found = _greeks(feed, holdings, NOW)
    table = option_greeks(25_000, [25_100, 24_900], years, 0.14, [True, False], rate=RATE)[:4]
    assert len(found) == 2
    for one, column, units in zip(found, table.T, (65, -130), strict=True):
        assert list(one) == ["delta", "gamma", "theta", "vega"]
        assert list(one.values()) == pytest.approx((column * units).tolist(), rel=1e-3)
    assert _greeks(feed, [held(InstrumentFactory(), 10, 100.0)], NOW) == []
