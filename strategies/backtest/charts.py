"""Pictures of results as SVG text: drawn on the server, coloured by the page's own style sheet, without any script.

A picture is as wide as its place. What stretches (lines, areas) lies in an inner drawing of 1,000 units; what must not
(text, dots) stands outside it at percentages. Colours are classes: `static/css/tear-sheet.css` gives them their light,
dark and printed values. Nothing here is a figure of its own: every picture has its table beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIDE: Final = 1_000.0  # units across an inner drawing
MOST_POINTS: Final = 600  # of a line: more cannot be told apart
MOST_DOTS: Final = 1_500

Words = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: values at even steps, NaN where there is none. `tone` is a class: up, down, s1 to s6, muted, band."""

    name: str
    values: Floats
    tone: str = "s1"
    filled: bool = False


def curves(
    lines: Sequence[Line], *, labels: Sequence[str], words: Words, title: str, height: int = 220,
    base: float | None = None, kind: str = "",
) -> str:  # fmt: skip
    """Curves over one axis. `labels`: the words along it, at even steps, the first and the last at its ends."""
    shown = [line for line in lines if np.isfinite(line.values).any()]
    if not shown:
        return ""
    low = min(float(np.nanmin(line.values)) for line in shown)
    high = max(float(np.nanmax(line.values)) for line in shown)
    if base is not None:
        low, high = min(low, base), max(high, base)
    scale = _Scale.over(low, high)
    body = [_grid(scale, words)]
    inner = []
    for line in shown:
        path = _path(line.values, scale)
        if line.filled:
            inner.append(_area(line.values, scale, low if base is None else base, line.tone))
        inner.append(f'<path class="line {line.tone}" d="{path}" vector-effect="non-scaling-stroke"/>')
    if base is not None:
        at = scale.place(base)
        inner.append(
            f'<line class="base" x1="0" x2="1000" y1="{at:.1f}" y2="{at:.1f}" vector-effect="non-scaling-stroke"/>'
        )
    body.append(_inner(inner, height - 22))
    return _svg(body, height=height, title=title, labels=labels, kind=kind)


def pair(equity: Floats, drawdown: Floats, *, labels: Sequence[str], words: Words, start: float, title: str) -> str:
    """Equity above, drawdown below, on one axis of time."""
    tone = "up" if equity.size and equity[-1] >= start else "down"
    top = curves(
        [Line("Equity", thinned(equity, "last"), tone, filled=True)], labels=[], words=words, height=220, title=title,
        base=start, kind="equity",
    )  # fmt: skip
    under = curves(
        [Line("Drawdown", thinned(drawdown, "min"), "down", filled=True)], labels=labels, words=_percent, height=120,
        title="Drawdown, percent of the peak", base=0.0, kind="drawdown",
    )  # fmt: skip
    return f'<div class="pair">{top}{under}</div>'


def bars(
    values: Sequence[float], *, names: Sequence[str], tips: Sequence[str], title: str, height: int = 180,
    tones: Sequence[str] | None = None, places: Sequence[float] | None = None,
) -> str:  # fmt: skip
    """Columns from zero: a histogram, or sums by group. `tips` are read out when one is pointed at."""
    if not len(values) or not any(values):
        return ""
    low, high = min(0.0, *values), max(0.0, *values)
    room = height - 22
    step = 100 / len(values)
    body = []
    zero = (high / (high - low)) * room
    for at, value in enumerate(values):
        tall = abs(value) / (high - low) * room
        y = zero - tall if value >= 0 else zero
        tone = tones[at] if tones else ("up" if value >= 0 else "down")
        wide = min(step * 0.84, 9.0)  # a few columns are no wall
        body.append(
            f'<rect class="bar {tone}" x="{at * step + (step - wide) / 2:.3f}%" width="{wide:.3f}%" y="{y:.1f}"'
            f' height="{max(tall, 0.5):.1f}"><title>{escape(tips[at])}</title></rect>'
        )
    body.append(f'<line class="base" x1="0" x2="100%" y1="{zero:.1f}" y2="{zero:.1f}"/>')
    return _svg(body, height=height, title=title, labels=names, places=places, kind="bars")


