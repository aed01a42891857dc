"""Strategies written in Python: a class that is asked at every close, in the event loop of the rules.

    class Turn(CodedStrategy):
        def start(self, bars):
            self.fast, self.slow = bars.rule("sma(close, 20)"), bars.rule("sma(close, 50)")

        def next(self, bars):
            if self.fast() > self.slow() and not bars.position():
                bars.buy()
            elif self.fast() < self.slow() and bars.position() > 0:
                bars.leave()

    result = run_coded(Turn, plan, market)

What it decides at a close is done at the next open, as with rules: the plan says how much, at which levels and costs.
It sees bars that are over and nothing else: every price and series is asked by how many bars back it lies. It holds
no money and gives no orders: it raises the flags that a rule would. Only code of the desk itself belongs here.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from strategies.backtest import kernels as k
from strategies.backtest.engine import with_flags
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.loop import LONG_IN, LONG_OUT, SHORT_IN, SHORT_OUT, steps
from strategies.backtest.market import Market
from strategies.backtest.plan import Plan
from strategies.backtest.result import Result
from strategies.rules.compiled import compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation

Series = Callable[..., float]
_FIELDS: Final = ("open", "high", "low", "close", "volume")


class CodedStrategy:
    """Override both. `name` and the text of the class are part of the run's identity."""

    name: str = ""

    def start(self, bars: Bars) -> None:
        """Once, before the first bar: declare the series that are needed."""

    def next(self, bars: Bars) -> None:
        """At every close but the last one's own orders: look, and decide."""
        raise NotImplementedError


class Bars:
    """What a strategy may see and say. `at` is the bar that has just closed, counted from the first traded one."""

    def __init__(self, market: Market, evaluation: Evaluation, flags: Any, held: Any) -> None:
        self.at = 0
        self.symbols = market.symbols
        self._market, self._evaluation, self._flags, self._held = market, evaluation, flags, held
        self._rows: dict[str, list[list[float]]] = {}
        self.open, self.high, self.low, self.close, self.volume = (self.rule(name) for name in _FIELDS)

    def rule(self, text: str) -> Series:
        """A series of the rule language: called with how many bars back (0: the bar that has closed) and the place of
        the symbol; NaN where unknown. Conditions are 1 and 0."""
        try:
            rule = compile_rule(text)
        except RuleError as error:
            raise BacktestRefused(f"RULE_{error.code}", f"{text}: {error}") from error
        skip = self._market.warm_up
        rows = [row.tolist() for row in np.asarray(rule.evaluate(self._evaluation), np.float64)]

        def value(back: int = 0, symbol: int = 0) -> float:
            if back < 0:
                raise BacktestRefused("LOOK_AHEAD", "A series is asked for bars that are over: 0 back or more")
            place = self.at + skip - back
            return rows[symbol][place] if place >= 0 else float("nan")

        return value

    def position(self, symbol: int = 0) -> int:
        """Units held, negative when sold short."""
        return int(self._held[symbol, k.H_QUANTITY])

    def entry_price(self, symbol: int = 0) -> float | None:
        """What the position was opened at, rupees."""
        return self._held[symbol, k.H_ENTRY] / 10_000 if self._held[symbol, k.H_QUANTITY] else None

    def buy(self, symbol: int = 0) -> None:
        """Open a long position at the next open; with `reverse` in the plan this turns a short one."""
        self._flags[LONG_IN, symbol, self.at] = self._belongs(symbol)

    def sell(self, symbol: int = 0) -> None:
        """Open a short position at the next open; with `reverse` in the plan this turns a long one."""
        self._flags[SHORT_IN, symbol, self.at] = self._belongs(symbol)

    def _belongs(self, symbol: int) -> bool:
        members = self._market.members
        return members is None or bool(members[symbol, self.at])

    def leave(self, symbol: int = 0) -> None:
        """Close what is held at the next open."""
        self._flags[LONG_OUT, symbol, self.at] = self._flags[SHORT_OUT, symbol, self.at] = True


def run_coded(strategy: type[CodedStrategy], plan: Plan, market: Market) -> Result:
    """Test a strategy with the levels, sizes and costs of a plan; the plan's own rules are not asked.

    BacktestRefused: too few bars, a strategy that raised (STRATEGY_FAILED, with the bar), one that never opened
    anything (NEVER_FIRED).
    """
    if market.bars < 2:
        raise BacktestRefused("EMPTY_RANGE", f"{market.bars} bars are too few to trade", bars=market.bars)
    name = strategy.name or strategy.__name__
    plan = replace(
        plan, name=name, version=_version(strategy), long_entry=None, short_entry=None, long_exit=None, short_exit=None,
        coded=name,
    )  # fmt: skip
    evaluation = Evaluation(market.adjusted)
    symbols = len(market.symbols)
    flags = np.zeros((4, symbols, market.bars), np.bool_)
    arguments = with_flags(plan, market, evaluation, flags, symbols * market.bars)
    held, account = np.zeros((symbols, k.HELD), np.int64), np.zeros(k.ACCOUNT, np.int64)
    bars, one = Bars(market, evaluation, flags, held), strategy()
    loop = steps(arguments.given, held, account, arguments.trades, arguments.equity, arguments.counters)
    at = -1
    try:
        one.start(bars)
        decide = one.next
        for at in loop:
            bars.at = at
            decide(bars)
    except BacktestRefused:
        raise
    except Exception as error:
        where = "at its start" if at < 0 else f"on bar {at}"
        raise BacktestRefused("STRATEGY_FAILED", f"{name} failed {where}: {type(error).__name__}: {error}") from error
    if not flags[:2].any():
        raise BacktestRefused("NEVER_FIRED", f"{name} opened nothing on any of {market.bars:,} bars", bars=market.bars)
    return Result(
        plan=plan, market=market, trades=arguments.trades[: account[k.A_COUNT]].copy(), equity=arguments.equity,
        cash=int(account[k.A_CASH]), counters=arguments.counters, first_known=0,
    )  # fmt: skip


def _version(strategy: type[CodedStrategy]) -> str:
    """sha256 of the text of the class: another text is another strategy."""
    try:
        text = inspect.getsource(strategy)
    except (OSError, TypeError):
        text = strategy.__qualname__
    return hashlib.sha256(text.encode()).hexdigest()
