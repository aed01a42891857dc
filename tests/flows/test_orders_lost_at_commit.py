"""The line to the database dies at the very commit of several posted orders, over the real sandbox exchange: whether
they were kept or not, whoever repeats them has each of them once at the broker."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from execution.api.order_lane import forget_all
from execution.models import Group, Intent, Order
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from tests.flows.test_order_path import allow_anything
from tests.flows.test_orders_posted import Reply, key_of, request_of, told_by
from tests.unit.execution.test_claims_lost import database, wait_until
from trading.domain import crashpoint
from trading.web.handler import OneStepHandler

SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:ITC-EQ", "NSE:TCS-EQ", "NSE:WIPRO-EQ")
# At the commit and before it is written: all that the transaction did is there, and none of it is kept.
DIES_UNKEPT = """
CREATE SEQUENCE deaths;
CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT is_called FROM deaths)
        OR (SELECT count(*) FROM execution_order WHERE xmin = pg_current_xact_id()::xid) = 4
    THEN
        IF nextval('deaths') <= {deaths} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON execution_order DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION dies()
"""


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:10000000")
    with stepped_desk(sandbox.base_url, symbols=SYMBOLS) as found:
        yield found


@pytest.fixture
def handler(desk, settings) -> Iterator[OneStepHandler]:
    settings.ALLOWED_HOSTS = ["testserver"]
    forget_all()
    made = OneStepHandler()
    yield made
    crashpoint.arm(None)
    for way in (made._short_way, made._alert_way):
        way.close()
    made._threads.shutdown()


def apart(work) -> Any:
    """On a line of its own."""

    def alone() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        return other.submit(alone).result()


def run(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


class KeptAndNotAnswered:
    """A commit waits for a copy of the database that never comes: it has been kept, and nobody is told. Then its line
    is ended."""

    def __init__(self) -> None:
        self.died = 0
        self.hand = threading.Thread(target=self._kill)

    def begin(self) -> None:
        database("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        database("SELECT pg_reload_conf()")
        wait_until(lambda: database("SHOW synchronous_standby_names") == [("nobody",)])
        self.hand.start()

    def _kill(self) -> None:
        waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
        try:
            wait_until(lambda: database(f"SELECT pid {waits}"))
            self.died = len(database(f"SELECT pg_terminate_backend(pid) {waits}"))
        finally:
            self.end()
            connection.close()

    def end(self) -> None:
        database("ALTER SYSTEM RESET synchronous_standby_names")
        database("SELECT pg_reload_conf()")


@pytest.fixture
def kept_and_not_answered(orders) -> Iterator[KeptAndNotAnswered]:
    """The lines that are opened from now on wait for what they commit; the tests' servers spare the disk."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    database(f"ALTER DATABASE {name} SET synchronous_commit = on")
    found = KeptAndNotAnswered()
    yield found
    if found.hand.ident:
        found.hand.join(40)
    found.end()
    database(f"ALTER DATABASE {name} RESET synchronous_commit")


