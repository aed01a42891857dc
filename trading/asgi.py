"""Where requests and websockets come in."""

import os
from threading import Thread

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trading.settings.dev")
django.setup(set_prefix=False)  # before anything that imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from trading.routing import websocket_urlpatterns  # noqa: E402
from trading.web.handler import OneStepHandler  # noqa: E402
from trading.web.ready import get_ready  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": OneStepHandler(),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
Thread(target=get_ready, name="get ready", daemon=True).start()  # beside the first request, which does not wait for it
