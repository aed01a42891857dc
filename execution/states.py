"""What may happen to an order. Three axes: the state, an operation under way, and the filled quantity.

"Partly filled" is no state but a sum of fills, and a fill that happened is booked in every state. Nothing leads
back to QUEUED: that is how orders double.
"""

from enum import StrEnum

from trading.domain.states import TransitionTable


class OrderState(StrEnum):
    QUEUED = "QUEUED"  # approved, reserved, not yet taken by an engine
    WITHDRAWN = "WITHDRAWN"  # never left: cancelled, expired or killed in the queue
    SENDING = "SENDING"  # claimed; whether it left is decided by the reply
    UNKNOWN = "UNKNOWN"  # it may be at the broker: only the broker's book can say
    ACKED = "ACKED"  # the broker has it
    OPEN = "OPEN"  # it rests at the exchange
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    NOT_PLACED = "NOT_PLACED"  # proved absent; honoured all the same should it turn up


class PendingOp(StrEnum):
    NONE = "NONE"
    CANCEL_ASKED = "CANCEL_ASKED"  # wanted, not yet sent
    CANCEL_SENT = "CANCEL_SENT"  # done only when the book says so
    MODIFY_ASKED = "MODIFY_ASKED"
    MODIFY_SENT = "MODIFY_SENT"


S = OrderState
AT_BROKER = {S.ACKED, S.OPEN, S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED}

ORDER_MOVES = TransitionTable(
    {
        S.QUEUED: {S.SENDING, S.WITHDRAWN},
        S.WITHDRAWN: set(),
        S.SENDING: {S.UNKNOWN, *AT_BROKER},
        S.UNKNOWN: {S.NOT_PLACED, *AT_BROKER},
        S.ACKED: AT_BROKER,
        S.OPEN: AT_BROKER - {S.ACKED},
        S.NOT_PLACED: AT_BROKER,
        # Later evidence may still correct how an order ended: a fill that raced a cancel wins.
        S.CANCELLED: {S.FILLED},
        S.EXPIRED: {S.FILLED},
        S.REJECTED: {S.FILLED},
        S.FILLED: set(),
    }
)

LIVE_STATES = frozenset({S.QUEUED, S.SENDING, S.UNKNOWN, S.ACKED, S.OPEN})
"""States in which an order may still trade."""

AT_EXCHANGE = frozenset({S.ACKED, S.OPEN})
"""States in which the broker can be asked to cancel or change it."""
