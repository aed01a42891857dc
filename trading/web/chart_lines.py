"""Indicators on a chart: which can be drawn, where they lie, and how a person's choice is written down.

A choice is a name of the registry and its constants, `ema:20`, `macd:12,26,9`. It is read from forms, addresses and
the database by one door, `line_of`, and what does not hold is refused there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trading.domain.errors import NotAllowed
from trading.indicators.registry import REGISTRY, Indicator, Parameter, kernel_argument
from trading.marketdata.windows import PriceWindow
from trading.venue.sessions import exchange_date

MOST_LINES: Final = 8
VWAP: Final = "session_vwap"
# What needs a second series, or an event to begin from, is not drawn; the session's average price is offered instead.
_NOT_DRAWN: Final = frozenset(name for name, one in REGISTRY.items() if one.arity > 1) | {"anchored_vwap"}
_OVER_PRICES: Final = frozenset(
    {
        "sma", "ema", "wma", "dema", "tema", "kama", "highest", "lowest", "supertrend", "psar", "hp_trend",
        "kalman_level", VWAP,
    }
    | {name for name in REGISTRY if name.startswith(("bollinger_", "keltner_", "donchian_", "ichimoku_"))}
)  # fmt: skip
_TOGETHER: Final = {
    "macd": ("macd", "macd_signal", "macd_histogram"),
    "adx": ("adx", "plus_di", "minus_di"),
    "stochastic": ("stochastic_k", "stochastic_d"),
    "aroon": ("aroon_up", "aroon_down"),
}
_PANES: Final = {name: pane for pane, names in _TOGETHER.items() for name in names}
_PERIOD: Final = 20  # where the registry leaves a period to the rule that asks for it
_STYLES: Final = {"macd_histogram": "histogram", "psar": "dots"}


@dataclass(frozen=True, slots=True)
class Line:
    """One indicator with its constants, as somebody chose to see it."""

    name: str
    constants: tuple[float, ...]

    @property
    def written(self) -> str:
        """As in an address: `ema:20`."""
        return f"{self.name}:{','.join(_plain(value) for value in self.constants)}"

    @property
    def label(self) -> str:
        known = "Session VWAP" if self.name == VWAP else REGISTRY[self.name].label
        return " ".join([known, ", ".join(_plain(value) for value in self.constants)]).strip()

    @property
    def settling(self) -> int:
        """Bars to load before the first one shown, so that where the history begins does not show."""
        return 0 if self.name == VWAP else REGISTRY[self.name].settling(self.constants)

    @property
    def pane(self) -> str:
        return "price" if self.name in _OVER_PRICES else _PANES.get(self.name, self.written)


def line_of(name: str, constants: Sequence[float | str]) -> Line:
    """A choice that can be drawn. Constants left out take their defaults. NotAllowed says what is wrong with it."""
    if name == VWAP:
        return Line(VWAP, ())
    indicator = REGISTRY.get(name)
    if indicator is None or name in _NOT_DRAWN:
        raise NotAllowed("NO_SUCH_INDICATOR", f"There is no indicator “{name[:40]}” that a chart could draw.")
    if len(constants) > len(indicator.parameters):
        raise NotAllowed("INDICATOR_CONSTANTS", f"{indicator.label} takes {_names(indicator) or 'no constants'}.")
    read = []
    for place, parameter in enumerate(indicator.parameters):
        value = _number(constants[place]) if place < len(constants) else _default(parameter)
        if value is None or not parameter.accepts(value):
            raise NotAllowed("INDICATOR_CONSTANTS", f"{indicator.label}: {parameter.name} must be {_what(parameter)}.")
        read.append(value)
    return Line(name, tuple(read))


def line_written(text: str) -> Line:
    """`ema:20` → the line. NotAllowed for anything else."""
    name, _, constants = text.partition(":")
    return line_of(name, [part for part in constants.split(",") if part.strip()])


def choices() -> list[dict[str, Any]]:
    """What a person may add, by label: name, label, doc, and the constants with their defaults in words."""
    drawn = [one for name, one in REGISTRY.items() if name not in _NOT_DRAWN]
    listed = [{"name": one.name, "label": one.label, "doc": one.doc, "constants": _names(one)} for one in drawn]
    listed.append(
        {"name": VWAP, "label": "Session VWAP", "doc": "average price of the session so far", "constants": ""}
    )
    return sorted(listed, key=lambda one: str(one["label"]).lower())


def values_of(line: Line, window: PriceWindow) -> np.ndarray:
    """float64[bars] of the window's first instrument. NaN: not known yet."""
    close = window.close[:1]
    if line.name == VWAP:
        from trading.indicators.volume import session_vwap

        days = np.array([exchange_date(at).toordinal() for at in _instants(window)], dtype=np.int64)
        return session_vwap(window.high[:1], window.low[:1], close, window.volume[:1], days)[0]
    indicator = REGISTRY[line.name]
    series = [close] * indicator.arity + [getattr(window, name)[:1] for name in indicator.inputs]
    constants = map(kernel_argument, indicator.parameters, line.constants)
    values: np.ndarray = indicator.kernel(*series, *constants)[0]
    return values


def drawn(lines: Iterable[Line], window: PriceWindow, first: int) -> list[Mapping[str, object]]:
    """The lines over a window, from bar `first` on, as the chart takes them."""
    starts = window.starts[first:].tolist()
    out: list[Mapping[str, object]] = []
    for line in lines:
        values = values_of(line, window)[first:].tolist()
        known = [[at, value] for at, value in zip(starts, values, strict=True) if value == value]
        out.append({"name": line.label, "pane": line.pane, "style": _STYLES.get(line.name, "line"), "values": known})
    return out


def _instants(window: PriceWindow):
    from datetime import UTC, datetime

    return (datetime.fromtimestamp(at, UTC) for at in window.starts.tolist())


def _number(given: float | str) -> float | None:
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _names(indicator: Indicator) -> str:
    said = []
    for parameter in indicator.parameters:
        usual = _default(parameter)
        said.append(parameter.name if usual is None else f"{parameter.name} {_plain(usual)}")
    return ", ".join(said).replace("_", " ")


def _default(parameter: Parameter) -> float | None:
    if parameter.default is None and parameter.kind == "period":
        return _PERIOD
    return parameter.default


def _what(parameter: Parameter) -> str:
    return "a whole number of bars from 1 to 5,000" if parameter.kind == "period" else "a number above 0"
