"""How far below its highest equity a portfolio may fall before it trades less, and at last not at all. Pure.

NORMAL → CAUTIOUS → DEFENSIVE → HALTED. A step is taken at its threshold and left only when the drawdown has shrunk
`hysteresis` below it, so that a portfolio at the edge does not change its mind at every tick. HALTED is left by a
person alone.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class DrawdownStep(StrEnum):
    NORMAL = "NORMAL"
    CAUTIOUS = "CAUTIOUS"
    DEFENSIVE = "DEFENSIVE"
    HALTED = "HALTED"


ORDER = tuple(DrawdownStep)


@dataclass(frozen=True, slots=True)
class Steps:
    """Percent below the peak at which each step is taken."""

    cautious: Decimal = Decimal(10)
    defensive: Decimal = Decimal(15)
    halt: Decimal = Decimal(20)
    hysteresis: Decimal = Decimal(2)

    def at(self, step: DrawdownStep) -> Decimal:
        return {DrawdownStep.CAUTIOUS: self.cautious, DrawdownStep.DEFENSIVE: self.defensive,
                DrawdownStep.HALTED: self.halt}.get(step, Decimal(0))  # fmt: skip


def drawdown_pct(*, peak_paise: int, equity_paise: int) -> Decimal:
    """Percent below the peak, never negative; 100 where there is no equity left."""
    if peak_paise <= 0:
        return Decimal(0)
    return max(Decimal(0), Decimal(peak_paise - equity_paise) * 100 / peak_paise)


def next_step(step: DrawdownStep, drawdown: Decimal, steps: Steps) -> DrawdownStep:
    """The step after a drawdown was seen: up at once and by as many as it takes, down by hysteresis, HALTED stays."""
    if step is DrawdownStep.HALTED:
        return step
    reached = max((one for one in ORDER if drawdown >= steps.at(one)), key=ORDER.index)
    if ORDER.index(reached) >= ORDER.index(step):
        return reached
    while step is not DrawdownStep.NORMAL and drawdown <= steps.at(step) - steps.hysteresis:
        step = ORDER[ORDER.index(step) - 1]
    return step


def size_share_pct(step: DrawdownStep, smaller_pct: Decimal) -> Decimal:
    """Percent of the usual size that may be opened."""
    if step is DrawdownStep.HALTED:
        return Decimal(0)
    return Decimal(100) if step is DrawdownStep.NORMAL else smaller_pct


def tightened_stop(step: DrawdownStep, *, entry: Decimal, stop: Decimal, share_pct: Decimal) -> Decimal:
    """The stop of a new entry: while DEFENSIVE at `share_pct` of the usual distance. Not on the tick."""
    if step is not DrawdownStep.DEFENSIVE:
        return stop
    return entry + (stop - entry) * share_pct / 100
