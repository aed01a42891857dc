"""Six ways to build it that look right, and are not. They live here alone: the oracle has to find every one of them.

Each is what a desk does that believes it knows what became of an order, or that a report is an event.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.utils import timezone

from execution.brokers.http import Reply
from execution.brokers.port import Refused
from execution.engine import books
from execution.engine.handed import HandedClaims
from execution.models import Order
from execution.services import fill_apply, order_submit
from execution.services.order_update import order_absent
from execution.states import OrderState, PendingOp
from tests.prove import line
from tests.prove.rough_broker import DOUBTFUL_400, LONGEST_LAG
from tests.small_broker import LOST


@dataclass(frozen=True, slots=True)
class Broken:
    """How it is switched on in a life, and the weather in which it breaks."""

    switch_on: Callable[[], None]
    doubts: tuple[object, ...] = (LOST,)
    lag: int = LONGEST_LAG
    roughness: float = 1.0
    scenario: str = "pieces"
    patience: int = 15  # turns at the end, most of which a broken desk uses up


def _queue_again(order: Order, cause: str) -> None:
    order.state, order.pending_op, order.claim_token = OrderState.QUEUED, PendingOp.NONE, None
    order.valid_until = timezone.now() + timedelta(minutes=5)
    order.lease_expires_at = order.unknown_since = None


def retry_on_error() -> None:
    """No answer, or a restart while it was being sent: send it again."""
    order_submit.mark_unknown = _queue_again  # type: ignore[assignment]


def http_400_is_final() -> None:
    """A status of the 400s means that the broker does not have it."""
    understood = line.understood

    def believe(answer: Any, known_id: str | None = None) -> Any:
        if isinstance(answer, Reply) and answer.status == 400:
            return Refused("REJECTED", "HTTP 400", known_id)
        return understood(answer, known_id)

    line.understood = believe  # type: ignore[assignment]


def give_up_after_two_books() -> None:
    """Two books that do not show it are proof enough, so it is sent again."""
    _send_again_when_absent(books=2, span_s=0)


def send_again_after_proof() -> None:
    """Six books over three minutes are proof, so an entry is sent again: until a book is later than that."""
    _send_again_when_absent(books=6, span_s=180)


def _send_again_when_absent(**proof: Any) -> None:
    def absent(*, order_id: int, **_: Any) -> bool:
        proven = order_absent(order_id=order_id, **proof)
        if proven:
            order = Order.objects.get(pk=order_id)
            _queue_again(order, "absent")
            order.save()
        return proven

    books.order_absent = absent  # type: ignore[assignment]


def every_report_is_an_execution() -> None:
    """No key tells two reports of one execution from two executions."""
    reports = count()

    def key(**_: Any) -> str:
        return f"{uuid4()}:{next(reports)}"

    fill_apply.execution_key = key  # type: ignore[assignment]


def forget_what_was_handed() -> None:
    """Whoever finds a claim that came with a bell sends it, whether or not somebody has."""
    HandedClaims._take = lambda self, tokens: list(tokens)  # type: ignore[method-assign]


DESIGNS: dict[str, Broken] = {
    "retry on error": Broken(retry_on_error),
    "HTTP 400 is final": Broken(http_400_is_final, doubts=(DOUBTFUL_400,)),
    "give up after two empty books": Broken(give_up_after_two_books),
    "send again after proof, book later than the proof": Broken(send_again_after_proof, lag=60, scenario="wait"),
    "no unique key on the execution": Broken(every_report_is_an_execution, patience=3),
    "no memory of what was handed": Broken(forget_what_was_handed, doubts=(), roughness=0.0, scenario="trade"),
}
