"""The socket of a page, over a real web process: who may listen, what arrives, and when it ends."""

import json
import time
from contextlib import ExitStack
from typing import Any

import pytest
import websockets.sync.client as sockets
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from accounts.models import User
from tests.factories import UserFactory
from tests.flows.web_process import web  # noqa: F401
from trading.realtime.publish import (
    last_sequence,
    publish,
    publish_aside,
    publish_now,
    publish_with_next,
    somebody_watches,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listen(web: str, valkey):  # noqa: F811
    """A socket opened as somebody, closed in the end."""

    def as_user(user: User | None, *, origin: str | None = None) -> Any:
        headers = {}
        if user is not None:
            client = Client()
            client.force_login(user)
            headers["Cookie"] = f"sessionid={client.cookies['sessionid'].value}"
        line = sockets.connect(
            web.replace("http", "ws") + "/ws/desk/", additional_headers=headers, origin=origin or web, open_timeout=10
        )
        return opened.enter_context(line)

    with ExitStack() as opened:
        yield as_user


def hear(socket: Any, *, timeout: float = 5) -> dict[str, Any]:
    """The next message that is not a mere sign of life."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=timeout))
        if message["kind"] != "beat":
            return message


def greet(socket: Any) -> int:
    message = hear(socket)
    assert message["kind"] == "hello"
    return int(message["seq"])


def test_nobody_is_told_to_sign_in(listen):
    socket = listen(None)
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=5)
    assert closed.value.rcvd.code == 4401


def test_a_page_of_another_site_is_turned_away(listen, db):
    with pytest.raises(InvalidStatus) as refused:
        listen(UserFactory(), origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_each_person_hears_the_own_events_and_no_others(listen):
    one, other = UserFactory(), UserFactory()
    mine, theirs = listen(one), listen(other)
    start, _ = greet(mine), greet(theirs)
    publish_now(other.pk, "order", {"order": 66})
    publish_now(one.pk, "order", {"order": 7, "state": "OPEN"})
    message = hear(mine)
    assert (message["kind"], message["first"], message["seq"]) == ("order", start + 1, start + 1)
    assert message["data"] == {"order": 7, "state": "OPEN"}
    with pytest.raises(TimeoutError):
        hear(mine, timeout=0.5)
    assert hear(theirs)["data"] == {"order": 66}


def test_what_many_commits_told_keeps_its_order_and_figures_are_for_who_watches(listen):
    user = UserFactory()
    assert not somebody_watches(user.pk)
    socket = listen(user)
    start = greet(socket)
    assert somebody_watches(user.pk)
    for number in range(40):
        with transaction.atomic():
            publish(user.pk, "order", order=number)
    heard = [hear(socket) for _ in range(40)]
    assert [message["data"]["order"] for message in heard] == list(range(40))
    assert [message["seq"] for message in heard] == list(range(start + 1, start + 41))


def test_hello_says_how_far_the_story_has_come(listen):
    user = UserFactory()
    for _ in range(3):
        publish_now(user.pk, "order", {})
    socket = listen(user)
    assert greet(socket) == 3
    publish_now(user.pk, "prices", {"quotes": {"NSE:SBIN-EQ": {"ltp": "812.35", "chg": "+0.41", "dir": 1}}})
    message = hear(socket)
    assert (message["kind"], message["first"], message["seq"]) == ("cells", 4, 4)
    assert message["data"]["quotes"]["NSE:SBIN-EQ"]["ltp"] == "812.35"


def test_cells_come_four_times_a_second_at_most_and_orders_at_once(listen):
    user = UserFactory()
    socket = listen(user)
    seq = greet(socket)
    began, wanted = time.monotonic(), []
    for tick in range(600):
        publish_now(user.pk, "prices", {"quotes": {"A": {"ltp": str(tick), "chg": "0.00", "dir": 0}}})
        if tick % 100 == 50:
            publish_now(user.pk, "order", {"order": tick})
            wanted.append(tick)
    covered, cells, orders, last = seq, 0, [], None
    while covered < seq + 606:
        message = hear(socket)
        assert message["first"] == covered + 1
        covered = message["seq"]
        if message["kind"] == "cells":
            cells, last = cells + 1, message["data"]["quotes"]["A"]["ltp"]
        else:
            orders.append(message["data"]["order"])
    took = time.monotonic() - began
    assert orders == wanted
    assert last == "599"
    assert cells <= 4 * took + 2 * len(wanted) + 2  # an order sends what waits before it, to keep its place


def test_an_order_does_not_wait_for_the_cells(listen):
    user = UserFactory()
    socket = listen(user)
    greet(socket)
    publish_now(user.pk, "prices", {"quotes": {}})
    began = time.monotonic()
    publish_now(user.pk, "order", {"order": 1})
    while hear(socket)["kind"] != "order":
        pass
    assert time.monotonic() - began < 0.2


@pytest.mark.parametrize("how", ["session ended", "password changed", "person left"])
def test_who_is_signed_out_loses_the_socket_within_five_seconds(listen, how):
    user = UserFactory()
    socket = listen(user)
    greet(socket)
    began = time.monotonic()
    if how == "session ended":
        Session.objects.all().delete()
    elif how == "password changed":
        user.set_password("another-long-passphrase")
        user.save()
    else:
        User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(ConnectionClosed) as closed:
        while time.monotonic() - began < 8:
            socket.recv(timeout=6)
    assert closed.value.rcvd.code == 4401
    assert time.monotonic() - began < 5.5


def test_what_a_page_says_is_not_acted_upon(listen):
    user = UserFactory()
    socket = listen(user)
    seq = greet(socket)
    for nonsense in ['{"kind":"order","data":{}}', "not json", '{"type":"desk.event","seq":99}', "x" * 100_000]:
        socket.send(nonsense)
    socket.send(b"\x00\xff")
    publish_now(user.pk, "order", {"order": 1})
    assert hear(socket)["seq"] == seq + 1


def test_what_a_transaction_takes_back_is_never_shown(listen):
    from django.db import transaction

    from trading.realtime.publish import publish

    user = UserFactory()
    socket = listen(user)
    greet(socket)
    with transaction.atomic():
        publish(user.pk, "order", order=1)
        transaction.set_rollback(True)
    publish(user.pk, "order", order=2)
    assert hear(socket)["data"] == {"order": 2}


def test_what_nobody_looks_at_is_counted_and_whoever_comes_later_sees_the_gap(listen):
    user = UserFactory()
    for number in range(3):
        publish_now(user.pk, "order", {"order": number})
    assert last_sequence(user.pk) == 3
    page = listen(user)
    assert greet(page) == 3
    publish_with_next([(user.pk, "order", {"order": 4})])
    publish_aside([(user.pk, "position", {"group": "g"})])
    assert [hear(page)["seq"], hear(page)["seq"]] == [4, 5]
    page.close()
    end = time.monotonic() + 30
    while somebody_watches(user.pk):
        assert time.monotonic() < end
        time.sleep(0.02)
    for number in range(2):
        publish_now(user.pk, "order", {"order": number})
    assert last_sequence(user.pk) == 7
    again = listen(user)
    assert greet(again) == 7
    publish_now(user.pk, "order", {"order": 8})
    assert hear(again)["data"] == {"order": 8}
