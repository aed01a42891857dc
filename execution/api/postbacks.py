"""What brokers post to us about orders: a knock on the door, never a fact.

The address carries a key of the account's own, and Kite signs order and time with the app's secret. Neither covers what
is said about the order, so nothing of it is believed: a knock makes the engine read the broker's own books.
"""

import hashlib
import hmac
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from prometheus_client import Counter
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import BrokerAccount
from execution.brokers.registry import app_secret_of
from trading.api.parsers import StrictJSONParser
from trading.api.throttling import PerCaller
from trading.domain.errors import NotFound
from trading.monitoring.models import Heartbeat
from trading.outbox import after_commit

POSTBACKS = Counter("tarazu_postbacks_total", "Postbacks by broker and what became of them", ["broker", "outcome"])


class Postback(APIView):
    """Called by a broker. Answered at once; the reading of the books is the engine's."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes = [PerCaller]
    parser_classes = [StrictJSONParser]

    @extend_schema(
        operation_id="broker_postback",
        description="For a broker's postbacks. Nothing said here is believed: it makes the desk read the order book.",
        request={"application/json": dict},
        responses={204: OpenApiResponse(description="Heard"), 404: OpenApiResponse(description="No such address")},
        auth=[],
    )
    def post(self, request: Request, key: str) -> Response:
        account = BrokerAccount.objects.filter(postback_key=key[:43]).first()
        said = request.data if isinstance(request.data, dict) else {}
        if account is None or not _is_signed(account, said):
            POSTBACKS.labels(broker=account.broker if account else "none", outcome="refused").inc()
            raise NotFound("NOT_FOUND", "There is nothing at this address.")
        POSTBACKS.labels(broker=account.broker, outcome="heard").inc()
        Heartbeat.objects.update_or_create(name=f"postback:{account.pk}", defaults={"at": timezone.now()})
        after_commit("engine.books", account_id=account.pk)
        return Response(status=204)


def _is_signed(account: BrokerAccount, said: dict[str, Any]) -> bool:
    """Kite: hex SHA-256 of order id, order time and secret. FYERS documents no signature: the address is the proof."""
    if account.broker != BrokerAccount.Broker.ZERODHA:
        return True
    proof, order_id, at = (said.get(name) for name in ("checksum", "order_id", "order_timestamp"))
    if not all(isinstance(value, str) for value in (proof, order_id, at)):
        return False
    wanted = hashlib.sha256(f"{order_id}{at}{app_secret_of(account)}".encode()).hexdigest()
    return hmac.compare_digest(wanted.encode(), str(proof).encode())
