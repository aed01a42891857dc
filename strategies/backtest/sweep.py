"""Many sets of numbers for one plan on one market: what each would have done.

    tried = Combinations.grid({"fast": range(5, 55, 2), "slow": range(60, 260, 5)})
    found = sweep(plan, market, tried, workers=2, on_progress=say, cancelled=asked_to_stop)
    found.best("sharpe")[0]            place of the best combination
    found.figures(place)               its figures by name, None where unknown
    run(plan_with(plan, tried.one(place), fixed), market)   the same run with its trades and its whole report

A name in `Combinations` is a parameter of the plan's rules, or a level of `openings.LEVELS` (`exit.stop`, …).
Parameters that are not tried are given in `fixed`. Terms that combinations share are reckoned once: an average over 10
bars is one row, whoever asks for it, and rows live in a pool of bounded size (`memory_mb`). Work is spread over threads
by combination; `on_progress(done, of)` and `cancelled()` are called between batches, from the calling thread.

What `engine.fits` runs in `sweep_kernels`, everything else in the event loop itself. Either way every trade is
the one that `engine.run` makes (`tests/unit/backtest/test_sweep.py`), the figures are those of `metrics`, and the table
is the same bytes whatever the number of threads. A late order is never filled here (`Plan.late_orders`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import events as ev
from strategies.backtest import jumps
from strategies.backtest import kernels as k
from strategies.backtest import sweep_kernels as sk
from strategies.backtest.abreast import aligned
from strategies.backtest.engine import arguments_of, fits, ground_of, terms_of
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import Market
from strategies.backtest.metrics import LEAST_SPREAD, MOST_GROWTH, TRADING_DAYS, YEAR_S
from strategies.backtest.openings import (
    LEVELS,
    Combinations,
    Opening,
    Path,
    check_names,
    different,
    node_at,
    place_in,
    plan_with,
    with_levels,
)
from strategies.backtest.plan import Plan
from strategies.backtest.result import ENGINE_VERSION
from strategies.rules.compiled import CompiledRule
from strategies.rules.evaluate import Evaluation
from strategies.rules.nodes import Compare, Cross, Field, Logic, Node, Number, is_condition
from trading.indicators.volatility import atr
from trading.venue.matching import UNITS_PER_RUPEE

__all__ = ["COLUMNS", "Combinations", "SweepResult", "plan_with", "sweep"]

COLUMNS: Final = (
    "final_equity", "return_pct", "cagr_pct", "max_drawdown_pct", "annual_return_pct", "annual_volatility_pct",
    "sharpe", "sortino", "calmar", "trades", "win_rate_pct", "profit_factor_net", "expectancy", "charges",
    "exposure_pct", "daily_mean", "daily_deviation", "daily_skew", "daily_kurtosis", "days", "signals", "taken",
)  # fmt: skip
_COUNTED: Final = {"trades", "days", "signals", "taken"}
MEMORY_MB: Final = 32
GROUP: Final = 1_024  # combinations between two looks at whether to stop
BATCH: Final = 256  # that one thread takes through the kernel at once: what they share is fetched once
CROSSED_MB: Final = 8  # where the rows of a batch cross: two bits a bar
_RULES: Final = ("long_entry", "short_entry", "long_exit", "short_exit")
_COMPARED: Final = {
    "<": ev.LESS, "<=": ev.AT_MOST, ">": ev.MORE, ">=": ev.AT_LEAST, "==": ev.EQUAL, "!=": ev.UNEQUAL,
}  # fmt: skip
_TURNED: Final = {
    ev.LESS: ev.AT_LEAST, ev.AT_MOST: ev.MORE, ev.MORE: ev.AT_MOST, ev.AT_LEAST: ev.LESS, ev.EQUAL: ev.UNEQUAL,
    ev.UNEQUAL: ev.EQUAL,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SweepResult:
    """`table` float64[combinations, COLUMNS], NaN where unknown or not reached; `done` bool[combinations].

    Money in rupees, `_pct` in percent. `signals` and `taken` tell a combination that never fired from one that lost.
    """

    tried: Combinations
    table: NDArray[np.float64]
    done: NDArray[np.bool_]
    data_hash: str
    run_hash: str

    @property
    def cancelled(self) -> bool:
        return not self.done.all()

    def column(self, name: str) -> NDArray[np.float64]:
        """One figure of every combination, float64[combinations]."""
        if name not in COLUMNS:
            raise BacktestRefused("UNKNOWN_FIGURE", f"There is no figure {name}: {', '.join(COLUMNS)}")
        column: NDArray[np.float64] = self.table[:, COLUMNS.index(name)]
        return column

    def best(self, by: str, most: int = 10, *, fewest_trades: int = 1) -> list[int]:
        """Places of the combinations with the highest figure, best first; unknown ones and idle ones are left out."""
        values = np.where(self.column("trades") >= fewest_trades, self.column(by), np.nan)
        order = np.argsort(-values, kind="stable")
        return [int(place) for place in order[:most] if np.isfinite(values[place])]

    def figures(self, place: int) -> dict[str, float | int | None]:
        """The figures of one combination as plain values."""
        named = zip(COLUMNS, self.table[place].tolist(), strict=True)
        return {
            name: None if value != value else int(value) if name in _COUNTED else round(value, 10)
            for name, value in named
        }


def sweep(
    plan: Plan, market: Market, tried: Combinations, *, fixed: Mapping[str, float] | None = None, workers: int = 1,
    memory_mb: int = MEMORY_MB, on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SweepResult:  # fmt: skip
    """Run every combination. Pure: the same arguments always give the same table.

    BacktestRefused: nothing to try, an unknown name, a level the plan has not, a market of fewer than two bars.
    RuleError: a rule that does not take one of its numbers.
    """
    fixed = dict(fixed or {})
    check_names(plan, tried.names)
    if market.bars < 2:
        raise BacktestRefused("EMPTY_RANGE", f"{market.bars} bars are too few to trade", bars=market.bars)
    plan = replace(plan, late_orders=False)
    sums, counters = np.zeros((len(tried), jumps.SUMS)), np.zeros((len(tried), k.C_BY_GATE), np.int64)
    done = np.zeros(len(tried), np.bool_)
    batches = (_Jumps if fits(plan, market) else _Loops)(plan, market, tried, fixed, memory_mb)
    reached = 0
    with ThreadPoolExecutor(max(1, workers)) as threads:
        for group in batches.groups():
            if cancelled is not None and cancelled():
                break
            batches.prepare(group, threads)
            parts = _parts(group, workers, market.bars)
            for _ in threads.map(lambda part: batches.run(part, sums, counters), parts):
                pass
            done[group] = True
            reached += len(group)
            if on_progress is not None:
                on_progress(reached, len(tried))
    return SweepResult(
        tried=tried, table=_table(sums, counters, done, plan, market), done=done, data_hash=market.data_hash,
        run_hash=_run_hash(plan, market, tried, fixed),
    )  # fmt: skip


def trades_of(
    plan: Plan, market: Market, numbers: Mapping[str, float], fixed: Mapping[str, float] | None = None
) -> NDArray[np.int64]:
    """The trades of one combination as the sweep makes them, int64[trades, 16]: what its figures are made of."""
    tried = Combinations.of([dict(numbers)])
    plan = replace(plan, late_orders=False)
    batches = (_Jumps if fits(plan, market) else _Loops)(plan, market, tried, dict(fixed or {}), MEMORY_MB)
    sums, counters = np.zeros((1, jumps.SUMS)), np.zeros((1, k.C_BY_GATE), np.int64)
    kept = np.empty((market.bars * len(market.symbols) + 2, k.TRADE_COLUMNS), np.int64)
    with ThreadPoolExecutor(1) as threads:
        batches.prepare(np.array([0]), threads)
        count = batches.run(np.array([0]), sums, counters, kept)
    return kept[:count].copy()


def _parts(group: NDArray[np.int64], workers: int, bars: int) -> list[NDArray[np.int64]]:
    """A group cut for the threads: none too large, and as many for each. What lies side by side trades alike, so each
    takes some of everywhere: none waits long for another. One thread alone keeps together what shares its rows."""
    most = max(1, min(BATCH, CROSSED_MB * 1_000_000 // (bars // 4 + 1)))
    count = -(-len(group) // most)
    if workers <= 1:
        return np.array_split(group, count)
    count = min(len(group), -(-count // workers) * workers)
    return [group[first::count] for first in range(count)]


def _run_hash(plan: Plan, market: Market, tried: Combinations, fixed: Mapping[str, float]) -> str:
    given = {
        "plan": plan.as_mapping(), "texts": {name: rule.text for name, rule in plan.rules.items()},
        "fixed": {name: repr(value) for name, value in fixed.items()}, "names": list(tried.names),
        "data": market.data_hash, "engine": ENGINE_VERSION,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, separators=(",", ":")).encode())
    digest.update(np.ascontiguousarray(tried.values).data)
    return digest.hexdigest()


def _terms(plan: Plan, tried: Combinations) -> NDArray[np.int64]:
    """int64[combinations, TERMS]; the levels that are tried, put in."""
    rows = np.repeat(terms_of(plan)[None, :], len(tried), axis=0)
    names = [name for name in tried.names if name in LEVELS]
    if names:
        columns = tried.values[:, [tried.names.index(name) for name in names]]
        sets, which = different(columns)
        made = np.stack([terms_of(with_levels(plan, dict(zip(names, row, strict=True)))) for row in sets.tolist()])
        rows = made[which]
    return np.ascontiguousarray(rows)


# What a condition asks, part by part


class _Part(NamedTuple):
    """One question to a bar: about two rows of numbers, or about a condition that was reckoned whole. The places of
    both in the tree of the rule; a condition that is reckoned whole is on both sides."""

    what: int
    left: Path
    right: Path


def _program(node: Node) -> list[_Part]:
    """A condition as parts that must all hold; the first is the one that is true most seldom."""
    rank = {ev.ABOVE: 0, ev.BELOW: 0, ev.MARKED: 1}
    return sorted(_conjuncts(node, ()), key=lambda part: rank.get(part.what, 2))


def _conjuncts(node: Node, path: Path) -> Iterator[_Part]:
    if isinstance(node, Logic) and node.operator == "and":
        for part in node.parts:
            yield from _conjuncts(part, (*path, place_in(node, part)))
    elif isinstance(node, Cross):
        yield _sides(node, path, ev.ABOVE if node.name == "crosses_above" else ev.BELOW)
    elif isinstance(node, Compare):
        yield _sides(node, path, _COMPARED[node.operator])
    elif isinstance(node, Logic) and node.operator == "not" and isinstance(node.parts[0], Compare):
        compared = node.parts[0]
        yield _sides(compared, (*path, place_in(node, compared)), _TURNED[_COMPARED[compared.operator]])
    else:
        yield _Part(ev.MARKED, path, path)


def _sides(node: Cross | Compare, path: Path, what: int) -> _Part:
    return _Part(what, (*path, place_in(node, node.left)), (*path, place_in(node, node.right)))


_RANGE: Final = Field("average true range of the levels")


class _Jumps:
    """Batches for `sweep_kernels.combinations`: rows in a pool, programs that name them."""

    def __init__(
        self, plan: Plan, market: Market, tried: Combinations, fixed: Mapping[str, float], memory_mb: int
    ) -> None:
        self.plan, self.market = plan, market
        self.skip, self.bars = ev.blocks_of(market.warm_up) * ev.BLOCK, market.bars
        blocks, row_of_blocks = ev.blocks_of(self.bars), ev.padded_blocks_of(self.bars)
        self.terms = _terms(plan, tried)
        self.rows: list[Node] = []  # every different row that is asked for
        self._row_of: dict[Node, int] = {}
        self._seen: dict[int, tuple[Node, int]] = {}  # by the object, which is held so that its place stays its own
        self._compile(plan, tried, fixed)
        needed = max(1, int(self.most_rows_of_one))
        width = self.skip + blocks * ev.BLOCK
        bytes_a_row = width * 8 + row_of_blocks * 16
        size = max(needed, min(len(self.rows), memory_mb * 1_000_000 // bytes_a_row))
        self.pool = aligned((size, width), np.float64)
        self.ranges_of = aligned((size, ev.SIDES, row_of_blocks), np.float64)
        self._place: dict[int, int] = {}  # row → its place in the pool, least recently asked for first
        self.ground = ground_of(plan, market)

    # Rules to programs

    def _compile(self, plan: Plan, tried: Combinations, fixed: Mapping[str, float]) -> None:
        count = len(tried)
        rules: list[CompiledRule | None] = [getattr(plan, name) for name in _RULES]
        parts = [
            np.zeros((count, 0, 3), np.int64) if rule is None else self._parts(rule, tried, fixed) for rule in rules
        ]
        longest = max(1, sum(one.shape[1] for one in parts))
        self.programs = np.zeros((count, longest, 3), np.int64)
        self.starts = np.zeros((count, 5), np.int64)
        used = np.full((count, 2 * longest + 2), -1, np.int64)
        for at, table in enumerate(parts):
            self.starts[:, at + 1] = self.starts[:, at] + (table[:, :, 0] >= 0).sum(axis=1)
            for number in range(table.shape[1]):
                has = np.flatnonzero(table[:, number, 0] >= 0)
                place = self.starts[has, at] + number
                self.programs[has, place] = table[has, number]
                used[has, 2 * place], used[has, 2 * place + 1] = table[has, number, 1], table[has, number, 2]
        self.pairs, self.pair_of = self._pairs()
        self.ranges = np.full(count, -1, np.int64)
        self.asked = np.full(count, -1, np.int64)
        if plan.atr_period is not None:
            self.ranges[:] = self._row(_RANGE)
        if plan.stop_rule is not None:
            made, which = Opening(plan.stop_rule, tried, fixed).at(())
            self.asked = np.array([self._row(node) for node in made], np.int64)[which]
        used[:, -2], used[:, -1] = self.ranges, self.asked
        self.used = used
        distinct = np.sort(used, axis=1)
        self.most_rows_of_one = ((np.diff(distinct, axis=1, prepend=-1) > 0) & (distinct >= 0)).sum(axis=1).max()

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64[pairs, 2]: the different two rows that are asked where they cross; int64[combinations, 4]: which of
        them begins each rule, -1 where it begins otherwise."""
        begins = np.minimum(self.starts[:, :4], self.programs.shape[1] - 1)
        first = np.take_along_axis(self.programs, begins[:, :, None], axis=1)
        crosses = (first[:, :, 0] <= ev.BELOW) & (self.starts[:, 1:] > self.starts[:, :4])
        pair_of = np.full(crosses.shape, -1, np.int64)
        pairs, pair_of[crosses] = different(first[crosses][:, 1:])
        return pairs, pair_of

    def _parts(self, rule: CompiledRule, tried: Combinations, fixed: Mapping[str, float]) -> NDArray[np.int64]:
        """int64[combinations, parts, 3]: the parts of a rule for each, -1 where it has fewer."""
        opening = Opening(rule, tried, fixed)
        if opening.tree is not None:
            return np.stack([self._part(part, opening.at) for part in _program(opening.tree)], axis=1)
        made, which = opening.at(())
        found = [self._parts_of_one(node) for node in made]
        table = np.full((len(made), max(map(len, found)), 3), -1, np.int64)
        for row, parts in zip(table, found, strict=True):
            row[: len(parts)] = parts
        return table[which]

    def _parts_of_one(self, tree: Node) -> NDArray[np.int64]:
        """int64[parts, 3] of a tree that is like no other."""
        alone = np.zeros(1, np.int64)
        parts = [self._part(part, lambda path: ([node_at(tree, path)], alone)) for part in _program(tree)]
        return np.concatenate(parts)

    def _part(self, part: _Part, nodes_at: Callable[[Path], tuple[list[Node], NDArray[np.int64]]]) -> NDArray[np.int64]:
        """int64[combinations, 3]: what is asked, and of which rows."""
        left, right = (
            np.array([self._row(node) for node in nodes], np.int64)[which]
            for nodes, which in map(nodes_at, (part.left, part.right))
        )
        what = np.full(left.size, part.what)
        if part.what <= ev.BELOW:  # one crossing seen from both sides is one search
            what = np.where(left > right, ev.BELOW if part.what == ev.ABOVE else ev.ABOVE, what)
            left, right = np.minimum(left, right), np.maximum(left, right)
        return np.stack((what, left, right), axis=1)

    def _row(self, node: Node) -> int:
        seen = self._seen.get(id(node))  # most are asked for again as the same object: cheaper than by what they say
        if seen is not None:
            return seen[1]
        known = self._row_of.get(node)
        if known is None:
            known = self._row_of[node] = len(self.rows)
            self.rows.append(node)
        self._seen[id(node)] = node, known
        return known

    # Groups whose rows fit into the pool

    def groups(self) -> Iterator[NDArray[np.int64]]:
        """All combinations, those that share rows together: the rows that most differ change slowest."""
        columns = [column for column in self.used.T if np.unique(column).size > 1]
        columns.sort(key=lambda column: np.unique(column).size)
        order = np.lexsort(columns) if columns else np.arange(len(self.used))
        room, group, rows = len(self.pool), [], set()  # type: ignore[var-annotated]
        if len(self.rows) <= room and len(order) <= GROUP:
            yield order
            return
        for one in order.tolist():
            own = {row for row in self.used[one].tolist() if row >= 0}
            if group and (len(rows | own) > room or len(group) >= GROUP):
                yield np.array(group)
                group, rows = [], set()
            group.append(one)
            rows |= own
        yield np.array(group)

    def prepare(self, group: NDArray[np.int64], threads: ThreadPoolExecutor) -> None:
        """Bring the rows of a group into the pool; what it does not need makes room, oldest first."""
        needed = [int(row) for row in np.unique(self.used[group]) if row >= 0]
        for row in needed:
            if row in self._place:
                self._place[row] = self._place.pop(row)
        free = sorted(set(range(len(self.pool))) - set(self._place.values()), reverse=True)
        missing = [row for row in needed if row not in self._place]
        keep = set(needed)
        for row in missing:
            if not free:
                oldest = next(one for one in self._place if one not in keep)
                free.append(self._place.pop(oldest))
            self._place[row] = free.pop()
        for _ in threads.map(self._fill, missing):
            pass

    def _fill(self, row: int) -> None:
        place, node = self._place[row], self.rows[row]
        values = self._reckoned(node)
        into, first = self.pool[place], self.skip - self.market.warm_up
        into[:first], into[first : first + values.size], into[first + values.size :] = np.nan, values, np.nan
        ev.block_ranges(into, self.skip, self.bars, self.ranges_of[place])

    def _reckoned(self, node: Node) -> NDArray:
        window = self.market.window
        if node is _RANGE:
            return atr(window.high, window.low, window.close, self.plan.atr_period)[0]
        if isinstance(node, Number):
            return np.full(window.starts.size, node.value)
        evaluation = Evaluation(window)  # forgotten with the row: the pool is what is remembered
        row: NDArray = evaluation.truth(node)[0] if is_condition(node) else evaluation.numbers(node)[0]
        return row

    def run(
        self, part: NDArray[np.int64], sums: NDArray[np.float64], counters: NDArray[np.int64],
        trades: NDArray[np.int64] | None = None,
    ) -> int:  # fmt: skip
        place = np.full(len(self.rows) + 1, -1, np.int64)  # the last stands for -1: no row
        for row, where in self._place.items():
            place[row] = where
        programs = self.programs[part]
        programs[:, :, 1:] = place[programs[:, :, 1:]]
        pairs, pair_of = np.unique(self.pair_of[part], return_inverse=True)
        without = int(pairs[0] < 0)
        pairs, pair_of = pairs[without:], np.asarray(pair_of).reshape(len(part), 4) - without
        own_sums, own_counters = np.zeros((len(part), jumps.SUMS)), np.zeros((len(part), k.C_BY_GATE), np.int64)
        count = sk.combinations(
            self.ground, self.pool, self.ranges_of, self.skip, programs, self.starts[part], place[self.pairs[pairs]],
            pair_of, place[self.ranges[part]], place[self.asked[part]], self.terms[part],
            np.empty((len(pairs), 2, ev.words_of(self.bars)), np.int64), np.empty((4, self.bars + 1), np.int32),
            np.empty(self.ground.day_ends.size, np.int64), own_sums, own_counters,
            np.empty((0, k.TRADE_COLUMNS), np.int64) if trades is None else trades,
        )  # fmt: skip
        sums[part], counters[part] = own_sums, own_counters
        return int(count)


