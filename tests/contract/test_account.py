"""Money and shares of an account: what orders would block, and what lies in the demat account."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from execution.brokers.errors import AuthError, BusinessError
from execution.brokers.port import MARGIN_ORDERS, Acknowledged, Refused
from tests.contract.conftest import ADAPTERS, EACH, Venue, sandbox
from tests.contract.test_gateways import a_tag, at_market, placed, resting, share  # noqa: F401
from trading.domain.orders import Product, Side

INTRADAY_SHARE = Decimal("0.20")


def test_the_margin_of_an_order_is_its_share_of_the_value(venue, share):  # noqa: F811
    request = resting(share)
    asked = venue.gateway.margin([request])
    value = request.quantity * request.limit_price
    assert asked.required == (value * INTRADAY_SHARE).quantize(Decimal("0.01"))
    delivered = venue.gateway.margin([replace(request, product=Product.CNC)])
    assert delivered.required == value.quantize(Decimal("0.01"))
    assert asked.available is None or asked.available > delivered.required


def test_a_basket_blocks_what_its_orders_block_together(venue, share):  # noqa: F811
    one, other = resting(share), resting(share, quantity=7)
    alone = [venue.gateway.margin([request]).required for request in (one, other)]
    together = venue.gateway.margin([one, other])
    assert together.required == sum(alone)
    assert together.each in ((), tuple(alone))
    assert not [order for order in venue.gateway.orders() if order.client_order_id == one.client_order_id]


def test_what_closes_a_position_blocks_nothing(venue, share):  # noqa: F811
    placed(venue.gateway, at_market(share))
    assert venue.gateway.margin([at_market(share, Side.SELL)]).required == 0
    placed(venue.gateway, at_market(share, Side.SELL))


def test_margin_is_what_an_order_then_takes_from_the_funds(venue, share):  # noqa: F811
    request = resting(share)
    before, asked = venue.gateway.funds().available, venue.gateway.margin([request])
    broker_order_id = placed(venue.gateway, request)
    assert before - venue.gateway.funds().available == asked.required
    assert isinstance(venue.gateway.cancel(broker_order_id), Acknowledged)


def test_baskets_have_a_size(venue, share):  # noqa: F811
    for requests in ([], [resting(share)] * (MARGIN_ORDERS + 1)):
        with pytest.raises(ValueError):
            venue.gateway.margin(requests)


def test_the_margin_of_what_does_not_exist_is_an_error(venue, share):  # noqa: F811
    with pytest.raises(BusinessError):
        venue.gateway.margin([resting(share, symbol="NSE:NOSUCHTHING-EQ")])


def test_strangers_see_neither_margins_nor_holdings(venue, share):  # noqa: F811
    with pytest.raises(AuthError):
        venue.stranger.margin([resting(share)])
    with pytest.raises(AuthError):
        venue.stranger.holdings()


@pytest.fixture(params=EACH)
def stepped(request: pytest.FixtureRequest, tmp_path) -> Iterator[Venue]:
    """A market that moves when it is told to, seen through each adapter in turn."""
    with sandbox(tmp_path, "--stepped") as url:
        yield from ADAPTERS[request.param](url)


def test_what_was_bought_for_delivery_is_held_the_next_day_and_sold_once(stepped):
    gateway, control = stepped.gateway, stepped.control
    control.step(ticks=1)
    assert gateway.holdings() == []
    bought = replace(_at_market(stepped, Side.BUY, 12), product=Product.CNC)
    placed(gateway, bought)
    assert gateway.holdings() == [], "what was bought today is a position"
    paid = next(one for one in gateway.positions() if one.symbol == stepped.share).average_price

    first = control.clock().session_date
    while control.clock().session_date == first:
        control.step(until=control.clock().venue + timedelta(hours=8))
        control.step(ticks=1)
    (held,) = gateway.holdings()
    assert (held.symbol, held.quantity, held.sellable) == (stepped.share, 12, 12)
    assert held.isin and abs(held.average_price - paid) <= Decimal("0.01")
    assert held.last_price is not None and not [one for one in gateway.positions() if one.net_quantity]

    placed(gateway, replace(_at_market(stepped, Side.SELL, 5), product=Product.CNC))
    (held,) = gateway.holdings()
    assert (held.quantity, held.sellable) == (12, 7)
    again = replace(_at_market(stepped, Side.SELL, 8), product=Product.CNC)
    result = gateway.place(again)
    if isinstance(result, Acknowledged):
        (order,) = [one for one in gateway.orders() if one.client_order_id == again.client_order_id]
        assert order.status.value == "REJECTED"
    else:
        assert isinstance(result, Refused)


def _at_market(venue: Venue, side: Side, quantity: int):
    listed = next(one for one in venue.gateway.instruments() if one.symbol == venue.share)
    if listed.lower_band is None:
        listed = replace(listed, lower_band=venue.gateway.depth(venue.share).lower_band)
    return replace(at_market(listed, side, quantity), client_order_id=a_tag())


# -- the day's price bands -----------------------------------------------------------------------------------------


def test_bands_are_told_for_what_is_listed_and_left_out_for_what_is_not(venue):
    bands = venue.gateway.bands([venue.share, venue.other_share, "NSE:NOSUCHTHING-EQ"])
    assert set(bands) == {venue.share, venue.other_share} and venue.gateway.bands_a_call >= 1
    for quote in venue.gateway.quotes(bands):
        low, high = bands[quote.symbol]
        assert low < quote.low <= quote.high < high
    depth = venue.gateway.depth(venue.share)
    assert bands[venue.share] == (depth.lower_band, depth.upper_band)


def test_what_lies_outside_its_band_is_not_taken(venue, share):  # noqa: F811
    low, _ = venue.gateway.bands([venue.share])[venue.share]
    request = resting(share, limit_price=low - share.tick_size)
    result = venue.gateway.place(request)
    if isinstance(result, Acknowledged):
        (order,) = [one for one in venue.gateway.orders() if one.client_order_id == request.client_order_id]
        assert order.status.value == "REJECTED" and "circuit" in order.message
    else:
        assert isinstance(result, Refused) and "circuit" in result.message
