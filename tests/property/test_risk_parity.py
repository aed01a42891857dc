"""One sequence of requests to the desk's sizing, gates, locks and drawdown machine, and to those of the backtester's
event loop: verdict by verdict the same, and the stop that goes with it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.assess import run_gates
from risk.drawdown import DrawdownStep, drawdown_pct, next_step, tightened_stop
from risk.drawdown_watch import steps_of
from risk.gates import ENTRY_GATES
from risk.gates.finding import Outcome, Snapshot
from risk.gates.per_trade import MEAN_REVERSION
from risk.loss_locks import locks_due
from risk.market_facts import correlation
from risk.models import LossLock, RiskPolicy
from risk.policies import limits_of
from strategies.backtest import gating as g
from strategies.backtest import kernels as k
from strategies.backtest import loop
from strategies.backtest.charges import NO_CHARGES
from strategies.backtest.engine import _shares, terms_of
from strategies.backtest.plan import Account, Sizing, SizingMode, sizing_of_contract
from strategies.backtest.request import HouseLimits
from strategies.contracts.schema import LIBRARY, ContractBody, Regime, SizingKind, load_contract, parse_contract
from strategies.tactics.sizes import units_wanted
from tests.unit.backtest.markets import NICKEL, plan
from trading.domain.money import to_tick
from trading.domain.orders import OrderIntent, Product, Reason, Side

POLICY = RiskPolicy(
    portfolio=None, version=1, total_exposure_pct=Decimal(60), max_trades_per_day=6, max_order_quantity=900,
    max_order_value_rupees=Decimal(400_000), day_value_pct=Decimal(120), drawdown_size_pct=Decimal(35),
    restricted_symbols=["XYZ"],
)  # fmt: skip
for one in RiskPolicy._meta.concrete_fields:
    setattr(POLICY, one.attname, one.to_python(getattr(POLICY, one.attname)))  # as a row gives it
LIMITS, HOUSE = limits_of(POLICY), HouseLimits.of_policy(POLICY)
NOT_IN_A_PAST = {
    "trading_state", "broker_health", "signal_age", "quote_freshness", "unknown_outstanding", "self_trade", "margin",
    "order_rate", "freeze_quantity",
}  # fmt: skip
"""What a past has no answer to, or has none to refuse: see docs/risk.md."""
OTHERWISE = {
    "market_hours", "sanity", "stop_required", "price_collar", "circuit_band", "already_positioned", "open_positions",
    "strategy_positions",
}  # fmt: skip
"""What the event loop keeps by its hours, its levels, its bands and its slots; the collar has a test of its own."""
GATES = tuple(gate for gate in ENTRY_GATES if gate.__name__ not in NOT_IN_A_PAST | OTHERWISE)
SIZINGS = [
    {"kind": "risk_per_trade", "value": "0.5"}, {"kind": "risk_per_trade", "value": 3},
    {"kind": "fixed_quantity", "value": 777}, {"kind": "fixed_rupees", "value": "123456.70"},
    {"kind": "percent_equity", "value": "12.5"}, {"kind": "volatility_target", "value": "4", "period": 20},
    {"kind": "kelly", "value": 25, "win_rate": "0.55", "payoff": "1.4"},
]  # fmt: skip
DAYS = np.random.default_rng(5).normal(0, 0.01, (2, 70))
ALIKE = (0.97, 0.8, 0.2, -0.8, -0.97, None)  # how returns of what is asked for and what is held go together
CLOSES = [
    np.cumprod(1 + np.stack((one, one * 0 if rho is None else rho * one + (1 - rho**2) ** 0.5 * other)), axis=1)
    for one, other in [DAYS]
    for rho in ALIKE
]
OPENS = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)
CASH = 100_000_000  # paise


@dataclass(frozen=True)
class Market:
    """What is true around one request. Shares are of equity; `held_side` 0: nothing else is held."""

    symbol: str
    lot: int
    is_option: bool
    sector_pct: int | None
    options_pct: int
    held_side: int
    likeness: int
    gapped: bool
    wide: bool
    thin: bool


market = st.builds(
    Market,
    symbol=st.sampled_from(["NSE:ABC-EQ"] * 9 + ["NSE:XYZ-EQ"]),
    lot=st.sampled_from([1, 1, 5, 75]),
    is_option=st.sampled_from([False, False, True]),
    sector_pct=st.none() | st.integers(0, 35),
    options_pct=st.integers(0, 60),
    held_side=st.sampled_from([0, 1, -1]),
    likeness=st.sampled_from(range(len(ALIKE))),
    gapped=st.sampled_from([False] * 9 + [True]),
    wide=st.sampled_from([False] * 9 + [True]),
    thin=st.sampled_from([False] * 9 + [True]),
)
moments = st.lists(
    st.tuples(
        st.integers(-1_300, 600),  # what the account gained since the last moment, hundredths of a percent of 10 lakh
        st.integers(0, 90),  # what else is exposed, percent of equity
        st.booleans(),  # a new day
        st.sampled_from(["nothing", "nothing", "won", "lost", "stopped"]),
        st.integers(1, 40),  # minutes
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(500, 60_000),  # the price and the distance of the stop, in ticks of five paise
        st.integers(1, 400),
        st.sampled_from([None, 7.5, 31.4159, 88.0]),  # volatility, percent a year
        market,
    ),
    min_size=1, max_size=25,
)  # fmt: skip


def test_every_gate_is_compared_or_named_as_one_that_cannot_be():
    names = {gate.__name__ for gate in ENTRY_GATES}
    assert names >= NOT_IN_A_PAST | OTHERWISE and len(GATES) == len(names) - len(NOT_IN_A_PAST | OTHERWISE) == 20


EMA = load_contract(LIBRARY / "ema_alignment.yaml").as_mapping()


@lru_cache
def contract(place: int, regime: Regime) -> ContractBody:
    return parse_contract(EMA | {"sizing": SIZINGS[place], "regime": str(regime)})


class TheDesk:
    """The live rules over a state kept as the desk's rows keep it."""

    def __init__(self, body) -> None:
        self.body = body
        self.equity = self.opening = self.peak = CASH
        self.step = DrawdownStep.NORMAL
        self.locks: set[str] = set()
        self.losses, self.last_loss, self.stopped, self.trades, self.opened = 0, None, None, 0, 0
        self.asked: dict[Side, datetime] = {}

    def new_day(self) -> None:
        self.opening, self.locks, self.trades, self.opened, self.losses = self.equity, set(), 0, 0, 0

    def hear(self, happened: str, now: datetime) -> None:
        if happened == "won":
            self.losses = 0
        elif happened != "nothing":
            self.losses, self.last_loss = self.losses + 1, now
            self.stopped = now if happened == "stopped" else self.stopped

    def value(self, equity: int) -> None:
        self.equity, self.peak = equity, max(self.peak, equity)
        lost = Decimal(max(0, self.opening - equity)) * 100 / self.opening
        if lost:
            self.locks |= set(locks_due(lost_pct=lost, policy=POLICY))
        deep = drawdown_pct(peak_paise=self.peak, equity_paise=equity)
        self.step = next_step(self.step, deep, steps_of(POLICY))

    def decide(
        self, side: Side, price: Decimal, stop: Decimal, gross: int, volatility: float | None, market: Market,
        now: datetime,
    ):  # fmt: skip
        """(units, stop, code): of what is allowed, or the gate that refuses."""
        wanted = units_wanted(
            self.body.sizing, equity_paise=self.equity, most_risk_pct=POLICY.risk_per_trade_pct, entry=price, stop=stop,
            volatility_pct=volatility,
        )  # fmt: skip
        nearer = tightened_stop(self.step, entry=price, stop=stop, share_pct=POLICY.defensive_stop_pct)
        stop = to_tick(nearer, tick=NICKEL, side=side)
        wanted = (wanted or 0) // market.lot * market.lot
        if not wanted:
            return 0, stop, "TOO_SMALL"
        snapshot = Snapshot(
            now=now, equity_paise=self.equity, cash_paise=self.equity - gross,
            day_pnl_paise=self.equity - self.opening, opening_equity_paise=self.opening, exposure_paise=gross,
            symbol_exposure_paise=0, symbol_net_quantity=0, symbol_reserved=False, slots_taken=0,
            trades_today=self.trades, last_price=price, quote_age_s=0, session_open=True, entries_from=None,
            entries_until=None, last_stop_out_at=self.stopped, soft_locked=LossLock.Kind.SOFT in self.locks,
            hard_locked=LossLock.Kind.HARD in self.locks, kill_level=0, kill_reason="", auth_state="",
            engine_ready=True, engine_cause="", half_size=LossLock.Kind.HALF in self.locks,
            drawdown_state=str(self.step),
            drawdown_pct=drawdown_pct(peak_paise=self.peak, equity_paise=self.equity),
            losses_in_row=self.losses, last_loss_at=self.last_loss, opened_today_paise=self.opened,
            sector_exposure_paise=self.equity * (market.sector_pct or 0) // 100,
            options_exposure_paise=self.equity * market.options_pct // 100,
            opening_gap_pct=Decimal("-2.5" if market.gapped else "1.99"), close_deviation=Decimal(1),
            spread=Decimal("0.06" if market.wide else "0.02"), bar_volume=49 if market.thin else 50, mean_volume=100,
            correlations=self._correlations(side, market),
        )  # fmt: skip
        intent = OrderIntent(
            instrument_id=1, symbol=market.symbol, side=side, quantity=wanted, price=price, product=Product.INTRADAY,
            reason=Reason.ENTRY, lot_size=market.lot, tick_size=NICKEL, stop_price=stop, is_option=market.is_option,
            sector="" if market.sector_pct is None else "Banks", signal_age_s=0.0,
            repeat_age_s=(now - self.asked[side]).total_seconds() if side in self.asked else None,
            family=MEAN_REVERSION if self.body.regime is Regime.RANGE else str(self.body.regime),
        )  # fmt: skip
        last = run_gates(intent, snapshot, LIMITS, GATES)[-1]
        if last.outcome is Outcome.REJECT:
            return 0, stop, last.gate
        self.asked[side] = now
        self.trades += 1
        self.opened += last.quantity * int(price * 100)
        return last.quantity, stop, ""

    def _correlations(self, side: Side, market: Market) -> tuple[tuple[str, float], ...]:
        moves = correlation(*CLOSES[market.likeness][:, -61:])
        if not market.held_side or moves is None:
            return ()
        return (("NSE:HELD-EQ", moves * side.sign * market.held_side),)


