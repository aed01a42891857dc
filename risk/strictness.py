"""The house's limits are a ceiling: who owns a portfolio may be stricter with it than the house, never laxer. Pure."""

from collections.abc import Mapping
from typing import Any

LARGER_IS_STRICTER = frozenset({
    "cash_reserve_pct", "cooldown_min", "loss_streak_pause_min", "duplicate_window_s", "min_volume_ratio",
    "margin_cushion_pct", "entry_after_open_min", "entry_before_close_min", "square_off_before_close_min",
    "drawdown_hysteresis_pct", "stop_required", "locks_need_release", "flatten_on_soft", "flatten_on_hard",
})  # fmt: skip
NOUGHT_IS_NEVER = frozenset({"loss_streak", "failsafe_rejections", "failsafe_trades", "failsafe_losing_days"})
"""A count from which something stops; 0 turns it off."""


def laxer(values: Mapping[str, Any], house: Mapping[str, Any], in_force: Mapping[str, Any] | None = None) -> list[str]:
    """Which of these limits allow more than the house does, and more than what is `in_force`: what an operator has let
    in before may stay, and be tightened by whom it belongs to."""
    return [
        name for name, value in values.items()
        if _is_laxer(name, value, house[name]) and (in_force is None or _is_laxer(name, value, in_force[name]))
    ]  # fmt: skip


def _is_laxer(name: str, value: Any, house: Any) -> bool:
    if name == "restricted_symbols":
        return not set(house) <= set(value)
    if name in NOUGHT_IS_NEVER:
        value, house = value or float("inf"), house or float("inf")
    return bool(value < house if name in LARGER_IS_STRICTER else value > house)
