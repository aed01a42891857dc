"""What is known of every subscribed topic, and the ticks that a frame makes of it. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from execution.brokers.fyers.price_frames import Change, Feed, Item, Lite, Snapshot
from execution.brokers.port import Tick


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a value stands in the rows of one kind of topic; None where that kind has no such value."""

    last_price: int
    volume: int | None
    traded_at: int
    bid: int | None
    ask: int | None
    low: int
    high: int
    open: int
    previous_close: int


LAYOUTS = {
    "sf": Layout(last_price=0, volume=1, traded_at=2, bid=6, ask=7, low=13, high=14, open=19, previous_close=20),
    "if": Layout(last_price=0, volume=None, traded_at=2, bid=None, ask=None, low=4, high=3, open=5, previous_close=1),
}


@dataclass(slots=True)
class _Row:
    symbol: str
    layout: Layout
    scale: Snapshot
    values: list[int | None]

    def tick(self) -> Tick | None:
        last_price = self.price(self.layout.last_price)
        if last_price is None:
            return None
        return Tick(
            symbol=self.symbol,
            last_price=last_price,
            volume=max(0, self.at(self.layout.volume) or 0),
            traded_at=self.instant(self.layout.traded_at),
            bid=self.price(self.layout.bid),
            ask=self.price(self.layout.ask),
            previous_close=self.price(self.layout.previous_close),
            open=self.price(self.layout.open),
            high=self.price(self.layout.high),
            low=self.price(self.layout.low),
        )

    def at(self, place: int | None) -> int | None:
        return self.values[place] if place is not None and place < len(self.values) else None

    def price(self, place: int | None) -> Decimal | None:
        raw = self.at(place)
        return self.scale.price(raw) if raw is not None and raw > 0 else None

    def instant(self, place: int) -> datetime | None:
        seconds = self.at(place)
        return datetime.fromtimestamp(seconds, UTC) if seconds is not None and seconds > 0 else None


class PriceBoard:
    """One connection's memory. `symbols` maps the subscribed topics to our names; a new connection needs a new one.

    Changes of topics that were never described in this connection are passed over: they cannot be read.
    """

    def __init__(self, symbols: dict[str, str]) -> None:
        self.symbols = symbols
        self._rows: dict[bytes, _Row] = {}

    def ticks(self, feed: Feed) -> list[Tick]:
        """A tick for every item that leaves a price standing, in the order of the frame."""
        found = (self._tick(item) for item in feed.items)
        return [tick for tick in found if tick is not None]

    def _tick(self, item: Item) -> Tick | None:
        if isinstance(item, Snapshot):
            row = self._describe(item)
        else:
            row = self._rows.get(item.topic_id)
            if row is not None:
                _write(row, item)
        return row.tick() if row is not None else None

    def _describe(self, snapshot: Snapshot) -> _Row | None:
        symbol = self.symbols.get(snapshot.topic)
        layout = LAYOUTS.get(snapshot.topic.partition("|")[0])
        if symbol is None or layout is None:
            self._rows.pop(snapshot.topic_id, None)  # the id now means something we did not ask for
            return None
        row = self._rows[snapshot.topic_id] = _Row(symbol, layout, snapshot, list(snapshot.values))
        return row


def _write(row: _Row, item: Change | Lite) -> None:
    values = item.values if isinstance(item, Change) else (item.value,)
    row.values.extend([None] * (len(values) - len(row.values)))
    for place, value in enumerate(values):
        if value is not None:
            row.values[place] = value
