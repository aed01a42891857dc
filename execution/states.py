"""What may happen to an order. Three axes: the state, an operation under way, and the filled quantity.

"Partly filled" is no state but a sum of fills, and a fill that happened is booked in every state. Nothing leads
back to QUEUED: that is how orders double.
"""

from enum import StrEnum

from trading.domain.states import TransitionTable


class OrderState(StrEnum):
    QUEUED = "QUEUED"  # approved, reserved, not yet taken by an engine
    WITHDRAWN = "WITHDRAWN"  # never left: cancelled, expired or killed before
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
        # The desk itself only claims or withdraws. Whatever carries our tag at the broker is there, though: a backup
        # that was restored may call queued, or withdrawn, what had long been sent.
        S.QUEUED: {S.SENDING, S.WITHDRAWN, *AT_BROKER},
        S.WITHDRAWN: AT_BROKER,
        # Withdrawn by whoever claimed it alone, and only before anything of it was sent.
        S.SENDING: {S.WITHDRAWN, S.UNKNOWN, *AT_BROKER},
        S.UNKNOWN: {S.NOT_PLACED, *AT_BROKER},
        S.ACKED: AT_BROKER,
        S.OPEN: AT_BROKER - {S.ACKED},
        S.NOT_PLACED: AT_BROKER,
        # Later evidence may still correct how an order ended: a fill that raced a cancel wins.
        S.CANCELLED: {S.FILLED},
        S.EXPIRED: {S.FILLED},
        # A refusal may be a lie; only the broker's book takes it back (see REVIVABLE).
        S.REJECTED: AT_BROKER,
        S.FILLED: set(),
    }
)

GROUP_MOVES = TransitionTable(
    {
        "WAITING": {"LIVE", "PARTIAL", "ACTIVE", "CLOSING", "CLOSED"},
        "LIVE": {"PARTIAL", "ACTIVE", "CLOSING", "CLOSED"},
        "PARTIAL": {"ACTIVE", "CLOSING", "CLOSED"},
        "ACTIVE": {"PARTIAL", "CLOSING", "CLOSED"},  # another pyramid works
        "CLOSING": {"CLOSED"},  # nothing takes an exit back
        "CLOSED": {"LIVE"},  # late news of one of its orders
    }
)
"""A trade from idea to flat. What it is follows from its orders and fills; this says what may follow what."""

OFFSET_MOVES = TransitionTable(
    {
        "PLANNED": {"CLOSING_WINNERS", "ABANDONED"},
        "CLOSING_WINNERS": {"CLOSING_LOSER", "ABANDONED"},
        "CLOSING_LOSER": {"DONE", "ABANDONED"},
        "DONE": set(),
        "ABANDONED": set(),
    }
)
"""A plan in which winners pay for a loser. What was sold is never bought back: there is no way back."""

REVIVABLE = frozenset({S.QUEUED, S.WITHDRAWN, S.NOT_PLACED, S.REJECTED})
"""States that rest on our own word alone: the broker's book may show such an order at work after all."""

LIVE_STATES = frozenset({S.QUEUED, S.SENDING, S.UNKNOWN, S.ACKED, S.OPEN})
"""States in which an order may still trade."""

AT_EXCHANGE = frozenset({S.ACKED, S.OPEN})
"""States in which the broker can be asked to cancel or change it."""
