"""The order of events on their way to one page.

Two processes may number and send at the same instant, so that 12 arrives before 11: a late event is waited for, a
short while. Cells may be merged while the page is slow: only their newest text matters. Everything else is sent as
it came. Each message says which numbers it covers, so that a page can tell a gap from a merge.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

CELLS = frozenset({"prices", "positions", "summary"})
HELD_AT_MOST = 256
Event = dict[str, Any]


@dataclass(slots=True)
class Reorder:
    """Puts events of one user in the order of their numbers. `seq` is the last one let through."""

    seq: int
    held: dict[int, Event] = field(default_factory=dict)

    def take(self, event: Event) -> Iterator[Event]:
        """What may go now that this one came. What was let through already is dropped, unless counting began anew."""
        number = event["seq"]
        if number <= self.seq:
            if self.seq - number > HELD_AT_MOST:  # the counter was lost with its server: the page must fetch again
                self.held.clear()
                self.seq = number
                yield event
            return
        self.held[number] = event
        yield from self._ready()
        if len(self.held) > HELD_AT_MOST:
            yield from self.give_up()

    def give_up(self) -> Iterator[Event]:
        """Waiting is over: what is held goes, and the missing number shows as a gap."""
        while self.held:
            self.seq = min(self.held) - 1
            yield from self._ready()

    def _ready(self) -> Iterator[Event]:
        while self.seq + 1 in self.held:
            self.seq += 1
            yield self.held.pop(self.seq)


@dataclass(slots=True)
class Outbox:
    """Messages that wait for one socket: `{"kind", "first", "seq", "at", "data"}`, covering the numbers first to seq.

    Live cells become messages of kind `cells`, whose data is `{"quotes": …, "rows": …, "summary": {portfolio: …}}`;
    cells behind cells merge, so a slow page has one such message waiting. Order events keep their place, always.
    """

    waiting: list[Event] = field(default_factory=list)

    def put(self, event: Event) -> None:
        message = {"first": event["seq"], "seq": event["seq"], "at": event["at"]}
        if event["kind"] not in CELLS:
            self.waiting.append({**message, "kind": event["kind"], "data": event["data"]})
            return
        last = self.waiting[-1] if self.waiting else None
        if last is None or last["kind"] != "cells" or last["seq"] + 1 != event["seq"]:
            last = {**message, "kind": "cells", "data": {"quotes": {}, "rows": {}, "summary": {}}}
            self.waiting.append(last)
        last["seq"], last["at"] = event["seq"], event["at"]
        self._merge(last["data"], event)

    def take_all(self) -> list[Event]:
        taken, self.waiting = self.waiting, []
        return taken

    @property
    def is_urgent(self) -> bool:
        """Something waits that is not merely a cell."""
        return any(message["kind"] != "cells" for message in self.waiting)

    @staticmethod
    def _merge(cells: Event, event: Event) -> None:
        data = event["data"]
        if event["kind"] == "prices":
            cells["quotes"].update(data.get("quotes", {}))
        elif event["kind"] == "positions":
            cells["rows"].update(data.get("rows", {}))
        else:
            cells["summary"][str(data.get("portfolio"))] = data
