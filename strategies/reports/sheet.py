"""A tear sheet as pictures and tables: what the page shows, and the file that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from strategies.backtest import charts
from strategies.backtest.regimes import LOOK_BACK
from strategies.backtest.tear_sheet import MONTHS, Bin, Group, TearSheet
from strategies.reports import figures
from strategies.runs.answers import Answer
from trading.domain.formatting import number, signed

STEPS: Final = 4  # shades of a heat map on each side of zero
_SHADES_PCT: Final = (0.5, 2.0, 5.0)  # percent a month


class Sheet:
    """The tear sheet of one finished backtest."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.run = answer.run
        self.stored = answer.stored
        self.report = answer.report
        self.found = TearSheet(answer.report, answer.arrays)

    # --- words --------------------------------------------------------------------------------------------------------
    @cached_property
    def headline(self) -> list[dict[str, str]]:
        rows = {row["key"]: row for row in self.metrics}
        return [rows[key] for key in figures.HEADLINE if key in rows]

    @cached_property
    def metrics(self) -> list[dict[str, str]]:
        return figures.table(self.report)

    @property
    def warnings(self) -> list[tuple[str, list[str], list[str]]]:
        """By code: the first sentences, and those that would only repeat them for other symbols."""
        found: dict[str, list[str]] = {}
        for line in self.report["warnings"]:
            code, _, sentence = line.partition(": ")
            found.setdefault(code, []).append(sentence)
        return [(code, said[:2], said[2:]) for code, said in found.items()]

    @property
    def plan(self) -> list[tuple[str, str]]:
        """What was tested, name and value, nothing left out."""
        return list(_flat(self.report["plan"]))

    @property
    def signals(self) -> list[tuple[str, str]]:
        """What became of them; after those that the gates refused, which gate it was."""
        rows = []
        for name, count in self.report["signals"].items():
            rows.append((name.replace("_", " ").capitalize(), number(Decimal(count), 0)))
            if name == "refused_by_gates":
                told = self.report.get("refusals", {})  # a result of before they were told apart has none
                rows += [(f"· {code}", number(Decimal(times), 0)) for code, times in told.items()]
        return rows

    @property
    def hashes(self) -> list[tuple[str, str]]:
        return [
            ("Run", self.stored.run_hash), ("Data", self.stored.data_hash), ("Code", self.stored.code_version),
            ("Engine", str(self.stored.engine_version)), ("Contract", self.report["plan"]["version"] or "—"),
            ("Seed", "none: nothing is drawn" if self.stored.seed is None else str(self.stored.seed)),
        ]  # fmt: skip

    @property
    def symbols(self) -> list[str]:
        found: list[str] = self.report["symbols"]
        return found

    # --- pictures -----------------------------------------------------------------------------------------------------
    @cached_property
    def equity_pair(self) -> SafeString:
        found = self.found
        return _safe(
            charts.pair(
                found.equity, found.drawdown, labels=self._days(5), words=rupees_on_an_axis, start=found.cash,
                title=f"Equity of {self.run.title}",
            )
        )  # fmt: skip

    @cached_property
    def months(self) -> list[dict[str, Any]]:
        return [
            {"year": year, "months": [_cell(value) for value in row], "whole": _cell(whole)}
            for year, row, whole in self.found.months
        ]

    month_names = MONTHS

    @cached_property
    def trade_histogram(self) -> SafeString:
        return _histogram(self.found.trade_distribution, "Returns of trades, percent", "trades")

    @cached_property
    def day_histogram(self) -> SafeString:
        return _histogram(self.found.day_distribution, "Returns of days, percent", "days")

    @cached_property
    def adverse(self) -> SafeString:
        found = self.found
        return _safe(
            charts.dots(
                found.mae_pct, found.returns_pct, tips=self._tips, title="Worst price of each trade against its return",
                across="MAE, %", up="Return, %",
            )
        )  # fmt: skip

    @cached_property
    def favourable(self) -> SafeString:
        found = self.found
        return _safe(
            charts.dots(
                found.mfe_pct, found.returns_pct, tips=self._tips, title="Best price of each trade against its return",
                across="MFE, %", up="Return, %",
            )
        )  # fmt: skip

    @cached_property
    def holding(self) -> SafeString:
        found = self.found
        return _safe(
            charts.dots(
                found.bars_held, found.returns_pct, tips=self._tips, title="Bars held against return",
                across="Bars held", up="Return, %",
            )
        )  # fmt: skip

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        """Where the P&L came from: a table and a picture each."""
        found = self.found
        told = [
            ("By hour of entry", found.by_hour, ""),
            ("By weekday", found.by_weekday, ""),
            ("By regime", found.by_regime, f"Of the {LOOK_BACK} days before the entry's day, mean of the symbols."),
            ("By way out", found.by_reason, ""),
            ("By side", found.by_side, ""),
            ("By symbol", found.by_symbol, ""),
        ]
        return [
            {"title": title, "note": note, "rows": [_group_row(one) for one in groups]}
            for title, groups, note in told
            if groups and not (title == "By symbol" and len(groups) < 2)
        ]  # fmt: skip

    @cached_property
    def _tips(self) -> list[str]:
        return [
            f"{trade['symbol']} {trade['side'].lower()} {trade['entry_at'][:16].replace('T', ' ')}:"
            f" {signed(Decimal(str(trade['return_pct'])), 2)} %, {signed(Decimal(str(trade['pnl'])), 2)} rupees"
            for trade in self.found.trades
        ]

    def _days(self, count: int) -> list[str]:
        days = self.found.days
        if len(days) < count:
            return [_day(day) for day in (days if len(days) > 1 else days[:1])]
        return [_day(days[round(at * (len(days) - 1) / (count - 1))]) for at in range(count)]

    # --- trades -------------------------------------------------------------------------------------------------------
    def trades(self, first: int = 0, count: int | None = None) -> list[dict[str, Any]]:
        """Trades as rows of a table, in the order of their exits."""
        rows = self.found.trades[first : None if count is None else first + count]
        return [_trade_row(first + at, trade) for at, trade in enumerate(rows)]

    @property
    def telling(self) -> list[int]:
        """The places of the three best and three worst trades."""
        order = sorted(range(len(self.found.trades)), key=lambda at: self.found.trades[at]["pnl"])
        return sorted({*order[:3], *order[-3:]}, key=lambda at: -self.found.trades[at]["pnl"])


