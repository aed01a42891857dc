"""An order of the API, between its body and its answer: the same for whoever lets it in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from execution.api.serializers import IntentSerializer, OrderDetailSerializer, VerdictSerializer, verdicts_told
from execution.models import Intent
from execution.services.intent_create import Decided
from risk.assess import Judged
from risk.models import Assessment, Verdict
from trading.api.idempotency import Aside
from trading.api.problems import problem_body
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata.models import Instrument

VERDICT = VerdictSerializer()
STORY = OrderDetailSerializer()  # made once: to make its fields anew takes longer than to tell an order


def _verdicts_again(answer: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Of an order, or of a refusal: whoever has its key was told them before."""
    intent = answer.get("intent")
    return told_of(Assessment.objects.verdicts_of([UUID(intent)])[UUID(intent)]) if intent else None


def told_of(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [VERDICT.to_representation(one) for one in verdicts]


VERDICTS = Aside("verdicts", _verdicts_again)
"""Nine tenths of the answer to an order; its assessment has them."""


def wanted(user: Any, ticket: dict[str, Any], instrument: Instrument, key: str, *, now: datetime) -> dict[str, Any]:
    """What `ticket_ask` is told of a ticket that was read; `now` is venue time."""
    return {
        "user": user, "instrument": instrument, "side": Side(ticket["side"]), "quantity": ticket["quantity"],
        "order_type": OrderType(ticket["order_type"]), "limit_price": ticket.get("limit_price"),
        "stop_price": ticket.get("stop_price"), "target_price": ticket.get("target_price"),
        "product": Product(ticket["product"]), "idempotency_key": key, "source": Intent.Source.API, "now": now,
    }  # fmt: skip


def answer_to(decided: Decided) -> tuple[int, dict[str, Any]] | None:
    """Status and body for what was decided now: of what was written, nothing is read again. None for a repeat."""
    return None if decided.judged is None else _answer(decided, verdicts_told(decided.judged))


def _answer(decided: Decided, verdicts: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    return answer_of(decided.intent, verdicts) or (201, STORY.as_queued(decided.orders[0], verdicts))


@dataclass(slots=True)
class Kept:
    """The same in two steps: what is kept is made before the commit, and waited for; its verdicts, nine tenths of the
    answer, once the order is on its way."""

    status: int
    kept: bytes
    judged: Judged | None

    @classmethod
    def of(cls, decided: Decided) -> "Kept":
        status, body = _answer(decided, [])
        return cls(status, VERDICTS.kept(body), decided.judged if VERDICTS.name in body else None)

    def body(self) -> bytes:
        return self.kept if self.judged is None else VERDICTS.complete(self.kept, verdicts_told(self.judged))


def answer_of(intent: Intent, verdicts: list[dict[str, Any]]) -> tuple[int, dict[str, Any]] | None:
    """The same for an intent of which there are no orders; None where there are."""
    if intent.state == Intent.State.WAITING:
        return 202, dict(IntentSerializer(intent).data)
    if intent.state == Intent.State.REFUSED:
        more = {"intent": str(intent.pk), "verdicts": verdicts}
        return 422, problem_body(status=422, code=intent.refusal_code, detail=intent.refusal, **more)
    return None
