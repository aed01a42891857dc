"""Two questions a supervisor asks. `healthz`: is this process answering? `readyz`: can it do its work?"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong

import psycopg
import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

logger = logging.getLogger(__name__)
LIMIT_S = 1.0
_pool = ThreadPoolExecutor(max_workers=6, thread_name_prefix="readyz")
_applied_once = threading.Event()


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Touches nothing: a slow database is no reason to kill a process."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, Valkey and migrations are as they should be, else 503; each with its word and milliseconds."""
    found = check_all()
    ready = all(part["ok"] for part in found.values())
    return JsonResponse({"ready": ready, "checks": found}, status=200 if ready else 503)


def check_all() -> dict[str, dict[str, object]]:
    questions: dict[str, Callable[[], None]] = {"database": _database, "valkey": _valkey, "migrations": _migrations}
    asked = {name: (_pool.submit(_timed, question)) for name, question in questions.items()}
    end = time.monotonic() + LIMIT_S
    return {name: _answer(name, future, end) for name, future in asked.items()}


def _timed(question: Callable[[], None]) -> float:
    began = time.perf_counter()
    question()
    return (time.perf_counter() - began) * 1000


def _answer(name: str, future: "Future[float]", end: float) -> dict[str, object]:
    try:
        return {"ok": True, "latency_ms": round(future.result(timeout=max(0.0, end - time.monotonic())), 1)}
    except TookTooLong:
        future.cancel()
        return {"ok": False, "error": f"no answer within {LIMIT_S:g} s"}
    except NotReady as error:
        return {"ok": False, "error": str(error)}
    except Exception as error:  # whatever it is, the desk is not ready; the page names the kind, the log the rest
        logger.warning("readyz: %s failed: %s", name, error)
        return {"ok": False, "error": type(error).__name__}


class NotReady(Exception):
    """Reachable, and yet not as it should be."""


def _connect() -> "psycopg.Connection[tuple[object, ...]]":
    """A plain connection of its own: the question must not wait for, or be answered by, the pool."""
    params = dict(connections[DEFAULT_DB_ALIAS].settings_dict)
    return psycopg.connect(
        host=params["HOST"] or None,
        port=params["PORT"] or None,
        dbname=params["NAME"],
        user=params["USER"] or None,
        password=params["PASSWORD"] or None,
        connect_timeout=1,
        options="-c statement_timeout=900",
        **{k: v for k, v in params["OPTIONS"].items() if k.startswith("ssl")},
    )


def _database() -> None:
    with _connect() as talk:
        talk.execute("SELECT 1")


def _valkey() -> None:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=LIMIT_S, socket_connect_timeout=LIMIT_S) as client:
        client.ping()


def _migrations() -> None:
    """Once everything is applied it stays so for this process: code and migrations change together, by a restart."""
    if _applied_once.is_set():
        return
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    wanted = set(loader.disk_migrations)
    with _connect() as talk:
        rows = talk.execute("SELECT app, name FROM django_migrations").fetchall()
    missing = wanted - {(str(app), str(name)) for app, name in rows}
    if missing:
        raise NotReady(f"{len(missing)} migrations are not applied: run manage.py migrate")
    _applied_once.set()
