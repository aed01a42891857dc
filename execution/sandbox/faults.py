"""What a broker does to its clients on a bad day, as data: a plan is a seed and rules, and the same calls in the same
order meet the same faults.

A rule says what goes wrong (`kind`), at which calls (`on`), how often (`chance`), how many times at most (`count`) and
how many calls are let pass before (`after`). Plans that come with the sandbox are JSON files in `plans/`.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PLANS = Path(__file__).parent / "plans"

SENDING = ("place", "modify", "cancel", "trigger")
READING = ("orders", "trades", "positions", "funds", "other")
CALLS: dict[str, tuple[str, ...]] = {
    **{call: (call,) for call in (*SENDING, *READING)},
    "send": SENDING,
    "read": READING,
    "any": (*SENDING, *READING),
    "frame": ("frame",),
}

KINDS: dict[str, tuple[str, str]] = {
    # kind: (where it acts unless told otherwise, what it does)
    "delay": ("any", "the answer comes `ms` later"),
    "drop_reply": ("place", "carried out, and the line is cut before the answer"),
    "timeout_400": ("place", "carried out, and answered with 400 'order request timed out'"),
    "other_id": ("place", "carried out, and answered with the number of another order"),
    "too_many": ("any", "429, not carried out"),
    "server_error": ("any", "HTTP `status`, not carried out unless `acted`"),
    "html": ("any", "200 and a page of HTML, not carried out unless `acted`"),
    "cut_short": ("any", "carried out, and half of the answer"),
    "token_expired": ("any", "401 'your token has expired', not carried out"),
    "empty_book": ("orders", "200 and an empty list"),
    "short_book": ("orders", "the newest `rows` are missing"),
    "late_book": ("orders", "orders and trades younger than `ms` are missing"),
    "doubled_fills": ("trades", "every trade is there twice"),
    "shuffled": ("trades", "rows in any order"),
    "other_price": ("trades", "the newest trade at another price, under the same number"),
    "lost_frame": ("frame", "a frame of the order socket never leaves"),
    "doubled_frame": ("frame", "a frame of the order socket comes twice"),
    "late_frame": ("frame", "a frame of the order socket comes after the next"),
}
NUMBERS = ("count", "after", "ms", "rows", "status")
LIMITS = {"count": 1_000_000, "after": 1_000_000, "ms": 600_000, "rows": 1_000, "status": 599}
REMEMBERED = 200


class BadPlan(ValueError):
    """A plan that cannot be read; the message says which rule and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that goes wrong. `count` None: as long as the plan is on."""

    kind: str
    on: str = ""
    chance: float = 1.0
    count: int | None = None
    after: int = 0
    ms: int = 0
    rows: int = 1
    status: int = 503
    acted: bool = False

    @classmethod
    def read(cls, row: Any) -> Rule:
        """A rule from JSON. BadPlan names what is wrong with it."""
        if not isinstance(row, Mapping) or row.get("kind") not in KINDS:
            raise BadPlan(f"kind must be one of {', '.join(KINDS)}")
        if unknown := set(row) - {"kind", "on", "chance", "acted", *NUMBERS}:
            raise BadPlan(f"{row['kind']}: unknown {', '.join(sorted(unknown))}")
        on = row.get("on") or KINDS[row["kind"]][0]
        if on not in CALLS:
            raise BadPlan(f"{row['kind']}: on must be one of {', '.join(CALLS)}")
        chance = row.get("chance", 1.0)
        if isinstance(chance, bool) or not hasattr(chance, "__float__") or not 0 <= float(chance) <= 1:
            raise BadPlan(f"{row['kind']}: chance must be from 0 to 1")
        numbers = {name: row[name] for name in NUMBERS if row.get(name) is not None}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LIMITS[name]:
                raise BadPlan(f"{row['kind']}: {name} must be a whole number from 0 to {LIMITS[name]}")
        return cls(kind=row["kind"], on=on, chance=float(chance), acted=row.get("acted") is True, **numbers)


@dataclass(frozen=True, slots=True)
class Plan:
    """A bad day with its name."""

    name: str
    says: str
    seed: int
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, body: Any) -> Plan:
        if not isinstance(body, Mapping) or not isinstance(body.get("rules"), list):
            raise BadPlan("a plan is an object with a list of rules")
        seed = body.get("seed", 1)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise BadPlan("seed must be a whole number")
        rules = tuple(Rule.read(row) for row in body["rules"][:100])
        return cls(str(body.get("name") or "unnamed")[:60], str(body.get("says") or "")[:200], seed, rules)


def shipped() -> dict[str, Plan]:
    """The plans that come with the sandbox, by name."""
    return {path.stem: Plan.read(json.loads(path.read_text())) for path in sorted(PLANS.glob("*.json"))}


@dataclass
class _Played:
    """A rule in play: its own dice, and what it has seen so far."""

    rule: Rule
    dice: random.Random
    seen: int = 0
    fired: int = 0

    def fires(self, call: str) -> bool:
        if call not in CALLS[self.rule.on]:
            return False
        self.seen += 1
        thrown = self.dice.random()  # thrown at every call, so that a rule's day depends on its own calls alone
        if self.seen <= self.rule.after or (self.rule.count is not None and self.fired >= self.rule.count):
            return False
        if thrown >= self.rule.chance:
            return False
        self.fired += 1
        return True


@dataclass
class FaultDeck:
    """The rules that are on. Asked at every call; remembers what it did."""

    plan: Plan | None = None
    played: list[_Played] = field(default_factory=list)
    silent_until: float = 0.0  # wall seconds until which no socket says anything
    done: Counter[str] = field(default_factory=Counter)
    log: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def play(self, plan: Plan, *, seed: int | None = None) -> None:
        """From now on this plan, from its beginning."""
        self.clear()
        self.plan = plan
        dice = plan.seed if seed is None else seed
        self.played = [_Played(rule, random.Random(f"{dice}:{n}")) for n, rule in enumerate(plan.rules)]

    def add(self, rule: Rule) -> None:
        """One more thing that goes wrong; the same kind at the same calls is replaced."""
        self.played = [one for one in self.played if (one.rule.kind, one.rule.on) != (rule.kind, rule.on)]
        if rule.count != 0:
            self.played.append(_Played(rule, random.Random(f"{rule.kind}:{rule.on}")))

    def clear(self) -> None:
        """A good day again."""
        self.plan, self.played, self.silent_until = None, [], 0.0

    def at(self, call: str) -> list[Rule]:
        """What goes wrong with this call, in the order of the rules."""
        fired = [one.rule for one in self.played if one.fires(call)]
        for rule in fired:
            self.done[rule.kind] += 1
            self.log.append((call, rule.kind))
        return fired

    def shown(self) -> dict[str, Any]:
        """What is on, and what was done since the start."""
        rules = [{**asdict(one.rule), "seen": one.seen, "fired": one.fired} for one in self.played]
        return {
            "plan": self.plan.name if self.plan else None, "rules": rules, "done": dict(sorted(self.done.items())),
            "log": [f"{call} {kind}" for call, kind in self.log],
        }  # fmt: skip
