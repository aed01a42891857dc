"""What a candle chart of one instrument shows: closed bars, the running one, indicators, one's own fills and levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from accounts.models import User
from execution.models import Fill, Group
from trading.domain.errors import NotAllowed
from trading.domain.formatting import price, quantity
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote
from trading.marketdata.sessions import session_at
from trading.marketdata.windows import PriceWindow, load_window
from trading.portfolio.models import ChartSettings, Portfolio, Position
from trading.venue.sessions import bar_start, exchange_date
from trading.web.chart_lines import MOST_LINES, Line, drawn, line_of

DAY: Final = 1440
TIMEFRAMES: Final = {1: "1 min", 5: "5 min", 15: "15 min", 30: "30 min", 60: "1 hour", DAY: "1 day"}
SPANS: Final = {"1d": 1, "5d": 5, "1m": 22, "3m": 64, "1y": 250, "5y": 1250}  # sessions
SPAN_NAMES: Final = {"1d": "1 D", "5d": "5 D", "1m": "1 M", "3m": "3 M", "1y": "1 Y", "5y": "5 Y"}
MOST_BARS: Final = 5_000
MOST_SETTLING: Final = 2_000
MOST_MARKS: Final = 500


@dataclass(frozen=True, slots=True)
class View:
    """What one look at a chart asks for."""

    timeframe: int
    span: str
    lines: tuple[Line, ...]
    adjusted: bool = False

    @property
    def query(self) -> list[tuple[str, str]]:
        indicators = (("ind", line.written) for line in self.lines)
        return [
            ("tf", str(self.timeframe)), ("span", self.span), *([("adj", "1")] if self.adjusted else []), *indicators,
        ]  # fmt: skip


def view_of(*, timeframe: object, span: str, lines: Sequence[Line], adjusted: bool = False) -> View:
    """A view that can be drawn; NotAllowed says what cannot."""
    if str(timeframe) not in map(str, TIMEFRAMES):
        raise NotAllowed("NO_SUCH_TIMEFRAME", f"Bars come in {', '.join(TIMEFRAMES.values())}.")
    if span not in SPANS:
        raise NotAllowed("NO_SUCH_SPAN", f"A chart reaches back {', '.join(SPAN_NAMES.values())}.")
    if len(lines) > MOST_LINES:
        raise NotAllowed("TOO_MANY_INDICATORS", f"A chart draws {MOST_LINES} indicators: remove one first.")
    return View(int(str(timeframe)), span, tuple(lines), adjusted)


def remembered(user: User) -> View:
    """How this person last looked at a chart. A choice that is no longer offered is left out."""
    kept = ChartSettings.objects.for_user(user).first() or ChartSettings(owner=user)
    lines = []
    for name, constants in kept.indicators:
        try:
            lines.append(line_of(name, constants))
        except NotAllowed:
            continue
    timeframe = kept.timeframe if kept.timeframe in TIMEFRAMES else 5
    return View(timeframe, kept.span if kept.span in SPANS else "5d", tuple(lines[:MOST_LINES]))


def remember(user: User, view: View) -> None:
    """Look at charts like this from now on."""
    lines = [[line.name, list(line.constants)] for line in view.lines]
    ChartSettings.objects.update_or_create(
        owner=user, defaults={"timeframe": view.timeframe, "span": view.span, "indicators": lines}
    )


def chart_of(*, feed: Feed, instrument: Instrument, view: View, now: datetime, quote: Quote | None) -> dict[str, Any]:
    """Candles, running bar and indicators of one instrument: the chart's JSON without what is somebody's own."""
    session = session_at(feed, instrument, now)
    a_day = max(1, len(session.bar_starts(view.timeframe)) if session else DAY // view.timeframe // 3)
    wanted = min(MOST_BARS, SPANS[view.span] * (1 if view.timeframe == DAY else a_day))
    settling = min(MOST_SETTLING, max((line.settling for line in view.lines), default=0))
    window = load_window(feed, [instrument], view.timeframe, bars=wanted + settling, until=now, adjusted=view.adjusted)
    closed = int(window.starts.size)
    running = _running(feed, instrument, view.timeframe, now, quote)
    if running and running["bar"] and (not closed or running["bar"][0] > window.starts[-1]):
        window = _with_bar(window, running["bar"])
    first = _first_shown(window, SPANS[view.span], wanted)
    bars = np.stack(
        [window.open[0], window.high[0], window.low[0], window.close[0], np.nan_to_num(window.volume[0])], axis=1
    )[first:].tolist()
    candles = [[at, *bar] for at, bar in zip(window.starts[first:].tolist(), bars, strict=True) if bar[3] == bar[3]]
    return {
        "candles": candles,
        "lines": drawn(view.lines, window, first) if candles else [],
        "tick": str(instrument.tick_size.normalize()),
        "live": running["live"] if running and candles else None,
        "capped": len(candles) if wanted == MOST_BARS and SPANS[view.span] * a_day > MOST_BARS else None,
    }


def own_marks(*, user: User, portfolio: Portfolio | None, instrument: Instrument, since: int) -> list[dict[str, Any]]:
    """One's own fills of this instrument in this portfolio since an instant (epoch seconds), oldest first."""
    fills = (
        Fill.objects.for_user(user)
        .filter(
            order__portfolio=portfolio, order__instrument=instrument,
            filled_at__gte=datetime.fromtimestamp(since, UTC),
        )
        .select_related("order")
        .order_by("-filled_at")[:MOST_MARKS]
    )  # fmt: skip
    return [
        {
            "time": int(fill.filled_at.timestamp()), "side": fill.order.side, "price": float(fill.price),
            "text": f"{fill.order.side.title()} {quantity(fill.quantity)} at {price(fill.price, instrument.tick_size)}",
        }
        for fill in reversed(fills)
    ]  # fmt: skip


