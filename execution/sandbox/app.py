"""The ASGI program: routes to the broker's REST side, its sockets, and the sandbox's own controls."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.fyers_rest import FyersRest
from execution.sandbox.fyers_sockets import Sockets, transport_of
from execution.sandbox.http import ApiError, Receive, Reply, Request, Scope, Send, ok, read_request, send_reply
from execution.sandbox.kite_rest import KiteRest
from execution.sandbox.panel import FaultPanel, only_from_here
from execution.sandbox.spoiling import FYERS, KITE, CutLine, Page, Spoiler

logger = logging.getLogger("sandbox")
MAX_STEPS = 100_000
PERSIST_CLOCK_S = 1.0
LONGEST_NAP_S = 0.5
SHORTEST_NAP_S = 0.02


class SandboxApp:
    """Everything that listens. `run_market` is the heartbeat of the free-running mode."""

    def __init__(self, *, exchange: Exchange, rest: FyersRest, kite: KiteRest, sockets: Sockets) -> None:
        self.exchange = exchange
        self.rest = rest
        self.kite = kite
        self.sockets = sockets
        self.faults = sockets.faults
        self.spoiler = Spoiler(self.faults)
        self.panel = FaultPanel(deck=self.faults, exchange=exchange, sockets=sockets)
        self.wake = asyncio.Event()
        self._step_lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.sockets.serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await read_request(scope, receive)
            if request.path.startswith("/sandbox/"):
                only_from_here(scope, request)
                reply = await self._control(request)
            else:
                if self.kite.knows(request.path):
                    reply = await self.spoiler.handle(request, self.kite.handle, KITE)
                else:
                    reply = await self.spoiler.handle(request, self.rest.handle, FYERS)
        except CutLine:
            transport_of(send).abort()
            return
        except Page as page:
            reply = page.reply
        except ApiError as error:
            reply = Reply(error.status, _encode(error.body()), headers=error.headers)
        except ConnectionResetError:
            return
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            reply = Reply(500, _encode({"s": "error", "code": 500, "message": "internal error"}))
        await send_reply(reply, send)

    # -- controls -----------------------------------------------------------------------------------------------

    async def _control(self, request: Request) -> Reply:
        what = (request.method, request.path)
        if what == ("GET", "/sandbox/clock"):
            return ok(self.clock())
        if what == ("POST", "/sandbox/clock"):
            return self._set_clock(request.json_object())
        if what == ("POST", "/sandbox/step"):
            return await self._step(request.json_object() if request.body else {})
        if (reply := self.panel.handle(request)) is not None:
            return reply
        raise ApiError(404, 404, "no such path")

    def clock(self) -> dict[str, Any]:
        wall = time.time()
        clock = self.exchange.clock
        venue = clock.at(wall)
        return {
            "wall": wall,
            "venue": venue,
            "speed": clock.speed,
            "running": not clock.stepped,
            "session_date": self.exchange.market.running.day.isoformat(),
            "phase": self.exchange.phase(venue),
            "stepped": clock.stepped,
        }

    def _set_clock(self, body: dict[str, Any]) -> Reply:
        speed = body.get("speed")
        if isinstance(speed, bool) or not hasattr(speed, "__float__"):
            raise ApiError(400, -50, "speed must be a number")
        self.exchange.advance(time.time())
        try:
            self.exchange.set_speed(float(speed), time.time())  # type: ignore[arg-type]
        except ValueError as error:
            raise ApiError(400, -50, str(error)) from error
        self.wake.set()
        return ok(self.clock())

    async def _step(self, body: dict[str, Any]) -> Reply:
        if not self.exchange.clock.stepped:
            raise ApiError(400, -50, "the sandbox was not started with --stepped")
        until, ticks = body.get("until"), body.get("ticks", 1)
        if until is not None and not hasattr(until, "__float__"):
            raise ApiError(400, -50, "until must be epoch seconds")
        if isinstance(ticks, bool) or not isinstance(ticks, int) or not 1 <= ticks <= MAX_STEPS:
            raise ApiError(400, -50, f"ticks must be a whole number from 1 to {MAX_STEPS}")
        async with self._step_lock:
            more = True
            taken = 0
            while more:
                if until is None and taken >= ticks:
                    break
                ahead = self.exchange.next_instant()
                if until is not None and (ahead is None or ahead > float(until)):
                    break
                more = self.exchange.step(time.time())
                taken += 1
                await self.sockets.hand_over()
            if taken:
                self.exchange.persist_clock(time.time())
        frames = {name: one.frames for name, one in self.sockets.prices.items()}
        frames |= {name: one.frames for name, one in self.sockets.tickers.items()}
        session = self.exchange.market.running
        return ok(
            {
                "venue": self.exchange.clock.at(time.time()),
                "done": not more,
                "tick": self.exchange.tick,
                "ticks_left": len(session.instants) - 1 - self.exchange.tick,
                "price_frames": frames,
                "price_frames_total": sum(frames.values()),
                "order_events": self.sockets.order_events,
            }
        )

    # -- the heartbeat ------------------------------------------------------------------------------------------

    async def run_market(self) -> None:
        """Advance at every tick instant of the venue; remember the clock once a second."""
        persisted_at = time.monotonic()
        while True:
            wall = time.time()
            before = (self.exchange.market.running.day, self.exchange.tick)
            self.exchange.advance(wall)
            if (self.exchange.market.running.day, self.exchange.tick) != before:
                self.sockets.prices_moved()
            if time.monotonic() - persisted_at >= PERSIST_CLOCK_S:
                self.exchange.persist_clock(time.time())
                persisted_at = time.monotonic()
            ahead = self.exchange.next_instant()
            nap_s = LONGEST_NAP_S if ahead is None else self.exchange.clock.wall_seconds_until(ahead, wall=time.time())
            self.wake.clear()
            try:
                await asyncio.wait_for(self.wake.wait(), min(max(nap_s, SHORTEST_NAP_S), LONGEST_NAP_S))
            except TimeoutError:
                continue


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
