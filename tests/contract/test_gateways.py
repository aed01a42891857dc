"""What every adapter owes the desk, over real HTTP and real sockets, at a venue that knows nothing of our code."""

import itertools
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import pytest

from execution.brokers.control import SandboxControl
from execution.brokers.errors import AuthError, BusinessError
from execution.brokers.port import (
    Acknowledged,
    BookOrder,
    BrokerGateway,
    BrokerStatus,
    ListedInstrument,
    Refused,
    Unknown,
)
from tests.contract.conftest import ON_A_WIRE, Heard, Venue, running, sandbox, until
from trading.domain.money import to_tick
from trading.domain.orders import OrderRequest, OrderType, Product, Side

_numbers = itertools.count(1)


def a_tag() -> str:
    return f"PCONTRACT{next(_numbers):011d}"


@pytest.fixture
def share(venue: Venue) -> ListedInstrument:
    """As it is listed; its bands from the book where the list has none."""
    listed = next(listed for listed in venue.gateway.instruments() if listed.symbol == venue.share)
    if listed.lower_band is not None:
        return listed
    depth = venue.gateway.depth(venue.share)
    return replace(listed, lower_band=depth.lower_band, upper_band=depth.upper_band)


def resting(share: ListedInstrument, **changes: object) -> OrderRequest:
    """A buy so low that it waits: at the bottom of the band."""
    assert share.lower_band is not None
    lowest = to_tick(share.lower_band, tick=share.tick_size, side=Side.SELL)
    values: dict[str, object] = {
        "client_order_id": a_tag(),
        "symbol": share.symbol,
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.LIMIT,
        "product": Product.INTRADAY,
        "limit_price": lowest,
    }
    return OrderRequest(**{**values, **changes})  # type: ignore[arg-type]


def at_market(share: ListedInstrument, side: Side = Side.BUY, quantity: int = 10) -> OrderRequest:
    return resting(share, side=side, quantity=quantity, order_type=OrderType.MARKET, limit_price=None)


def in_book(gateway: BrokerGateway, tag: str) -> BookOrder | None:
    found = [order for order in gateway.orders() if order.client_order_id == tag]
    assert len(found) <= 1, "one tag, one order"
    return found[0] if found else None


def net(gateway: BrokerGateway, symbol: str) -> int:
    return sum(position.net_quantity for position in gateway.positions() if position.symbol == symbol)


def placed(gateway: BrokerGateway, request: OrderRequest) -> str:
    result = gateway.place(request)
    assert isinstance(result, Acknowledged), result
    return result.broker_order_id


# -- the account ---------------------------------------------------------------------------------------------------


def test_the_account_has_a_name_and_money(venue):
    assert venue.gateway.profile().user_id
    funds = venue.gateway.funds()
    assert funds.total > 0 and 0 < funds.available <= funds.total


def test_a_stranger_is_told_so_and_never_shown_an_empty_book(venue, share):
    for read in (venue.stranger.orders, venue.stranger.trades, venue.stranger.positions, venue.stranger.funds):
        with pytest.raises(AuthError):
            read()
    result = venue.stranger.place(resting(share))
    assert isinstance(result, Refused) and result.code == "AUTH"


# -- the market ----------------------------------------------------------------------------------------------------


def test_the_market_is_open(venue):
    assert venue.gateway.market_open() is True


def test_listed_instruments_can_be_traded_by_what_is_said_of_them(venue):
    listed = venue.gateway.instruments()
    assert {venue.share, venue.other_share} <= {instrument.symbol for instrument in listed}
    for instrument in listed:
        assert instrument.tick_size > 0 and instrument.lot_size >= 1
        assert bool(instrument.fy_token) is venue.lists_tokens_of_fyers
        if instrument.lower_band is not None and instrument.upper_band is not None:
            assert instrument.lower_band < instrument.upper_band


