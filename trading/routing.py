"""Where websockets come in: one a page."""

from django.urls import path

from trading.web.consumers import DeskConsumer

websocket_urlpatterns = [path("ws/desk/", DeskConsumer.as_asgi())]
