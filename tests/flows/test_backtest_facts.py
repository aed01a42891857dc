"""A backtest on stored candles keeps to the facts of its days: shares, lots, ticks and bands as they were then."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import pytest
from django.utils import timezone

from strategies.backtest.candles import market_of_candles
from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.request import HouseLimits, prepare, read_request
from strategies.backtest.result import Result
from strategies.contracts.publish import publish_contract
from strategies.contracts.schema import load_library
from strategies.runs.answers import answer_of
from strategies.runs.create import run_create
from strategies.runs.work import work
from tests.factories import InstrumentFactory, UserFactory
from tests.factories.market import FeedFactory, UniverseFactory, stored_candles
from tests.factories.world import house_policy
from trading.domain.clock import IST
from trading.marketdata.listing.bands import store_bands
from trading.marketdata.listing.universes import UNDATED
from trading.marketdata.models import CorporateAction, InstrumentTerms, UniverseMember
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db

DAYS = [date(2026, 2, day) for day in (9, 10, 11, 12, 13, 16, 17, 18)]
REQUEST = {
    "contract": "one-in", "symbols": ["SBIN"], "from": "2026-02-09", "to": "2026-02-18", "charges": "none",
    "sizing": "fixed:10",
}  # fmt: skip
QUIET, FIRES = (100, 101, 99, 100), (100, 106, 99, 106)


class Desk:
    """One share of one universe with a candle a day, and a contract that buys after a day that ends high."""

    def __init__(self) -> None:
        house_policy()
        self.owner, self.feed = UserFactory(), FeedFactory(name="NSE", kind="EXCHANGE")
        self.share = InstrumentFactory(symbol="NSE:SBIN-EQ", tick_size=Decimal("0.05"))
        universe = UniverseFactory(name="nifty50")
        UniverseMember.objects.create(universe=universe, instrument=self.share, from_date=date(2020, 1, 1))

    def days(self, *bars: Sequence[float], **contract: object) -> None:
        starts = [datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST) for day in DAYS]
        stored_candles(self.feed, self.share, starts[: len(bars)], bars, timeframe=1440)
        body = load_library()["momentum_surfer"].as_mapping() | {
            "rules": {"long_entry": "close > open * 1.05"}, "parameters": {}, "trailing": None,
            "stop": {"kind": "percent", "value": "20"}, "max_bars": 4,
        }  # fmt: skip
        publish_contract(owner=self.owner, slug="one-in", body=body | contract, actor="me")

    def test(self, **asked: object) -> Result:
        request = read_request(REQUEST | asked)
        prepared = prepare(request, HouseLimits.of_policy(house_policy()), owner_id=self.owner.pk)
        plan = prepared.plan()
        return run(plan, prepared.market(settling=plan.settling))

    def act(self, day: date, factor: str, kind: str = "SPLIT_OR_BONUS", state: str = "CONFIRMED") -> None:
        CorporateAction.objects.create(
            instrument=self.share, ex_date=day, kind=kind, factor=Decimal(factor), state=state, source="circular",
            found_at=timezone.now(),
        )  # fmt: skip


@pytest.fixture
def desk(db, valkey) -> Desk:
    return Desk()


SPLIT = [QUIET, FIRES, (106, 107, 105, 106), (53, 54, 52, 53), (53, 54, 52, 53), QUIET]


def test_a_split_within_a_run_changes_units_and_no_value(desk):
    desk.days(*SPLIT)
    desk.act(DAYS[3], "0.5")
    asked = run_create(
        owner=desk.owner, kind="BACKTEST", request=REQUEST, study=None, key=uuid.uuid4(), wall=timezone.now()
    )
    work()
    report = answer_of(asked).report
    (trade,) = report["trade_list"]
    assert (trade["quantity"], trade["entry_price"]) == (20, 53.0)
    assert report["max_drawdown_pct"] > -1 and report["final_equity"] == 1_000_000 + 20 * (100 - 53)
    assert report["buy_and_hold_pct"] == pytest.approx(100.0), "the half that left the price is in the second share"


def test_what_is_only_suspected_or_came_later_changes_nothing_and_a_suspicion_is_told(desk):
    desk.days(*SPLIT[:3], SPLIT[2], SPLIT[2])
    desk.act(DAYS[2], "0.5", state="SUSPECTED")
    desk.act(DAYS[3], "0.5", state="DISMISSED")
    desk.act(DAYS[6], "0.2")
    found = desk.test(to="2026-02-13")
    (trade,) = found.trade_list()
    assert (trade["quantity"], trade["entry_price"]) == (10, 106.0)
    (told,) = [said for said in found.warnings if said.startswith("ACTION_")]
    assert told.startswith(f"ACTION_UNDECIDED: a suspected action of NSE:SBIN-EQ on {DAYS[2]} ")


def test_what_the_store_lacks_is_told_also_where_longer_bars_hide_it(desk):
    def notes(minutes: int) -> tuple[str, ...]:
        market = market_of_candles(
            desk.feed, [desk.share], timeframe=minutes, from_date=DAYS[0], to_date=DAYS[3], settling=0
        )
        return tuple(said for said in market.notes if said.startswith("HOLES"))

    for place in (0, 2):
        starts = list(session_on(DAYS[place]).bar_starts(1))
        heard = starts if place else [at for number, at in enumerate(starts) if number % 5 != 2]
        stored_candles(desk.feed, desk.share, heard, [QUIET] * len(heard))
    told = (
        "HOLES: of NSE:SBIN-EQ 450 of 1125 bars of 1m are not stored, on 2 days"  # one day, and a minute of each five
    )
    assert notes(5) == (told,) and notes(1440) == (told,)
    whole = list(session_on(DAYS[1]).bar_starts(1))
    stored_candles(desk.feed, desk.share, [*whole, *session_on(DAYS[0]).bar_starts(1)], [QUIET] * 750)
    assert notes(5) == ()


def test_prices_that_do_not_step_are_adjusted_already_and_the_result_says_so(desk):
    desk.days(QUIET, FIRES, (106, 107, 105, 106), (106, 107, 105, 106), (106, 107, 105, 106))
    desk.act(DAYS[3], "0.5")
    found = desk.test()
    (trade,) = found.trade_list()
    assert trade["quantity"] == 10 and any(said.startswith("ACTION_NOT_SEEN: ") for said in found.warnings)


def test_what_leaves_a_share_by_a_demerger_is_paid_to_its_holder_and_no_fall_to_the_rules(desk):
    after = (80, 80, 79, 80)
    desk.days(
        QUIET, FIRES, (100, 101, 99, 100), after, after, after,
        rules={"long_entry": "close > open * 1.05", "long_exit": "close < 0.9 * close[1]"},
        stop={"kind": "percent", "value": "40"},
    )  # fmt: skip
    with_fall = desk.test().trade_list()
    desk.act(DAYS[3], "0.8", kind="DEMERGER")
    (trade,) = desk.test().trade_list()
    assert [one["reason"] for one in with_fall] == ["RULE"] and with_fall[0]["pnl"] == -200.0
    assert trade["reason"] != "RULE" and trade["pnl"] == 0.0


def terms(desk: Desk, day: date, *, lot: int, tick: str = "0.05", freeze: int | None = None) -> None:
    InstrumentTerms.objects.create(
        instrument=desk.share, from_date=day, tick_size=Decimal(tick), lot_size=lot, freeze_quantity=freeze, source="m"
    )


def test_lots_and_ticks_are_those_of_their_day(desk):
    desk.days(QUIET, FIRES, QUIET, QUIET, FIRES, (100.2, 101, 99, 100), QUIET, max_bars=1)
    terms(desk, DAYS[0], lot=4)
    terms(desk, DAYS[4], lot=7, tick="1")
    first, second = desk.test(slippage="1").trade_list()
    assert (first["quantity"], first["entry_price"]) == (8, 100.05)
    assert (second["quantity"], second["entry_price"]) == (7, 101.0)


def test_a_largest_order_that_none_can_reach_is_no_term(desk):
    desk.days(QUIET, FIRES, QUIET, QUIET, QUIET)
    terms(desk, DAYS[0], lot=1, freeze=50_000)
    assert desk.test().market.freezes == (50_000,)
    assert desk.test(sizing=None).market.is_plain, "the house lets no order come near it"


def test_a_band_keeps_an_order_from_filling(desk):
    locked = (110, 110, 110, 110)
    desk.days(QUIET, FIRES, locked, (108, 109, 107, 108), QUIET)
    assert len(desk.test().trade_list()) == 1
    symbol = desk.share.symbol
    store_bands(
        desk.feed, session_date=DAYS[2], bands={symbol: (Decimal(90), Decimal(110))}, source="MASTER",
        heard_at=timezone.now(),
    )  # fmt: skip
    blocked = desk.test()
    assert not blocked.trade_list() and blocked.signals["locked"] == 1
    store_bands(
        desk.feed, session_date=DAYS[2], bands={symbol: (Decimal(90), Decimal(120))}, source="BOOK",
        heard_at=timezone.now(),
    )  # fmt: skip
    assert len(desk.test().trade_list()) == 1


def test_money_is_spent_as_often_as_the_product_allows(desk):
    desk.days(QUIET, FIRES, QUIET, QUIET)
    assert desk.test(sizing=None).plan.account.leverage == desk.test().plan.account.leverage == 1
    with pytest.raises(BacktestRefused, match="product CNC") as refused:
        desk.test(leverage="2")
    assert refused.value.code == "LEVERAGE"
    desk.days(QUIET, FIRES, QUIET, QUIET, product="INTRADAY", holding="intraday", timeframe="5m")
    prepared = prepare(
        read_request(REQUEST | {"sizing": None}), HouseLimits.of_policy(house_policy()), owner_id=desk.owner.pk
    )
    assert prepared.plan().account.leverage == 5


def test_nothing_is_opened_on_a_day_on_which_a_share_was_no_member(desk):
    desk.days(FIRES, FIRES, QUIET, FIRES, QUIET, QUIET)
    UniverseMember.objects.update(from_date=date(2020, 1, 1), to_date=DAYS[1])
    other = InstrumentFactory(symbol="NSE:ITC-EQ")
    UniverseMember.objects.create(universe=UniverseFactory(name="nifty50"), instrument=other, from_date=DAYS[2])
    found = desk.test(**{"from": DAYS[0].isoformat()})
    # What fires on the first day is bought on the second, its last; the daily bar of the second is judged on the third.
    assert [trade["entry_at"] for trade in found.trade_list()] == [DAYS[1].isoformat()]
    (said,) = [one for one in found.warnings if one.startswith("NOT_ALWAYS_A_MEMBER: ")]
    assert "on 1 of 6 days" in said


def test_before_the_first_known_list_its_members_stand_in_and_the_result_says_so(desk):
    desk.days(FIRES, QUIET, QUIET)
    for since in (date(2026, 3, 1), UNDATED):
        UniverseMember.objects.update(from_date=since)
        found = desk.test()
        assert len(found.trades) == 1 and any(one.startswith("MEMBERS_ASSUMED: ") for one in found.warnings)


def test_a_test_in_which_nobody_ever_belonged_is_refused(desk):
    desk.days(FIRES, QUIET, QUIET)
    UniverseMember.objects.update(to_date=date(2021, 1, 1))
    with pytest.raises(BacktestRefused) as refused:
        desk.test()
    assert refused.value.code == "EMPTY_UNIVERSE"


def test_a_share_that_is_not_traded_any_more_is_judged_while_it_was_a_member(desk):
    desk.days(FIRES, QUIET, QUIET)
    type(desk.share).objects.update(active=False)
    assert len(desk.test(symbols=[]).trades) == 1


def test_who_does_not_belong_is_not_ranked_either(desk):
    desk.days(QUIET, QUIET, QUIET, QUIET, rules={"long_entry": "rank(close) == 100"})
    starts = [datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST) for day in DAYS[:4]]
    for ticker, price, until in (("ITC", 500, DAYS[0]), ("TCS", 50, None)):
        share = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", tick_size=Decimal("0.05"))
        universe = UniverseFactory(name="nifty50")
        UniverseMember.objects.create(universe=universe, instrument=share, from_date=date(2020, 1, 1), to_date=until)
        stored_candles(desk.feed, share, starts, [(price, price + 1, price - 1, price)] * 4, timeframe=1440)
    assert {trade["symbol"] for trade in desk.test(symbols=[]).trade_list()} == {"NSE:SBIN-EQ"}
