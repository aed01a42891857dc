"""How a contract lets go of a trade: stop, target, trailing stop and parts taken off on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from strategies.contracts.fields import (
    ContractError,
    atr_period,
    no_period,
    plain,
    positive,
    read_choice,
    read_mapping,
    read_number,
    read_text,
)

MOST_PARTS: Final = 3
LONGEST_RULE: Final = 2_000
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class StopKind(StrEnum):
    PERCENT = "percent"  # of the entry price
    ATR = "atr"  # multiples of the average true range
    PRICE = "price"  # a rule that gives a price


class TargetKind(StrEnum):
    PERCENT = "percent"  # of the entry price
    ATR = "atr"
    R_MULTIPLE = "r_multiple"  # multiples of what is risked per unit
    PRICE = "price"  # a rule that gives a price


class TrailingKind(StrEnum):
    PERCENT = "percent"
    ATR = "atr"


class PartKind(StrEnum):
    PERCENT = "percent"
    ATR = "atr"
    R_MULTIPLE = "r_multiple"


@dataclass(frozen=True, slots=True)
class StopSpec:
    """`value`: percent or multiple, None for a price rule. `period`: bars of the ATR. `rule`: text of a price rule."""

    kind: StopKind
    value: Decimal | None
    period: int | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """As a stop, on the winning side."""

    kind: TargetKind
    value: Decimal | None
    period: int | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class TrailingSpec:
    """A stop `distance` behind the best price since the entry, once the trade has gained `after`.

    `distance` is percent of the best price, or multiples of the average range at the deciding bar; `after` is percent
    of the entry price. The best price is of bars that are over; the stop only ever moves towards the price.
    """

    kind: TrailingKind
    distance: Decimal
    after: Decimal = Decimal(0)
    period: int | None = None


@dataclass(frozen=True, slots=True)
class PartSpec:
    """`share_pct` of what was bought is sold when the price has gained `value`; a real order for whole lots."""

    share_pct: Decimal
    kind: PartKind
    value: Decimal
    period: int | None = None


def read_stop(value: Any) -> StopSpec:
    source = read_mapping(value, "stop", required={"kind", "value"}, optional={"period"})
    kind = read_choice(source["kind"], "stop.kind", StopKind)
    if kind is StopKind.PRICE:
        no_period(source, "stop")
        return StopSpec(kind, None, rule=read_text(source["value"], "stop.value", longest=LONGEST_RULE))
    if kind is StopKind.ATR:
        return StopSpec(kind, positive(source["value"], "stop.value", 20), atr_period(source, "stop"))
    no_period(source, "stop")
    return StopSpec(kind, positive(source["value"], "stop.value", 50))


def read_target(value: Any) -> TargetSpec | None:
    if value is None:
        return None
    source = read_mapping(value, "target", required={"kind", "value"}, optional={"period"})
    kind = read_choice(source["kind"], "target.kind", TargetKind)
    if kind is TargetKind.PRICE:
        no_period(source, "target")
        return TargetSpec(kind, None, rule=read_text(source["value"], "target.value", longest=LONGEST_RULE))
    if kind is TargetKind.ATR:
        return TargetSpec(kind, positive(source["value"], "target.value", 50), atr_period(source, "target"))
    no_period(source, "target")
    return TargetSpec(kind, positive(source["value"], "target.value", 500 if kind is TargetKind.PERCENT else 50))


def read_trailing(value: Any) -> TrailingSpec | None:
    if value is None:
        return None
    source = read_mapping(value, "trailing", required={"kind", "distance"}, optional={"after", "period"})
    kind = read_choice(source["kind"], "trailing.kind", TrailingKind)
    distance = positive(source["distance"], "trailing.distance", 20 if kind is TrailingKind.ATR else 50)
    after = read_number(source.get("after", 0), "trailing.after")
    if not 0 <= after <= 500:
        raise ContractError("OUT_OF_RANGE", "trailing.after", f"0 to 500, not {after}")
    if kind is TrailingKind.ATR:
        return TrailingSpec(kind, distance, after, atr_period(source, "trailing"))
    no_period(source, "trailing")
    return TrailingSpec(kind, distance, after)


def read_parts(value: Any) -> tuple[PartSpec, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence) or not 1 <= len(value) <= MOST_PARTS:
        raise ContractError("WRONG_TYPE", "partials", f"a list of one to {MOST_PARTS} parts")
    parts = tuple(_part(each, f"partials[{place}]") for place, each in enumerate(value))
    if sum(part.share_pct for part in parts) >= 100:
        raise ContractError("OUT_OF_RANGE", "partials", "the parts together must leave something of the position")
    return parts


def _part(value: Any, path: str) -> PartSpec:
    source = read_mapping(value, path, required={"share_pct", "kind", "value"}, optional={"period"})
    kind = read_choice(source["kind"], f"{path}.kind", PartKind)
    share = positive(source["share_pct"], f"{path}.share_pct", 99)
    gain = positive(source["value"], f"{path}.value", 500 if kind is PartKind.PERCENT else 50)
    if kind is PartKind.ATR:
        return PartSpec(share, kind, gain, atr_period(source, path))
    no_period(source, path)
    return PartSpec(share, kind, gain)


def read_clock(value: Any, path: str) -> time | None:
    """A time of day in India, "15:20"."""
    if value is None:
        return None
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ContractError("WRONG_TYPE", path, 'a time of day in India, such as "15:20"')
    return time(int(found[1]), int(found[2]))


def written_level(spec: StopSpec | TargetSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"kind": str(spec.kind), "value": spec.rule or plain(spec.value)}
    return _with_period(written, spec.period)


def written_trailing(spec: TrailingSpec) -> dict[str, Any]:
    written = {"kind": str(spec.kind), "distance": plain(spec.distance), "after": plain(spec.after)}
    return _with_period(written, spec.period)


def written_part(spec: PartSpec) -> dict[str, Any]:
    written = {"share_pct": plain(spec.share_pct), "kind": str(spec.kind), "value": plain(spec.value)}
    return _with_period(written, spec.period)


def _with_period(written: dict[str, Any], period: int | None) -> dict[str, Any]:
    return written if period is None else written | {"period": period}


def periods_of(body_parts: Mapping[str, Any]) -> dict[str, int]:
    """The ATR period of each level that has one, by its path."""
    return {path: spec.period for path, spec in body_parts.items() if spec is not None and spec.period is not None}