class TheLoop:
    """The same of the backtester: the event loop's own arrays and its own way of entering."""

    def __init__(self, body) -> None:
        sizing = sizing_of_contract(body)
        if sizing.mode is SizingMode.RISK:
            sizing = Sizing(sizing.mode, min(sizing.value, HOUSE.risk_per_trade_pct))
        self.plan = plan(
            "close > open", sizing=sizing, stop=body.stop, gates=HOUSE.gates(body.regime),
            account=Account(
                cash=Decimal(CASH) / 100, leverage=Decimal(20), slots=5, position_cap_pct=HOUSE.position_size_pct,
                exposure_cap_pct=HOUSE.total_exposure_pct, order_cap=HOUSE.max_order_value,
            ),
        )  # fmt: skip
        self.terms = terms_of(self.plan)
        self.account, self.memory = np.zeros(k.ACCOUNT, np.int64), np.zeros((k.MEMORY, 4), np.int64)
        self.held, self.counters = np.zeros((4, k.HELD), np.int64), np.zeros(k.COUNTERS, np.int64)
        g.opened(self.terms, self.account)

    def _beside(self, market: Market) -> loop.Past:
        """Three more symbols: one that moves with it or against it, one of its sector, one that is an option."""
        self.held[1:] = 0
        self.held[1:, k.H_ENTRY_BAR] = -1
        self.held[1, k.H_QUANTITY], self.held[1, k.H_MARK] = market.held_side, 1
        for row, share in ((2, market.sector_pct), (3, market.options_pct)):
            if share:
                self.held[row, k.H_QUANTITY], self.held[row, k.H_MARK] = -1, int(self.worth) // 10_000 * share * 100
        self.account[k.A_POSITIONS] = int(np.count_nonzero(self.held[1:, k.H_QUANTITY]))
        bits = k.FORBIDDEN * (market.symbol == "NSE:XYZ-EQ")
        bits |= k.GAPPED * market.gapped | k.WIDE * market.wide | k.THIN * market.thin
        closes = np.full((4, 70), np.nan)
        closes[:2] = CLOSES[market.likeness]
        own = -1 if market.sector_pct is None else 0
        return loop.Past(
            seen=np.array([[bits], [0], [0], [0]], np.uint8), daily=closes, known=np.array([70]),
            traits=np.array([(own, market.is_option), (1, False), (own, False), (2, True)], np.int64),
        )  # fmt: skip

    def decide(
        self, side: Side, price: Decimal, stop: Decimal, gross: int, volatility: float | None, market: Market,
        now: datetime,
    ):  # fmt: skip
        row, before = self.held[0], self.counters.copy()
        row[:] = 0
        row[k.W_SIDE], row[k.W_PRICE], row[k.W_STOP] = side.sign, int(price * 10_000), int(stop * 10_000)
        moves = np.full((1, 1), np.nan if volatility is None else volatility)
        asked = np.stack((moves, moves, _shares(self.plan.sizing.value, moves)))
        clock = np.array([[int(now.timestamp())], [0], [0]], np.int64)
        contracts = np.array([[[500, market.lot, 0]] * 4], np.int64)
        hours, prices = np.ones((4, 1), np.bool_), np.full((4, 4, 1), np.nan)
        none = np.zeros((0, 0))
        past = self._beside(market)
        loop._enter(
            prices, none, asked, none, hours, clock, NO_CHARGES, contracts, np.zeros((0, 3), np.int64), past,
            self.terms, 0, 0, side.sign, row[k.W_PRICE], True, self.worth, gross * 100, self.held, self.account,
            self.counters, self.memory,
        )  # fmt: skip
        self.account[k.A_POSITIONS] = 0
        bought = abs(int(row[k.H_QUANTITY]))
        level = row[k.H_STOP] if bought else row[k.W_STOP]
        refused = np.flatnonzero((self.counters - before)[k.C_BY_GATE :])
        assert self.counters[k.C_GATED] - before[k.C_GATED] == refused.size <= 1
        return bought, Decimal(int(level)) / 10_000, k.GATES[refused[0]] if refused.size else ""

    def value(self, equity: int) -> None:
        self.worth = np.int64(equity * 100)
        self.held[:] = 0
        g.after_close(self.terms, self.account, self.held, self.worth, self.counters)


