"""The editor's form and the contract's mapping, one into the other. Fields are named by their path in the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.http import QueryDict

from strategies.contracts.exits import PartKind, StopKind, TargetKind, TrailingKind
from strategies.contracts.schema import TIMEFRAME_MINUTES, Family, Holding, Regime, SizingKind
from trading.domain.orders import Product

CHOICES: Final[dict[str, list[tuple[str, str]]]] = {
    "timeframe": [(name, name) for name in TIMEFRAME_MINUTES],
    "family": [(one, one) for one in Family if one is not Family.OPTIONS],
    "holding": [(Holding.INTRADAY, "intraday"), (Holding.MULTI_DAY, "over days")],
    "regime": [(one, one) for one in Regime],
    "product": [(Product.INTRADAY, "Intraday"), (Product.CNC, "Delivery"), (Product.MARGIN, "Margin")],
    "sizing.kind": [
        (SizingKind.RISK_PER_TRADE, "% of equity lost at the stop"), (SizingKind.PERCENT_EQUITY, "% of equity bought"),
        (SizingKind.FIXED_RUPEES, "rupees bought"), (SizingKind.FIXED_QUANTITY, "units"),
        (SizingKind.VOLATILITY_TARGET, "% of equity it moves a year"), (SizingKind.KELLY, "% of Kelly, 25 at most"),
    ],
    "stop.kind": [
        (StopKind.PERCENT, "% of the entry"), (StopKind.ATR, "× ATR"), (StopKind.PRICE, "a price, as a rule"),
    ],
    "target.kind": [
        ("", "none"), (TargetKind.R_MULTIPLE, "× what is risked"), (TargetKind.PERCENT, "% of the entry"),
        (TargetKind.ATR, "× ATR"), (TargetKind.PRICE, "a price, as a rule"),
    ],
    "trailing.kind": [("", "none"), (TrailingKind.PERCENT, "% of the best price"), (TrailingKind.ATR, "× ATR")],
    "partials[0].kind": [
        ("", "nothing"), (PartKind.R_MULTIPLE, "× what is risked"), (PartKind.PERCENT, "% of the entry"),
        (PartKind.ATR, "× ATR"),
    ],
}  # fmt: skip
CHOICES["partials[1].kind"] = CHOICES["partials[0].kind"]
_PLAIN: Final = (
    "name", "family", "timeframe", "holding", "regime", "product", "max_bars", "exit_at", "description",
    "when_it_loses",
)  # fmt: skip
_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "stop": ("kind", "value", "period"),
    "target": ("kind", "value", "period"),
    "trailing": ("kind", "distance", "after", "period"),
    "sizing": ("kind", "value", "period", "win_rate", "payoff"),
    "risk": ("max_positions", "max_trades_per_day"),
    "rules": ("long_entry", "short_entry", "long_exit", "short_exit", "score"),
    "partials[0]": ("share_pct", "kind", "value", "period"),
    "partials[1]": ("share_pct", "kind", "value", "period"),
}
_ONLY_OF: Final = {"period": ("atr", "volatility_target"), "win_rate": ("kelly",), "payoff": ("kelly",)}
_KINDED: Final = ("target", "trailing", "partials[0]", "partials[1]")
NEW: Final[dict[str, Any]] = {
    "timeframe": "5m", "family": "equity", "holding": "intraday", "regime": "any", "product": "INTRADAY",
    "sides": ["long"], "universes": "nifty50", "stop.kind": "atr", "stop.value": "1.5", "stop.period": "14",
    "target.kind": "r_multiple", "target.value": "2", "sizing.kind": "risk_per_trade", "sizing.value": "0.5",
    "parameters": [{"name": "fast", "default": "9", "min": "5", "max": "20"}],
    "rules.long_entry": "crosses_above(ema(close, fast), ema(close, 21)) and rsi(close, 14) < 70",
}  # fmt: skip


def fields_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows of a contract."""
    fields: dict[str, Any] = {name: body.get(name) for name in _PLAIN if body.get(name) is not None}
    for path, names in _GROUPS.items():
        group = _group(body, path)
        fields |= {f"{path}.{name}": group[name] for name in names if group.get(name) is not None}
    fields["sides"] = list(body.get("sides", ()))
    fields["universes"] = ", ".join(body.get("universes", ()))
    fields["parameters"] = [{"name": name, **spec} for name, spec in body.get("parameters", {}).items()]
    return fields


def fields_given(post: QueryDict) -> dict[str, Any]:
    """The form as it was sent, to be shown again."""
    paths = [*_PLAIN, "universes", *(f"{path}.{name}" for path, names in _GROUPS.items() for name in names)]
    fields: dict[str, Any] = {path: post[path] for path in paths if post.get(path, "").strip()}
    fields["sides"] = post.getlist("sides")
    columns = (post.getlist(f"parameter.{name}") for name in ("name", "default", "min", "max"))
    fields["parameters"] = [
        dict(zip(("name", "default", "min", "max"), row, strict=True))
        for row in zip(*columns, strict=False)
        if any(row)
    ]
    return fields


def body_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The contract a form describes, unchecked: `parse_contract` says what is wrong with it."""
    body: dict[str, Any] = {name: fields[name] for name in _PLAIN if name in fields}
    body["sides"] = list(fields["sides"])
    body["universes"] = [name.strip() for name in str(fields.get("universes", "")).split(",") if name.strip()]
    body["parameters"] = {
        row["name"].strip(): {name: row[name].strip() or None for name in ("default", "min", "max")}
        for row in fields["parameters"]
    }
    for path, names in _GROUPS.items():
        group = {name: fields[f"{path}.{name}"] for name in names if f"{path}.{name}" in fields}
        if path in _KINDED and "kind" not in group:
            continue
        kind = group.get("kind")
        for name in [name for name in group if kind not in _ONLY_OF.get(name, (kind,))]:
            del group[name]  # it belongs to another kind that was chosen before
        if path.startswith("partials"):
            body.setdefault("partials", []).append(group)
        elif group or path in ("rules", "stop", "sizing"):
            body[path] = group
    wanted = {"long": ("long_entry", "long_exit"), "short": ("short_entry", "short_exit")}
    off = {name for side, names in wanted.items() if side not in body["sides"] for name in names}
    body["rules"] = {name: text for name, text in body.get("rules", {}).items() if name not in off}
    return body


def _group(body: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    if path.startswith("partials"):
        parts, place = body.get("partials") or [], int(path[9])
        return parts[place] if place < len(parts) else {}
    return body.get(path) or {}
