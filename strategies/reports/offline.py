"""A tear sheet in one file: no request, no script, readable for as long as there are browsers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from strategies.backtest import charts
from strategies.reports.sheet import Sheet
from strategies.runs.answers import Answer
from trading.marketdata.candles import candles_of
from trading.marketdata.models import Feed, Instrument

STATIC: Final = Path(__file__).resolve().parents[2] / "static"
MARGIN: Final = 25  # bars before the entry and after the exit
MOST_BARS: Final = 160
MOST_TRADES: Final = 2_000  # in the file's table; the CSV has them all


def offline_sheet(answer: Answer) -> str:
    """The whole page as text."""
    sheet = Sheet(answer)
    return render_to_string(
        "backtests/file.html",
        {
            "sheet": sheet, "style": _style(), "pictures": trade_pictures(sheet),
            "trades": sheet.trades(0, MOST_TRADES), "left_out": max(0, len(sheet.found.trades) - MOST_TRADES),
        },
    )  # fmt: skip


def trade_pictures(sheet: Sheet) -> list[dict[str, Any]]:
    """The best and worst trades on their candles. Candles that are not stored any more are left out."""
    feed = Feed.objects.filter(name=sheet.run.request.get("feed")).first()
    rows = {place: sheet.trades(place, 1)[0] for place in sheet.telling}
    if feed is None:
        return []
    found = {one.symbol: one for one in Instrument.objects.filter(symbol__in={row["symbol"] for row in rows.values()})}
    pictures = []
    for place, row in rows.items():
        picture = _picture(sheet, place, feed, found.get(row["symbol"]))
        if picture:
            pictures.append({"row": row, "svg": picture})
    return pictures


def _picture(sheet: Sheet, place: int, feed: Feed, instrument: Instrument | None) -> SafeString | None:
    if instrument is None:
        return None
    trade = sheet.found.trades[place]
    minutes = int(sheet.report["timeframe_minutes"])
    start, end = span_of(sheet, trade)
    bars = candles_of(feed, instrument, minutes, start=start, end=end)[:MOST_BARS]
    if not bars:
        return None
    rows = [[float(bar.open), float(bar.high), float(bar.low), float(bar.close)] for bar in bars]
    starts = [int(bar.started_at.timestamp()) for bar in bars]
    entered, left = (int(sheet.answer.arrays["starts"][trade[name]]) for name in ("entry_bar", "exit_bar"))
    buy = trade["side"] == "BUY"
    marks = []
    if entered in starts:
        marks.append((starts.index(entered), "buy" if buy else "sell", f"in at {trade['entry_price']:,.2f}"))
    if left in starts:
        marks.append((starts.index(left), "sell" if buy else "buy", f"out at {trade['exit_price']:,.2f}"))
    levels = [(trade[name], name) for name in ("stop", "target") if trade[name]]
    row = sheet.trades(place, 1)[0]
    svg = charts.candles(
        rows, marks=marks, levels=levels, labels=[row["entry_at"], row["exit_at"]],
        title=f"{trade['symbol']}: {row['entry_at']} to {row['exit_at']}",
    )  # fmt: skip
    return mark_safe(svg)  # noqa: S308 - drawn by `charts`, which escapes every word


def span_of(sheet: Sheet, trade: dict[str, Any], margin: int = MARGIN) -> tuple[datetime, datetime]:
    """The instants of the bars around a trade, within what was tested."""
    starts = sheet.answer.arrays["starts"]
    first, last = max(0, trade["entry_bar"] - margin), min(len(starts) - 1, trade["exit_bar"] + margin)
    start = datetime.fromtimestamp(int(starts[first]), UTC)
    return start, datetime.fromtimestamp(int(starts[last]), UTC) + timedelta(seconds=1)


@cache
def _style() -> SafeString:
    text = "".join((STATIC / "css" / name).read_text() for name in ("desk.css", "tear-sheet.css"))
    return mark_safe(text.replace("</", "<\\/"))  # noqa: S308 - our own style sheets
