"""The broker's circuit breaker, shared by all processes of an account: a broker in trouble is left alone for a while.

It opens on five failures in a row or on one 429, for 15 seconds, jittered and doubling to ten minutes; what the broker
itself asks for (Retry-After) is obeyed. Then one call tries, and its fate decides. Exits and cancels have a budget of
their own: even while it is open one of them may try every two seconds, for nothing may lock a position in.

What a process believes is at most half a second old, so a call that goes well costs one look at a row in half a second.
"""

import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from weakref import WeakSet

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import BrokerAccount
from risk.models import Breaker
from trading.audit.record import record
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.statements import run

State = Breaker.State
FAILURES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 15.0, 600.0
STREAM_PAUSES_S = (5.0, 60.0)  # without a stream the books and quotes are asked for, which costs more calls
PROBE_S = 15.0
EXIT_EVERY_S = 2.0
BELIEVED_S = 0.5
BELIEVE = "SELECT state, failures FROM risk_breaker WHERE account_id = %(account)s AND call_class = %(class)s"


class BreakerClass(StrEnum):
    """Calls that fail together."""

    ORDER_WRITE = "ORDER_WRITE"
    READ = "READ"
    DATA = "DATA"
    STREAM = "STREAM"


class CallEnd(StrEnum):
    """How a call ended, as far as the line and the broker's health go: a plain refusal is a good end."""

    GOOD = "GOOD"
    FAILED = "FAILED"  # not sent, unanswered, 5xx
    THROTTLED = "THROTTLED"  # 429


