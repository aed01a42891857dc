"""docs/indicators.md, written from the registry and the kernels' own words: `python -m trading.indicators.describe`."""

from inspect import cleandoc
from pathlib import Path

from trading.indicators.registry import REGISTRY, Indicator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "indicators.md"
USUAL = {"period": 20.0, "omega": 0.1, "alpha": 0.1, "beta": 0.8}  # where the registry leaves a constant to the rule
HEAD = """# Indicators

Written by `python -m trading.indicators.describe` from the registry and the kernels' docstrings, and held to them by a
test.

Every indicator is one kernel with two uses. **All bars**: `kernel(*series, *constants)`, each series
`float64[symbols, bars]`, rupees or units as the bars have them, gives `float64[symbols, bars]`, NaN until it is warm.
**Bar by bar**: `stream(name, symbols, *constants).update(*series)`, each `float64[symbols]`, gives the newest value of
every symbol in constant time, equal to the kernel's to the last bit. A bar that is not finite is left out, as if it had
never been: its value is NaN and nothing else changes.

*First* is the first bar with a value, counted from 0; *settled* the bars after which the choice of the first bar no
longer shows (its weight is below 0.01 %). Both are given for the constants in brackets. What a rule writes comes first,
what the bars give follows on its own. `session_vwap`, which knows the exchange's day, is a term of the rule language.

How eight series go through a kernel at once, and what bounds it, is told in [ADR 33](adr/0033-eight-series-abreast.md).
Symbols that lie side by side in memory, as in the transpose of a table of bars by symbol, are taken as they lie, and
the answer lies so too: [ADR 44](adr/0044-symbols-that-lie-side-by-side.md).

## Figures

Medians beside TA-Lib 0.8 on the same bars in the same run, one core of an AMD EPYC (Zen 4):
`python -m tests.bench indicators_long indicators_wide indicators_side_by_side indicators_new_bar indicators_screenful
scan_wide`.

| what | figure | beside TA-Lib |
|---|---|---|
| one series of 100,000 bars, 25 indicators | 0.5 to 14 ns a bar | geometric mean 1.8 ×, least 0.9 × (true range) |
| the same, the seven a desk computes for every symbol | | 2.0 × |
| 64 series of 5,000 bars at once, 25 indicators | 0.5 to 14 ns a bar | 2.3 ×, least 0.9 × (correlation) |
| the same, the seven | | 3.0 ×; ADX 6.3, EMA 4.7, RSI 3.3, SMA 2.1, ATR 1.7 |
| 64 series side by side, TA-Lib on rows: the seven | 0.4 to 1.9 ns a bar | 3.6 ×; ADX 6.6, EMA 5.8, SMA 2.5, ATR 2.1 |
| the same, the first call of a turn, its bars gone from the near caches | | 1.5 × |
| 500 series side by side, TA-Lib on rows: the seven | 0.6 to 3.1 ns a bar | 2.1 ×; ADX 4.4, EMA 4.2, KAMA 1.1 |
| 500 names × 5,000 bars, six indicators and a rule on the newest bar | 8.5 ms | 7.7 ×; on two cores 5.9 ms, 11 × |
| one new bar of 500 names: EMA, ATR, KAMA, RSI | 10, 17, 24, 27 µs | |
| 10,000 candles, EMA, RSI, ATR and KAMA, all four | 0.06 ms | |

The seven are SMA, EMA, RSI, ATR, KAMA, ADX and Bollinger. With memory that is fresh from the system, as a first call
has it, handing out the pages takes longer than any of this; the bench lets both sides keep theirs. Side by side
each was called for 30 ms on end in its turn and found near what it had left; the rows above that were measured by
single calls in turns.

**A start.** `python -m tests.bench scanner_cold_start`: 0.89 s from nothing to a rule's first answer, with the byte
code and the kernels that `make setup` leaves; nothing is compiled. A worker with the tasks of every floor takes 1.4 s.

| what is loaded | ms |
|---|---|
| numpy | 95 |
| numba | 140 |
| what numba knows of types and functions, read before it looks into its cache; the kernels themselves | 170 |
| Django: models, forms, http, asyncio | 70 |
| psycopg | 50 |
| Celery and kombu, for the bells | 40 |
| models and settings of the desk and its apps | 190 |
| scanner: candles, quality, signals, Valkey | 90 |

What is left belongs to numba and Django, and is read whole by each. Python's collector would add a quarter of a second:
it waits until all is there (`trading/domain/heap.py`).
"""


def constants_of(indicator: Indicator) -> list[float]:
    """The usual constants, for an example."""
    return [USUAL[p.name] if p.default is None else p.default for p in indicator.parameters]


def as_markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for one in sorted(REGISTRY.values(), key=lambda each: each.name):
        constants = constants_of(one)
        shown = ", ".join(f"{value:g}" for value in constants)
        takes = ", ".join(["series"] * one.arity + list(one.inputs))
        words = cleandoc(one.kernel.__doc__ or "").replace("\n", "\n> ").replace("> \n", ">\n")
        parts.append(
            f"## {one.name}\n\n**{one.label}**: {one.doc}. `{one.signature}`\n\n"
            f"Takes {takes}. With ({shown}): first {one.warm_up(constants)}, settled {one.settling(constants)}.\n\n"
            f"> {words}\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(as_markdown())