class PostedOrders:
    def __init__(self, desk: SteppedDesk, handler: OneStepHandler) -> None:
        self.desk, self.handler = desk, handler
        allow_anything(desk)
        _, self.token = key_of(desk)
        desk.ready()
        quotes = desk.engine.market.quotes()
        self.tickets = [
            {
                "portfolio": desk.portfolio.pk, "symbol": one, "side": "BUY", "quantity": 5, "order_type": "MARKET",
                "product": "INTRADAY", "stop_price": str(round(float(quotes[one].last_price) * 0.97)) + ".00",
            }
            for one in SYMBOLS
        ]  # fmt: skip

    def post(self, places: Sequence[int], *, first_is_at_work: Callable[[], object] = lambda: True) -> list[Reply]:
        """Each under its own key: the first of them, and once it is at work all others together."""
        self.desk.ready()

        async def one(place: int) -> Reply:
            asked = request_of(self.token, self.tickets[place], key=f"lost-key-{place:04}")
            return await told_by(self.handler, *asked)

        async def all_of_them() -> list[Reply]:
            first = asyncio.ensure_future(one(places[0]))
            while not first_is_at_work():
                await asyncio.sleep(0.01)
            return [*await asyncio.gather(first, *(one(place) for place in places[1:]))]

        return asyncio.run(all_of_them())

    def four_in_one_turn(self, then: Callable[[], object] = lambda: None) -> list[Reply]:
        """A copy of the first order is held until the other four wait behind it; `then` is called before theirs are
        written."""
        assert self.post([0])[0].status == 201  # from now on it is known whose account it is: they share a lane
        lanes = self.handler._short_way._lanes
        turns: list[str] = []

        def held(point: str) -> None:
            if point == "intake.asked":
                turns.append(point)
                if len(turns) == 1:
                    wait_until(lambda: sum(len(one) for one in lanes._waiting.values()) == 4)
            if point == "intake.intent_written" and len(turns) == 2:
                turns.append(point)
                apart(then)

        crashpoint.arm(held)
        try:
            return self.post(range(5), first_is_at_work=lambda: turns)
        finally:
            crashpoint.arm(None)

    def each_is_there_once(self) -> None:
        self.desk.act(4)
        self.desk.tick(3)
        there = self.desk.gateway.orders()
        entries = [one for one in there if one.order_type == "MARKET"]
        assert sorted(one.symbol for one in entries) == sorted(SYMBOLS)
        assert len({one.client_order_id for one in there}) == len(there)
        assert Intent.objects.filter(reason="ENTRY").count() == len(SYMBOLS) == Group.objects.count()
        assert Order.objects.filter(reason="ENTRY").count() == len(SYMBOLS)
        assert {one.symbol: one.net_quantity for one in self.desk.gateway.positions()} == dict.fromkeys(SYMBOLS, 5)
        assert self.desk.held() == 25


@pytest.fixture
def orders(desk, handler) -> PostedOrders:
    return PostedOrders(desk, handler)


def same(replies: Sequence[Reply], others: Sequence[Reply]) -> bool:
    return [one.json["id"] for one in replies] == [one.json["id"] for one in others]


@pytest.mark.parametrize("deaths", [1, 1000], ids=["once", "until_it_is_mended"])
def test_fault_53_orders_whose_commit_was_cut_off_before_it_was_kept_are_there_once(orders, deaths):
    run(DIES_UNKEPT.format(deaths=deaths))
    try:
        replies = orders.four_in_one_turn()
        assert database("SELECT last_value >= 1 AND is_called FROM deaths") == [(True,)], "it did die"
    finally:
        run("DROP FUNCTION dies CASCADE; DROP SEQUENCE deaths")
    # Each is tried again alone, under the same key; whose line died there too is told so, and has no order.
    assert [one.status for one in replies] == [201, *([201] * 4 if deaths == 1 else [500] * 4)]
    assert Order.objects.count() == (5 if deaths == 1 else 1)
    again = orders.post(range(5))
    assert [one.status for one in again] == [201] * 5 and same(replies[:1], again[:1])
    assert deaths > 1 or same(replies, again)
    assert same(again, orders.post(range(5)))
    orders.each_is_there_once()


def test_fault_53_orders_whose_commit_was_kept_and_never_answered_are_there_once(orders, kept_and_not_answered):
    replies = orders.four_in_one_turn(kept_and_not_answered.begin)
    assert kept_and_not_answered.died == 1, "the line that waited to hear of its commit"
    assert [one.status for one in replies] == [201] * 5
    # They were told by the long way, which found them.
    assert [one.headers.get("idempotent-replay") for one in replies] == ["true"] * 5
    again = orders.post(range(5))
    assert [one.headers["idempotent-replay"] for one in again] == ["true"] * 5 and same(replies, again)
    orders.each_is_there_once()