@given(moments, st.sampled_from(range(len(SIZINGS))), st.sampled_from([Regime.TREND, Regime.RANGE]))
@settings(max_examples=120, deadline=None)
def test_the_desk_and_the_backtester_give_the_same_verdicts(sequence, place, regime):
    body = contract(place, regime)
    desk, backtest, now = TheDesk(body), TheLoop(body), OPENS
    for gained, exposed, new_day, happened, minutes, side, ticks, distance, volatility, around in sequence:
        now += timedelta(minutes=minutes)
        if new_day:
            desk.new_day()
            g.new_session(backtest.account)
        desk.hear(happened, now)
        if happened != "nothing":
            reason = k.STOP if happened == "stopped" else k.RULE
            pnl = 100 if happened == "won" else -100
            g.after_exit(backtest.account, backtest.memory, 0, pnl, reason, int(now.timestamp()))
        equity = max(1_000_000, desk.equity + gained * 10_000)
        desk.value(equity)
        backtest.value(equity)
        assert g.STOPPED == 3 and backtest.account[k.A_STATE] == list(DrawdownStep).index(desk.step)
        price = ticks * NICKEL
        stop = price - side.sign * min(distance, ticks - 1) * NICKEL
        gross = equity * exposed // 100
        units, level, code = desk.decide(side, price, stop, gross, volatility, around, now)
        bought, at, refused = backtest.decide(side, price, stop, gross, volatility, around, now)
        said = (SIZINGS[place], str(desk.step), sorted(desk.locks), side, price, stop, equity, gross, around)
        assert (bought, refused) == (units, "" if code == "TOO_SMALL" else code), said
        if units:
            assert at == level, said


