"""Corporate actions entered by their announcement: an ex-date and a ratio, before prices show anything.

A split, a bonus or a merger gives its factor at once, and holds from its ex-date. A dividend or rights need the last
close before it: until that is stored the row is ANNOUNCED, and from the ex-date on nothing is said of the instrument.
Entering the same again changes nothing; what was entered wrongly is withdrawn, and what prices had shown comes back.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from django.db import transaction
from django.db.models import Sum

from trading.audit.record import record
from trading.domain.clock import IST
from trading.domain.errors import Conflict, NotAllowed
from trading.marketdata.builder import Bar
from trading.marketdata.candles import block_span, candles_of, columns_of
from trading.marketdata.files.archive import archived_between
from trading.marketdata.listing.actions import GAP, MOST_SHARES
from trading.marketdata.marks import UNTRUSTED
from trading.marketdata.models import CandleBlock, CandleSeries, CorporateAction, Feed, Instrument
from trading.marketdata.packing.blocks import date_of
from trading.venue.sessions import previous_day, session_on

Kind, State = CorporateAction.Kind, CorporateAction.State
DAILY: Final = 1440
SHOWN_DAYS: Final = 5
CLOSE_WITHIN: Final = timedelta(minutes=16)  # of the session's end, for a minute's close to stand for the day's
_FINEST = Decimal("0.0000000001")
_OLDEST = date(1990, 1, 1)


class Form(StrEnum):
    """How an announcement puts it."""

    SPLIT = "SPLIT"  # `old` shares become `new`
    BONUS = "BONUS"  # `new` shares more for `old` held
    DIVIDEND = "DIVIDEND"  # `amount` rupees a share
    RIGHTS = "RIGHTS"  # `new` shares for `old` held, at `amount` rupees
    DEMERGER = "DEMERGER"  # `kept_pct` percent of the price stay
    MERGER = "MERGER"  # `old` shares of this become `new` of the one it goes into
    FACTOR = "FACTOR"  # the factor itself, where the exchange publishes it


FORM_WORDS: Final = {
    Form.SPLIT: "split: old shares become new", Form.BONUS: "bonus: new shares for old held",
    Form.DIVIDEND: "special dividend: rupees a share", Form.RIGHTS: "rights: new for old at a price",
    Form.DEMERGER: "demerger: percent of the price that stays",
    Form.MERGER: "merger: old shares become new of another", Form.FACTOR: "the factor itself",
}  # fmt: skip
KIND_OF: Final = {
    Form.SPLIT: Kind.SPLIT_OR_BONUS, Form.BONUS: Kind.SPLIT_OR_BONUS, Form.DIVIDEND: Kind.DIVIDEND,
    Form.RIGHTS: Kind.RIGHTS, Form.DEMERGER: Kind.DEMERGER, Form.MERGER: Kind.MERGER, Form.FACTOR: Kind.OTHER,
}  # fmt: skip
NEEDED: Final = {
    Form.SPLIT: ("new", "old"), Form.BONUS: ("new", "old"), Form.DIVIDEND: ("amount",),
    Form.RIGHTS: ("new", "old", "amount"), Form.DEMERGER: ("kept_pct",), Form.MERGER: ("new", "old"),
    Form.FACTOR: ("factor",),
}  # fmt: skip
NEED_CLOSE: Final = frozenset({Form.DIVIDEND, Form.RIGHTS})


@dataclass(frozen=True, slots=True)
class Terms:
    """What was announced. `amount` in rupees."""

    form: Form
    new: int | None = None
    old: int | None = None
    amount: Decimal | None = None
    kept_pct: Decimal | None = None
    factor: Decimal | None = None

    def as_dict(self) -> dict[str, Any]:
        """As it is kept; numbers as text, so that the same terms are the same row."""
        told: dict[str, Any] = {"form": self.form.value}
        for name in NEEDED[self.form]:
            value = getattr(self, name)
            told[name] = value if isinstance(value, int) else f"{value.normalize():f}"
        return told

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "Terms":
        return cls(
            Form(told["form"]), told.get("new"), told.get("old"),
            *(Decimal(told[name]) if name in told else None for name in ("amount", "kept_pct", "factor")),
        )  # fmt: skip

    def words(self) -> str:
        new, old, amount = self.new, self.old, self.amount
        return {
            Form.SPLIT: f"split of {old} into {new}", Form.BONUS: f"bonus of {new} for {old}",
            Form.DIVIDEND: f"dividend of ₹{amount} a share", Form.RIGHTS: f"rights of {new} for {old} at ₹{amount}",
            Form.DEMERGER: f"demerger, {self.kept_pct} % of the price stay",
            Form.MERGER: f"merger, {old} become {new} of another",
            Form.FACTOR: f"factor {self.factor}",
        }[self.form]  # fmt: skip

    def checked(self) -> "Terms":
        """These terms without what their form has no use for. Error: NotAllowed (BAD_TERMS)."""
        needed = NEEDED[self.form]
        for name in needed:
            value = getattr(self, name)
            if value is None:
                raise NotAllowed("BAD_TERMS", f"a {self.form.lower()} needs its {name}", field=name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise NotAllowed("BAD_TERMS", f"{name} is no number", field=name)
            low, high = {
                "new": (1, MOST_SHARES), "old": (1, MOST_SHARES), "amount": (Decimal("0.01"), Decimal(10**6)),
                "kept_pct": (Decimal("0.1"), Decimal("99.99")), "factor": (Decimal("0.001"), Decimal(1000)),
            }[name]  # fmt: skip
            if not low <= value <= high:
                raise NotAllowed("BAD_TERMS", f"{name} lies between {low} and {high}, not {value}", field=name)
        return replace(Terms(self.form), **{name: getattr(self, name) for name in needed})

    def factor_after(self, close: Decimal | None) -> Decimal | None:
        """What prices before are multiplied by; None: it takes the close before the ex-date, and that is not there.

        Errors: NotAllowed (BAD_TERMS: more than the share is worth).
        """
        if self.form in NEED_CLOSE and close is None:
            return None
        new, old, amount = Decimal(self.new or 0), Decimal(self.old or 0), self.amount or Decimal(0)
        value = close or Decimal(1)
        found = {
            Form.SPLIT: lambda: old / new, Form.MERGER: lambda: old / new, Form.BONUS: lambda: old / (old + new),
            Form.DIVIDEND: lambda: (value - amount) / value,
            Form.RIGHTS: lambda: (old * value + new * amount) / (old + new) / value,
            Form.DEMERGER: lambda: (self.kept_pct or Decimal(0)) / 100, Form.FACTOR: lambda: self.factor or Decimal(0),
        }[self.form]().quantize(_FINEST)  # fmt: skip
        if self.form == Form.RIGHTS and found > 1:
            return Decimal(1)  # dearer than the market: nobody takes them, and no price moves
        if not Decimal("0.001") <= found <= 1000:
            raise NotAllowed("BAD_TERMS", f"a factor of {found} cannot be: the last close is {close}")
        return found


@dataclass(frozen=True, slots=True)
class Preview:
    """What announcing would do. `bars`: (feed, timeframe in minutes, stored bars before the ex-date) whose adjusted
    view changes; `days`: (day, close as traded, close adjusted), newest first; `factor` None: waits for the close of
    `waits_for`.
    """

    symbol: str
    ex_date: date
    terms: Terms
    kind: str
    factor: Decimal | None
    waits_for: date | None
    close_before: Decimal | None
    bars: tuple[tuple[str, int, int], ...] = ()
    days: tuple[tuple[date, Decimal, Decimal], ...] = ()
    known: str = ""  # what is known of that day already
    is_new: bool = True  # False: this is entered already, and entering it again changes nothing
    warnings: tuple[str, ...] = field(default=())


def preview_action(*, instrument: Instrument, ex_date: date, terms: Terms) -> Preview:
    """What would change; nothing does. Errors: NotAllowed (BAD_TERMS, NOT_A_TRADING_DAY)."""
    terms = terms.checked()
    _check_day(ex_date)
    before = previous_day(ex_date)
    close = close_on(instrument, before)
    factor = terms.factor_after(close)
    row = CorporateAction.objects.filter(instrument=instrument, ex_date=ex_date).first()
    days: tuple[tuple[date, Decimal, Decimal], ...] = ()
    if factor is not None:
        days = tuple((day, one, (one * factor).quantize(Decimal("0.01"))) for day, one in _closes(instrument, ex_date))
    return Preview(
        instrument.symbol, ex_date, terms, KIND_OF[terms.form], factor, before if factor is None else None, close,
        tuple(_bars_before(instrument, ex_date)), days,
        "" if row is None else f"{row.get_state_display().lower()}: {row.told}",
        row is None or not _is_same(row, terms), tuple(_warnings(instrument, ex_date, factor, close)),
    )  # fmt: skip


@transaction.atomic
def announce_action(
    *, instrument: Instrument, ex_date: date, terms: Terms, source: str, note: str = "", actor: str, now: datetime
) -> CorporateAction:
    """Enter what was announced. The same again changes nothing and is not audited again.

    What prices made suspect for that day is decided by it. Errors: NotAllowed (BAD_TERMS, NOT_A_TRADING_DAY,
    NO_SOURCE), Conflict (ACTION_KNOWN: another is in force for that day; withdraw it first).
    """
    terms = terms.checked()
    _check_day(ex_date)
    if not source.strip():
        raise NotAllowed("NO_SOURCE", "name the notice or circular that says so")
    Instrument.objects.select_for_update(no_key=True).get(pk=instrument.pk)  # two that enter one action are one
    row = CorporateAction.objects.filter(instrument=instrument, ex_date=ex_date).first()
    if row is not None and _is_same(row, terms):
        return row
    if row is not None and row.state in (State.CONFIRMED, State.ANNOUNCED):
        raise Conflict(
            "ACTION_KNOWN", f"{instrument.symbol} has an action of {ex_date} in force ({row.told}): withdraw it first"
        )
    close = close_on(instrument, previous_day(ex_date))
    factor = terms.factor_after(close)
    suspected: dict[str, Any] = {}
    if row is None:
        row = CorporateAction(instrument=instrument, ex_date=ex_date, found_at=now)
    elif row.state == State.SUSPECTED:
        suspected = {"factor": str(row.factor), "kind": row.kind, "source": row.source, "note": row.note}
    row.kind, row.terms, row.suspected = KIND_OF[terms.form], terms.as_dict(), suspected
    row.factor = factor if factor is not None else Decimal(1)
    row.state = State.ANNOUNCED if factor is None else State.CONFIRMED
    row.source, row.note = source.strip()[:200], (note.strip() or terms.words())[:300]
    row.decided_by, row.decided_at = actor[:60], now
    row.save()
    record(
        "action.announced", actor=actor, subject=instrument.symbol, ex_date=ex_date, terms=row.terms, state=row.state,
        factor=None if factor is None else str(factor), close_before=None if close is None else str(close),
        source=row.source, note=row.note, suspected=suspected,
    )  # fmt: skip
    return row


def complete_announced(*, now: datetime) -> list[CorporateAction]:
    """Give their factors to announced actions whose close before the ex-date is stored by now. Safe to repeat."""
    done = []
    for pk in CorporateAction.objects.filter(state=State.ANNOUNCED).values_list("pk", flat=True):
        with transaction.atomic():
            row = CorporateAction.objects.select_for_update(of=("self",)).select_related("instrument").get(pk=pk)
            if row.state != State.ANNOUNCED:
                continue
            close = close_on(row.instrument, previous_day(row.ex_date))
            factor = Terms.from_dict(row.terms).factor_after(close)
            if factor is None:
                continue
            row.factor, row.state = factor, State.CONFIRMED
            row.save(update_fields=["factor", "state"])
            record(
                "action.completed", actor="marketdata", subject=row.instrument.symbol, ex_date=row.ex_date,
                factor=str(factor), close_before=str(close), at=now,
            )  # fmt: skip
            done.append(row)
    return done


@transaction.atomic
def withdraw_action(*, action_id: int, actor: str, note: str, now: datetime) -> CorporateAction:
    """It was entered wrongly. Nothing is adjusted for it any more; what prices had made suspect is suspected again.

    A second press changes nothing. Errors: NotAllowed (NO_REASON, NOT_IN_FORCE: it is only suspected, or dismissed).
    """
    if not note.strip():
        raise NotAllowed("NO_REASON", "say why it is withdrawn")
    row = CorporateAction.objects.select_for_update(of=("self",)).select_related("instrument").get(pk=action_id)
    if row.state == State.WITHDRAWN or (row.state == State.SUSPECTED and row.decided_by):
        return row
    if row.state not in (State.CONFIRMED, State.ANNOUNCED):
        raise NotAllowed("NOT_IN_FORCE", "nothing is adjusted for it: there is nothing to withdraw")
    before = {"state": row.state, "factor": str(row.factor), "kind": row.kind, "terms": row.terms, "source": row.source}
    if row.suspected:
        row.state, row.factor, row.kind = State.SUSPECTED, Decimal(row.suspected["factor"]), row.suspected["kind"]
        row.source, row.note = row.suspected["source"], row.suspected["note"]
    else:
        row.state, row.note = State.WITHDRAWN, note.strip()[:300]
    row.terms, row.suspected, row.decided_by, row.decided_at = {}, {}, actor[:60], now
    row.save()
    record(
        "action.withdrawn", actor=actor, subject=row.instrument.symbol, ex_date=row.ex_date, note=note, before=before,
        state=row.state,
    )  # fmt: skip
    return row


# -- what the store knows of it ----------------------------------------------------------------------------------------


def close_on(instrument: Instrument, day: date | None) -> Decimal | None:
    """The close of a session as an exchange's feed holds it, rupees: of its daily candle, else of its last minute."""
    if day is None:
        return None
    session = session_on(day, assume_weekdays=True)
    start = datetime.combine(day, time(), IST)
    for feed in _feeds():
        found = _trusted(candles_of(feed, instrument, DAILY, start=start, end=start + timedelta(days=1)))
        if found:
            return found[-1].close
    for feed in _feeds():
        minutes = _trusted(candles_of(feed, instrument, 1, start=start, end=start + timedelta(days=1)))
        if minutes and session is not None and minutes[-1].started_at >= session.closes_at - CLOSE_WITHIN:
            return minutes[-1].close
    return None


