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

LIMITS = Limits(
    name="House v1", stop_required=True, risk_per_trade_pct=Decimal(1), position_size_pct=Decimal(20),
    total_exposure_pct=Decimal(80), max_open_positions=5, max_trades_per_day=20, daily_loss_soft_pct=Decimal(5),
    daily_loss_hard_pct=Decimal(10), price_collar_pct=Decimal(3), max_quote_age_s=5, max_signal_age_s=120,
    cooldown_min=30, max_order_value_rupees=Decimal(1_000_000),
)  # fmt: skip
SNAPSHOT = Snapshot(
    now=NOW, equity_paise=10 * LAKH, cash_paise=10 * LAKH, day_pnl_paise=0, opening_equity_paise=10 * LAKH,
    exposure_paise=0, symbol_exposure_paise=0, symbol_net_quantity=0, symbol_reserved=False, slots_taken=0,
    trades_today=0, last_price=Decimal(100), quote_age_s=0.5, session_open=True,
    entries_from=NOW - timedelta(hours=1), entries_until=NOW + timedelta(hours=1), last_stop_out_at=None,
    soft_locked=False, hard_locked=False, kill_level=0, kill_reason="", auth_state="AUTHENTICATED", engine_ready=True,
    engine_cause="",
)  # fmt: skip
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
        ("DAILY_LOSS_HARD", {}, {"day_pnl_paise": -LAKH}, {}),
        ("DAILY_LOSS_HARD", {}, {"hard_locked": True, "day_pnl_paise": LAKH}, {}),
        ("TRADES_PER_DAY", {}, {"trades_today": 20}, {}),
        ("OPEN_POSITIONS", {}, {"slots_taken": 5}, {}),
        ("RISK_PER_TRADE", {}, {"equity_paise": 100_00}, {}),
        ("POSITION_SIZE", {}, {"symbol_exposure_paise": 2 * LAKH}, {}),
        ("TOTAL_EXPOSURE", {}, {"exposure_paise": 8 * LAKH}, {}),
        ("ORDER_VALUE", {}, {}, {"max_order_value_rupees": Decimal(99)}),
        ("MARGIN", {"product": Product.CNC}, {"exposure_paise": 51 * LAKH}, {"total_exposure_pct": Decimal(1000)}),
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
        ("TOTAL_EXPOSURE", {"quantity": 2_000}, {"exposure_paise": 7 * LAKH}, {}, 1_000),
        ("ORDER_VALUE", {"quantity": 500}, {}, {"max_order_value_rupees": Decimal(10_099)}, 100),
        ("MARGIN", {"quantity": 2_000, "product": Product.CNC}, {"cash_paise": 0, "exposure_paise": 45 * LAKH},
         {"total_exposure_pct": Decimal(1000)}, 952),
        ("POSITION_SIZE", {"quantity": 2_700, "lot_size": 300}, {}, {}, 1_800),
    ],
)  # fmt: skip
def test_what_each_gate_shrinks_to_whole_lots(code, intent, snapshot, limits, allowed):
    last, findings = verdict(intent, snapshot, limits)
    shrunk = [finding for finding in findings if finding.outcome is Outcome.SHRINK]
    assert [finding.gate for finding in shrunk] == [code]
    assert last.quantity == allowed


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
