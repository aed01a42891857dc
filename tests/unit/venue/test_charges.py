"""Charges against published calculators, broker samples and the tables of rates."""

from datetime import date
from decimal import Decimal

import pytest

from trading.domain.orders import Product, Side
from trading.venue.charges import (
    ChargeBroker,
    ChargeSegment,
    ChargeSheet,
    NoteOrder,
    charges_for_order,
    contract_note,
    exact_lines,
    rates_known,
)
from trading.venue.margins import margin_required

INTRADAY, DELIVERY = ChargeSegment.EQUITY_INTRADAY, ChargeSegment.EQUITY_DELIVERY
FUTURES, OPTIONS = ChargeSegment.FUTURES, ChargeSegment.OPTIONS


def paise(rupees: int | str) -> int:
    return int(Decimal(rupees) * 100)


def round_trip(segment, quantity, bought_at, sold_at, on_date, broker=ChargeBroker.ZERODHA) -> ChargeSheet:
    legs = ((Side.BUY, bought_at), (Side.SELL, sold_at))
    sheets = [
        charges_for_order(
            broker=broker,
            segment=segment,
            side=side,
            quantity=quantity,
            value_paise=quantity * paise(price),
            on_date=on_date,
        )
        for side, price in legs
    ]
    return sheets[0] + sheets[1]


def test_the_published_intraday_calculator_of_2022_to_the_paisa():
    sheet = round_trip(INTRADAY, 400, 1000, 1100, date(2022, 6, 1))
    assert (sheet.brokerage, sheet.stt, sheet.exchange, sheet.stamp) == (4000, 11000, 2898, 1200)
    # The calculator shows SEBI's fee with the GST on it: 0.84 + 0.15 = 0.99, and 12.42 for the rest.
    assert sheet.sebi + sheet.gst == 99 + 1242
    assert sheet.total == paise("204.39")


def test_the_broker_sample_of_an_option_purchase_in_2023():
    lines = exact_lines(
        broker="ZERODHA", segment=OPTIONS, side="BUY", quantity=100, value_paise=15_000, on_date=date(2023, 7, 14)
    )
    rupees = {name: value / 100 for name, value in lines.items()}
    assert rupees["brokerage"] == 20
    assert rupees["exchange"] + rupees["ipft"] == Decimal("0.07575")
    assert rupees["sebi"] == Decimal("0.00015")
    assert rupees["gst"] == Decimal("3.613527")
    assert rupees["stt"] == 0
    assert sum(rupees.values()) - rupees["stamp"] == Decimal("23.689427")


def test_the_broker_sample_of_a_delivery_purchase_in_2023():
    lines = exact_lines(
        broker="ZERODHA", segment=DELIVERY, side="BUY", quantity=1, value_paise=56_000, on_date=date(2023, 7, 14)
    )
    assert lines["stt"] / 100 == Decimal("0.56")
    assert (lines["exchange"] + lines["ipft"]) / 100 == Decimal("0.01876")
    assert lines["gst"] / 100 == Decimal("0.0033768")
    assert (sum(lines.values()) - lines["stamp"]) / 100 == Decimal("0.5826968")


def test_the_intraday_trade_again_at_the_rates_of_april_2026():
    sheet = round_trip(INTRADAY, 400, 1000, 1100, date(2026, 4, 2))
    assert sheet.lines() == {
        "brokerage": 4000, "stt": 11000, "exchange": 2579, "sebi": 84, "stamp": 1200, "gst": 1199, "ipft": 0, "dp": 0,
    }  # fmt: skip
    assert sheet.total == paise("200.62")


def note(*orders: tuple[str, ChargeSegment, Side, int, str], on_date: date, broker: str = "ZERODHA"):
    return contract_note(
        [
            NoteOrder(f"order-{number}", symbol, segment, side, quantity, quantity * paise(price))
            for number, (symbol, segment, side, quantity, price) in enumerate(orders)
        ],
        broker=broker,
        on_date=on_date,
    )


def test_a_nifty_future_day_trade_after_april_2026():
    day = note(
        ("NIFTYFUT", FUTURES, Side.BUY, 65, "24000"),
        ("NIFTYFUT", FUTURES, Side.SELL, 65, "24100"),
        on_date=date(2026, 4, 2),
    )
    assert day.sheet.stt == paise(783)
    assert day.sheet.total == paise("932.60")


@pytest.mark.parametrize(("day", "stt", "total"), [("2026-04-02", 12, "65.41"), ("2026-03-30", 8, "61.41")])
def test_a_nifty_option_day_trade_on_both_sides_of_the_stt_change(day, stt, total):
    booked = note(
        ("NIFTYCE", OPTIONS, Side.BUY, 65, "100"),
        ("NIFTYCE", OPTIONS, Side.SELL, 65, "120"),
        on_date=date.fromisoformat(day),
    )
    assert booked.sheet.stt == paise(stt)
    assert booked.sheet.total == paise(total)