def dots(
    x: Floats, y: Floats, *, tips: Sequence[str], title: str, across: str, up: str, height: int = 220,
    tones: Sequence[str] | None = None,
) -> str:  # fmt: skip
    """One dot a trade. Beyond MOST_DOTS the outermost and an even share of the rest are drawn."""
    if not x.size:
        return ""
    chosen = _chosen(x, y)
    sx, sy = _Scale.over(float(x.min()), float(x.max())), _Scale.over(float(y.min()), float(y.max()))
    body = [_grid(sy, _percent)]
    for value in sx.ticks():
        body.append(
            f'<line class="grid" x1="{sx.share(value):.2f}%" x2="{sx.share(value):.2f}%" y1="0" y2="{height - 22}"/>'
        )
    if sy.low < 0 < sy.high:
        zero = sy.place(0) / WIDE * (height - 22)
        body.append(f'<line class="base" x1="0" x2="100%" y1="{zero:.1f}" y2="{zero:.1f}"/>')
    for at in chosen:
        tone = tones[at] if tones else ("up" if y[at] >= 0 else "down")
        cy = sy.place(float(y[at])) / WIDE * (height - 22)
        body.append(
            f'<circle class="dot-mark {tone}" cx="{sx.share(float(x[at])):.2f}%" cy="{cy:.1f}" r="3">'
            f"<title>{escape(tips[at])}</title></circle>"
        )
    body.append(f'<text class="axis-name" x="100%" dx="-6" y="{height - 28}" text-anchor="end">{escape(across)}</text>')
    body.append(f'<text class="axis-name" x="6" y="14">{escape(up)}</text>' if up else "")
    marks = [minus(f"{value:g}") for value in sx.ticks()]
    places = [sx.share(value) for value in sx.ticks()]
    return _svg(body, height=height, title=title, labels=marks, places=places, kind="dots")


def candles(
    rows: Sequence[Sequence[float]], *, marks: Sequence[tuple[int, str, str]], levels: Sequence[tuple[float, str]],
    labels: Sequence[str], title: str, height: int = 200,
) -> str:  # fmt: skip
    """Open, high, low, close a row. `marks`: place, tone and words of fills; `levels`: price and tone of lines."""
    if not rows:
        return ""
    prices = [value for row in rows for value in row[1:3]] + [price for price, _ in levels]
    scale = _Scale.over(min(prices), max(prices))
    room = height - 22
    step = 100 / len(rows)
    body = [_grid(scale, lambda value: f"{value:,.2f}")]

    def y(price: float) -> float:
        return scale.place(price) / WIDE * room

    for price, tone in levels:
        body.append(f'<line class="level {tone}" x1="0" x2="100%" y1="{y(price):.1f}" y2="{y(price):.1f}"/>')
    for at, (open_, high, low, close) in enumerate(rows):
        tone = "up" if close >= open_ else "down"
        middle = (at + 0.5) * step
        top, bottom = y(max(open_, close)), y(min(open_, close))
        body.append(
            f'<line class="wick {tone}" x1="{middle:.3f}%" x2="{middle:.3f}%" y1="{y(high):.1f}" y2="{y(low):.1f}"/>'
            f'<rect class="candle {tone}" x="{at * step + step * 0.15:.3f}%" width="{step * 0.7:.3f}%" y="{top:.1f}"'
            f' height="{max(bottom - top, 0.8):.1f}"/>'
        )
    for place, tone, words in marks:
        middle = (place + 0.5) * step
        low = rows[place][2] if tone == "buy" else rows[place][1]
        level = y(low) + (16 if tone == "buy" else -8)
        sign = "▲" if tone == "buy" else "▼"
        body.append(
            f'<text class="mark {tone}" x="{middle:.3f}%" y="{level:.1f}" text-anchor="middle">{sign}'
            f"<title>{escape(words)}</title></text>"
        )
    return _svg(body, height=height, title=title, labels=labels, kind="candles")


def thinned(values: Floats, how: str) -> Floats:
    """At most MOST_POINTS values: the last or the least of each even stretch."""
    if values.size <= MOST_POINTS:
        return np.asarray(values, np.float64)
    edges = np.linspace(0, values.size, MOST_POINTS + 1).astype(np.int64)
    if how == "min":
        return np.minimum.reduceat(values, edges[:-1]).astype(np.float64)
    return np.asarray(values[edges[1:] - 1], np.float64)