def own_levels(*, user: User, portfolio: Portfolio | None, instrument: Instrument) -> list[dict[str, Any]]:
    """Stops and targets of one's open trades, and the average of what is held."""
    levels: list[dict[str, Any]] = []
    groups = Group.objects.for_user(user).filter(portfolio=portfolio, instrument=instrument).exclude(state="CLOSED")
    for group in groups:
        for kind, level in (("stop", group.stop_price), ("target", group.target_price)):
            if level is not None:
                levels.append({"kind": kind, "price": float(level), "text": kind.title()})
    held = Position.objects.for_user(user).filter(portfolio=portfolio, instrument=instrument).exclude(net_quantity=0)
    for position in held:
        text = f"{quantity(position.net_quantity)} at average"
        levels.append({"kind": "entry", "price": float(position.average_price), "text": text})
    return levels


def _running(
    feed: Feed, instrument: Instrument, timeframe: int, now: datetime, quote: Quote | None
) -> dict[str, Any] | None:
    """The bar that is not over yet, made of its closed minutes and the last price; None outside continuous trading."""
    session = session_at(feed, instrument, now)
    start = bar_start(now, session, timeframe) if session else None
    if session is None or start is None:
        return None
    until = next(segment.closes_at for segment in session.segments if segment.holds(start))
    began = int(start.timestamp())
    live = {
        "symbol": instrument.symbol, "start": began, "seconds": timeframe * 60,
        "until": int(until.timestamp()),
    }  # fmt: skip
    passed = int((now - start) / timedelta(minutes=1))
    bar: list[float] = []
    if passed:
        minutes = load_window(feed, [instrument], 1, bars=passed, until=now)
        inside = minutes.starts >= began
        if inside.any():
            close = minutes.close[0, inside]
            bar = [
                began, minutes.open[0, inside][0], np.nanmax(minutes.high[0, inside]),
                np.nanmin(minutes.low[0, inside]), close[-1], float(np.nansum(minutes.volume[0, inside])),
            ]  # fmt: skip
    if quote is not None and quote.traded_at >= start:
        last = float(quote.last_price)
        bar = bar or [began, last, last, last, last, 0.0]
        bar[2], bar[3], bar[4] = max(bar[2], last), min(bar[3], last), last
    return {"live": live, "bar": bar}


def _with_bar(window: PriceWindow, bar: list[float]) -> PriceWindow:
    def longer(values: np.ndarray, value: float) -> np.ndarray:
        return np.concatenate([values, np.full((values.shape[0], 1), value)], axis=1)

    return PriceWindow(
        window.symbols, window.instrument_ids, window.timeframe,
        np.append(window.starts, np.int64(bar[0])), longer(window.open, bar[1]), longer(window.high, bar[2]),
        longer(window.low, bar[3]), longer(window.close, bar[4]), longer(window.volume, bar[5]),
    )  # fmt: skip


def _first_shown(window: PriceWindow, sessions: int, most: int) -> int:
    """The first bar of the last `sessions` days that have bars, not more than `most` bars back."""
    days: set[object] = set()
    first = int(window.starts.size)
    while first > max(0, window.starts.size - most):
        days.add(exchange_date(datetime.fromtimestamp(int(window.starts[first - 1]), UTC)))
        if len(days) > sessions:
            break
        first -= 1
    return first