def _trusted(bars: list[Bar]) -> list[Bar]:
    return [bar for bar in bars if not bar.mark & UNTRUSTED]


def _feeds() -> list[Feed]:
    return list(Feed.objects.filter(kind=Feed.Kind.EXCHANGE).order_by("name"))


def _closes(instrument: Instrument, ex_date: date) -> list[tuple[date, Decimal]]:
    end = datetime.combine(ex_date, time(), IST)
    for feed in _feeds():
        found = candles_of(feed, instrument, DAILY, start=end - timedelta(days=15), end=end)
        if found:
            return [(bar.started_at.astimezone(IST).date(), bar.close) for bar in found[: -SHOWN_DAYS - 1 : -1]]
    return []


def _bars_before(instrument: Instrument, ex_date: date) -> list[tuple[str, int, int]]:
    """Stored and archived bars before a day, by feed and timeframe. Blocks tell how many they hold; one is opened."""
    end = datetime.combine(ex_date, time(), IST)
    found = []
    kept = CandleSeries.objects.filter(instrument=instrument).select_related("feed")
    for series in kept.order_by("feed__name", "timeframe"):
        first = block_span(end, end + timedelta(minutes=1), series.timeframe)[0]
        whole = series.blocks.filter(first_day__lt=first).aggregate(bars=Sum("bars", default=0))["bars"]
        known = set(CandleBlock.objects.filter(series=series).values_list("first_day", flat=True))
        archived = archived_between([series.pk], series.timeframe, _OLDEST, first - timedelta(days=1))
        whole += sum(row[2] for row in archived if date_of(row[1]) not in known)
        start = datetime.combine(first, time(), IST)
        whole += len(columns_of(series.feed, [instrument], series.timeframe, start=start, end=end))
        if whole:
            found.append((series.feed.name, series.timeframe, whole))
    return found