def _percent(value: float) -> str:
    return f"{minus(f'{value:g}')} %"


def minus(text: str) -> str:
    """A real minus."""
    return text.replace("-", "−")


# What all of them are made of


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    step: float

    @classmethod
    def over(cls, low: float, high: float) -> _Scale:
        """A scale a little wider than its values, with three to six round steps."""
        if not high > low:
            room = abs(high) * 0.01 or 1.0
            low, high = low - room, high + room
        room = (high - low) * 0.06
        low, high = low - room, high + room
        rough = (high - low) / 4
        size = 10.0 ** floor(log10(rough))
        step = next((size * part for part in (1, 2, 2.5, 5, 10) if size * part >= rough), size * 10)
        return cls(low, high, step)

    def ticks(self) -> list[float]:
        first = ceil(self.low / self.step)
        return [(first + at) * self.step for at in range(floor(self.high / self.step) - first + 1)]

    def share(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)

    def place(self, value: float) -> float:
        """Units from the top."""
        return WIDE * (self.high - value) / (self.high - self.low)


def _grid(scale: _Scale, words: Words) -> str:
    parts = []
    for value in scale.ticks():
        at = 100 - scale.share(value)
        said = escape(words(round(value, 12)))
        parts.append(
            f'<line class="grid" x1="0" x2="100%" y1="{at:.2f}%" y2="{at:.2f}%"/>'
            f'<text class="tick" x="4" y="{at:.2f}%" dy="{-3 if at > 8 else 12}">{said}</text>'
        )
    return "".join(parts)


def _path(values: Floats, scale: _Scale) -> str:
    steps = WIDE / max(1, values.size - 1)
    parts, pen = [], "M"
    for at, value in enumerate(values.tolist()):
        if not isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{at * steps:.1f} {scale.place(value):.1f}")
        pen = "L"
    return "".join(parts)


def _area(values: Floats, scale: _Scale, base: float, tone: str) -> str:
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return ""
    steps = WIDE / max(1, values.size - 1)
    ground = scale.place(base)
    ends = f"L{known[-1] * steps:.1f} {ground:.1f}L{known[0] * steps:.1f} {ground:.1f}Z"
    return f'<path class="area {tone}" d="{_path(values, scale)}{ends}"/>'


def _inner(parts: Sequence[str], height: float) -> str:
    return (
        f'<svg class="plot" width="100%" height="{height:g}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        f"{''.join(parts)}</svg>"
    )


def _svg(
    body: Sequence[str], *, height: int, title: str, labels: Sequence[str], kind: str,
    places: Sequence[float] | None = None,
) -> str:  # fmt: skip
    """The picture with its words along the foot. A picture without labels gives their room away."""
    room = height - 22
    foot = []
    count = len(labels)
    for at, label in enumerate(labels):
        where = places[at] if places is not None else (50.0 if count == 1 else 100 * at / (count - 1))
        anchor = "start" if where < 4 else "end" if where > 96 else "middle"
        kind_of = "tick spare" if places is None and count > 3 and at % 2 else "tick"  # a phone has no room for it
        foot.append(
            f'<text class="{kind_of}" x="{where:.2f}%" y="{height - 6}" text-anchor="{anchor}">{escape(label)}</text>'
        )
    full = height if count else room
    inside = f'<svg width="100%" height="{room}" class="drawing">{"".join(body)}</svg>'
    return (
        f'<svg class="chart {kind}" width="100%" height="{full}" role="img" aria-label="{escape(title, quote=True)}"'
        f' xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{inside}{"".join(foot)}</svg>'
    )


def _chosen(x: Floats, y: Floats) -> list[int]:
    if x.size <= MOST_DOTS:
        return list(range(x.size))
    edge = set()
    for values in (x, y):
        order = np.argsort(values, kind="stable")
        edge |= {*order[:100].tolist(), *order[-100:].tolist()}
    edge |= set(np.linspace(0, x.size - 1, MOST_DOTS - len(edge)).astype(int).tolist())
    return sorted(edge)
