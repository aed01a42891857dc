"""What always holds in the order book, whatever the orders and the market."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from execution.sandbox.market import Depth, Level
from execution.sandbox.order_book import FILLED, LIMIT, PENDING, Execution, Order, OrderBook

PRICES = st.integers(95, 105).map(lambda n: n * 10)


def an_order(number: int, side: int, qty: int, limit: int, *, user: str = "A", validity: str = "DAY") -> Order:
    return Order(
        id=str(number),
        user=user,
        symbol="X",
        side=side,
        qty=qty,
        type=LIMIT,
        product="INTRADAY",
        validity=validity,
        limit=limit,
        stop=0,
        tag="",
        status=PENDING,
        placed_at=0.0,
        priority=number,
        working_limit=limit,
    )


def a_depth(bid: int, sizes: list[int]) -> Depth:
    bids = tuple(Level(bid - 10 * n, size, 1) for n, size in enumerate(sizes))
    asks = tuple(Level(bid + 10 + 10 * n, size, 1) for n, size in enumerate(sizes))
    return Depth(bids, asks)


depths = st.builds(a_depth, PRICES, st.lists(st.integers(1, 50), min_size=1, max_size=5))
orders = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 120), PRICES, st.sampled_from("ABC"), st.booleans()),
    min_size=1,
    max_size=12,
)
ticks = st.lists(st.tuples(st.booleans(), st.integers(0, 200), depths), max_size=8)


def play(rows: list, moves: list) -> list[tuple[Execution, int]]:
    """Orders first, then ticks; every execution with the order's limit."""
    book, depth = OrderBook(), a_depth(1000, [30, 30, 30])
    done: list[Execution] = []
    for number, (side, qty, limit, user, is_ioc) in enumerate(rows):
        order = an_order(number, side, qty, limit, user=user, validity="IOC" if is_ioc else "DAY")
        done += book.add(order, depth)
    for at_ask, volume, shown in moves:
        last = shown.asks[0].price if at_ask else shown.bids[0].price
        done += list(book.tick(last=last, volume=volume, depth=shown))
    return [(execution, execution.order.working_limit) for execution in done]


@settings(deadline=None)
@given(orders, ticks)
def test_no_execution_is_worse_than_the_limit(rows, moves):
    for execution, limit in play(rows, moves):
        assert execution.order.side * (limit - execution.price) >= 0


@settings(deadline=None)
@given(orders, ticks)
def test_quantity_is_conserved(rows, moves):
    traded: dict[str, int] = {}
    for execution, _ in play(rows, moves):
        assert execution.qty > 0
        traded[execution.order.id] = traded.get(execution.order.id, 0) + execution.qty
        order = execution.order
        assert order.filled <= order.qty
        assert (order.status == FILLED) == (order.filled == order.qty)
    for number, qty in traded.items():
        assert qty <= rows[int(number)][1]


@settings(deadline=None)
@given(orders)
def test_one_refresh_of_the_display_is_never_sold_twice(rows):
    depth = a_depth(1000, [30, 30, 30])
    shown = {level.price: level.size for level in (*depth.bids, *depth.asks)}
    book = OrderBook()
    taken: dict[int, int] = {}
    for number, (side, qty, limit, user, is_ioc) in enumerate(rows):
        done = book.add(an_order(number, side, qty, limit, user=user, validity="IOC" if is_ioc else "DAY"), depth)
        mine = [e for e in done if e.order.id == str(number)]
        others = [e for e in done if e.order.id != str(number)]
        for price in {e.price for e in mine}:
            from_users = sum(e.qty for e in others if e.price == price)
            taken[price] = taken.get(price, 0) + sum(e.qty for e in mine if e.price == price) - from_users
    assert all(qty <= shown.get(price, 0) for price, qty in taken.items())


@settings(deadline=None)
@given(orders, ticks)
def test_users_who_cross_have_traded(rows, moves):
    book, depth = OrderBook(), a_depth(1000, [30, 30, 30])
    for number, (side, qty, limit, user, _) in enumerate(rows):
        book.add(an_order(number, side, qty, limit, user=user), depth)
    for buy in (o for o in book.live if o.side == 1):
        for sell in (o for o in book.live if o.side == -1 and o.user != buy.user):
            assert buy.working_limit < sell.working_limit


@settings(deadline=None)
@given(st.lists(st.tuples(PRICES, st.integers(1, 60)), min_size=2, max_size=8), ticks)
def test_a_better_price_then_an_earlier_order_comes_first(rows, moves):
    """Among resting buys nobody trades while one before him in the queue, by price then time, still waits."""
    empty = Depth((), ())
    book = OrderBook()
    resting = [an_order(number, 1, qty, limit, user=str(number)) for number, (limit, qty) in enumerate(rows)]
    for order in resting:
        book.add(order, empty)
    queue = sorted(resting, key=lambda o: (-o.working_limit, o.priority))
    for at_ask, volume, shown in moves:
        last = shown.asks[0].price if at_ask else shown.bids[0].price
        for execution in book.tick(last=last, volume=volume, depth=Depth(shown.bids, ())):
            before = queue[: queue.index(execution.order)]
            assert all(order.status == FILLED for order in before)


def test_a_rival_at_the_same_price_waits_for_the_queue_ahead():
    book = OrderBook()
    order = an_order(1, 1, 10, 1000)
    assert book.add(order, a_depth(1000, [30])) == []
    assert order.queue_ahead == 30
    assert list(book.tick(last=1000, volume=20, depth=a_depth(1000, [30]))) == []
    (execution,) = book.tick(last=1000, volume=14, depth=a_depth(1000, [30]))
    assert (execution.qty, execution.price) == (4, 1000)


def test_a_trade_through_the_price_fills_it():
    book = OrderBook()
    order = an_order(1, 1, 500, 1000)
    book.add(order, a_depth(1000, [30]))
    (execution,) = book.tick(last=990, volume=1, depth=a_depth(980, [30]))
    assert (execution.qty, execution.price) == (500, 1000)


def test_the_rest_of_a_large_order_takes_the_next_display():
    book = OrderBook()
    order = an_order(1, 1, 100, 1020)
    assert [(e.qty, e.price) for e in book.add(order, a_depth(1000, [30, 20]))] == [(30, 1010), (20, 1020)]
    done = list(book.tick(last=1000, volume=0, depth=a_depth(1000, [30, 40])))
    assert [(e.qty, e.price) for e in done] == [(30, 1010), (20, 1020)]
    assert order.status == FILLED


def test_a_stop_sleeps_until_the_last_trade_reaches_it():
    book = OrderBook()
    order = an_order(1, -1, 10, 980)
    order.stop, order.triggered = 990, False
    book.add(order, a_depth(1000, [30]))
    assert list(book.tick(last=1000, volume=5, depth=a_depth(1000, [30]))) == []
    (execution,) = book.tick(last=990, volume=5, depth=a_depth(990, [30]))
    assert (execution.qty, execution.price) == (10, 990)


def test_a_user_never_trades_with_himself():
    book, empty = OrderBook(), Depth((), ())
    assert book.add(an_order(1, 1, 10, 1000), empty) == []
    assert book.add(an_order(2, -1, 10, 1000), empty) == []
    assert len(book.add(an_order(3, -1, 10, 1000, user="B"), empty)) == 2
