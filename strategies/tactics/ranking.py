"""Who gets the next slot: the first rule that tells two waiting signals apart decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

CONTINUATION = "continuation"
DEEPEST_LOSS = "deepest_loss"
REPLACEMENTS = "replacements"
EXPECTED_PROFIT = "expected_profit"
OLDEST = "oldest"
RULES = (CONTINUATION, DEEPEST_LOSS, REPLACEMENTS, EXPECTED_PROFIT, OLDEST)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signal that waits. `loss_pct`: how far the market has gone against its entry price, percent, positive is
    against; None without a price. `continues`: a trade of the same side in the same instrument is live."""

    name: int
    continues: bool
    loss_pct: float | None
    replacements: int
    expected_profit_pct: float
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Ranked:
    candidate: Candidate
    rank: int
    reason: str


def ranked(candidates: Sequence[Candidate], rules: Sequence[str]) -> list[Ranked]:
    """Best first, each with the rule that put it before the next one, in words. Ties that no rule breaks go by age and
    then by name, so that two processes give the same order. ValueError for a rule that does not exist."""
    unknown = set(rules) - set(RULES)
    if unknown:
        raise ValueError(f"there is no rule called {', '.join(sorted(unknown))}")
    keys = {one.name: tuple(_key(one, rule) for rule in rules) for one in candidates}
    order = sorted(candidates, key=lambda one: (keys[one.name], one.enqueued_at, one.name))
    found = []
    for place, one in enumerate(order):
        after = order[place + 1] if place + 1 < len(order) else None
        found.append(Ranked(one, place + 1, _reason(one, after, rules, keys)))
    return found


def _key(one: Candidate, rule: str) -> float:
    """Smaller is better."""
    if rule == CONTINUATION:
        return 0.0 if one.continues else 1.0
    if rule == DEEPEST_LOSS:
        return -one.loss_pct if one.loss_pct is not None else float("inf")
    if rule == REPLACEMENTS:
        return -float(one.replacements)
    if rule == EXPECTED_PROFIT:
        return -one.expected_profit_pct
    return one.enqueued_at.timestamp()


def _reason(one: Candidate, after: Candidate | None, rules: Sequence[str], keys: dict[int, tuple[float, ...]]) -> str:
    if after is None:
        return "the only one" if len(keys) == 1 else "comes after all others"
    for rule, mine, theirs in zip(rules, keys[one.name], keys[after.name], strict=True):
        if mine != theirs:
            return _words(rule, one)
    return "older than the next, all else equal"


def _words(rule: str, one: Candidate) -> str:
    if rule == CONTINUATION:
        return "adds to a trade that is live"
    if rule == DEEPEST_LOSS:
        if one.loss_pct is None:
            return "no price"
        beyond = "beyond" if one.loss_pct >= 0 else "before"
        return f"the market is {abs(one.loss_pct):.2f} % {beyond} its entry"
    if rule == REPLACEMENTS:
        return f"replaced {one.replacements} times"
    if rule == EXPECTED_PROFIT:
        return f"expects {one.expected_profit_pct:.2f} %"
    return "older"
