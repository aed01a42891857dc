"""What is known of an alert while it is taken in: what its delivery will say, and its signals are named after."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from execution.models import Delivery, Hook

KEPT_S = 24 * 3600  # a copy within it is a copy


@dataclass(slots=True)
class Arrival:
    """`wall`: when it came. `key` names it among copies, for `kept_s` seconds."""

    hook: Hook
    wall: datetime
    remote_ip: str
    began: float = field(default_factory=time.perf_counter)
    dialect: str = ""
    body: str = ""
    digest: str = ""
    key: str = ""
    kept_s: int = KEPT_S
    named_key: bool = False
    replay_of: Delivery | None = None
    actor: str = ""
    known: Sequence[str] = ()  # the hook's secrets: in no row, no answer

    def row(self, outcome: str, status: int, **more: Any) -> Delivery:
        took_ms = (time.perf_counter() - self.began) * 1000
        return Delivery(
            hook=self.hook, received_at=self.wall, remote_ip=self.remote_ip or None, dialect=self.dialect,
            body=self.body, body_digest=self.digest, key=self.key, outcome=outcome, status=status,
            duration_ms=round(took_ms, 3), replay_of=self.replay_of, replayed_by=self.actor, **more,
        )  # fmt: skip
