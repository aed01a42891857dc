"""What is known of an alert while it is taken in: what its delivery will say, and its signals are named after."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from execution.hooks.meaning import Meaning
from execution.hooks.payload import Alert
from execution.hooks.refusal import Refused
from execution.models import Delivery, Hook
from trading.api.problems import problem_body

KEPT_S = 24 * 3600  # a copy within it is a copy
TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Knock:
    """One request at a hook's door, as plain values. `wall`: when it came."""

    hook_id: UUID | None
    raw: bytes
    remote_ip: str
    wall: datetime
    signature: str = ""
    idempotency_key: str = ""
    address_secret: str | None = None
    came: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: whatever is not a 2xx traded nothing."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Arrival:
    """`wall`: when it came. `key` names it among copies, for `kept_s` seconds. Its way is over with the first of
    `reply`, `refusal` and `failure`."""

    hook: Hook
    wall: datetime
    remote_ip: str
    given_key: str
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
    said: Mapping[str, Any] = field(default_factory=dict)  # the body's object, secrets masked
    alerts: Sequence[Alert] = ()
    meanings: Sequence[Meaning] = ()
    stored: bool = True  # whether a refusal leaves a row
    refusal: Refused | None = None
    failure: Exception | None = None
    reply: Reply | None = None

    @property
    def is_on_its_way(self) -> bool:
        return self.reply is None and self.refusal is None and self.failure is None

    def row(self, outcome: str, status: int, **more: Any) -> Delivery:
        took_ms = (time.perf_counter() - self.began) * 1000
        return Delivery(
            hook=self.hook, received_at=self.wall, remote_ip=self.remote_ip or None, dialect=self.dialect,
            body=self.body, body_digest=self.digest, key=self.key, outcome=outcome, status=status,
            duration_ms=round(took_ms, 3), replay_of=self.replay_of, replayed_by=self.actor, **more,
        )  # fmt: skip


def on_their_way(arrivals: Iterable[Arrival]) -> list[Arrival]:
    return [one for one in arrivals if one.is_on_its_way]


def step(arrivals: Iterable[Arrival], take: Callable[[Arrival], None]) -> list[Arrival]:
    """Take each that is still on its way one step further; what is wrong with one ends its way and no other's. Returns
    those that go on."""
    for one in on_their_way(arrivals):
        try:
            take(one)
        except Refused as refusal:
            one.refusal = refusal
        except Exception as error:
            one.failure = error
    return on_their_way(arrivals)


def reply_to(refusal: Refused) -> Reply:
    """The problem document of a refusal."""
    more: dict[str, Any] = {"errors": refusal.errors} if refusal.errors else {}
    body = problem_body(status=refusal.status, code=refusal.code, detail=refusal.detail, **more, **refusal.more)
    headers = {"Retry-After": "60"} if refusal.status == TOO_MANY else {}
    return Reply(refusal.status, body, headers)