def test_quotes_lie_within_their_day(venue):
    quotes = venue.gateway.quotes([venue.share, venue.other_share])
    assert [quote.symbol for quote in quotes] == [venue.share, venue.other_share]
    for quote in quotes:
        assert quote.low is not None and quote.high is not None and quote.low <= quote.last_price <= quote.high
        assert quote.bid is not None and quote.ask is not None and quote.bid < quote.ask


def test_an_unknown_symbol_is_an_error(venue):
    with pytest.raises(BusinessError):
        venue.gateway.quotes(["NSE:NOSUCHTHING-EQ"])


def test_the_book_of_five_is_sorted_from_the_best(venue):
    depth = venue.gateway.depth(venue.share)
    bids, asks = [level.price for level in depth.bids], [level.price for level in depth.asks]
    assert bids == sorted(bids, reverse=True) and asks == sorted(asks) and bids[0] < asks[0]


@pytest.mark.parametrize(("timeframe", "minutes"), [("1m", 1), ("5m", 5), ("15m", 15)])
def test_minute_bars_stand_on_their_grid_within_the_span(venue, timeframe, minutes):
    now = venue.control.clock().venue
    start = now - timedelta(days=7)
    bars = venue.gateway.history(venue.share, timeframe=timeframe, start=start, end=now).bars
    assert len(bars) > 375 // minutes
    for bar in bars:
        assert start <= bar.started_at < now and bar.started_at.tzinfo is UTC
        assert bar.started_at.minute % minutes == 0 and bar.started_at.second == 0
    assert [bar.started_at for bar in bars] == sorted({bar.started_at for bar in bars})


def test_a_long_span_comes_back_whole(venue):
    now = venue.control.clock().venue
    bars = venue.gateway.history(venue.share, timeframe="1d", start=now - timedelta(days=800), end=now).bars
    assert bars and [bar.started_at for bar in bars] == sorted({bar.started_at for bar in bars})
    assert all(bar.started_at.hour == bar.started_at.minute == 0 for bar in bars)


# -- an order's life -----------------------------------------------------------------------------------------------


def test_a_resting_order_is_found_by_its_tag_changed_and_cancelled(venue, share):
    request = resting(share)
    broker_order_id = placed(venue.gateway, request)
    order = until(lambda: (seen := in_book(venue.gateway, request.client_order_id)) and _working(seen) and seen)
    assert order.broker_order_id == broker_order_id
    assert (order.side, order.order_type, order.product) == (Side.BUY, OrderType.LIMIT, Product.INTRADAY)
    assert (order.quantity, order.filled_quantity, order.limit_price) == (10, 0, request.limit_price)

    higher = request.limit_price + share.tick_size
    changed = venue.gateway.modify(broker_order_id, order_type=OrderType.LIMIT, quantity=7, limit_price=higher)
    assert isinstance(changed, Acknowledged)
    until(lambda: (seen := in_book(venue.gateway, request.client_order_id)) and seen.quantity == 7)
    assert in_book(venue.gateway, request.client_order_id).limit_price == higher

    assert isinstance(venue.gateway.cancel(broker_order_id), Acknowledged)
    done = until(lambda: (seen := in_book(venue.gateway, request.client_order_id)) and seen.status.is_final and seen)
    assert (done.status, done.filled_quantity) == (BrokerStatus.CANCELLED, 0)


def _working(order: BookOrder) -> bool:
    return order.status is BrokerStatus.PENDING


def test_a_market_order_fills_and_moves_the_position(venue, share):
    before = net(venue.gateway, share.symbol)
    for side, after in ((Side.BUY, before + 10), (Side.SELL, before)):
        request = at_market(share, side)
        broker_order_id = placed(venue.gateway, request)
        order = until(lambda tag=request.client_order_id: _filled(venue.gateway, tag))
        fills = [fill for fill in venue.gateway.trades() if fill.broker_order_id == broker_order_id]
        assert sum(fill.quantity for fill in fills) == order.filled_quantity == 10
        tag = request.client_order_id if venue.fills_carry_the_tag else None
        assert {(fill.client_order_id, fill.side, fill.symbol) for fill in fills} == {(tag, side, share.symbol)}
        assert len({fill.broker_trade_id for fill in fills}) == len(fills)
        paid = sum(fill.quantity * fill.price for fill in fills) / 10
        assert abs(paid - order.average_price) <= Decimal("0.01")
        assert all(share.lower_band <= fill.price <= share.upper_band for fill in fills)
        assert net(venue.gateway, share.symbol) == after


