"""Orders that wait at the broker for a price: kept over nights, placed once, ended by each other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from execution.brokers.errors import AuthError
from execution.brokers.port import (
    Acknowledged,
    BookOrder,
    BrokerStatus,
    Refused,
    StandingTrigger,
    TriggerLeg,
    TriggerRequest,
    TriggerStatus,
    Unknown,
)
from tests.contract.conftest import ADAPTERS, EACH, ON_A_WIRE, Venue, sandbox
from trading.domain.orders import OrderType, Product, Side

FAR = Decimal("0.95")


@pytest.fixture(params=EACH)
def stepped(request: pytest.FixtureRequest, tmp_path) -> Iterator[Venue]:
    with sandbox(tmp_path, "--stepped") as url:
        for one in ADAPTERS[request.param](url):
            one.control.step(ticks=1)
            yield one


def tick_of(venue: Venue) -> Decimal:
    return next(one.tick_size for one in venue.gateway.instruments() if one.symbol == venue.share)


def last_price(venue: Venue) -> Decimal:
    return venue.gateway.quotes([venue.share])[0].last_price


def to_ticks(price: Decimal, tick: Decimal) -> Decimal:
    return price // tick * tick


def far_below(venue: Venue, **changes: object) -> TriggerRequest:
    """A purchase that waits for the price to fall by a twentieth: it does not today."""
    last, tick = last_price(venue), tick_of(venue)
    leg = TriggerLeg(to_ticks(last * FAR, tick), to_ticks(last * FAR, tick) + tick, 10)
    values = {"symbol": venue.share, "side": Side.BUY, "product": Product.CNC, "legs": (leg,), "last_price": last}
    return TriggerRequest(**{**values, **changes})


def around(venue: Venue, *, ticks: int = 1) -> TriggerRequest:
    """Two legs so near that the next moves of the price reach one of them; what they place trades at once."""
    last, tick = last_price(venue), tick_of(venue)
    _, high = venue.gateway.bands([venue.share])[venue.share]
    low_leg, high_leg = (TriggerLeg(last + way * ticks * tick, high, 5) for way in (-1, 1))
    return TriggerRequest(venue.share, Side.BUY, Product.CNC, (low_leg, high_leg), last)


def placed(venue: Venue, request: TriggerRequest) -> str:
    result = venue.gateway.place_trigger(request)
    assert isinstance(result, Acknowledged), result
    return result.broker_order_id


def standing(venue: Venue, trigger_id: str) -> StandingTrigger:
    return next(one for one in venue.gateway.triggers() if one.trigger_id == trigger_id)


def bought(venue: Venue) -> list[BookOrder]:
    return [one for one in venue.gateway.orders() if one.symbol == venue.share]


def test_a_trigger_is_listed_changed_and_cancelled(venue):
    request = far_below(venue)
    number = placed(venue, request)
    seen = standing(venue, number)
    assert (seen.symbol, seen.side, seen.product, seen.status) == (
        venue.share, Side.BUY, Product.CNC, TriggerStatus.ACTIVE,
    )  # fmt: skip
    assert seen.legs == request.legs and seen.created_at is not None

    (leg,) = request.legs
    other = replace(request, legs=(replace(leg, quantity=7, trigger_price=leg.trigger_price - tick_of(venue)),))
    assert venue.gateway.modify_trigger(number, other) == Acknowledged(number, venue_message(venue, number))
    assert standing(venue, number).legs == other.legs

    assert isinstance(venue.gateway.cancel_trigger(number), Acknowledged)
    assert standing(venue, number).status is TriggerStatus.CANCELLED
    assert isinstance(venue.gateway.cancel_trigger(number), Refused)
    assert isinstance(venue.gateway.modify_trigger(number, request), Refused)


def venue_message(venue: Venue, number: str) -> str:
    return "Successfully modified order" if venue.name == "fyers" else ""


def test_of_two_legs_the_first_to_be_reached_ends_the_other_and_places_one_order(stepped):
    number = placed(stepped, around(stepped))
    assert len(standing(stepped, number).legs) == 2
    for _ in range(400):
        if standing(stepped, number).status is not TriggerStatus.ACTIVE:
            break
        stepped.control.step(ticks=1)
    assert standing(stepped, number).status is TriggerStatus.TRIGGERED
    (order,) = bought(stepped)
    assert (order.order_type, order.product, order.quantity) == (OrderType.LIMIT, Product.CNC, 5)
    assert order.status is BrokerStatus.FILLED and order.client_order_id is None
    stepped.control.step(ticks=200)
    assert len(bought(stepped)) == 1, "it places once"


def test_a_trigger_stays_over_the_night(stepped):
    number = placed(stepped, far_below(stepped))
    first = stepped.control.clock().session_date
    while stepped.control.clock().session_date == first:
        stepped.control.step(until=stepped.control.clock().venue + timedelta(hours=8))
        stepped.control.step(ticks=1)
    assert standing(stepped, number).status is TriggerStatus.ACTIVE
    assert isinstance(stepped.gateway.cancel_trigger(number), Acknowledged)


def test_what_risk_management_declines_is_told(stepped):
    """A sale of shares that nobody holds: triggered, and its order rejected."""
    request = replace(around(stepped), side=Side.SELL)
    low, _ = stepped.gateway.bands([stepped.share])[stepped.share]
    number = placed(stepped, replace(request, legs=tuple(replace(leg, limit_price=low) for leg in request.legs)))
    for _ in range(400):
        if standing(stepped, number).status is not TriggerStatus.ACTIVE:
            break
        stepped.control.step(ticks=1)
    assert "Holdings Shortfall" in standing(stepped, number).message
    (order,) = bought(stepped)
    assert order.status is BrokerStatus.REJECTED


def test_a_restarted_venue_still_waits(tmp_path):
    numbers = {}
    with sandbox(tmp_path, "--stepped") as url:
        for name in ON_A_WIRE:
            for one in ADAPTERS[name](url):
                one.control.step(ticks=1)
                numbers[name] = placed(one, far_below(one))
    with sandbox(tmp_path, "--stepped") as url:
        for name in ON_A_WIRE:
            for one in ADAPTERS[name](url):
                assert standing(one, numbers[name]).status is TriggerStatus.ACTIVE


@pytest.mark.parametrize("wrong", ["none", "three", "same side", "nothing", "at the last price", "NaN"])
def test_what_cannot_be_a_trigger_never_leaves(venue, wrong):
    request = far_below(venue)
    (leg,) = request.legs
    legs = {
        "none": (), "three": (leg,) * 3, "same side": (leg, replace(leg, trigger_price=leg.trigger_price - 1)),
        "nothing": (replace(leg, quantity=0),), "at the last price": (replace(leg, trigger_price=request.last_price),),
        "NaN": (replace(leg, limit_price=Decimal("NaN")),),
    }[wrong]  # fmt: skip
    before = len(venue.gateway.triggers())
    result = venue.gateway.place_trigger(replace(request, legs=legs))
    assert isinstance(result, Refused) and result.code == "INVALID_REQUEST"
    assert len(venue.gateway.triggers()) == before


def test_what_breaks_the_rules_of_the_venue_is_refused_for_certain(venue):
    request = far_below(venue)
    (leg,) = request.legs
    for broken in (
        replace(request, symbol="NSE:NOSUCHTHING-EQ"),
        replace(request, product=Product.INTRADAY),
        replace(request, legs=(replace(leg, limit_price=leg.limit_price + tick_of(venue) / 2),)),
    ):
        result = venue.gateway.place_trigger(broken)
        assert isinstance(result, Refused) and result.code and result.message, result


@pytest.mark.parametrize("venue", ON_A_WIRE, indirect=True)  # no reply of a book in this process gets lost
def test_a_lost_reply_is_doubt_and_the_book_of_triggers_shows_it(venue):
    request = far_below(venue)
    (leg,) = request.legs
    odd = replace(request, legs=(replace(leg, quantity=13),))
    venue.control.faults(kind="drop_reply", on="trigger", count=1)
    assert isinstance(venue.gateway.place_trigger(odd), Unknown)
    (found,) = [one for one in venue.gateway.triggers() if one.legs == odd.legs and one.status is TriggerStatus.ACTIVE]
    assert isinstance(venue.gateway.cancel_trigger(found.trigger_id), Acknowledged)


def test_strangers_and_other_people_have_none_of_it(venue):
    with pytest.raises(AuthError):
        venue.stranger.triggers()
    result = venue.stranger.place_trigger(far_below(venue))
    assert isinstance(result, Refused) and result.code == "AUTH"
