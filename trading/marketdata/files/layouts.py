"""Which column is what, and when: the layouts in which vendors hand out candles, told by their headers and stamps."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

FIELDS = ("open", "high", "low", "close", "volume")
# The names under which a column is known, best first; compared without case, blanks, dots and underscores.
_WHOLE_STAMPS = ("ts", "timestamp", "datetime", "dateandtime", "starttime", "start", "bartime", "epoch", "t",
                 "indexlevel0")  # the index of a frame that has no name  # fmt: skip
_STAMPS = (*_WHOLE_STAMPS, "time", "date", "tradedate", "date1", "traddt")
_DAYS, _HOURS = ("date", "tradedate", "day", "d"), ("time", "t", "hhmm")
_NAMES = {
    "open": ("open", "o", "openprice", "opnpric"),
    "high": ("high", "h", "highprice", "hghpric"),
    "low": ("low", "l", "lowprice", "lwpric"),
    "close": ("close", "c", "closeprice", "clspric", "ltp"),
    "volume": ("volume", "v", "vol", "totalvolume", "ttltrdqnty", "ttltradgvol", "quantity", "qty"),
}
_SYMBOLS = ("symbol", "ticker", "tradingsymbol", "tckrsymb", "stock", "scrip", "instrument")
_DATE_FORMS = (
    (re.compile(r"\d{4}-\d{1,2}-\d{1,2}"), "%Y-%m-%d"),
    (re.compile(r"\d{4}/\d{1,2}/\d{1,2}"), "%Y/%m/%d"),
    (re.compile(r"\d{8}"), "%Y%m%d"),
    (re.compile(r"\d{1,2}-\d{1,2}-\d{4}"), "%d-%m-%Y"),
    (re.compile(r"\d{1,2}/\d{1,2}/\d{4}"), "%d/%m/%Y"),
    (re.compile(r"\d{1,2}-[A-Za-z]{3}-\d{4}"), "%d-%b-%Y"),
    (re.compile(r"\d{1,2} [A-Za-z]{3} \d{4}"), "%d %b %Y"),
    (re.compile(r"\d{1,2}-[A-Za-z]{3}-\d{2}"), "%d-%b-%y"),
)
_EPOCH = re.compile(r"\d{9,10}(\.0+)?|\d{12,13}(\.0+)?")
_CLOCK = re.compile(r"(\d{1,2}):?(\d{2})(?::?(\d{2}))?(?:\.0+)?")
EARLIEST, LATEST = 1990, 2100


def plain(name: str) -> str:
    """A header's word without what vendors decorate it with."""
    return re.sub(r"[\s._\-<>]", "", name).lower()


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the columns. `time` is None where one column holds the whole stamp; `symbol` where there is none."""

    date: int
    time: int | None
    fields: tuple[int, int, int, int, int]
    symbol: int | None
    has_volume: bool = True  # where it is False the place of volume is that of the close, and means nothing

    def stamp(self, row: Sequence[str]) -> str:
        return row[self.date].strip() if self.time is None else f"{row[self.date].strip()} {row[self.time].strip()}"


def layout_of(header: Sequence[str], *, volume_needed: bool = True) -> Layout | str:
    """The layout of a header, or what is wrong with it as a sentence. An index may come without volume."""
    names = [plain(name) for name in header]
    absent: list[str] = []
    fields: list[int] = []
    for field in FIELDS:
        found = next((name for name in _NAMES[field] if name in names), None)
        if found is None and field == "volume" and not volume_needed and len(fields) == 4:
            fields.append(fields[-1])
            continue
        if found is None:
            absent.append(field)
            continue
        if names.count(found) > 1:
            return f"column {found} is there twice"
        fields.append(names.index(found))
    day = next((name for name in _DAYS if name in names), None)
    hour = next((name for name in _HOURS if name in names), None)
    whole = next((name for name in _WHOLE_STAMPS if name in names and name != hour), None)
    if whole is None and day is not None and hour is not None:
        stamp, time = names.index(day), names.index(hour)
    else:
        one = next((name for name in _STAMPS if name in names), None)
        if one is None:
            absent.insert(0, "ts")
        elif names.count(one) > 1:
            return f"column {one} is there twice"
        stamp, time = (names.index(one) if one else 0), None
    if absent:
        return f"no column {', '.join(absent)}; wanted are a time stamp (ts, date …) and {', '.join(FIELDS)}"
    symbol = next((names.index(name) for name in _SYMBOLS if name in names), None)
    o, h, lo, c, v = fields
    return Layout(stamp, time, (o, h, lo, c, v), symbol, has_volume=v != c)


class StampReader:
    """Instants out of the texts of one file: ISO 8601, epochs, and the dates and clocks that vendors write."""

    def __init__(self, zone: tzinfo, *, daily: bool) -> None:
        self.zone = zone
        self.daily = daily
        self._dates: dict[str, date] = {}
        self._form: Callable[[str], date] | None = None

    def read(self, text: str) -> tuple[int, timedelta | None]:
        """Epoch seconds and the offset that the text names, None where it names none. ValueError: no time stamp."""
        text = text.strip()
        if _EPOCH.fullmatch(text):
            number = int(float(text)) if "." in text else int(text)
            number = number // 1000 if number >= 10**11 else number
            return self._checked(datetime.fromtimestamp(number, UTC)), timedelta(0)
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            instant = self._vendors(text)
        if instant.microsecond or (len(text) < 11 and not self.daily):
            raise ValueError(text)
        offset = instant.utcoffset()
        if offset is None:
            instant = instant.replace(tzinfo=self.zone)
        return self._checked(instant), offset

    @staticmethod
    def _checked(instant: datetime) -> int:
        if not EARLIEST <= instant.year <= LATEST:
            raise ValueError(str(instant))
        return int(instant.timestamp())

    def _vendors(self, text: str) -> datetime:
        day, _, rest = text.partition(" ") if not re.match(r"\d{1,2} [A-Za-z]", text) else _words(text)
        if day not in self._dates:
            self._dates[day] = _day(day)
        rest = rest.strip()
        if not rest:
            if not self.daily:
                raise ValueError(text)
            return datetime.combine(self._dates[day], datetime.min.time())
        clock, _, half = rest.partition(" ")
        found = _CLOCK.fullmatch(clock)
        if found is None or half.upper() not in ("", "AM", "PM"):
            raise ValueError(text)
        hour, minute, second = (int(part or 0) for part in found.groups())
        if half:
            hour = hour % 12 + (12 if half.upper() == "PM" else 0)
        return datetime.combine(self._dates[day], datetime.min.time()) + timedelta(
            seconds=_within(hour, 24) * 3600 + _within(minute, 60) * 60 + _within(second, 60)
        )


def _within(number: int, limit: int) -> int:
    if number >= limit:
        raise ValueError(number)
    return number


def _words(text: str) -> tuple[str, str, str]:
    """`01 Oct 2019 09:15`: the date has blanks itself."""
    words = text.split(" ")
    return " ".join(words[:3]), " ", " ".join(words[3:])


def _day(text: str) -> date:
    for form, pattern in _DATE_FORMS:
        if form.fullmatch(text):
            return datetime.strptime(text, pattern).date()  # noqa: DTZ007 - a day has no zone
    raise ValueError(text)
