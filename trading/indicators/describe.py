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
