"""What was heard of a day's price bands is kept by its day and its feed, and an order outside is refused."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from execution.brokers.errors import TransientError
from execution.engine.bands import CALLS_A_TURN, BandKeeper
from execution.models import Intent
from risk.models import Assessment
from trading.marketdata.listing.bands import band_of, store_bands
from trading.marketdata.models import Feed, PriceBand
from trading.venue.sessions import exchange_date

LOW, HIGH = Decimal("731.10"), Decimal("893.50")


def keep(desk, low: Decimal = LOW, high: Decimal = HIGH, **symbols):
    bands = {desk.instrument.symbol: (low, high)} | symbols
    return store_bands(
        desk.world.feed, session_date=exchange_date(desk.now[0]), bands=bands, source="BOOK", heard_at=timezone.now()
    )


def test_a_band_is_written_when_it_is_news(desk):
    assert len(keep(desk)) == 1 and keep(desk) == []
    assert len(keep(desk, high=HIGH + 10)) == 1
    assert PriceBand.objects.get().upper == HIGH + 10


def test_what_cannot_be_a_band_is_left_out(desk):
    assert keep(desk, low=HIGH, high=LOW) == [] and keep(desk, low=Decimal(0)) == []
    assert keep(desk, **{"NSE:UNLISTED-EQ": (LOW, HIGH)})[0].instrument == desk.instrument


def test_bands_of_other_days_and_other_feeds_do_not_count(desk):
    keep(desk)
    day = exchange_date(desk.now[0])
    other = Feed.objects.create(name="elsewhere", kind=Feed.Kind.SANDBOX)
    assert band_of(desk.world.feed, desk.instrument, day) == (LOW, HIGH)
    assert band_of(desk.world.feed, desk.instrument, day + timedelta(days=1)) is None
    assert band_of(other, desk.instrument, day) is None


@pytest.mark.parametrize(("low", "high", "refused"), [(LOW, HIGH, ""), (LOW, Decimal("812.00"), "CIRCUIT_BAND")])
def test_an_entry_outside_the_band_as_last_heard_is_refused(desk, low, high, refused):
    keep(desk, low=low, high=high)
    intent = desk.ask()
    assert intent.refusal_code == refused
    said = Assessment.objects.get(intent_id=intent.pk).verdicts
    (verdict,) = (one for one in said if one.gate == "CIRCUIT_BAND")
    assert f"{low:.4f}–{high:.4f}" == verdict.limit
    assert (intent.state == Intent.State.REFUSED) is bool(refused)


class Shelf:
    """Tells bands, a few symbols a call."""

    def __init__(self, a_call: int) -> None:
        self.bands_a_call = a_call
        self.asked: list[list[str]] = []
        self.down = False

    def instruments(self):
        return []

    def bands(self, symbols):
        if self.down:
            raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")
        self.asked.append(list(symbols))
        return dict.fromkeys(symbols, (LOW, HIGH))


def keeper(desk, shelf: Shelf, symbols: list[str]) -> BandKeeper:
    return BandKeeper(
        account=desk.account, feed=desk.world.feed, gateway=shelf, now=lambda: desk.now[0], symbols=lambda: symbols
    )


def test_all_take_turns_where_each_is_a_call_and_what_is_traded_comes_first(desk):
    desk.enter()
    symbols = [f"NSE:S{number}-EQ" for number in range(7)] + [desk.instrument.symbol]
    shelf = Shelf(1)
    bands = keeper(desk, shelf, symbols)
    for _ in range(3):
        bands._asked_at = float("-inf")
        bands.look()
    assert all(asked[0] == desk.instrument.symbol and len(asked) == CALLS_A_TURN for asked in shelf.asked)
    assert {symbol for asked in shelf.asked for symbol in asked} == set(symbols)
    assert bands.look() == 0 and len(shelf.asked) == 3, "not before its time"


def test_a_broker_that_does_not_answer_is_asked_again_at_the_next_turn(desk):
    shelf = Shelf(500)
    bands = keeper(desk, shelf, [desk.instrument.symbol])
    shelf.down = True
    assert bands.look() == 0
    shelf.down, bands._asked_at = False, float("-inf")
    assert bands.look() == 1 and PriceBand.objects.get().source == "BOOK"