def test_every_way_of_sizing_is_compared():
    assert {one["kind"] for one in SIZINGS} == set(SizingKind)


def test_what_is_held_gets_its_nearer_stop_in_the_close_that_turns_defensive():
    body = contract(0, Regime.TREND)
    backtest = TheLoop(body)
    terms, account, held = backtest.terms, backtest.account, backtest.held
    held[0, k.H_QUANTITY], held[0, k.H_ENTRY] = 10, 100_0000
    held[0, k.H_STOP] = held[0, k.H_FIRST_STOP] = 97_5000
    clock = np.zeros((3, 1), np.int64)
    contracts = np.array([[[500, 1, 0]]], np.int64)
    account[k.A_CASH] = 84 * CASH
    account[k.A_POSITIONS], held[0, k.H_MARK] = 1, 100_0000
    for _ in range(2):  # and once
        loop._settle(
            clock, NO_CHARGES, contracts, terms, 0, True, held, account, backtest.counters,
            np.zeros((1, k.TRADE_COLUMNS), np.int64), np.zeros(1, np.int64), backtest.memory,
        )  # fmt: skip
        assert (account[k.A_STATE], held[0, k.H_STOP], held[0, k.H_FIRST_STOP]) == (g.DEFENSIVE, 98_0000, 97_5000)
    nearer = tightened_stop(DrawdownStep.DEFENSIVE, entry=Decimal(100), stop=Decimal("97.5"),
                            share_pct=POLICY.defensive_stop_pct)  # fmt: skip
    assert nearer == Decimal(98)
