"""A tear sheet in one file: no request, no script, readable for as long as there are browsers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from strategies.backtest import charts
from strategies.reports.sheet import Sheet
from strategies.reports.trade_candles import candles_around
from strategies.runs.answers import Answer

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
    pictures = []
    for place in sheet.telling:
        row = sheet.trades(place, 1)[0]
        if picture := _picture(sheet, sheet.found.trades[place], row):
            pictures.append({"row": row, "svg": picture})
    return pictures


def _picture(sheet: Sheet, trade: dict[str, Any], row: dict[str, Any]) -> SafeString | None:
    bars = candles_around(sheet, trade, margin=MARGIN)[:MOST_BARS]
    if not bars:
        return None
    rows = [[bar.open, bar.high, bar.low, bar.close] for bar in bars]
    starts = [bar.at for bar in bars]
    entered, left = (int(sheet.answer.arrays["starts"][trade[name]]) for name in ("entry_bar", "exit_bar"))
    buy = trade["side"] == "BUY"
    marks = []
    if entered in starts:
        marks.append((starts.index(entered), "buy" if buy else "sell", f"in at {trade['entry_price']:,.2f}"))
    if left in starts:
        marks.append((starts.index(left), "sell" if buy else "buy", f"out at {trade['exit_price']:,.2f}"))
    levels = [(trade[name], name) for name in ("stop", "target") if trade[name]]
    svg = charts.candles(
        rows, marks=marks, levels=levels, labels=[row["entry_at"], row["exit_at"]],
        title=f"{trade['symbol']}: {row['entry_at']} to {row['exit_at']}",
    )  # fmt: skip
    return mark_safe(svg)  # noqa: S308 - drawn by `charts`, which escapes every word


@cache
def _style() -> SafeString:
    text = "".join((STATIC / "css" / name).read_text() for name in ("desk.css", "tear-sheet.css"))
    return mark_safe(text.replace("</", "<\\/"))  # noqa: S308 - our own style sheets
