"""The paper broker: what it takes, what it fills, what it refuses, and what it says when it does not know."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Event, Thread

import pytest
from django.db import connection

from execution.brokers.dialect import Hearers
from execution.brokers.errors import AuthError, TransientError
from execution.brokers.paper.gateway import PaperGateway
from execution.brokers.paper.sockets import PaperOrderSocket
from execution.brokers.paper.source import PriceSource
from execution.brokers.port import (
    Acknowledged,
    Bar,
    BookOrder,
    BrokerStatus,
    Refused,
    TriggerLeg,
    TriggerRequest,
    Unknown,
)
from execution.models import PaperBook
from tests.factories.market import FeedFactory, InstrumentFactory
from tests.factories.people import BrokerAccountFactory, paper_account_on
from tests.tape import Tape
from trading.domain.clock import IST
from trading.domain.orders import OrderRequest, OrderType, Product, Side, Validity
from trading.venue.charges import ChargeBroker

pytestmark = pytest.mark.django_db
ELEVEN = datetime(2026, 2, 16, 11, 0, tzinfo=IST)
CLOSE = datetime(2026, 2, 16, 15, 30, tzinfo=IST)
SBIN = "NSE:SBIN-EQ"


class Paper:
    """A paper account whose prices a test sets. `again` is another process at the same book."""

    def __init__(self, **terms: Decimal) -> None:
        source = BrokerAccountFactory(feed="paper")
        FeedFactory(name="paper")
        InstrumentFactory(symbol=SBIN, tick_size=Decimal("0.05"), freeze_quantity=50_000)
        InstrumentFactory(symbol="NSE:NIFTY50-INDEX", instrument_type="INDEX")
        self.account = paper_account_on(source, **terms)
        self.tape = Tape(ELEVEN)
        self.tape.set(SBIN, "800.00")
        self.gateway = self.again()

    def again(self) -> PaperGateway:
        return PaperGateway(
            account_id=self.account.pk, name="Paper", feed="paper", now=lambda: self.tape.now, simulated=False,
            source=PriceSource(lambda: self.tape, ask_every_s=0.0), charge_broker=ChargeBroker.FYERS,
        )  # fmt: skip

    def ask(self, side: Side = Side.BUY, quantity: int = 10, **how: object) -> OrderRequest:
        values = {
            "client_order_id": "PABCDEFGHIJKLMNOPQRS", "symbol": SBIN, "side": side, "quantity": quantity,
            "order_type": OrderType.MARKET, "product": Product.INTRADAY,
        }  # fmt: skip
        return OrderRequest(**{**values, **how})  # type: ignore[arg-type]

    def place(self, side: Side = Side.BUY, quantity: int = 10, **how: object) -> BookOrder:
        result = self.gateway.place(self.ask(side, quantity, **how))
        assert isinstance(result, Acknowledged), result
        return self.order(result.broker_order_id)

    def order(self, number: str) -> BookOrder:
        return next(one for one in self.gateway.orders() if one.broker_order_id == number)

    def tick(self, last: str, *, after_s: int = 1, **shown: str | int) -> None:
        self.tape.now += timedelta(seconds=after_s)
        self.gateway.hear([self.tape.set(SBIN, last, **shown)])  # type: ignore[arg-type]


@pytest.fixture
def paper() -> Paper:
    return Paper()


# -- what fills, and where


def test_an_order_at_the_market_pays_what_is_shown_on_the_other_side(paper):
    paper.tape.set(SBIN, "800.00", bid="799.90", ask="800.10")
    assert paper.place().average_price == Decimal("800.10")
    assert paper.place(Side.SELL).average_price == Decimal("799.90")
    assert [one.net_quantity for one in paper.gateway.positions()] == [0]
    assert paper.gateway.funds().realised == Decimal("-2.00")


def test_without_a_fresh_price_nothing_fills(paper):
    paper.tape.now += timedelta(minutes=5)  # the tape stands still, its last trade is old
    order = paper.place()
    assert (order.status, order.filled_quantity) == (BrokerStatus.PENDING, 0)
    paper.tape.silent = True
    assert paper.order(order.broker_order_id).filled_quantity == 0, "its books answer all the same"
    paper.tape.silent = False
    paper.tick("801.00")
    assert paper.order(order.broker_order_id).average_price == Decimal("801.00")


def test_a_price_from_before_the_last_one_tells_nothing(paper):
    order = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    late = paper.tape.set(SBIN, "780.00")
    paper.tick("799.00")
    paper.gateway.hear([late])
    assert paper.order(order.broker_order_id).status is BrokerStatus.PENDING


def test_a_stream_that_begins_with_what_it_knows_from_yesterday_fills_nothing(paper):
    paper.tape.quoted.clear()
    old = replace(paper.tape.set(SBIN, "500.00"), traded_at=ELEVEN - timedelta(days=1))
    paper.tape.quoted.clear()
    paper.gateway.hear([old])
    order = paper.place()
    assert order.filled_quantity == 0
    paper.tick("801.00")
    assert paper.order(order.broker_order_id).average_price == Decimal("801.00")


def test_what_rests_trades_at_its_own_price_and_what_arrives_at_a_better_one(paper):
    resting = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("795.00"))
    paper.tick("790.00")
    assert paper.order(resting.broker_order_id).average_price == Decimal("795.00")
    assert paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("795.00")).average_price == Decimal("790.00")


def test_a_stop_that_the_price_jumps_over_fills_where_the_price_is():
    paper = Paper(slippage_bps=Decimal(10))
    stop = paper.place(Side.SELL, order_type=OrderType.STOP, trigger_price=Decimal("795.00"))
    paper.tick("796.00")
    assert paper.order(stop.broker_order_id).status is BrokerStatus.PENDING
    paper.tick("780.00")
    assert paper.order(stop.broker_order_id).average_price == Decimal("779.20"), "and the slippage against it"


def test_a_stop_with_a_limit_waits_where_its_limit_was_jumped_over(paper):
    stop = paper.place(
        Side.SELL, order_type=OrderType.STOP_LIMIT, trigger_price=Decimal("795.00"), limit_price=Decimal("794.00")
    )
    paper.tick("780.00")
    woken = paper.order(stop.broker_order_id)
    assert (woken.status, woken.raw_status, woken.filled_quantity) == (BrokerStatus.PENDING, "TRIGGERED", 0)
    paper.tick("794.50")
    assert paper.order(stop.broker_order_id).average_price == Decimal("794.00")


def test_no_more_is_filled_than_its_share_of_what_trades():
    paper = Paper(volume_share_pct=Decimal(10))
    paper.tick("800.00", volume=1_000)
    order = paper.place(quantity=25)
    assert order.filled_quantity == 0, "nothing has traded since it came"
    paper.tick("800.00", volume=1_120)
    assert paper.order(order.broker_order_id).filled_quantity == 12
    paper.tick("801.00", volume=1_400)
    done = paper.order(order.broker_order_id)
    assert (done.status, done.filled_quantity, len(paper.gateway.trades())) == (BrokerStatus.FILLED, 25, 2)
    now_or_never = paper.place(quantity=5, validity=Validity.IOC)
    assert (now_or_never.status, now_or_never.filled_quantity) == (BrokerStatus.CANCELLED, 0)


def test_what_was_slept_through_is_read_from_history_and_meets_what_came_before(paper):
    paper.tick("800.00", after_s=30)
    stop = paper.place(Side.SELL, order_type=OrderType.STOP, trigger_price=Decimal("795.00"))
    paper.tape.bars = [
        Bar(ELEVEN + timedelta(minutes=minute), *(Decimal(price) for price in prices), 100)
        for minute, prices in enumerate([("800", "801", "790", "800"), ("799", "799", "796", "797"),
                                         ("797", "798", "792", "793")])
    ]  # fmt: skip
    paper.tape.now = ELEVEN + timedelta(minutes=30)
    paper.tape.set(SBIN, "800.00")
    order = next(one for one in paper.again().orders() if one.broker_order_id == stop.broker_order_id)
    assert (order.average_price, order.updated_at) == (Decimal("795.00"), ELEVEN + timedelta(minutes=3)), (
        "of the minute in which it came nobody knows what was before it"
    )


def test_what_was_slept_through_comes_before_the_first_tick_that_is_heard_again(paper):
    """A killed desk starts anew: its price stream is quicker than its first question."""
    stop = paper.place(Side.SELL, order_type=OrderType.STOP, trigger_price=Decimal("795.00"))
    fell = (Decimal(price) for price in ("798", "798", "794", "797"))
    paper.tape.bars = [Bar(ELEVEN + timedelta(minutes=5), *fell, 100)]
    paper.tape.now, paper.gateway = ELEVEN + timedelta(minutes=30), paper.again()
    paper.tick("700.00")
    assert PaperBook.objects.get().matched_through == ELEVEN, "the tick has met nothing, and says nothing"
    paper.tape.silent = True
    assert paper.order(stop.broker_order_id).status is BrokerStatus.PENDING, "nobody knows what it has missed"
    paper.tape.silent = False
    order = paper.order(stop.broker_order_id)
    assert (order.average_price, order.updated_at) == (Decimal("795.00"), ELEVEN + timedelta(minutes=6))


def test_a_trigger_that_waits_over_a_night_that_was_slept_through_meets_the_minutes_of_the_morning(paper):
    legs = (TriggerLeg(Decimal("790.00"), Decimal("791.00"), 5),)
    request = TriggerRequest(SBIN, Side.BUY, Product.CNC, legs, Decimal("800.00"))
    assert isinstance(paper.gateway.place_trigger(request), Acknowledged)
    morning = ELEVEN + timedelta(days=1)
    paper.tape.bars = [
        Bar(at, *(Decimal(price) for price in ("795", "796", low, "795")), 100)
        for at, low in ((ELEVEN + timedelta(hours=2), "793"), (morning - timedelta(minutes=30), "789"))
    ]  # fmt: skip
    paper.tape.now = morning
    paper.tape.set(SBIN, "795.00")
    (order,) = paper.again().orders()
    assert (order.source, order.average_price, order.filled_quantity) == ("GTT", Decimal("791.00"), 5)
    assert order.updated_at == morning - timedelta(minutes=29)


def test_a_day_that_cannot_be_ended_yet_takes_nothing_of_the_next(paper):
    resting = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    read = paper.tape.history

    def unknown(*_: object, **__: object) -> list[Bar]:
        raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")

    paper.tape.history = unknown  # type: ignore[method-assign]
    paper.tape.now = ELEVEN + timedelta(days=1)
    paper.tape.set(SBIN, "780.00")
    paper.gateway = paper.again()
    assert paper.order(resting.broker_order_id).filled_quantity == 0, "it was for yesterday"
    paper.tick("779.00")
    result = paper.gateway.place(paper.ask())
    assert isinstance(result, Refused) and "not settled" in result.message
    assert not paper.gateway.trades()
    paper.tape.history = read  # type: ignore[method-assign]
    assert paper.gateway.orders() == [] and paper.place().filled_quantity == 10
    assert paper.gateway.positions()[0].net_quantity == 10


# -- what is refused, in a broker's words


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"client_order_id": "LABCDEFGHIJKLMNOPQRS"}, "OTHER_ENVIRONMENT", "paper"),
        ({"quantity": 0}, "INVALID_REQUEST", "positive"),
        ({"order_type": OrderType.LIMIT}, "INVALID_REQUEST", "limit price"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("NaN")}, "INVALID_REQUEST", "positive"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("800.03")}, "INVALID_PARAMETER", "tick size"),
        ({"order_type": OrderType.STOP, "trigger_price": Decimal("799.00")}, "INVALID_PARAMETER", "last price"),
        ({"symbol": "NSE:NOSUCHTHING-EQ"}, "INVALID_SYMBOL", "symbol"),
        ({"symbol": "NSE:NIFTY50-INDEX"}, "INVALID_SYMBOL", "symbol"),
        ({"product": Product.MARGIN}, "NOT_ON_PAPER", "shares"),
        ({"quantity": 50_001}, "REJECTED", "freeze"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("700.00")}, "REJECTED", "circuit limits"),
        ({"quantity": 10_000}, "REJECTED", "Margin Shortfall"),
        ({"side": Side.SELL, "product": Product.CNC}, "REJECTED", "Holdings Shortfall"),
    ],
)  # fmt: skip
def test_what_a_broker_refuses_is_refused(paper, change, code, words):
    paper.tape.band = (Decimal("720.00"), Decimal("880.00"))
    result = paper.gateway.place(paper.ask(**change))
    assert isinstance(result, Refused) and result.code == code and words in result.message, result
    kept = [one for one in paper.gateway.orders() if one.broker_order_id == result.broker_order_id]
    assert [one.status for one in kept] == ([BrokerStatus.REJECTED] if result.broker_order_id else [])
    assert not paper.gateway.trades()


def test_a_closed_market_takes_no_order(paper):
    paper.tape.now = CLOSE
    result = paper.gateway.place(paper.ask())
    assert isinstance(result, Refused) and "closed" in result.message


def test_a_source_that_is_signed_out_makes_its_paper_account_a_stranger(paper):
    paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    paper.tape.signed_out = True
    paper.tape.now += timedelta(minutes=1)
    with pytest.raises(AuthError):
        paper.gateway.orders()
    result = paper.gateway.place(paper.ask())
    assert isinstance(result, Refused) and result.code == "AUTH"


# -- the book


def test_one_tag_sent_twice_is_two_orders(paper):
    first, second = paper.place(), paper.place()
    assert first.client_order_id == second.client_order_id and first.broker_order_id != second.broker_order_id
    assert paper.gateway.positions()[0].net_quantity == 20


def test_another_process_finds_the_same_book_and_no_number_twice(paper):
    mine = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    other = paper.again()
    result = other.place(paper.ask())
    assert isinstance(result, Acknowledged)
    assert [one.broker_order_id for one in paper.gateway.orders()] == [mine.broker_order_id, result.broker_order_id]
    assert isinstance(other.cancel(mine.broker_order_id), Acknowledged)
    again = paper.gateway.cancel(mine.broker_order_id)
    assert isinstance(again, Refused) and again.code == "REJECTED"


def test_a_stop_that_its_price_has_woken_can_be_made_smaller(paper):
    stop = paper.place(
        Side.SELL, order_type=OrderType.STOP_LIMIT, trigger_price=Decimal("795.00"), limit_price=Decimal("794.00")
    )
    paper.tick("780.00")
    changed = paper.gateway.modify(stop.broker_order_id, order_type=OrderType.STOP_LIMIT, quantity=4)
    assert isinstance(changed, Acknowledged) and paper.order(stop.broker_order_id).quantity == 4


def test_a_change_is_taken_or_leaves_everything_as_it_was(paper):
    order = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    number = order.broker_order_id
    too_much = paper.gateway.modify(number, order_type=OrderType.LIMIT, quantity=49_000)
    assert isinstance(too_much, Refused) and "Margin" in too_much.message
    kept = paper.order(number)
    assert (kept.quantity, kept.limit_price) == (10, Decimal("790.00"))
    assert isinstance(paper.gateway.modify(number, order_type=OrderType.MARKET, quantity=6), Acknowledged)
    done = paper.order(number)
    assert (done.status, done.filled_quantity, done.limit_price) == (BrokerStatus.FILLED, 6, None)


def test_the_day_ends_as_at_a_broker(paper):
    """Orders of the day expire; what is intraday is squared off at the last price; the note of the day is paid."""
    paper.place(quantity=10)
    resting = paper.place(order_type=OrderType.LIMIT, limit_price=Decimal("790.00"))
    paper.tick("810.00")
    paper.tape.now = CLOSE + timedelta(minutes=1)
    assert paper.order(resting.broker_order_id).status is BrokerStatus.EXPIRED
    (position,) = paper.gateway.positions()
    assert (position.net_quantity, position.realised) == (0, Decimal("100.00"))
    closed = [one for one in paper.gateway.orders() if one.source == "BROKER"]
    assert [(one.average_price, one.client_order_id) for one in closed] == [(Decimal("810.00"), None)]

    paper.tape.now = ELEVEN + timedelta(days=1)
    assert paper.gateway.orders() == paper.gateway.trades() == paper.gateway.positions() == []
    assert Decimal("1000040") < paper.gateway.funds().total < Decimal("1000100"), "the profit less the charges"
    before = PaperBook.objects.get()
    assert paper.gateway.orders() == [] and PaperBook.objects.get().cash_paise == before.cash_paise, "settled once"


def test_nobody_makes_up_a_price_to_square_off_at(paper):
    paper.place()
    paper.tape.now, paper.tape.silent = CLOSE + timedelta(hours=1), True
    other = paper.again()  # it has heard no price of the day, and cannot ask
    assert [one.net_quantity for one in other.positions()] == [10], "it waits for one"
    paper.tape.silent = False
    (position,) = other.positions()
    assert (position.net_quantity, position.realised) == (0, 0), "history knows none: at what was traded last"


def test_a_database_that_fails_in_the_middle_is_doubt(paper):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE execution_papertrade ADD CONSTRAINT full_disk CHECK (quantity < 10)")
    assert isinstance(paper.gateway.place(paper.ask()), Unknown)
    assert isinstance(paper.gateway.place(paper.ask(quantity=9)), Acknowledged)
    assert [one.quantity for one in paper.gateway.orders()] == [9], "and here nothing had been kept of it"


@pytest.mark.django_db(transaction=True)
def test_the_order_stream_tells_each_change_after_it_is_in_the_book(paper):
    heard: list[object] = []
    connected, done, stop = Event(), Event(), Event()

    def order(news: BookOrder) -> None:
        heard.append((news.status, news.filled_quantity))
        if news.status.is_final:
            done.set()

    stream = PaperOrderSocket(
        account_id=paper.account.pk,
        hearers=Hearers(order, lambda fill: heard.append(fill.quantity), lambda *_: connected.set()),
    )
    thread = Thread(target=stream.run, args=(stop,))
    thread.start()
    try:
        assert connected.wait(10)
        paper.place(quantity=7)
        assert done.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert heard[0] == 7 and heard[-1] == (BrokerStatus.FILLED, 7)