def _filled(gateway: BrokerGateway, tag: str) -> BookOrder | None:
    order = in_book(gateway, tag)
    return order if order is not None and order.status is BrokerStatus.FILLED else None


def test_a_stop_waits_for_its_trigger(venue, share):
    lowest = resting(share).limit_price
    request = resting(share, side=Side.SELL, order_type=OrderType.STOP, limit_price=None, trigger_price=lowest)
    broker_order_id = placed(venue.gateway, request)
    order = until(lambda: (seen := in_book(venue.gateway, request.client_order_id)) and _working(seen) and seen)
    assert (order.order_type, order.trigger_price) == (OrderType.STOP, lowest)
    assert isinstance(venue.gateway.cancel(broker_order_id), Acknowledged)


def test_what_breaks_the_rules_is_refused_for_certain(venue, share):
    off_tick = resting(share, limit_price=resting(share).limit_price + share.tick_size / 2)
    unknown = resting(share, symbol="NSE:NOSUCHTHING-EQ")
    too_much = resting(share, quantity=90_000_000)
    for request in (off_tick, unknown, too_much):
        result = venue.gateway.place(request)
        order = in_book(venue.gateway, request.client_order_id)
        if isinstance(result, Acknowledged):  # some take an order first, and reject it in the book
            assert order is not None and order.status is BrokerStatus.REJECTED and order.message
            continue
        assert isinstance(result, Refused), result
        assert result.code and result.message
        assert order is None or order.status is BrokerStatus.REJECTED


def test_cancelling_what_does_not_exist_is_refused(venue):
    assert isinstance(venue.gateway.cancel("99010100000001"), Refused)


@pytest.mark.parametrize("venue", ON_A_WIRE, indirect=True)  # no reply of a book in this process gets lost
def test_a_lost_reply_is_doubt_and_the_book_resolves_it(venue, share):
    request = resting(share)
    venue.control.faults(kind="drop_reply", count=1)
    assert isinstance(venue.gateway.place(request), Unknown)
    order = until(lambda: in_book(venue.gateway, request.client_order_id))
    assert not order.status.is_final
    assert isinstance(venue.gateway.cancel(order.broker_order_id), Acknowledged)
    placed_again = resting(share)
    assert isinstance(venue.gateway.cancel(placed(venue.gateway, placed_again)), Acknowledged)


# -- what the sockets tell -----------------------------------------------------------------------------------------


def test_the_order_socket_tells_what_the_books_say(venue, share):
    heard = Heard()
    with running(venue.order_socket(heard)):
        until(lambda: heard.count("connected"))
        request = at_market(share)
        broker_order_id = placed(venue.gateway, request)
        until(lambda: _filled(venue.gateway, request.client_order_id))
        until(lambda: sum(fill.quantity for fill in heard.fills if fill.broker_order_id == broker_order_id) == 10)
        finals = until(lambda: [seen for seen in heard.orders if seen.status.is_final and _is(seen, broker_order_id)])
        until(lambda: any(seen.symbol == share.symbol for seen in heard.positions))
    last, in_the_book = finals[0], in_book(venue.gateway, request.client_order_id)
    assert (last.status, last.filled_quantity, last.average_price, last.client_order_id) == (
        in_the_book.status,
        in_the_book.filled_quantity,
        in_the_book.average_price,
        request.client_order_id,
    )

    def named(fills):
        return {
            (fill.broker_trade_id, fill.quantity, fill.price, fill.side, fill.filled_at)
            for fill in fills
            if fill.broker_order_id == broker_order_id
        }

    assert named(heard.fills) == named(venue.gateway.trades())
    assert heard.states[-1] == ("disconnected", "stopped")
    placed(venue.gateway, at_market(share, Side.SELL))


