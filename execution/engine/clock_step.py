"""Was this machine's clock stepped? What is proved by the passing of time begins anew when time did not pass.

An order counts as never placed once every book of three minutes did not show it. Those minutes are told by the wall
clock, because whoever takes over after a crash must be able to go on; in between, a clock that never jumps is held
beside it.
"""

import logging
import time

from django.utils import timezone

from execution.models import Order
from execution.states import OrderState

logger = logging.getLogger(__name__)
STEP_S = 1.0
_looks: dict[int, tuple[float, float]] = {}  # by account: both clocks when its books were last read


def doubts_begin_anew_after_a_step(account_id: int) -> int:
    """Called with every reading of an account's books. How many orders in doubt are to be looked for from now on, as
    if the doubt had just begun: none, unless the clock was stepped since the last reading here."""
    wall, steady = time.time(), time.monotonic()
    before = _looks.get(account_id)
    _looks[account_id] = wall, steady
    if before is None or abs((wall - before[0]) - (steady - before[1])) <= STEP_S:
        return 0
    anew = Order.objects.filter(account_id=account_id, state=OrderState.UNKNOWN).update(
        unknown_since=timezone.now(), absent_books=0
    )
    logger.warning(
        "the clock was stepped by %.1f s: %d orders in doubt are looked for anew",
        (wall - before[0]) - (steady - before[1]), anew,
    )  # fmt: skip
    return anew