def _warnings(instrument: Instrument, ex_date: date, factor: Decimal | None, close: Decimal | None) -> list[str]:
    """What prices say against it, where they are there."""
    if factor is None or close is None:
        return []
    start = datetime.combine(ex_date, time(), IST)
    for feed in _feeds():
        found = candles_of(feed, instrument, DAILY, start=start, end=start + timedelta(days=1))
        found = found or candles_of(feed, instrument, 1, start=start, end=start + timedelta(days=1))
        if found:
            opened, expected = found[0].open, close * factor
            if not GAP[0] <= float(opened / expected) <= GAP[1]:
                told = f"It opened at {opened.normalize():f} after {close.normalize():f}; by these terms about"
                rest = f" {expected:.2f} was to be expected: a wrong ratio or day, or prices adjusted by their source."
                return [told + rest]
            return []
    return []


def _check_day(ex_date: date) -> None:
    if not 1990 <= ex_date.year <= 2100 or session_on(ex_date, assume_weekdays=True) is None:
        raise NotAllowed("NOT_A_TRADING_DAY", f"{ex_date} is no day of trading, and an ex-date is one")


def _is_same(row: CorporateAction, terms: Terms) -> bool:
    return row.state in (State.CONFIRMED, State.ANNOUNCED) and row.terms == terms.as_dict()
