"""Corporate actions: splits, bonuses, demergers, special dividends, and the factors they put on the past.

A factor multiplies every price before its ex-date; a split of 1 into 2 has 0.5. Volumes before a split or bonus are
divided by it. Suspected actions change nothing: a person confirms one, with its factor and source, or dismisses it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed
from trading.marketdata.models import CorporateAction, Instrument
from trading.venue.sessions import previous_day

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = CorporateAction.Kind
State = CorporateAction.State
STEP: Final = 0.001  # share by which a previous close must differ from the close before it
SIMPLE: Final = 0.004  # how close a step must be to a simple fraction to look like a split or bonus
GAP: Final = (0.8, 1.25)  # of the close before: where a share without a band may still open
OVERNIGHT: Final = 0.08  # how far it may move on that night beside the action
USUAL_FACTORS: Final = (1 / 10, 1 / 6, 1 / 5, 1 / 4, 1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3, 3 / 4, 2.0, 5.0, 10.0)
LARGEST_PART: Final = 20  # of a simple fraction: 1 into 20 is the widest split there is
MOST_SHARES: Final = 1_000  # into or out of which an action may turn so many
_IST_S, _DAY_S = 19_800, 86_400


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A step that trading does not explain. `factor`: what the prices before `ex_date` would be multiplied by."""

    ex_date: date
    factor: float
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class ExchangeDay:
    """A row of the exchange's end-of-day file, rupees. `open` 0: not known."""

    day: date
    previous_close: float
    close: float
    open: float = 0.0


def steps_of(days: Sequence[ExchangeDay]) -> list[Suspicion]:
    """Suspected actions of one instrument, from days rising, two ways: its previous close is not the close of the
    session before, or it opens further from there than any price band lets it trade.

    Some files adjust the previous close and some do not. Where the session before is not among the rows, nothing is
    said.
    """
    found = []
    for before, now in pairwise(days):
        if before.close <= 0 or now.previous_close <= 0 or previous_day(now.day) != before.day:
            continue
        factor = now.previous_close / before.close
        if abs(factor - 1) > STEP:
            kind, told = kind_of(factor)
            found.append(Suspicion(now.day, factor, kind, f"{before.close:g} became {now.previous_close:g}: {told}"))
        elif now.open > 0 and not GAP[0] <= now.open / before.close <= GAP[1]:
            gap = now.open / before.close
            factor = min(USUAL_FACTORS, key=lambda one: abs(one / gap - 1))
            if abs(factor / gap - 1) > OVERNIGHT:
                factor = gap
            kind, told = kind_of(factor)
            found.append(Suspicion(now.day, factor, kind, f"{before.close:g} opened at {now.open:g}: {told}"))
    return found


def steps_between(adjusted: Mapping[date, float], raw: Mapping[date, float]) -> list[Suspicion]:
    """Suspected actions from two views of one instrument's closes: an adjusted and an unadjusted one.

    Their ratio is a step function of time that changes at ex-dates alone.
    """
    common = sorted(adjusted.keys() & raw.keys())
    found = []
    for before, now in pairwise(common):
        if min(raw[before], raw[now], adjusted[before], adjusted[now]) <= 0:
            continue
        factor = (adjusted[before] / raw[before]) / (adjusted[now] / raw[now])
        if abs(factor - 1) > STEP:
            kind, told = kind_of(factor)
            found.append(Suspicion(now, factor, kind, f"adjusted and unadjusted closes part by {factor:.4f}: {told}"))
    return found


def kind_of(factor: float) -> tuple[str, str]:
    """What a step of this size looks like, and in words."""
    simple = Fraction(factor).limit_denominator(LARGEST_PART)
    if simple > 0 and simple.numerator <= LARGEST_PART and abs(float(simple) / factor - 1) < SIMPLE and factor < 0.95:
        return Kind.SPLIT_OR_BONUS, f"like a split or bonus of {simple.numerator} for {simple.denominator}"
    if factor < 1:
        return Kind.OTHER, f"a fall of {100 * (1 - factor):.2f} %: a demerger, rights or a special dividend"
    return Kind.OTHER, f"a rise of {100 * (factor - 1):.2f} %: a consolidation, or a wrong file"


# -- keeping them ------------------------------------------------------------------------------------------------------


@transaction.atomic
def suspect_actions(
    *, instrument: Instrument, suspicions: Iterable[Suspicion], source: str, now: datetime
) -> list[CorporateAction]:
    """Keep what is suspected; what is known of that day already is left alone. Gives the new rows."""
    made = []
    for one in suspicions:
        row = CorporateAction.objects.filter(instrument=instrument, ex_date=one.ex_date).first()
        if row is None:
            row = CorporateAction(instrument=instrument, ex_date=one.ex_date)
        elif row.state != State.WITHDRAWN:  # what was entered wrongly says nothing of what happened that day
            continue
        row.kind, row.factor, row.state, row.found_at = one.kind, _exact(one.factor), State.SUSPECTED, now
        row.source, row.note, row.decided_by, row.decided_at = source[:200], one.told[:300], "", None
        row.save()
        made.append(row)
    if made:
        record(
            "action.suspected", actor=source[:60], subject=instrument.symbol,
            actions=[[row.ex_date, str(row.factor), row.note] for row in made],
        )  # fmt: skip
    return made


