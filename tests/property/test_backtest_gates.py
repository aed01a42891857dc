"""The gates of the event loop are those of the desk: one sequence of days, fed to both."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.gates.exposure import cash_reserve, day_value, total_exposure
from risk.gates.finding import Limits, Outcome, Snapshot
from risk.gates.loss_limits import cooldown, daily_loss, drawdown, loss_streak
from risk.gates.per_trade import trades_per_day
from strategies.backtest import gating as g
from strategies.backtest import kernels as k
from strategies.backtest.engine import terms_of
from strategies.backtest.plan import Account, HouseGates
from tests.unit.backtest.markets import plan
from trading.domain.orders import OrderIntent, Product, Reason, Side

LIMITS = Limits(name="test", total_exposure_pct=Decimal(999))
GATES = HouseGates(
    trades_per_day=LIMITS.max_trades_per_day, cooldown_min=LIMITS.cooldown_min, loss_streak=LIMITS.loss_streak,
    loss_streak_pause_min=LIMITS.loss_streak_pause_min, daily_loss_soft_pct=LIMITS.daily_loss_soft_pct,
    daily_loss_hard_pct=LIMITS.daily_loss_hard_pct, half_size_share_pct=LIMITS.half_size_share_pct,
    drawdown_cautious_pct=Decimal(10), drawdown_defensive_pct=Decimal(15), drawdown_halt_pct=Decimal(20),
    drawdown_hysteresis_pct=Decimal(2), drawdown_size_pct=LIMITS.drawdown_size_pct,
    hard_exposure_pct=LIMITS.hard_exposure_pct, cash_reserve_pct=LIMITS.cash_reserve_pct,
    day_value_pct=LIMITS.day_value_pct,
)  # fmt: skip
OPENS = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)
STATES = ("NORMAL", "CAUTIOUS", "DEFENSIVE", "HALTED")


def intent(quantity: int, price: Decimal) -> OrderIntent:
    return OrderIntent(
        instrument_id=1, symbol="NSE:ABC-EQ", side=Side.BUY, quantity=quantity, price=price, product=Product.INTRADAY,
        reason=Reason.ENTRY, lot_size=1, tick_size=Decimal("0.05"), stop_price=price - 1,
    )  # fmt: skip


moments = st.lists(
    st.tuples(
        st.integers(-1_300, 600),  # what the account gained since the last moment, hundredths of a percent of 10 lakh
        st.integers(0, 100),  # exposure, percent of equity
        st.booleans(),  # a new day
        st.sampled_from(["nothing", "won", "lost", "stopped"]),
        st.integers(1, 40),  # minutes
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@given(moments)
@settings(max_examples=300, deadline=None)
def test_the_gates_say_what_the_desks_say(sequence):
    terms = terms_of(plan("close > open", account=Account(cash=Decimal(1_000_000)), gates=GATES))
    account, memory = np.zeros(k.ACCOUNT, np.int64), np.zeros(1, np.int64)
    held, counters = np.zeros((1, k.HELD), np.int64), np.zeros(k.COUNTERS, np.int64)
    g.opened(terms, account)
    equity, opening, peak, now = 100_000_000, 100_000_000, 100_000_000, OPENS  # paise
    half = soft = hard = False
    state, losses, last_loss, stopped, trades, opened = 0, 0, None, None, 0, 0
    price, wanted = Decimal(100), 100_000
    for gained, exposed, new_day, happened, minutes in sequence:
        now += timedelta(minutes=minutes)
        if new_day:
            g.new_session(account)
            opening, half, soft, hard, trades, opened = equity, False, False, False, 0, 0
        if happened != "nothing":
            reason = k.STOP if happened == "stopped" else k.RULE
            won = happened == "won"
            g.after_exit(account, memory, 0, 100 if won else -100, reason, int(now.timestamp()))
            losses, last_loss = (0, last_loss) if won else (losses + 1, now)
            stopped = now if happened == "stopped" else stopped
        equity = max(1_000_000, equity + gained * 10_000)
        g.after_close(terms, account, held, equity * 100, counters)
        loss = max(0, opening - equity)
        half = half or (loss * 10_000 >= opening * 375 and loss > 0)
        soft, hard = soft or (loss * 100 >= opening * 5 and loss > 0), hard or (loss * 10 >= opening and loss > 0)
        peak = max(peak, equity)
        state = next_state(state, peak - equity, peak)
        gross = equity * exposed // 100
        snapshot = Snapshot(
            now=now, equity_paise=equity, cash_paise=equity - gross, day_pnl_paise=equity - opening,
            opening_equity_paise=opening, exposure_paise=gross, symbol_exposure_paise=0, symbol_net_quantity=0,
            symbol_reserved=False, slots_taken=0, trades_today=trades, last_price=price, quote_age_s=0,
            session_open=True, entries_from=None, entries_until=None, last_stop_out_at=stopped, soft_locked=soft,
            hard_locked=hard, kill_level=0, kill_reason="", auth_state="", engine_ready=True, engine_cause="",
            half_size=half, drawdown_state=STATES[state],
            drawdown_pct=Decimal(peak - equity) * 100 / peak, losses_in_row=losses, last_loss_at=last_loss,
            opened_today_paise=opened,
        )  # fmt: skip
        allowed = wanted
        for gate in (cooldown, loss_streak, daily_loss, drawdown, trades_per_day, total_exposure, cash_reserve,
                     day_value):  # fmt: skip
            finding = gate(intent(allowed, price), snapshot, LIMITS)
            allowed = 0 if finding.outcome is Outcome.REJECT else finding.quantity
            if not allowed:
                break
        share = g.allowed_share(terms, account, memory, 0, equity * 100, gross * 100, int(now.timestamp()))
        ours = min(int(k.share_of(wanted, share)), int(g.room(terms, account, equity * 100, gross * 100)) // 1_000_000)
        assert (ours if share else 0) == allowed, (STATES[state], half, soft, hard, gross, equity)
        if allowed:
            trades += 1
            opened += allowed * 10_000
            account[k.A_TRADES_TODAY] += 1
            account[k.A_OPENED_TODAY] += allowed * 1_000_000


def next_state(state: int, below: int, peak: int) -> int:
    """The steps in words of their own: entered at once, left two percent above, a halt for good."""
    if state == 3 or below * 5 >= peak:
        return 3
    if below * 100 >= peak * 15 or (state == 2 and below * 100 > peak * 13):
        return 2
    if below * 100 >= peak * 10 or (state >= 1 and below * 100 > peak * 8):
        return 1
    return 0