class _Loops:
    """Batches for the event loop: several symbols, holes in the data, ranking."""

    def __init__(
        self, plan: Plan, market: Market, tried: Combinations, fixed: Mapping[str, float], memory_mb: int
    ) -> None:
        self.plan, self.market, self.tried, self.fixed = plan, market, tried, fixed

    def groups(self) -> Iterator[NDArray[np.int64]]:
        yield from np.array_split(np.arange(len(self.tried)), -(-len(self.tried) // 8))

    def prepare(self, group: NDArray[np.int64], threads: ThreadPoolExecutor) -> None:
        """Nothing to prepare: each combination reckons its own rules."""

    def run(
        self, part: NDArray[np.int64], sums: NDArray[np.float64], counters: NDArray[np.int64],
        trades: NDArray[np.int64] | None = None,
    ) -> int:  # fmt: skip
        count = 0
        evaluation = Evaluation(self.market.adjusted)  # shared by the combinations of a part alone: bounded
        for one in part.tolist():
            plan = plan_with(self.plan, self.tried.one(one), self.fixed)
            prepared = arguments_of(plan, self.market, evaluation)
            if not prepared.signals:
                equity = np.full(self.market.bars, prepared.given.terms[k.X_CASH], np.int64)
                sk.of_run(np.empty((0, k.TRADE_COLUMNS), np.int64), equity, self.market.day_ends, sums[one])
                continue
            count, _ = prepared.simulate()
            made = prepared.trades[:count]
            counters[one] = prepared.counters[: k.C_BY_GATE]
            sk.of_run(made, prepared.equity, self.market.day_ends, sums[one])
            if trades is not None:
                trades[:count] = made
        return count


def _table(
    sums: NDArray[np.float64], counters: NDArray[np.int64], done: NDArray[np.bool_], plan: Plan, market: Market
) -> NDArray[np.float64]:
    """Sums to figures, by the conventions of `metrics`."""
    start = float(int(plan.account.cash * UNITS_PER_RUPEE))
    trades, final = sums[:, jumps.S_TRADES], sums[:, jumps.S_CASH]
    gained, lost = sums[:, jumps.S_GAINED], sums[:, jumps.S_LOST]
    days = sums[:, jumps.S_DAYS]
    years = float(market.starts[-1] - market.starts[0]) / YEAR_S
    with np.errstate(all="ignore"):
        growth = final / start
        grown = (growth > 0) & (np.log(np.where(growth > 0, growth, 1.0)) < MOST_GROWTH * years)
        gain = np.maximum(sums[:, jumps.S_GROWTH], 0.0)
        mean = np.where(days > 0, np.where(gain > 0, gain ** (1 / np.maximum(days, 1)) - 1, 0.0), np.nan)
        annual = (1 + mean) ** TRADING_DAYS - 1
        spread = (sums[:, jumps.S_SPREAD] + (1 + mean) ** 2) ** TRADING_DAYS - (1 + mean) ** (2 * TRADING_DAYS)
        volatility = np.sqrt(np.where(spread > LEAST_SPREAD, spread, 0.0))
        down = np.sqrt(sums[:, jumps.S_DOWN]) * np.sqrt(TRADING_DAYS)
        drawdown = 100 * sums[:, jumps.S_DRAWDOWN] / sums[:, jumps.S_WORST]
        columns = {
            "final_equity": final / UNITS_PER_RUPEE,
            "return_pct": 100 * (final - start) / start,
            "cagr_pct": 100 * (np.where(grown, growth, 1.0) ** (1 / years) - 1) if years > 0 else growth * np.nan,
            "max_drawdown_pct": drawdown,
            "annual_return_pct": 100 * annual,
            "annual_volatility_pct": 100 * volatility,
            "sharpe": np.where(volatility > 0, annual / volatility, np.nan),
            "sortino": np.where(down > 0, annual / down, np.nan),
            "calmar": np.where(drawdown < 0, annual / (-drawdown / 100), np.nan),
            "trades": trades,
            "win_rate_pct": np.where(trades > 0, 100 * sums[:, jumps.S_WINS] / trades, np.nan),
            "profit_factor_net": np.where(lost > 0, gained / lost, np.nan),
            "expectancy": np.where(trades > 0, (gained - lost) / trades / UNITS_PER_RUPEE, np.nan),
            "charges": sums[:, jumps.S_CHARGES] / 100,
            "exposure_pct": 100 * sums[:, jumps.S_BARS_HELD] / market.bars,
            "daily_mean": np.where(days > 0, sums[:, jumps.S_MEAN], np.nan),
            "daily_deviation": np.where(days > 0, np.sqrt(sums[:, jumps.S_SPREAD]), np.nan),
            "daily_skew": np.where(sums[:, jumps.S_SPREAD] > 0, sums[:, jumps.S_SKEW], np.nan),
            "daily_kurtosis": np.where(sums[:, jumps.S_SPREAD] > 0, sums[:, jumps.S_KURTOSIS], np.nan),
            "days": days,
            "signals": counters[:, k.C_SIGNALS],
            "taken": counters[:, k.C_TAKEN],
        }  # fmt: skip
        table = np.stack([np.asarray(columns[name], np.float64) for name in COLUMNS], axis=1)
    table[~grown, COLUMNS.index("cagr_pct")] = np.nan
    table[~np.isfinite(table)] = np.nan
    table[~done] = np.nan
    return table
