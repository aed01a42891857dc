"""The crash campaign: every named point, many seeds, one SIGKILL each; then both sides must agree."""

import gc
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.prove.designs import DESIGNS
from tests.prove.door import door_loaded
from tests.prove.line import Exchange
from tests.prove.trial import Kill, Outcome, Stage, run_trial
from tests.small_broker import LOST, VANISHED
from trading.domain.crashpoint import POINTS

SCENARIOS = ("trade", "signal", "kill", "hand", "pieces", "ladder", "resting", "posted")
ENGINE = ("ladder.", "parts.", "pool.")
"""Points of the signal engine: only a trade of a hook passes them."""
POSTED = {
    "intake.asked", "intake.intent_written", "intake.committed", "intake.before_bell", "risk.assessed", "risk.reserved",
}  # fmt: skip
"""Points of an order that several programs post at once: half of their trials go that way."""
COUNTED = {"fills.stood_in", "fills.replaced"}
"""Points of fills that stand in for trades which the broker only counts."""
ONCE = {
    "intake.approved", "fills.stood_in", "fills.replaced", "recon.adopted",
    "intake.signal_locked", "intake.fates_written", "house.lease_expired", "house.absence_proven", "house.trade_closed",
    "fills.parked", "ladder.group_written", "pool.promoting", "pool.promoted",
    "kill.level_raised", "kill.cancels_asked", "kill.exits_asked", "kill.pulled",
    "protect.resize_asked", "protect.move_asked",
    "offset.planned", "offset.begun", "offset.winner_asked", "offset.winners_booked", "offset.loser_asked",
    "offset.finishing",
}  # fmt: skip
"""Points that one trade passes once or twice."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Where to die, and in which weather. The same for the same point and seed."""

    point: str
    seed: int
    scenario: str
    kills: tuple[Kill, ...]
    roughness: float = 0.5
    answer: object = None

    @property
    def name(self) -> str:
        return f"{self.point}:{self.seed}"


def trial_of(point: str, seed: int) -> Trial:
    """The trial of one point with one seed."""
    rng = random.Random(f"trial:{point}:{seed}")
    scenario = rng.choice(SCENARIOS)
    hit = 1 if point in ONCE else rng.choice([1, 1, 2, 3])
    kills: tuple[Kill, ...] = (Kill(point, hit),)
    roughness, answer = rng.choice([0.2, 0.5, 0.8]), None
    if point in ("intake.signal_locked", "intake.fates_written"):
        scenario = "signal"
    elif point.startswith("intake.alerts_"):
        scenario, roughness = "hooked", rng.choice([0.1, 0.2, 0.5])
    elif point in POSTED and rng.random() < 0.5:
        scenario = "posted"
    elif point == "intake.approved":
        scenario = "approval"
    elif point in COUNTED:
        scenario, roughness = "counted", rng.choice([0.0, 0.2])
    elif point == "recon.adopted":
        scenario, roughness = "hand", rng.choice([0.0, 0.1, 0.3])
    elif point.startswith("kill."):
        scenario = "kill"
    elif point.startswith(ENGINE):
        scenario, roughness = rng.choice(["ladder", "hooked", "resting"]), rng.choice([0.1, 0.2, 0.5])
        if point == "parts.due" or point.startswith("pool."):  # what rests at the broker is not watched, and gone soon
            scenario = "ladder"
    elif point.startswith("chase."):
        scenario, roughness = "chase", rng.choice([0.0, 0.2, 0.5])
    elif point.startswith("parent."):
        scenario, roughness = "large", rng.choice([0.0, 0.2, 0.5])
    elif point.startswith("offset."):
        scenario, roughness = "offset", rng.choice([0.0, 0.1, 0.3])
    elif point == "protect.resize_asked":
        scenario, roughness = "pieces", 0.1
    elif point == "protect.move_asked":
        scenario, roughness = "defensive", rng.choice([0.0, 0.1, 0.3])
    elif point in ("protect.stop_wanted", "protect.stop_queued"):
        roughness = 0.2
    elif point == "fills.parked":
        answer = LOST
    elif point == "house.absence_proven":
        answer = VANISHED
    elif point == "house.lease_expired":
        before = rng.choice(["dispatch.claimed", "dispatch.on_the_wire", "dispatch.answered"])
        kills, answer = (Kill(before), Kill(point)), VANISHED
    return Trial(point, seed, scenario, kills, roughness, answer)


def run(stage: Stage, trial: Trial) -> Outcome:
    """One trial. Where its hit is never reached it dies at the first one instead, if need be in fairer weather."""
    last = trial.kills[-1]
    first = replace(trial, kills=(*trial.kills[:-1], Kill(last.point)))
    fair = {"kill": "kill", "offset": "offset", "chase": "chase", "parent": "large"}.get(
        last.point.partition(".")[0], "pieces"
    )
    if last.point.startswith(ENGINE):
        fair = "ladder"
    elif last.point in COUNTED:
        fair = "counted"
    elif last.point in ("intake.approved", "recon.adopted", "protect.move_asked") or "alerts" in last.point:
        fair = trial.scenario
    fairer = replace(first, roughness=0.0, scenario=fair)
    for one in (trial, first, fairer):
        outcome = run_trial(
            stage, seed=trial.name, scenario=one.scenario, kills=one.kills, roughness=one.roughness, answer=one.answer
        )
        if last.point in outcome.killed or outcome.trouble:
            break
    return outcome


def caught(stage: Stage, name: str, *, most: int = 40) -> int | None:
    """How many trials it took the oracle to see through a broken design; None if it never did."""
    broken = DESIGNS[name]
    for number in range(most):
        outcome = run_trial(
            stage, seed=f"{name}:{number}", scenario=broken.scenario, design=broken.switch_on, patience=broken.patience,
            roughness=broken.roughness, lag=broken.lag, doubts=broken.doubts,
            kills=(Kill("dispatch.answered"),) if number % 3 == 2 else (),
        )  # fmt: skip
        if outcome.trouble:
            return number + 1
    return None


@contextmanager
def stage(*, feed: str = "proof") -> Iterator[Stage]:
    """A line to the broker, and what all trials of a process share in the database."""
    with tempfile.TemporaryDirectory(prefix="tarazu-proof-") as folder:
        exchange = Exchange(Path(folder))
        door_loaded()
        gc.collect()
        gc.freeze()  # what is loaded stays shared with every life that is forked from here
        try:
            yield Stage(exchange, feed=feed)
        finally:
            exchange.close()
            gc.unfreeze()


def points_in_code(root: Path) -> dict[str, int]:
    """How often each point is in the product's code."""
    found: dict[str, int] = dict.fromkeys(POINTS, 0)
    for package in ("trading", "accounts", "risk", "strategies", "execution"):
        for path in (root / package).rglob("*.py"):
            for name in re.findall(r'crashpoint\("([^"]+)"\)', path.read_text()):
                found[name] = found.get(name, 0) + 1
    return found