def _trade_row(place: int, trade: Mapping[str, Any]) -> dict[str, Any]:
    pnl = Decimal(str(trade["pnl"]))
    return {
        "place": place,
        "symbol": trade["symbol"],
        "ticker": trade["symbol"].partition(":")[2].removesuffix("-EQ") or trade["symbol"],
        "side": trade["side"],
        "quantity": number(Decimal(trade["quantity"]), 0),
        "entry_at": _clock(trade["entry_at"]),
        "exit_at": _clock(trade["exit_at"]),
        "entry": _price(trade["entry_price"]),
        "exit": _price(trade["exit_price"]),
        "stop": _price(trade["stop"]),
        "target": _price(trade["target"]),
        "reason": trade["reason"].replace("_", " ").capitalize(),
        "charges": number(Decimal(str(trade["charges"])), 2),
        "pnl": signed(pnl, 2),
        "return": signed(Decimal(str(trade["return_pct"])), 2),
        "tone": "up" if pnl > 0 else "down" if pnl < 0 else "",
    }


def _group_row(group: Group) -> dict[str, str]:
    return {
        "name": group.name,
        "trades": number(Decimal(group.trades), 0),
        "win": f"{number(Decimal(str(group.win_rate_pct)), 1)} %",
        "pnl": signed(Decimal(str(group.pnl)), 2),
        "average": signed(Decimal(str(group.average)), 2),
        "factor": "—" if group.profit_factor is None else number(Decimal(str(group.profit_factor)), 2),
        "tone": "up" if group.pnl > 0 else "down" if group.pnl < 0 else "",
    }


def _histogram(bins: Sequence[Bin], title: str, what: str) -> SafeString:
    if not bins:
        return _safe("")
    tips = [f"{one.low:.2f} to {one.high:.2f} %: {one.count} {what}" for one in bins]
    tones = ["up" if one.low >= 0 else "down" for one in bins]
    marks = [charts.minus(f"{bins[0].low:.2f} %"), "0", f"{bins[-1].high:.2f} %"]
    zero = 100 * -bins[0].low / (bins[-1].high - bins[0].low)
    places = [0.0, zero, 100.0]
    kept = [at for at in range(3) if at == 1 or abs(places[at] - zero) > 8]
    return _safe(
        charts.bars(
            [float(one.count) for one in bins], names=[marks[at] for at in kept], places=[places[at] for at in kept],
            tips=tips, title=title, tones=tones,
        )
    )  # fmt: skip


def _cell(value: float | None) -> dict[str, str]:
    if value is None:
        return {"text": "", "shade": ""}
    step = sum(1 for edge in _SHADES_PCT if abs(value) >= edge) + 1
    shade = "" if round(value, 2) == 0 else f"{'p' if value > 0 else 'n'}{min(step, STEPS)}"
    return {"text": signed(Decimal(str(round(value, 6))), 2), "shade": shade}


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        label = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{label} · ")
        elif value not in (None, ""):
            rows.append((label, str(value)))
    return rows


def _clock(text: str) -> str:
    """`2026-02-17T09:20:00+05:30` as `17 Feb 2026 09:20`; a day alone stays a day."""
    day = date.fromisoformat(text[:10])
    return f"{_day(day)} {text[11:16]}".strip()


def _day(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _price(value: float | None) -> str:
    return "—" if value is None else number(Decimal(str(value)), 2)


def rupees_on_an_axis(value: float) -> str:
    """12.5 L, 3.2 cr."""
    size = abs(value)
    if size >= 1e7:
        return charts.minus(f"{value / 1e7:.4g} cr")
    if size >= 1e5:
        return charts.minus(f"{value / 1e5:.4g} L")
    return number(Decimal(str(round(value, 2))), 0)


def _safe(svg: str) -> SafeString:
    return mark_safe(svg)  # noqa: S308 - drawn by `charts`, which escapes every word