def pause_s(times_opened: int, *, jitter: float, klass: str = BreakerClass.ORDER_WRITE) -> float:
    """Seconds to leave the broker alone after the so many-th opening in a row; `jitter` between 0 and 1. Pure."""
    first, longest = STREAM_PAUSES_S if klass == BreakerClass.STREAM else (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    pause = min(longest, first * 2 ** min(times_opened - 1, 10))
    return min(longest, pause * (1 + jitter))


@dataclass(frozen=True, slots=True)
class Belief:
    """What was last read of one row."""

    state: str
    failures: int
    read_at: float


class CircuitBreaker:
    """One account's breakers as one process sees them. Safe for threads."""

    _living: WeakSet["CircuitBreaker"] = WeakSet()
    _living_lock = threading.Lock()

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self._beliefs: dict[str, Belief] = {}
        self._lock = threading.Lock()
        with self._living_lock:
            self._living.add(self)

    @classmethod
    def keep_believing(cls, account_id: int) -> None:
        """Look again at the rows that calls of this process were about, before what was read of them is too old: who is
        asked to often enough spares an order that look between its claim and the wire."""
        with cls._living_lock:
            mine = [one for one in cls._living if one.account_id == account_id]
        for one in mine:
            for klass, belief in list(one._beliefs.items()):
                if time.monotonic() - belief.read_at > BELIEVED_S / 4:
                    one._read(klass)

    def may_call(self, klass: BreakerClass, *, protects: bool = False) -> str:
        """Empty where a call may go, else why not. `protects`: an exit or a cancel, which has a budget of its own."""
        if self._believe(klass).state == State.CLOSED:
            return ""
        return ask_leave(account_id=self.account_id, klass=klass, protects=protects)

    def ended(self, klass: BreakerClass, end: CallEnd, *, cause: str = "", retry_after_s: float | None = None) -> None:
        """Tell how a call ended. A good end after good ends writes nothing."""
        believed = self._believe(klass)
        if end is CallEnd.GOOD and believed.state == State.CLOSED and not believed.failures:
            return
        try:
            state = note_end(account_id=self.account_id, klass=klass, end=end, cause=cause, retry_after_s=retry_after_s)
        except DatabaseError:
            connection.close()  # the call itself is over; without a database nothing more can be claimed either
            return
        with self._lock:
            self._beliefs[klass] = Belief(state, 0 if end is CallEnd.GOOD else 1, time.monotonic())

    def _believe(self, klass: BreakerClass) -> Belief:
        with self._lock:
            belief = self._beliefs.get(klass)
        if belief is not None and time.monotonic() - belief.read_at < BELIEVED_S:
            return belief
        return self._read(klass)

    def _read(self, klass: str) -> Belief:
        rows = run(BELIEVE, {"account": self.account_id, "class": str(klass)})
        state, failures = rows[0] if rows else (State.CLOSED, 0)
        belief = Belief(state, failures, time.monotonic())
        with self._lock:
            self._beliefs[klass] = belief
        return belief


def ask_leave(*, account_id: int, klass: str, protects: bool = False) -> str:
    """Ask the row itself: "" lets the call go, as the probe or out of the exits' budget; else why it may not."""
    wall = timezone.now()
    rows = Breaker.objects.filter(account_id=account_id, call_class=klass)
    breaker = rows.first()
    if breaker is None or breaker.state == State.CLOSED:
        return ""
    due = breaker.retry_at is None or breaker.retry_at <= wall
    if due:
        probing = rows.filter(state=State.OPEN, retry_at__lte=wall) | rows.filter(
            state=State.HALF_OPEN, probe_until__lte=wall
        )
        # One of all processes wins the row and tries; should it die on the way, another may after a while.
        if probing.update(state=State.HALF_OPEN, probe_until=wall + timedelta(seconds=PROBE_S)):
            return ""
    if protects:
        free = rows.filter(exit_free_at=None) | rows.filter(exit_free_at__lte=wall)
        if free.update(exit_free_at=wall + timedelta(seconds=EXIT_EVERY_S)):
            return ""
    return f"{breaker.call_class.lower().replace('_', ' ')} calls rest: {breaker.cause}"


@transaction.atomic
def note_end(*, account_id: int, klass: str, end: CallEnd, cause: str = "", retry_after_s: float | None = None) -> str:
    """Write down how a call ended; returns the state of the breaker after it."""
    Breaker.objects.get_or_create(account_id=account_id, call_class=klass)
    breaker = Breaker.objects.select_for_update().get(account_id=account_id, call_class=klass)
    wall = timezone.now()
    was = breaker.state
    if end is CallEnd.GOOD:
        # While it is open, an exit that got through proves nothing for the rest: the probe decides.
        if was == State.OPEN and breaker.retry_at and breaker.retry_at > wall:
            return was
        breaker.state, breaker.failures, breaker.times_opened, breaker.cause = State.CLOSED, 0, 0, ""
        breaker.retry_at = breaker.probe_until = breaker.exit_free_at = None
    else:
        breaker.failures += 1
        failed_probe = was == State.HALF_OPEN
        if end is CallEnd.THROTTLED or failed_probe or (was == State.CLOSED and breaker.failures >= FAILURES):
            _open(breaker, end, cause, retry_after_s, wall)
    breaker.save()
    if breaker.state != was:
        _tell(breaker, was)
    return breaker.state


def _open(breaker: Breaker, end: CallEnd, cause: str, retry_after_s: float | None, wall: datetime) -> None:
    breaker.times_opened += 1
    rest = pause_s(breaker.times_opened, jitter=random.random(), klass=breaker.call_class)
    if retry_after_s is not None:
        rest = max(rest, retry_after_s)
    breaker.state, breaker.opened_at, breaker.probe_until = State.OPEN, wall, None
    breaker.retry_at = wall + timedelta(seconds=rest)
    why = "the broker asked us to slow down" if end is CallEnd.THROTTLED else f"{breaker.failures} failures in a row"
    breaker.cause = f"{why}{': ' + cause if cause else ''}"[:200]


def _tell(breaker: Breaker, was: str) -> None:
    """Into the audit trail and to the owner, when it opens and when it closes."""
    account = BrokerAccount.objects.get(pk=breaker.account_id)
    about = f"{account.pk}:{breaker.call_class}"
    if breaker.state == State.OPEN:
        left = (breaker.retry_at - timezone.now()).total_seconds() if breaker.retry_at else 0
        what = f"{account.name}: {breaker.call_class.lower().replace('_', ' ')} calls rest for {left:.0f} s"
        raise_alert(
            "BREAKER_OPEN", f"{what}: {breaker.cause}.", level=Level.SEVERE, owner_id=account.owner_id, about=about,
            next_step="Nothing to do: one call will try again.",
        )  # fmt: skip
    elif breaker.state == State.CLOSED:
        clear_alerts("BREAKER_OPEN", owner_id=account.owner_id, about=about)
    if breaker.state != State.HALF_OPEN:
        record(
            f"breaker.{breaker.state.lower()}", actor="breaker", owner_id=account.owner_id, subject=str(breaker),
            before=was, cause=breaker.cause, times_opened=breaker.times_opened,
        )  # fmt: skip


@transaction.atomic
def close_by_hand(*, breaker_id: int, actor: str) -> bool:
    """A person says that the broker is well again. False when it was closed already."""
    breaker = Breaker.objects.select_for_update().get(pk=breaker_id)
    if breaker.state == State.CLOSED:
        return False
    was = breaker.state
    breaker.state, breaker.failures, breaker.times_opened, breaker.cause = State.CLOSED, 0, 0, ""
    breaker.retry_at = breaker.probe_until = breaker.exit_free_at = None
    breaker.save()
    record("breaker.closed_by_hand", actor=actor, owner_id=breaker.account.owner_id, subject=str(breaker), before=was)
    clear_alerts("BREAKER_OPEN", owner_id=breaker.account.owner_id, about=f"{breaker.account_id}:{breaker.call_class}")
    return True


def open_cause(account_id: int) -> str:
    """Why orders may not be written, as a gate shows it; "" where they may, or where one may be the call that tries."""
    row = (
        Breaker.objects.filter(account_id=account_id, call_class=BreakerClass.ORDER_WRITE)
        .exclude(state=State.CLOSED).values_list("cause", "retry_at").first()
    )  # fmt: skip
    if row is None:
        return ""
    cause, retry_at = row
    # Once the pause is over an entry may be the call that tries.
    return "" if retry_at is None or retry_at <= timezone.now() else cause or "it rests"
