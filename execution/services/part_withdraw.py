"""Take back what has not traded yet of a part that was asked for. What has traded stays closed."""

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from execution.models import Group, Order, PartExit
from trading.outbox import after_commit

State = PartExit.State


@transaction.atomic
def part_withdraw(*, part_id: int, actor: str) -> bool:
    """True when newly taken back; a part that is over is left as it is.

    The wish shrinks to what has traded, so that the trade's next step cancels what works of it; a fill that comes
    all the same is booked like any other. A part of which nothing was sent is over at once.
    """
    group_id = PartExit.objects.values_list("group_id", flat=True).get(pk=part_id)
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio").get(pk=group_id)
    part = PartExit.objects.get(pk=part_id)
    orders = Order.objects.filter(intent__part=part)
    traded = orders.aggregate(traded=Sum("filled_quantity"))["traded"] or 0
    if part.state not in (State.WAITING, State.ASKED) or part.quantity <= traded:
        return False
    part.quantity, part.actor = traded, actor[:150]
    if not orders.live().exists():
        part.state, part.done_at = (State.DONE if traded else State.DROPPED), timezone.now()
    part.save(update_fields=["quantity", "actor", "state", "done_at"])
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))
    return True
