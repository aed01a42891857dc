"""A request is answered by one thread from its first line to its last, and threads are kept.

Django under ASGI steps into a thread and back for every middleware that is not a coroutine, twice, and makes that
thread anew for each request, so that whatever a thread keeps (its line to Valkey, for one) is opened again. Our views
and middleware are plain functions: the request goes to a kept thread once, and the whole stack runs there.
"""

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.exception import convert_exception_to_response
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver, set_script_prefix
from django.utils.module_loading import import_string

from trading.domain.heap import settle_heap
from trading.web.alert_way import AlertWay
from trading.web.short_way import ShortWay

Send = Callable[[dict[str, Any]], Awaitable[None]]
SWITCH_S = 0.0005
LANES, ALERT_LANES = 4, 2
FOR_PEOPLE = frozenset({
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
})  # fmt: skip
"""Middleware of pages and sessions: a program that shows its key has neither, and is not asked to wait for them."""
LONGEST_WAIT_S = 60
"""For a reader who takes the next piece of a long answer: whoever does not keeps a thread from others."""


class OneStepHandler(ASGIHandler):
    """Django's handler of requests. As many run at once as there are connections to the database."""

    def __init__(self) -> None:
        super().__init__()
        options = settings.DATABASES["default"]["OPTIONS"]
        get_resolver().url_patterns  # loads every view  # noqa: B018
        settle_heap()
        # One that has its answer from the database must not wait long for the interpreter: it holds locks meanwhile.
        sys.setswitchinterval(SWITCH_S)
        most = options.get("pool", {}).get("max_size", 24)
        # Each of their threads keeps a connection while there are orders, or alerts.
        lanes, alert_lanes = min(LANES, most // 4), min(ALERT_LANES, most // 8)
        self._short_way = ShortWay(self._dressed, threads=lanes) if lanes else None
        self._alert_way = AlertWay(self._dressed, threads=alert_lanes) if alert_lanes else None
        self._threads = ThreadPoolExecutor(most - lanes - alert_lanes, thread_name_prefix="request")

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        for_people: Any = self._middleware_chain  # type: ignore[has-type]
        for_programs: Any = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        for name in reversed([one for one in settings.MIDDLEWARE if one not in FOR_PEOPLE]):
            for_programs = convert_exception_to_response(import_string(name)(for_programs))

        bare: Any = _bare
        for name in reversed([one for one in settings.MIDDLEWARE if one not in FOR_PEOPLE]):
            bare = convert_exception_to_response(import_string(name)(bare))

        def chain(request: HttpRequest) -> Any:
            return (for_programs if _of_a_program(request) else for_people)(request)

        self._middleware_chain, self._bare_chain = chain, bare

    def _dressed(self, scope: dict[str, Any]) -> list[tuple[bytes, bytes]] | None:
        """The headers that middleware gives every answer to a program; None where it would not let it in."""
        with BytesIO() as body:
            request, _ = self.create_request(scope, body)
            response: Any = None if request is None else self._bare_chain(request)
        if response is None or not getattr(response, "let_in", False):
            return None
        of_a_body = b"content-type", b"content-length"
        return [one for one in _start(response)["headers"] if one[0].lower() not in of_a_body]

    async def handle(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        for way in (self._short_way, self._alert_way):
            if way is not None and (known := await way(scope, body)) is not None:
                body.close()
                for message in known:
                    await send(message)
                return
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        try:
            messages = await loop.run_in_executor(self._threads, context.run, self._answer, scope, body, send, loop)
        finally:
            body.close()
        for message in messages:
            await send(message)

    def _answer(self, scope: dict[str, Any], body: Any, send: Send, loop: Any) -> list[dict[str, Any]]:
        """In the thread: the messages that are left to be sent. A long answer is sent from here, piece by piece."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refused = self.create_request(scope, body)
        response: Any = refused if request is None else self.get_response(request)
        response._handler_class = self.__class__
        try:
            if not response.streaming:
                return [_start(response), {"type": "http.response.body", "body": response.content}]
            if isinstance(response, FileResponse):
                response.block_size = self.chunk_size

            def say(message: dict[str, Any]) -> None:
                asyncio.run_coroutine_threadsafe(_sent(send, message), loop).result(LONGEST_WAIT_S)

            say(_start(response))
            for piece in response:
                say({"type": "http.response.body", "body": response.make_bytes(piece), "more_body": True})
            return [{"type": "http.response.body"}]
        finally:
            response.close()  # tells Django that the request is over: the connection goes back to the pool


def _bare(request: HttpRequest) -> HttpResponse:
    """What every middleware has let in."""
    response = HttpResponse()
    response.let_in = True  # type: ignore[attr-defined]
    return response


def _of_a_program(request: HttpRequest) -> bool:
    """Whoever shows a key is that key or nobody: it is never asked for a session beside it."""
    return request.path_info.startswith("/api/") and request.META.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "


async def _sent(send: Send, message: dict[str, Any]) -> None:
    await send(message)


def _start(response: HttpResponseBase) -> dict[str, Any]:
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [(b"Set-Cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}
