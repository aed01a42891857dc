"""Named places at which the desk may die. In production they do nothing; the proof arms one and kills itself there.

A name says which step was just done. The list is the promise: each place is in the code once, and each is survived.
"""

from collections.abc import Callable

POINTS: tuple[str, ...] = (
    # intake: a wish becomes an intent
    "intake.asked",
    "intake.signal_locked",
    "intake.fates_written",
    "intake.intent_written",
    "intake.committed",
    "intake.before_bell",
    "intake.approved",
    "intake.alerts_read",
    "intake.alerts_stored",
    # risk: room under a limit
    "risk.assessed",
    "risk.reserved",
    "risk.used",
    "risk.released",
    # dispatch: an order goes to the broker
    "dispatch.before_claim",
    "dispatch.claiming",
    "dispatch.claimed",
    "dispatch.on_the_wire",
    "dispatch.answered",
    "dispatch.recording",
    "dispatch.recorded",
    # fills: what the exchange did
    "fills.books_fetched",
    "fills.row_written",
    "fills.booked",
    "fills.applied",
    "fills.parked",
    "fills.order_seen",
    "fills.orders_seen",
    "fills.stood_in",
    "fills.replaced",
    # protection and the way out
    "protect.stop_wanted",
    "protect.stop_queued",
    "protect.resize_asked",
    "protect.move_asked",
    "exit.cancels_asked",
    "exit.sized",
    "exit.change_answered",
    # an entry that follows the market
    "chase.step_written",
    # a large order and its children
    "parent.child_asked",
    # reconciliation
    "recon.snapshot_taken",
    "recon.compared",
    "recon.healing",
    "recon.healed",
    "recon.stored",
    "recon.adopted",
    # the signal engine: pyramids, legs, parts, the queue
    "ladder.group_written",
    "ladder.pyramid_written",
    "ladder.leg_asked",
    "parts.kept",
    "parts.due",
    "parts.sized",
    "parts.queued",
    "pool.promoting",
    "pool.promoted",
    # the kill switch
    "kill.level_raised",
    "kill.cancels_asked",
    "kill.exits_asked",
    "kill.pulled",
    # winners pay for a loser
    "offset.planned",
    "offset.begun",
    "offset.winner_asked",
    "offset.winners_booked",
    "offset.loser_asked",
    "offset.finishing",
    # keeping house
    "house.lease_expired",
    "house.absence_proven",
    "house.trade_closed",
)

_armed: Callable[[str], None] | None = None


def crashpoint(name: str) -> None:
    """The step called `name` is done. Nothing happens unless a test has armed the points."""
    if _armed is not None:
        _armed(name)


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action` with the name of every point that is passed from now on in this process; None disarms."""
    global _armed
    _armed = action
