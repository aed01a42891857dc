"""Orders leave at the pace the regulator allows: one bucket for all processes of an account. It delays, never bursts.

Generic cell rate algorithm in one statement: the row holds the instant at which the next call may leave.
"""

import time

from trading.statements import FORGETTABLE, run_forgettable

RATES = {
    # Calls a second, and how many may leave at once. A broker counts all of them: in any one second there are at most
    # 4 + 2 + 3 of ten. A share is kept for exits and cancels, so that entries and reads can never starve them.
    "order": (2.5, 2),
    "exit": (2.0, 1),
    "read": (3.0, 1),
    # A backfill takes this turn before each of its reads, and leaves the other two in a second to whoever trades.
    "history": (1.0, 1),
}

# A place that a crash forgets was not used either.
TAKE = (
    FORGETTABLE
    + """
INSERT INTO risk_orderrate (account_id, call_class, next_free_at)
SELECT %(account)s, %(kind)s, clock_timestamp() + %(step)s * interval '1 second' FROM quick
ON CONFLICT (account_id, call_class) DO UPDATE
SET next_free_at = greatest(risk_orderrate.next_free_at, clock_timestamp()) + %(step)s * interval '1 second'
RETURNING extract(epoch FROM next_free_at - clock_timestamp())
"""
)


def wait_for_turn(account_id: int, call_class: str) -> float:
    """Take the next free place of an account and sleep until it comes. Returns the seconds slept."""
    delay = take_turn(account_id, call_class)
    if delay:
        time.sleep(delay)
    return delay


def take_turn(account_id: int, call_class: str) -> float:
    """Take the next free place of an account, with the caller's transaction; the seconds until it comes."""
    rate, burst = RATES[call_class]
    step = 1.0 / rate
    ((ahead,),) = run_forgettable(TAKE, {"account": account_id, "kind": str(call_class), "step": step})
    return max(0.0, float(ahead) - burst * step)
