"""What can be wrong with market data, by name. The codes are stable: reports, pages and alerts depend on them."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Defect(StrEnum):
    """One class of defect. What each means, and how heavily it weighs, is in MEANINGS."""

    MISSING_BARS = "MISSING_BARS"
    MISSING_DAY = "MISSING_DAY"
    SHORT_DAY = "SHORT_DAY"
    EARLY_BARS = "EARLY_BARS"
    LATE_BARS = "LATE_BARS"
    PAUSE_BARS = "PAUSE_BARS"
    STRAY_SESSION = "STRAY_SESSION"
    OFF_GRID = "OFF_GRID"
    END_LABELLED = "END_LABELLED"
    MIXED_LABELS = "MIXED_LABELS"
    DUPLICATE_BARS = "DUPLICATE_BARS"
    UNSORTED_ROWS = "UNSORTED_ROWS"
    IMPOSSIBLE_BARS = "IMPOSSIBLE_BARS"
    DISPUTED_BARS = "DISPUTED_BARS"
    OUTLIERS = "OUTLIERS"
    FLOAT_NOISE = "FLOAT_NOISE"
    ZERO_FIRST_VOLUME = "ZERO_FIRST_VOLUME"
    NO_VOLUME = "NO_VOLUME"
    PREOPEN_VOLUME = "PREOPEN_VOLUME"
    CATCH_UP_VOLUME = "CATCH_UP_VOLUME"
    VOLUME_SHORT = "VOLUME_SHORT"
    RENAMED_SYMBOL = "RENAMED_SYMBOL"
    SYMBOL_ENDS = "SYMBOL_ENDS"
    UNADJUSTED_ACTION = "UNADJUSTED_ACTION"
    UNKNOWN_DAY = "UNKNOWN_DAY"
    EPOCH_ZERO_TICK = "EPOCH_ZERO_TICK"
    DUPLICATE_TICK = "DUPLICATE_TICK"
    RUNNING_VOLUME = "RUNNING_VOLUME"
    VOLUME_BACKWARDS = "VOLUME_BACKWARDS"
    OTHER_DAY_TICK = "OTHER_DAY_TICK"
    STALE_CHAIN = "STALE_CHAIN"
    REPEATED_CHAIN = "REPEATED_CHAIN"
    CHAIN_HOLE = "CHAIN_HOLE"
    LATE_CHAIN_START = "LATE_CHAIN_START"
    CHAIN_WITHOUT_IV = "CHAIN_WITHOUT_IV"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`weight`: points a day loses for it, once; `untrusted`: nothing is traded on the bars it names."""

    text: str
    weight: int = 0
    untrusted: bool = False