def test_a_delivery_round_trip_on_two_days():
    bought = note(("X", DELIVERY, Side.BUY, 100, "500"), on_date=date(2026, 4, 2))
    sold = note(("X", DELIVERY, Side.SELL, 100, "550"), on_date=date(2026, 4, 3))
    both = bought.sheet + sold.sheet
    dp_with_gst = both.dp + 234  # 18 % of 13 rupees
    assert both.stt == paise(105)
    # Two notes round their lines apart, so the sum may be a paisa or two off the unrounded 116.42.
    assert abs(both.total - dp_with_gst - paise("116.42")) <= 2


def test_stt_of_a_mixed_day_uses_the_average_of_all_trades_and_rounds_to_the_rupee():
    day = note(
        ("X", DELIVERY, Side.BUY, 500, "100"),
        ("X", DELIVERY, Side.SELL, 500, "105"),
        ("X", DELIVERY, Side.BUY, 200, "110"),
        on_date=date(2023, 7, 14),
    )
    assert day.stt_by_symbol == {"X": paise(13) + paise(21)}


def test_stt_of_a_small_day_trade_is_three_rupees():
    day = note(("X", INTRADAY, Side.BUY, 100, "100"), ("X", INTRADAY, Side.SELL, 100, "101"), on_date=date(2023, 7, 14))
    assert day.sheet.stt == paise(3)


def test_brokerage_is_capped_per_order_and_posted_as_the_difference_of_two_sheets():
    def so_far(quantity: int) -> ChargeSheet:
        return charges_for_order(
            broker="SANDBOX",
            segment=INTRADAY,
            side="BUY",
            quantity=quantity,
            value_paise=quantity * paise(1000),
            on_date=date(2026, 2, 16),
        )

    first, second, third = so_far(50), so_far(60), so_far(500)
    assert first.brokerage == 1500
    assert (second - first).brokerage == 300
    assert (third - second).brokerage == 200  # the cap of 20 rupees is reached
    assert first + (second - first) + (third - second) == third


def test_the_sandbox_charges_what_fyers_does():
    same = [
        round_trip(DELIVERY, 10, 500, 510, date(2026, 2, 16), broker=broker)
        for broker in (ChargeBroker.FYERS, ChargeBroker.SANDBOX)
    ]
    assert same[0] == same[1]
    assert same[0].brokerage == 1500 + 1530  # 0.3 % of 5,000 and 5,100


def test_a_delivery_sale_pays_the_depository_once_a_day_and_a_day_trade_never():
    sold_twice = note(
        ("X", DELIVERY, Side.SELL, 5, "100"), ("X", DELIVERY, Side.SELL, 5, "100"),
        on_date=date(2026, 2, 16), broker="FYERS",
    )  # fmt: skip
    squared = note(
        ("X", DELIVERY, Side.SELL, 5, "100"), ("X", DELIVERY, Side.BUY, 5, "100"),
        on_date=date(2026, 2, 16), broker="FYERS",
    )  # fmt: skip
    assert (sold_twice.sheet.dp, squared.sheet.dp) == (350, 0)


def test_an_order_without_a_fill_costs_nothing():
    assert charges_for_order(
        broker="FYERS", segment=OPTIONS, side="SELL", quantity=0, value_paise=0, on_date=date(2026, 2, 16)
    ) == ChargeSheet()  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"quantity": -1}, {"quantity": 0}, {"exchange": "MCX"}, {"broker": "NOBODY"}, {"segment": "GOLD"}]
)
def test_nonsense_is_refused(wrong):
    order = {
        "broker": "FYERS",
        "segment": "FUTURES",
        "side": "SELL",
        "quantity": 1,
        "value_paise": 1,
        "on_date": date(2026, 2, 16),
    }
    with pytest.raises(ValueError):
        charges_for_order(**(order | wrong))


def test_old_years_borrow_the_earliest_rates_and_say_so():
    assert not rates_known(date(2016, 8, 16))
    assert rates_known(date(2021, 2, 24))
    assert round_trip(INTRADAY, 1, 100, 100, date(2016, 8, 16)).total > 0


def test_intraday_shares_need_a_fifth_of_their_value():
    assert margin_required(product=Product.INTRADAY, quantity=10, price=Decimal("812.35")) == Decimal("1624.70")
    assert margin_required(product=Product.CNC, quantity=10, price=Decimal("812.35")) == Decimal("8123.50")
    with pytest.raises(ValueError):
        margin_required(product=Product.MARGIN, quantity=65, price=Decimal(24_000))
