"""What contract notes add to a run's charges, against the notes themselves."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from strategies.backtest import kernels as k
from strategies.backtest.engine import run
from strategies.backtest.plan import Account, Booking, Costs, Sizing, SizingMode
from strategies.contracts.schema import TargetKind, TargetSpec
from tests.unit.backtest.markets import plan, together, wandering
from trading.domain.orders import Side
from trading.venue.charges import ChargeBroker, ChargeSegment, NoteOrder, charges_for_order, contract_note


@pytest.mark.parametrize("segment", [ChargeSegment.EQUITY_DELIVERY, ChargeSegment.EQUITY_INTRADAY])
@pytest.mark.parametrize("broker", [ChargeBroker.FYERS, ChargeBroker.ZERODHA])
def test_they_are_what_the_notes_say_beyond_the_orders(segment, broker):
    half = Booking(TargetSpec(TargetKind.PERCENT, Decimal("0.5")), Decimal(50))
    made = plan(
        "close > open", max_bars=2, sizing=Sizing(SizingMode.FIXED, Decimal(37)), bookings=(half,),
        costs=Costs(charges=broker, segment=segment), account=Account(cash=Decimal(500_000), slots=2),
    )  # fmt: skip
    result = run(made, together(wandering(3, 150), wandering(4, 150), timeframe=60))
    assert len(result.trades) > 40
    orders: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for row in result.trades:
        entry, leave = (Side.BUY, Side.SELL) if row[k.T_SIDE] > 0 else (Side.SELL, Side.BUY)
        for bar, side, price in ((k.T_ENTRY_BAR, entry, k.T_ENTRY), (k.T_EXIT_BAR, leave, k.T_EXIT)):
            one = orders[int(row[k.T_SYMBOL]), int(row[bar]), side]
            one[0] += int(row[k.T_QUANTITY])
            one[1] += int(row[k.T_QUANTITY] * row[price] + 50) // 100
    by_day: dict[int, list[NoteOrder]] = defaultdict(list)
    for (symbol, bar, side), (quantity, value) in orders.items():
        day = int(result.market.day_ordinals[bar])
        by_day[day].append(NoteOrder("", str(symbol), segment, side, quantity, value))
    wanted = dict.fromkeys(("dp", "stt", "stamp"), 0)
    for ordinal, group in by_day.items():
        on = date.fromordinal(ordinal)
        note = contract_note(group, broker=broker, on_date=on).sheet
        for name in wanted:
            wanted[name] += getattr(note, name)
        for one in group:
            sheet = charges_for_order(
                broker=broker, segment=segment, side=one.side, quantity=one.quantity, value_paise=one.value_paise,
                on_date=on,
            )  # fmt: skip
            for name in wanted:
                wanted[name] -= getattr(sheet, name)
    notes = result.notes
    if segment is ChargeSegment.EQUITY_INTRADAY:
        wanted["dp"] = 0  # squared by the evening, whatever a made-up market holds
    assert (notes.dp, notes.stt) == (wanted["dp"], wanted["stt"])
    assert abs(notes.stamp - wanted["stamp"]) <= len(by_day), "each note rounds its own paisa"
    told = result.as_mapping()["day_notes"]
    assert told["final_equity"] == pytest.approx(result.figures["final_equity"] - notes.total / 100)
    if segment is ChargeSegment.EQUITY_DELIVERY:
        assert (
            notes.dp > 0 and notes.gst == round(notes.dp * 0.18) and any("DAY_NOTES" in one for one in result.warnings)
        )


def test_without_charges_there_is_no_note():
    result = run(plan("close > open", max_bars=2), together(wandering(3, 40)))
    assert result.notes.total == 0 and not np.any(result.trades[:, k.T_CHARGES_IN])