MEANINGS: Final[dict[Defect, Meaning]] = {
    Defect.MISSING_BARS: Meaning("bars of the session that are not there; the score counts them one by one"),
    Defect.MISSING_DAY: Meaning("a trading day without a single bar", 100),
    Defect.SHORT_DAY: Meaning("fewer of its bars than a day must have to be used whole", 10),
    Defect.EARLY_BARS: Meaning("bars before the open: pre-open prices, or another label", 2, True),
    Defect.LATE_BARS: Meaning("bars after the close: post-close trades, or another label", 2, True),
    Defect.PAUSE_BARS: Meaning("bars while the exchange paused", 5, True),
    Defect.STRAY_SESSION: Meaning("bars of a day, or of hours, when the exchange was closed: a test session", 20, True),
    Defect.OFF_GRID: Meaning("bars that begin between two starts of the timeframe", 5, True),
    Defect.END_LABELLED: Meaning("stamps are the end of each bar: everything is one bar late", 50, True),
    Defect.MIXED_LABELS: Meaning("some days carry the start of each bar and some its end", 50, True),
    Defect.DUPLICATE_BARS: Meaning("a bar that is there twice; the first counts", 2),
    Defect.UNSORTED_ROWS: Meaning("rows that step backward in time", 1),
    Defect.IMPOSSIBLE_BARS: Meaning("prices that are not positive, or that high and low do not enclose", 10, True),
    Defect.DISPUTED_BARS: Meaning("two sources disagree about its numbers", 10, True),
    Defect.OUTLIERS: Meaning("a price that leaves those around it and comes back", 10, True),
    Defect.FLOAT_NOISE: Meaning("prices with more digits than the exchange has", 1),
    Defect.ZERO_FIRST_VOLUME: Meaning("the first bar of the day has no volume", 3),
    Defect.NO_VOLUME: Meaning("no volume all day", 0),
    Defect.PREOPEN_VOLUME: Meaning("the first bar's volume holds what was traded before the open", 1),
    Defect.CATCH_UP_VOLUME: Meaning("the bar after a hole holds the volume of the hole", 1),
    Defect.VOLUME_SHORT: Meaning("the bars hold much less than the exchange's volume of the day", 3),
    Defect.RENAMED_SYMBOL: Meaning("the symbol was given up: the instrument goes on under another name"),
    Defect.SYMBOL_ENDS: Meaning("no bars any more, while other instruments go on"),
    Defect.UNADJUSTED_ACTION: Meaning("a step of the price that a split, bonus or demerger explains", 0),
    Defect.UNKNOWN_DAY: Meaning("a day that the calendar does not know", 5),
    Defect.EPOCH_ZERO_TICK: Meaning("ticks dated 1970: an empty time stamp"),
    Defect.DUPLICATE_TICK: Meaning("the same tick twice in a row"),
    Defect.RUNNING_VOLUME: Meaning("the volume of a tick is the day's total so far, not the trade's"),
    Defect.VOLUME_BACKWARDS: Meaning("the day's total falls"),
    Defect.OTHER_DAY_TICK: Meaning("ticks of another day than the file's"),
    Defect.STALE_CHAIN: Meaning("the chain was stored long after the exchange's own time", 0, True),
    Defect.REPEATED_CHAIN: Meaning("the same chain of the exchange stored again", 0, True),
    Defect.CHAIN_HOLE: Meaning("a long time without a chain"),
    Defect.LATE_CHAIN_START: Meaning("the first chain of the day came well after the open"),
    Defect.CHAIN_WITHOUT_IV: Meaning("strikes for which the exchange gave no implied volatility"),
}


OUTSIDE: Final = frozenset(
    {Defect.EARLY_BARS, Defect.LATE_BARS, Defect.PAUSE_BARS, Defect.STRAY_SESSION, Defect.OFF_GRID}
)  # of bars that no session has


@dataclass(slots=True)
class Finding:
    """How often a defect was met, and where: `examples` are days, instants or values, at most five."""

    defect: Defect
    count: int = 0
    examples: list[str] = field(default_factory=list)
    days: int = 0

    def met(self, count: int, example: str = "", *, days: int = 0) -> None:
        self.count += count
        self.days += days
        if example and len(self.examples) < 5 and example not in self.examples:
            self.examples.append(example)

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.defect.value, "count": self.count, "days": self.days, "examples": self.examples,
            "meaning": MEANINGS[self.defect].text, "untrusted": MEANINGS[self.defect].untrusted,
        }  # fmt: skip


@dataclass(slots=True)
class Findings:
    """All defects of one file or series, in the order they were met."""

    met: dict[Defect, Finding] = field(default_factory=dict)

    def add(self, defect: Defect, count: int = 1, example: str = "", *, days: int = 0) -> None:
        if count:
            self.met.setdefault(defect, Finding(defect)).met(count, example, days=days)

    def count(self, defect: Defect) -> int:
        found = self.met.get(defect)
        return found.count if found else 0

    def as_list(self) -> list[dict[str, Any]]:
        return [found.as_dict() for found in self.met.values()]


def score_of(*, expected: int, trusted: int, defects: dict[Defect, int]) -> int:
    """What a day is worth, 0 to 100: the share of its bars that are there and trusted, less the weights of defects.

    A day without expected bars (closed) is worth 100 when it has none, else what its defects leave.
    """
    share = 100.0 * trusted / expected if expected else 100.0
    return max(0, min(100, round(share) - sum(MEANINGS[defect].weight for defect, count in defects.items() if count)))
