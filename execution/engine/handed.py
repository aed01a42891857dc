"""Claims that came with a bell: whoever finds one first, the bell or the sweep, sends it, and nobody else does.

Kept in memory, and that is enough: only the engine that a claim names sends it. When this process ends, so does its
lease, and whatever it had been handed is in doubt.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from execution.brokers.port import CallClass
from execution.services.order_claim import Claimed, claims_found
from execution.services.order_hand import Handed
from execution.states import OrderState
from risk.order_rate import take_turn_now
from trading.domain.clock import running_s
from trading.realtime.publish import publish_with_next
from trading.statements import run

FOUND_AFTER_S, FOUND_WITHIN_S = 1.0, 10.0
"""By the database's clock, from the claim on: before, its bell may still come; after, its lease is about to end."""
REMEMBERED_S = 60.0

UNHEARD = """
SELECT id, claim_token FROM execution_order
WHERE account_id = %(account)s AND state = 'SENDING' AND claim_token BETWEEN %(first)s AND %(last)s
  AND sent_at > clock_timestamp() - %(within)s * interval '1s'
  AND (sent_at <= clock_timestamp() - %(after)s * interval '1s' OR sent_at > clock_timestamp())
ORDER BY id
"""
"""A claim of the future is from before the clock was set back: it does not wait until it is that late again."""


class HandedClaims:
    """Those of one account under one lease. `send` puts claims on their way; False: nobody sends any more."""

    def __init__(self, *, account_id: int, fence: int, send: Callable[[Sequence[Claimed]], bool]) -> None:
        self._account_id, self._fence, self._send = account_id, fence, send
        self._lock = threading.Lock()
        self._taken: set[UUID] = set()  # until a while after it is written down what the broker said
        self._over: deque[tuple[float, UUID]] = deque()

    def hear(self, handed: Sequence[Handed]) -> bool:
        """Claims that a bell has brought. Those that are late wait for the sweep, which asks again."""
        mine = [one for one in handed if one.fence == self._fence and not one.is_late]
        new = set(self._take(one.claimed.token for one in mine))
        publish_with_next([
            (one.owner_id, "order", {
                "order": one.claimed.order_id, "group": one.group_id, "state": OrderState.SENDING,
                "event": "order.claimed",
            })
            for one in mine if one.claimed.token in new
        ])  # fmt: skip
        return self._send([one.claimed for one in mine if one.claimed.token in new])

    def find(self, *, after_s: float = FOUND_AFTER_S) -> None:
        """Take up what nobody has heard of, if it may leave still; else it is withdrawn. An engine that slept finds
        many, whose places in the rate are of the past: each takes one anew, and where none is free it waits for the
        next sweep."""
        unheard = run(UNHEARD, {
            "account": self._account_id, "first": UUID(int=self._fence << 88),
            "last": UUID(int=self._fence << 88 | (1 << 48) - 1), "after": after_s, "within": FOUND_WITHIN_S,
        })  # fmt: skip
        taken: dict[int, UUID] = {}
        for order, token in unheard:
            if token in self._taken:
                continue
            if not take_turn_now(self._account_id, CallClass.ORDER):
                break
            if self._take([token]):
                taken[order] = token
        if taken:
            self._send(claims_found(taken, fence=self._fence))

    def give_back(self, tokens: Iterable[UUID]) -> None:
        """They have not been sent: whoever was to do it had no time for them. The sweep finds them, and asks anew."""
        with self._lock:
            self._taken.difference_update(tokens)

    def forget(self, tokens: Iterable[UUID]) -> None:
        """Their rows say more than that they are being sent: no sweep finds them, and soon no bell is in time."""
        with self._lock:
            self._over.extend((running_s(), token) for token in tokens)
            while self._over and running_s() - self._over[0][0] > REMEMBERED_S:
                self._taken.discard(self._over.popleft()[1])

    def _take(self, tokens: Iterable[UUID]) -> list[UUID]:
        """Those that nobody had taken."""
        with self._lock:
            new = [token for token in tokens if token not in self._taken]
            self._taken.update(new)
        return new
