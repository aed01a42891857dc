"""One websocket a page. It only shows: nothing that a page sends over it is acted upon."""

import asyncio
import contextlib
import json
import time
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare

from trading.realtime.publish import group_name, last_sequence
from trading.web.stream import Outbox, Reorder

SIGNED_OUT = 4401
RECHECK_S = 4.0  # a revoked session loses its socket within five seconds
CELLS_EVERY_S = 0.25
LATE_S = 0.1


class DeskConsumer(AsyncWebsocketConsumer):
    """Events of the signed-in user, numbered. The group's name comes from the session, never from the client."""

    async def connect(self) -> None:
        await self.accept()  # first accepted, so that the page learns the reason of a close
        self.tasks: list[asyncio.Task[None]] = []
        self.session_key = getattr(self.scope.get("session"), "session_key", None)
        self.user_id = await self._user_id()
        if self.user_id is None:
            await self.close(code=SIGNED_OUT)
            return
        self.group = group_name(self.user_id)
        await self.channel_layer.group_add(self.group, self.channel_name)
        seq = await database_sync_to_async(last_sequence)(self.user_id)
        self.order, self.outbox = Reorder(seq), Outbox()
        self.news, self.late = asyncio.Event(), asyncio.Event()
        await self._say({"kind": "hello", "seq": seq, "first": seq, "at": time.time(), "data": {}})
        for job in (self._send_news(), self._wait_for_late(), self._watch_session()):
            self.tasks.append(asyncio.create_task(job))

    async def disconnect(self, code: int) -> None:
        if getattr(self, "group", None):
            await self.channel_layer.group_discard(self.group, self.channel_name)
        for task in getattr(self, "tasks", []):
            task.cancel()
        for task in getattr(self, "tasks", []):
            with contextlib.suppress(asyncio.CancelledError):
                if task is not asyncio.current_task():
                    await task

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pages have nothing to say here: orders and all other acts go by HTTP, with their own checks."""

    async def desk_event(self, event: dict[str, Any]) -> None:
        """One event from the channel layer. Only puts it in line: a slow page must not hold up the layer."""
        for ready in self.order.take(event):
            self.outbox.put(ready)
        if self.order.held:
            self.late.set()
        self.news.set()

    async def _send_news(self) -> None:
        """Orders at once; cells at most four times a second, and merged for as long as the page is slow."""
        while True:
            await self.news.wait()
            self.news.clear()
            if not self.outbox.is_urgent:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._urgent(), CELLS_EVERY_S)
            for message in self.outbox.take_all():
                await self._say(message)

    async def _urgent(self) -> None:
        while not self.outbox.is_urgent:
            await self.news.wait()
            self.news.clear()

    async def _wait_for_late(self) -> None:
        """A number that does not come in time is a gap: the page is told what there is, and fetches the rest."""
        while True:
            await self.late.wait()
            await asyncio.sleep(LATE_S)
            self.late.clear()
            for ready in self.order.give_up():
                self.outbox.put(ready)
            self.news.set()

    async def _watch_session(self) -> None:
        """Says every few seconds that the line is alive, as long as the session is."""
        while True:
            await asyncio.sleep(RECHECK_S)
            if await self._user_id() != self.user_id:
                await self.close(code=SIGNED_OUT)
                return
            await self._say({"kind": "beat", "at": time.time()})

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    @database_sync_to_async
    def _user_id(self) -> int | None:
        """Whose session this is, read anew: None once it was ended, expired, or its password changed."""
        if not self.session_key:
            return None
        session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
            return None
        user = get_user_model().objects.filter(pk=session.get(SESSION_KEY), is_active=True).first()
        if user is None or not constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
            return None
        return int(user.pk)