@transaction.atomic
def confirm_action(
    *, action_id: int, factor: Decimal, kind: str, actor: str, source: str, note: str, now: datetime
) -> CorporateAction:
    """From now on adjusted prices carry this factor. Who, why and by which source are kept.

    Errors: NotAllowed (BAD_FACTOR, NO_SOURCE).
    """
    row = CorporateAction.objects.select_for_update().get(pk=action_id)
    if not factor.is_finite() or not Decimal("0.001") <= factor <= Decimal(1000):
        raise NotAllowed("BAD_FACTOR", f"{factor} is no factor: prices are multiplied by it", factor=str(factor))
    if not source.strip():
        raise NotAllowed("NO_SOURCE", "name the notice or circular that says so")
    before = {"state": row.state, "factor": str(row.factor), "kind": row.kind}
    row.state, row.factor, row.kind, row.terms = State.CONFIRMED, factor, kind, {}
    row.source, row.note = source[:200], (note or row.note)[:300]
    row.decided_by, row.decided_at = actor[:60], now
    row.save()
    record(
        "action.confirmed", actor=actor, subject=row.instrument.symbol, ex_date=row.ex_date, factor=str(factor),
        kind=kind, source=source, note=note, before=before,
    )  # fmt: skip
    return row


@transaction.atomic
def dismiss_action(*, action_id: int, actor: str, note: str, now: datetime) -> CorporateAction:
    """It was none, or it is not to be adjusted for. Errors: Conflict (ALREADY_DISMISSED)."""
    row = CorporateAction.objects.select_for_update().get(pk=action_id)
    if row.state == State.DISMISSED:
        raise Conflict("ALREADY_DISMISSED", "it was dismissed already")
    record(
        "action.dismissed", actor=actor, subject=row.instrument.symbol, ex_date=row.ex_date, note=note,
        before={"state": row.state, "factor": str(row.factor)},
    )  # fmt: skip
    row.state, row.decided_by, row.decided_at, row.note = State.DISMISSED, actor[:60], now, (note or row.note)[:300]
    row.save()
    return row


def _exact(factor: float) -> Decimal:
    """As the fraction it looks like, where it looks like one: 0.4998 is a half."""
    kind, _ = kind_of(factor)
    if kind == Kind.SPLIT_OR_BONUS:
        simple = Fraction(factor).limit_denominator(LARGEST_PART)
        return (Decimal(simple.numerator) / Decimal(simple.denominator)).quantize(Decimal("0.0000000001"))
    return Decimal(factor).quantize(Decimal("0.0000000001"))


# -- using them --------------------------------------------------------------------------------------------------------


def confirmed_between(instrument_ids: Sequence[int], first: date, last: date) -> list[CorporateAction]:
    """Confirmed actions with first < ex-date <= last, oldest first: what happened within a stretch of days."""
    rows = CorporateAction.objects.filter(
        instrument_id__in=list(instrument_ids), state=State.CONFIRMED, ex_date__gt=first, ex_date__lte=last
    )
    return list(rows.order_by("ex_date", "instrument_id"))


def undecided_between(instrument_ids: Sequence[int], first: date, last: date) -> list[CorporateAction]:
    """Actions with first < ex-date <= last that nobody decided on, or whose factor is not known yet, oldest first."""
    rows = CorporateAction.objects.filter(
        instrument_id__in=list(instrument_ids),
        state__in=CorporateAction.UNDECIDED,
        ex_date__gt=first,
        ex_date__lte=last,
    )
    return list(rows.order_by("ex_date", "instrument_id"))


def shares_of(factor: Decimal) -> tuple[int, int]:
    """Shares after and before a split or bonus of this factor: (2, 1) for a half."""
    simple = Fraction(factor).limit_denominator(MOST_SHARES)
    return simple.denominator, simple.numerator


def factors_at(instrument_ids: Sequence[int], starts: Ints, *, known_on: date) -> tuple[Floats, Floats] | None:
    """What prices are multiplied by and volumes divided by: float64[symbols, bars] each. None: by nothing.

    Only confirmed actions, and only those whose ex-date is not after `known_on`: a view of a day in the past knows
    nothing of a split that came later.
    """
    actions = CorporateAction.objects.filter(
        instrument_id__in=list(instrument_ids), state=State.CONFIRMED, ex_date__lte=known_on
    ).values_list("instrument_id", "ex_date", "factor", "kind")
    rows = {pk: row for row, pk in enumerate(instrument_ids)}
    prices = volumes = None
    for pk, ex_date, factor, kind in actions:
        opens = ex_date.toordinal() - date(1970, 1, 1).toordinal()
        before = int(np.searchsorted(starts, opens * _DAY_S - _IST_S))
        if before == 0:
            continue
        if prices is None or volumes is None:
            prices, volumes = np.ones((len(rows), starts.size)), np.ones((len(rows), starts.size))
        prices[rows[pk], :before] *= float(factor)
        if kind in CorporateAction.CHANGES_SHARES:
            volumes[rows[pk], :before] *= float(factor)
    return None if prices is None or volumes is None else (prices, volumes)
