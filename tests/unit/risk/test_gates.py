"""Each gate passes, shrinks or rejects by its numbers; and no limit on size or loss keeps an exit in."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from risk.assess import run_gates
from risk.gates import ENTRY_GATES, EXIT_GATES
from risk.gates.finding import Limits, Outcome, Snapshot
from trading.domain.clock import IST
from trading.domain.orders import OrderIntent, Product, Reason, Side

NOW = datetime(2026, 2, 16, 11, 0, tzinfo=IST)
LAKH = 1_00_000_00

LIMITS = Limits(name="House v1")
SNAPSHOT = Snapshot(
    now=NOW, equity_paise=10 * LAKH, cash_paise=10 * LAKH, day_pnl_paise=0, opening_equity_paise=10 * LAKH,
    exposure_paise=0, symbol_exposure_paise=0, symbol_net_quantity=0, symbol_reserved=False, slots_taken=0,
    trades_today=0, last_price=Decimal(100), quote_age_s=0.5, session_open=True,
    entries_from=NOW - timedelta(hours=1), entries_until=NOW + timedelta(hours=1), last_stop_out_at=None,
    soft_locked=False, hard_locked=False, kill_level=0, kill_reason="", auth_state="AUTHENTICATED", engine_ready=True,
    engine_cause="",
)  # fmt: skip
FREE = {
    "total_exposure_pct": Decimal(1000), "hard_exposure_pct": Decimal(1000), "cash_reserve_pct": Decimal(-9000),
}  # fmt: skip
"""No limit on exposure, so that the margin is what binds."""
ENTRY = OrderIntent(
    instrument_id=1, symbol="NSE:SBIN-EQ", side=Side.BUY, quantity=100, price=Decimal(100), product=Product.INTRADAY,
    reason=Reason.ENTRY, lot_size=1, tick_size=Decimal("0.05"), stop_price=Decimal(98), signal_age_s=3.0,
)  # fmt: skip


def verdict(intent=None, snapshot=None, limits=None):
    findings = run_gates(
        replace(ENTRY, **(intent or {})), replace(SNAPSHOT, **(snapshot or {})), replace(LIMITS, **(limits or {}))
    )
    return findings[-1], findings


def test_a_sound_entry_passes_every_gate():
    last, findings = verdict()
    assert len(findings) == len(ENTRY_GATES)
    assert {finding.outcome for finding in findings} == {Outcome.PASS} and last.quantity == 100


@pytest.mark.parametrize(
    ("code", "intent", "snapshot", "limits"),
    [
        ("KILL_SWITCH", {}, {"kill_level": 1}, {}),
        ("BROKER_AUTH", {}, {"auth_state": "EXPIRED"}, {}),
        ("ENGINE_READY", {}, {"engine_ready": False}, {}),
        ("MARKET_HOURS", {}, {"session_open": False}, {}),
        ("MARKET_HOURS", {}, {"entries_from": NOW + timedelta(seconds=1)}, {}),
        ("MARKET_HOURS", {}, {"entries_until": NOW}, {}),
        ("NOT_TRADABLE", {"tradable": False}, {}, {}),
        ("LOT_SIZE", {"lot_size": 30}, {}, {}),
        ("LOT_SIZE", {"quantity": 0}, {}, {}),
        ("TICK_SIZE", {"price": Decimal("100.01")}, {}, {}),
        ("TICK_SIZE", {"price": Decimal(0)}, {}, {}),
        ("STOP_REQUIRED", {"stop_price": None}, {}, {}),
        ("STOP_REQUIRED", {"stop_price": Decimal(100)}, {}, {}),
        ("STOP_REQUIRED", {"stop_price": Decimal("97.97")}, {}, {}),
        ("STOP_REQUIRED", {"side": Side.SELL}, {}, {}),
        ("STOP_REQUIRED", {"price": Decimal(102), "stop_price": Decimal(101)}, {}, {}),  # it would trade at 100
        ("STOP_REQUIRED", {"side": Side.SELL, "price": Decimal(98), "stop_price": Decimal(99)}, {}, {}),
        ("SIGNAL_AGE", {"signal_age_s": 120.1}, {}, {}),
        ("QUOTE_AGE", {}, {"quote_age_s": 5.1}, {}),
        ("QUOTE_AGE", {}, {"last_price": None}, {}),
        ("PRICE_COLLAR", {}, {"last_price": Decimal("104")}, {}),
        ("ALREADY_POSITIONED", {}, {"symbol_net_quantity": 5}, {}),
        ("ALREADY_POSITIONED", {}, {"symbol_reserved": True}, {}),
        ("WOULD_FLIP", {}, {"symbol_net_quantity": -5}, {}),
        ("COOLDOWN", {}, {"last_stop_out_at": NOW - timedelta(minutes=29)}, {}),
        ("DAILY_LOSS", {}, {"day_pnl_paise": -LAKH // 2}, {}),
        ("DAILY_LOSS", {}, {"soft_locked": True, "day_pnl_paise": LAKH}, {}),
        ("DAILY_LOSS", {}, {"day_pnl_paise": -3_000_00}, {"daily_loss_soft_pct": Decimal("0.3")}),  # to the paisa
        ("DAILY_LOSS_HARD", {}, {"day_pnl_paise": -LAKH}, {}),
        ("DAILY_LOSS_HARD", {}, {"opening_equity_paise": 0}, {}),
        ("DAILY_LOSS_HARD", {}, {"hard_locked": True, "day_pnl_paise": LAKH}, {}),
        ("TRADES_PER_DAY", {}, {"trades_today": 20}, {}),
        ("OPEN_POSITIONS", {}, {"slots_taken": 5}, {}),
        ("RISK_PER_TRADE", {}, {"equity_paise": 100_00}, {}),
        ("POSITION_SIZE", {}, {"symbol_exposure_paise": 2 * LAKH}, {}),
        ("TOTAL_EXPOSURE", {}, {"exposure_paise": 7 * LAKH}, {}),
        ("HARD_EXPOSURE", {}, {"exposure_paise": 8 * LAKH}, {}),
        (
            "CASH_RESERVE",
            {},
            {"exposure_paise": 7 * LAKH},
            {"total_exposure_pct": Decimal(80), "cash_reserve_pct": Decimal(30)},
        ),
        ("BROKER_BREAKER", {}, {"breaker_open": True, "breaker_cause": "429"}, {}),
        ("RECONCILIATION", {}, {"reconciled": False, "reconciliation_cause": "5 held, 0 at the broker"}, {}),
        ("RESTRICTED", {}, {}, {"restricted_symbols": frozenset({"SBIN"})}),
        ("RESTRICTED", {}, {}, {"restricted_symbols": frozenset({"NSE:SBIN-EQ"})}),
        (
            "RESTRICTED",
            {"symbol": "NSE:SBIN26AUG800CE", "underlying": "SBIN"},
            {},
            {"restricted_symbols": frozenset({"SBIN"})},
        ),
        ("SHORT_DELIVERY", {"side": Side.SELL, "product": Product.CNC, "stop_price": Decimal(102)}, {}, {}),
        ("CIRCUIT_BAND", {"lower_band": Decimal(90), "upper_band": Decimal("99.95")}, {}, {}),
        ("UNKNOWN_OUTSTANDING", {}, {"unknown_outstanding": 1}, {}),
        ("SELF_TRADE", {}, {"opposite_working": 25}, {}),
        ("DUPLICATE", {"repeat_age_s": 119.9}, {}, {}),
        ("LOSS_STREAK", {}, {"losses_in_row": 4, "last_loss_at": NOW - timedelta(minutes=59)}, {}),
        ("DRAWDOWN_HALTED", {}, {"drawdown_state": "HALTED", "drawdown_pct": Decimal(20)}, {}),
        ("STRATEGY_POSITIONS", {"strategy": "7"}, {"strategy_slots_taken": 5}, {}),
        ("OPENING_GAP", {}, {"opening_gap_pct": Decimal("-2.01")}, {}),
        ("LIQUIDITY_SPREAD", {}, {"spread": Decimal("0.06"), "close_deviation": Decimal(1)}, {}),
        ("LIQUIDITY_SPREAD", {}, {"spread": Decimal("0.05"), "close_deviation": Decimal(0)}, {}),
        ("LIQUIDITY_SPREAD", {}, {"spread": Decimal("-0.05")}, {}),
        ("LIQUIDITY_VOLUME", {}, {"bar_volume": 49, "mean_volume": 100}, {}),
        ("CORRELATION", {}, {"correlations": (("NSE:A-EQ", 0.2), ("NSE:B-EQ", 0.91))}, {}),
        ("SECTOR_EXPOSURE", {"sector": "Banks"}, {"sector_exposure_paise": 3 * LAKH}, {}),
        ("DAY_VALUE", {}, {"opened_today_paise": 50 * LAKH}, {}),
        ("POSITION_RISK", {}, {"symbol_risk_paise": 20_000_00}, {}),
        ("OPTIONS_EXPOSURE", {"is_option": True}, {"options_exposure_paise": 5 * LAKH}, {}),
        ("FREEZE_QUANTITY", {"lot_size": 50, "freeze_quantity": 49}, {}, {}),
        ("MARGIN_UNKNOWN", {"segment": "FO", "product": Product.MARGIN}, {}, {}),
        ("ORDER_VALUE", {}, {}, {"max_order_value_rupees": Decimal(99)}),
        ("MARGIN", {"product": Product.CNC}, {"exposure_paise": 51 * LAKH}, FREE),
    ],
)
def test_what_each_gate_rejects(code, intent, snapshot, limits):
    last, findings = verdict(intent, snapshot, limits)
    assert (last.gate, last.outcome, last.quantity) == (code, Outcome.REJECT, 0), last
    assert last.message and all(finding.outcome is not Outcome.REJECT for finding in findings[:-1])


@pytest.mark.parametrize(
    ("code", "intent", "snapshot", "limits", "allowed"),
    [
        ("RISK_PER_TRADE", {"quantity": 1_000, "stop_price": Decimal(80)}, {}, {}, 500),
        ("POSITION_SIZE", {"quantity": 2_500}, {}, {}, 2_000),
        ("TOTAL_EXPOSURE", {"quantity": 2_000}, {"exposure_paise": 6 * LAKH}, {}, 1_000),
        ("ORDER_VALUE", {"quantity": 500}, {}, {"max_order_value_rupees": Decimal(10_099)}, 100),
        ("MARGIN", {"quantity": 2_000, "product": Product.CNC}, {"cash_paise": 0, "exposure_paise": 45 * LAKH},
         FREE, 952),
        ("POSITION_SIZE", {"quantity": 2_700, "lot_size": 300}, {}, {}, 1_800),
        ("POSITION_SIZE", {"quantity": 900, "is_option": True}, {}, {}, 500),
        ("RISK_PER_TRADE", {"quantity": 5_000, "stop_price": Decimal(95), "family": "mean_reversion"}, {}, {}, 1_500),
        ("DAILY_LOSS", {"quantity": 300}, {"day_pnl_paise": -37_500_00}, {}, 150),
        ("DAILY_LOSS", {"quantity": 300}, {"half_size": True}, {}, 150),
        ("DRAWDOWN", {"quantity": 300}, {"drawdown_state": "CAUTIOUS", "drawdown_pct": Decimal(11)}, {}, 150),
        ("DRAWDOWN", {"quantity": 300}, {"drawdown_state": "DEFENSIVE", "drawdown_pct": Decimal(16)}, {}, 150),
        ("CORRELATION", {"quantity": 300}, {"correlations": (("NSE:A-EQ", 0.71),)}, {}, 150),
        ("SECTOR_EXPOSURE", {"quantity": 500, "sector": "Banks"}, {"sector_exposure_paise": 2_80_000_00}, {}, 200),
        ("ORDER_QUANTITY", {"quantity": 500}, {}, {"max_order_quantity": 120}, 120),
        ("MARGIN", {"quantity": 900}, {"broker_free_paise": 10_500_00}, {}, 500),
    ],
)  # fmt: skip
def test_what_each_gate_shrinks_to_whole_lots(code, intent, snapshot, limits, allowed):
    last, findings = verdict(intent, snapshot, limits)
    shrunk = [finding for finding in findings if finding.outcome is Outcome.SHRINK]
    assert [finding.gate for finding in shrunk] == [code]
    assert last.quantity == allowed


def test_what_is_above_the_freeze_quantity_is_cut_and_not_made_smaller():
    last, findings = verdict({"quantity": 500, "freeze_quantity": 325, "lot_size": 50})
    freeze = next(finding for finding in findings if finding.gate == "FREEZE_QUANTITY")
    assert (freeze.outcome, freeze.quantity, last.quantity) == (Outcome.PASS, 500, 500)
    assert freeze.message == "In 2 orders that the exchange takes."


def test_gates_only_ever_shrink():
    quantities = [finding.quantity for finding in verdict({"quantity": 9_000})[1]]
    assert quantities == sorted(quantities, reverse=True)


EXIT = {
    "side": Side.SELL, "reason": Reason.STOP, "reduces": True, "stop_price": None, "signal_age_s": None,
    "price": Decimal("61.37"),
}  # fmt: skip


def test_no_limit_keeps_an_exit_in():
    """Far from the price, off the tick, on a stale quote, after every loss, with nothing left and everybody asleep."""
    last, findings = verdict(
        EXIT | {"quantity": 137, "lot_size": 50},
        {
            "symbol_net_quantity": 137, "kill_level": 4, "auth_state": "EXPIRED", "engine_ready": False,
            "hard_locked": True, "soft_locked": True, "day_pnl_paise": -9 * LAKH, "quote_age_s": None,
            "last_price": None, "slots_taken": 99, "trades_today": 999, "exposure_paise": 99 * LAKH,
            "equity_paise": -LAKH,
            "entries_from": None, "entries_until": None, "last_stop_out_at": NOW,
        },
    )  # fmt: skip
    assert len(findings) == len(EXIT_GATES)
    assert (last.outcome, last.quantity) == (Outcome.PASS, 137)


@pytest.mark.parametrize(
    ("code", "snapshot"),
    [
        ("LOCKDOWN", {"kill_level": 5, "symbol_net_quantity": 100}),
        ("MARKET_CLOSED", {"session_open": False, "symbol_net_quantity": 100}),
        ("REDUCE_ONLY", {"symbol_net_quantity": 0}),
        ("REDUCE_ONLY", {"symbol_net_quantity": -100}),
    ],
)
def test_what_keeps_an_exit_in(code, snapshot):
    assert verdict(EXIT, snapshot)[0].gate == code


def test_an_exit_is_never_larger_than_what_is_held():
    last, _ = verdict(EXIT, {"symbol_net_quantity": 60})
    assert (last.outcome, last.quantity) == (Outcome.SHRINK, 60)


def test_thin_hours_are_twice_as_strict():
    """The first and the last quarter of an hour, and from twelve to one."""
    wide = {"spread": Decimal("0.03"), "close_deviation": Decimal(1), "session_opens_at": NOW - timedelta(hours=2),
            "session_closes_at": NOW + timedelta(hours=2)}  # fmt: skip
    assert verdict(snapshot=wide)[0].outcome is Outcome.PASS
    for edge in ({"session_opens_at": NOW - timedelta(minutes=14)}, {"session_closes_at": NOW + timedelta(minutes=15)}):
        assert verdict(snapshot=wide | edge)[0].gate == "LIQUIDITY_SPREAD"
    noon = NOW.replace(hour=12, minute=30)
    hours = {"now": noon, "entries_from": noon - timedelta(hours=1), "entries_until": noon + timedelta(hours=1)}
    assert verdict(snapshot=wide | hours)[0].gate == "LIQUIDITY_SPREAD"


def test_an_option_may_be_five_rupees_away_however_cheap_it_is():
    option = {"is_option": True, "price": Decimal(16), "stop_price": Decimal(10)}
    assert verdict(option, {"last_price": Decimal(12)})[0].gate != "PRICE_COLLAR"
    assert verdict(option | {"price": Decimal(19)}, {"last_price": Decimal(12)})[0].gate == "PRICE_COLLAR"


def test_a_hedge_is_not_a_double():
    assert verdict(snapshot={"correlations": (("NSE:A-EQ", -0.99),)})[0].outcome is Outcome.PASS


def test_the_order_rate_delays_and_never_refuses():
    last, _ = verdict(snapshot={"order_wait_s": 25.0})
    assert (last.gate, last.outcome, last.value) == ("ORDER_RATE", Outcome.PASS, "25.00 s")


def test_an_exit_outside_the_band_is_left_to_the_exchange():
    last, findings = verdict(
        EXIT | {"lower_band": Decimal(80), "upper_band": Decimal(120)}, {"symbol_net_quantity": 100}
    )
    assert last.outcome is Outcome.PASS and "outside the day's band" in findings[2].message


def test_who_asks_by_hand_has_seen_the_book():
    thin = {"spread": Decimal(1), "close_deviation": Decimal(1), "bar_volume": 1, "mean_volume": 100}
    assert verdict(snapshot=thin)[0].gate == "LIQUIDITY_SPREAD"
    last, findings = verdict({"signal_age_s": None}, thin)
    said = next(one for one in findings if one.gate == "LIQUIDITY_SPREAD")
    assert last.outcome is Outcome.PASS and said.message.endswith("Asked for by hand.")