def _is(order: BookOrder, broker_order_id: str) -> bool:
    return order.broker_order_id == broker_order_id


def test_the_price_socket_tells_prices_within_their_bands(venue, share):
    heard = Heard()
    with running(venue.price_socket(heard, [venue.share, venue.index, "NSE:NOSUCHTHING-EQ"])):
        until(lambda: {tick.symbol for tick in heard.ticks} == {venue.share, venue.index})
        until(lambda: len([tick for tick in heard.ticks if tick.symbol == venue.share]) > 5)
    assert heard.refused == ["NSE:NOSUCHTHING-EQ"]
    ticks = [tick for tick in heard.ticks if tick.symbol == venue.share]
    assert all(share.lower_band <= tick.last_price <= share.upper_band for tick in ticks)
    assert all(earlier.volume <= later.volume for earlier, later in itertools.pairwise(ticks))
    assert all(earlier.traded_at <= later.traded_at for earlier, later in itertools.pairwise(ticks))
    assert all(tick.bid is not None and tick.ask is not None and tick.bid < tick.ask for tick in ticks)
    assert abs(ticks[-1].traded_at - venue.control.clock().venue) < timedelta(minutes=10)


def test_what_is_watched_may_change_while_the_socket_runs(venue):
    heard = Heard()
    socket = venue.price_socket(heard, [venue.share])
    with running(socket):
        until(lambda: heard.ticks)
        socket.watch([venue.other_share])
        until(lambda: any(tick.symbol == venue.other_share for tick in heard.ticks))
        seen = len(heard.ticks)
        until(lambda: len(heard.ticks) > seen + 5)
        assert {tick.symbol for tick in heard.ticks[seen + 2 :]} == {venue.other_share}
        socket.watch([])
    assert heard.count("connected") == 1


def test_sockets_come_back_when_the_line_drops(venue, share):
    orders, prices = Heard(), Heard()
    with running(venue.order_socket(orders)), running(venue.price_socket(prices, [venue.share])):
        until(lambda: orders.count("connected") and prices.count("connected"))
        venue.control.faults(kind="drop_socket", count=1)
        lines = (orders, prices) if venue.orders_go_over_a_wire else (prices,)
        until(lambda: all(one.count("connected") == 2 for one in lines))
        seen = len(prices.ticks)
        request = resting(share)
        broker_order_id = placed(venue.gateway, request)
        until(lambda: any(order.broker_order_id == broker_order_id for order in orders.orders))
        until(lambda: len(prices.ticks) > seen)
        venue.gateway.cancel(broker_order_id)
    for heard in lines:
        assert [state for state, _ in heard.states] == ["connected", "disconnected", "connected", "disconnected"]


# -- the clock of a simulated venue --------------------------------------------------------------------------------


def test_the_clock_runs_at_its_speed(venue):
    clock = venue.control.clock()
    assert (clock.speed, clock.running, clock.stepped) == (60.0, True, False)
    later = venue.control.clock()
    assert later.venue > clock.venue
    assert abs((later.venue - clock.venue) - (later.wall - clock.wall) * 60) < timedelta(seconds=5)


def test_a_stepped_venue_moves_when_it_is_told_to(tmp_path):
    with sandbox(tmp_path, "--stepped") as url:
        control = SandboxControl(control_url=f"{url}/sandbox")
        before = control.clock()
        assert before.stepped and control.clock().venue == before.venue
        step = control.step(ticks=1)
        assert step.venue > before.venue and control.clock().venue == step.venue
        target = step.venue + timedelta(minutes=5)
        assert step.venue < control.step(until=target).venue <= target
        with pytest.raises(ValueError):
            control.step()
        control.close()
