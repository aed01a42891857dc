"""A request runs in one kept thread, whatever it answers."""

import asyncio
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from trading.web.handler import OneStepHandler


def plain(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse(f"{request.body.decode()} in {threading.current_thread().name}")
    answer.set_cookie("seen", "yes", httponly=True)
    answer.set_cookie("twice", "yes")
    return answer


def long(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{number} {threading.current_thread().name};" for number in range(3))


def broken(request: HttpRequest) -> HttpResponse:
    raise LookupError("nobody foresaw this")


urlpatterns = [path("plain", plain), path("long", long), path("broken", broken)]


@pytest.fixture
def handler():
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        yield OneStepHandler()


Headers = list[tuple[bytes, bytes]]


def ask(
    handler: OneStepHandler, where: str, body: bytes = b"", headers: Headers | None = None
) -> tuple[int, Headers, list[bytes]]:
    scope = {
        "type": "http", "method": "POST", "path": f"/{where}", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"testserver"), *(headers or [])], "server": ("testserver", 80),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(handler(scope, receive, send))
    return sent[0]["status"], sent[0]["headers"], [message.get("body", b"") for message in sent[1:]]


def test_body_and_cookies_go_through_and_the_thread_is_kept(handler):
    first = ask(handler, "plain", b"asked")
    assert first[0] == 200 and first[2][0].startswith(b"asked in request_")
    assert [value for name, value in first[1] if name == b"Set-Cookie"] == [
        b"seen=yes; HttpOnly; Path=/", b"twice=yes; Path=/",
    ]  # fmt: skip
    assert ask(handler, "plain", b"asked")[2][0].startswith(b"asked in request_")
    assert first[2][0].decode().removeprefix("asked in ") in {thread.name for thread in threading.enumerate()}


def test_a_long_answer_is_sent_piece_by_piece_from_one_thread(handler):
    status, _, pieces = ask(handler, "long")
    assert status == 200 and [piece.split(b" ")[0] for piece in pieces[:3]] == [b"0", b"1", b"2"]
    assert len({piece.split(b" ")[1] for piece in pieces[:3]}) == 1 and pieces[3:] == [b""]


def test_what_nobody_foresaw_is_answered(handler):
    assert ask(handler, "broken")[0] == 500
    assert ask(handler, "nowhere")[0] == 404


@csrf_exempt  # as every view of the API is
def seen(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a person" if hasattr(request, "session") else "a program")


@pytest.mark.parametrize(
    ("where", "headers", "who"),
    [
        ("api/seen", [(b"authorization", b"Bearer tz_some_key")], b"a program"),
        ("api/seen", [], b"a person"),
        ("api/seen", [(b"authorization", b"Basic eA==")], b"a person"),
        ("seen", [(b"authorization", b"Bearer tz_some_key")], b"a person"),
    ],
)
def test_who_shows_a_key_at_the_api_has_no_session_and_the_same_headers(where, headers, who):
    urls = (path("api/seen", seen), path("seen", seen))
    with override_settings(ROOT_URLCONF=urls):
        handler = OneStepHandler()
        status, told, body = ask(handler, where, headers=headers)
        others = ask(handler, "seen")[1]
    assert (status, body) == (200, [who])
    kept = {b"content-security-policy", b"x-content-type-options", b"x-frame-options", b"cross-origin-opener-policy"}
    safe = [{name.lower(): value for name, value in each if name.lower() in kept} for each in (told, others)]
    assert safe[0] == safe[1] and safe[0].keys() == kept
