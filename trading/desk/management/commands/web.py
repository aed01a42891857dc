import os
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from trading.desk.children import watch_parent


class Command(BaseCommand):
    help = "Serve pages, API and websockets (ASGI)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.BIND)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--workers", type=int, default=settings.WEB_PROCESSES, help="(TARAZU_WEB_PROCESSES)")
        parser.add_argument(
            "--forwarded-allow-ips", default=None, help="proxies whose X-Forwarded-* headers are believed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        watch_parent()
        several = options["workers"] > 1
        if several:
            os.environ["TARAZU_PARENT"] = str(os.getpid())  # of those that uvicorn starts
        uvicorn.run(
            "trading.desk.web_process:application" if several else "trading.asgi:application",
            host=options["host"],
            port=options["port"],
            workers=options["workers"] if several else None,
            proxy_headers=options["forwarded_allow_ips"] is not None,
            forwarded_allow_ips=options["forwarded_allow_ips"],
            lifespan="off",
            log_config=None,  # Django's logging, with its redaction, has already been set up
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2 if settings.EMBEDDED else 5,
            ws_max_size=65_536,
        )
