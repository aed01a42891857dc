"""What an alert means for a trade: open or add, close, close a part, turn around; on which side, and how much.

The sender's `execution_intent` wins. Else the strategy's position before and after the order says it, as it does on a
chart: to flat is an exit, from long to short is a reverse, smaller is a reduction. Else the action stands alone.
"""

from dataclasses import dataclass
from decimal import Decimal

from execution.hooks.payload import Alert
from execution.hooks.refusal import Findings
from strategies.models import Signal
from trading.domain.orders import Side

Kind = Signal.Kind


@dataclass(frozen=True, slots=True)
class Meaning:
    """`side`: of the order that is asked for (a SELL closes a long). `closes`: side of the trade that an exit is
    about, "" where the alert does not say. `size`: in the alert's own unit, None: the desk decides, or all of it."""

    kind: str
    side: Side
    size: Decimal | None
    closes: str = ""


def meaning_of(alert: Alert, *, default_action: str = "") -> Meaning:
    """Refused (400, INVALID_ALERT) where the alert does not say what to do, or says two things."""
    findings = Findings()
    kind, side = _kind_and_side(alert, alert.action or default_action)
    if not kind:
        findings.add(alert.name_of("tv.action"), "MISSING", "Buy, sell or exit? Neither the alert nor the hook says.")
    elif not side and kind in (Kind.ENTRY, Kind.REVERSE):
        findings.add(alert.name_of("execution_intent.side"), "MISSING", f"To which side shall it {kind.lower()}?")
    size = _size(alert, kind)
    if kind == Kind.REDUCE and size is None:
        findings.add(alert.name_of("tv.order_size"), "MISSING", "A reduction says how much.")
    if size is not None and size <= 0 and kind != Kind.EXIT:
        findings.add(alert.name_of("tv.order_size"), "OUT_OF_RANGE", "A size is above zero.")
    if kind in (Kind.ENTRY, Kind.REVERSE) and side:
        _levels(alert, Side(side), findings)
    findings.refuse_if_any()
    closes = _closes(alert, kind, side)
    return Meaning(kind, Side(side or (Side(closes).opposite if closes else Side.SELL)), size, closes)


def _kind_and_side(alert: Alert, action: str) -> tuple[str, str]:
    """Kind and side, "" for what nothing tells."""
    before, after = alert.position_before, alert.position
    said = action if action in ("BUY", "SELL") else ""
    if alert.intent:
        kind = Kind.ENTRY if alert.intent == "SIGNAL" else Kind(alert.intent)
        towards = after if after in ("BUY", "SELL") and kind in (Kind.ENTRY, Kind.REVERSE) else ""
        return kind, alert.intent_side or said or towards
    side = alert.intent_side or said
    if after == "FLAT":
        return Kind.EXIT, side or ("" if before in ("", "FLAT") else Side(before).opposite)
    if after and before not in ("", "FLAT", after):
        return Kind.REVERSE, after
    if after and _is_smaller(alert, said):
        return Kind.REDUCE, side or Side(after).opposite
    if after:
        return Kind.ENTRY, after
    if action in ("EXIT", "REDUCE", "REVERSE"):
        return Kind(action), side
    return (Kind.ENTRY, side) if side else ("", "")


def _is_smaller(alert: Alert, said: str) -> bool:
    """Whether the position is the same side as before, and less: by its sizes, else by an order against it."""
    now, was = alert.position_size, alert.position_size_before
    if alert.position_before == alert.position and now is not None and was is not None and now != was:
        return now < was
    return bool(said) and said != alert.position


def _size(alert: Alert, kind: str) -> Decimal | None:
    order, now, was = alert.order_size, alert.position_size, alert.position_size_before
    if kind == Kind.EXIT:
        return None
    if kind == Kind.REVERSE:
        if now is not None:
            return now
        # On a chart the order of a turn closes the old position and opens the new one.
        return order - was if order is not None and was is not None and order > was else order
    if order is not None or now is None:
        return order
    if alert.position_before in ("", "FLAT") and kind == Kind.ENTRY:
        return now
    return abs(now - was) if was is not None else None


def _closes(alert: Alert, kind: str, side: str) -> str:
    if kind not in (Kind.EXIT, Kind.REDUCE):
        return ""
    if alert.position_before in ("BUY", "SELL"):
        return alert.position_before
    if alert.position in ("BUY", "SELL"):
        return alert.position
    return Side(side).opposite if side else ""


def _levels(alert: Alert, side: Side, findings: Findings) -> None:
    """A stop lies behind the entry, a target before it."""
    entry = alert.price
    if entry is None:
        return
    for path, level, ahead in (("risk.stop_loss", alert.stop, -1), ("risk.take_profit", alert.target, 1)):
        if level is not None and (level - entry) * side.sign * ahead <= 0:
            where = "above" if side.sign * ahead > 0 else "below"
            findings.add(alert.name_of(path), "WRONG_SIDE", f"For a {side.lower()} at {entry} it must be {where} that.")
