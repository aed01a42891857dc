"""A trade moves from state to state by the table alone."""

from uuid import UUID

from execution.models import Group
from execution.states import GROUP_MOVES
from trading.audit.record import record
from trading.domain.errors import IllegalTransition
from trading.monitoring.alerts import Level, raise_alert


def move_group(group: Group, state: str) -> None:
    """Set the state of a locked trade; the caller saves it. IllegalTransition for what the table forbids."""
    GROUP_MOVES.check(group.state, state)
    group.state = state


def tell_illegal_move(group_id: UUID | str, error: IllegalTransition) -> None:
    """Into the audit trail, once the transaction that tried it is undone."""
    owner_id = Group.objects.values_list("portfolio__owner_id", flat=True).get(pk=group_id)
    record("group.illegal_move", actor="engine", owner_id=owner_id, subject=str(group_id), said=error.message)
    raise_alert(
        "ILLEGAL_GROUP_MOVE", f"A trade cannot go on: {error.message}", level=Level.SEVERE, owner_id=owner_id,
        about=str(group_id), next_step="Compare with the broker's position; close it by hand.",
    )  # fmt: skip
