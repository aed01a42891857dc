"""Faults on demand: what a broker does to its clients on a bad day."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("drop_reply", "drop_socket", "delay_ms")


@dataclass
class FaultPlan:
    """Counts down as requests come in. `drop_reply` concerns placements, `delay_ms` every broker request."""

    drop_replies: int = 0
    delays: int = 0
    delay_ms: int = 0

    def take_drop(self) -> bool:
        if self.drop_replies:
            self.drop_replies -= 1
            return True
        return False

    def take_delay_s(self) -> float:
        if self.delays:
            self.delays -= 1
            return self.delay_ms / 1000
        return 0.0
