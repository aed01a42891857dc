"""What the order path is held against: the same work behind a Celery task, and a view that just calls the broker."""

import json
import os
from functools import cache

import httpx
from django.http import HttpRequest, JsonResponse
from django.urls import path

from trading.celery import app


@app.task(name="bench.signal")
def signal(signal_id: str) -> None:
    """Everything the engine does for a signal, in the worker that took the task. Its connection is warm as well."""
    from execution.models import Order
    from execution.services.order_submit import order_submit
    from execution.services.signal_accept import signal_accept
    from strategies.models import Signal
    from trading.marketdata.clocks import venue_now

    account, gateway, fence = _account(int(os.environ["BENCH_ACCOUNT"]))
    signal_accept(signal_id=signal_id, now=venue_now(account.feed))
    for order in Order.objects.filter(intent__signal_id=signal_id, state="QUEUED").values_list("pk", flat=True):
        order_submit(order_id=order, gateway=gateway, fence=fence)
    assert Signal.objects.get(pk=signal_id).state == "ACCEPTED"


@cache
def _account(account_id: int):
    from accounts.models import BrokerAccount
    from execution.brokers.registry import gateway_of
    from execution.models import EngineLease

    account = BrokerAccount.objects.get(pk=account_id)
    return account, gateway_of(account), EngineLease.objects.get(account=account).token


_client = httpx.Client()


def place(request: HttpRequest) -> JsonResponse:
    """No key, no gates, no row: the body goes to the broker as it came, over a connection that is kept."""
    wish = json.loads(request.body)
    body = {
        "symbol": wish["symbol"], "qty": wish["quantity"], "type": 1, "side": 1, "productType": "INTRADAY",
        "limitPrice": float(wish["limit_price"]), "stopPrice": 0, "validity": "DAY", "disclosedQty": 0,
        "offlineOrder": False, "orderTag": wish["tag"],
    }  # fmt: skip
    reply = _client.post(
        os.environ["BENCH_ORDERS_URL"], json=body, headers={"Authorization": os.environ["BENCH_AUTHORIZATION"]}
    )
    return JsonResponse(reply.json(), status=reply.status_code)


urlpatterns = [path("order", place)]


def naive_application():
    """A bare Django site with this one view: no middleware, no database."""
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application

    django.setup()
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, []
    return get_asgi_application()
