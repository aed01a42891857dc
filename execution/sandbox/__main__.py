"""`python -m execution.sandbox`: start the exchange, stop it cleanly on SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import uvicorn
import uvloop

from execution.sandbox.app import SandboxApp
from execution.sandbox.calendar import IST, OPEN_AT, at_ist, ist
from execution.sandbox.exchange import Exchange
from execution.sandbox.fyers_rest import FyersRest
from execution.sandbox.fyers_sockets import Sockets
from execution.sandbox.journal import Journal, JournalError
from execution.sandbox.kite_rest import KiteRest
from execution.sandbox.market import Market
from execution.sandbox.rate_limit import PER_MINUTE, RateLimit
from execution.sandbox.replay import BadSessionFile, load_replay
from execution.sandbox.tokens import DEFAULT_APP, App, TokenDesk, parse_app
from execution.sandbox.virtual_clock import checked_speed

STOP_WITHIN_S = 0.5


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="execution.sandbox", description="A sandbox exchange that speaks the FYERS v3 protocol."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7401, help="0 picks a free one")
    parser.add_argument("--state-dir", type=Path, required=True, help="orders, trades and the clock live here")
    parser.add_argument("--seed", type=int, default=7, help="of the simulated market")
    parser.add_argument("--speed", type=checked_float, default=60.0, help="virtual seconds per second, 1 to 600")
    parser.add_argument(
        "--start", type=ist_instant, default=None, help="IST, e.g. 2026-11-20T09:15; only for a new state folder"
    )
    parser.add_argument("--session", type=Path, default=None, help="JSON file of imported candles to replay")
    parser.add_argument("--stepped", action="store_true", help="time moves only through POST /sandbox/step")
    parser.add_argument(
        "--app", type=registered_app, action="append", default=[], help="ID:SECRET:USER:CASH in rupees; repeatable"
    )
    parser.add_argument("--no-rate-limit", action="store_true")
    parser.add_argument("--calls-a-minute", type=int, default=PER_MINUTE, help="of one user, in real time")
    parser.add_argument("--redirect-uri", default="", help="where Kite's sign-in sends the person back")
    parser.add_argument("--ready-fd", type=int, default=None, help="gets the port as a line once requests are answered")
    parser.add_argument("--print-port", action="store_true", help='print {"port": N} once requests are answered')
    return parser.parse_args(argv)


def checked_float(text: str) -> float:
    try:
        return checked_speed(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def ist_instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=IST)
    except ValueError as error:
        raise argparse.ArgumentTypeError("use YYYY-MM-DDTHH:MM, Indian time") from error


def registered_app(text: str) -> App:
    try:
        return parse_app(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Server(uvicorn.Server):
    """uvicorn without its signal handling: the program ends with status 0 when asked to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(args: argparse.Namespace) -> tuple[SandboxApp, Journal]:
    """Put the exchange together from the state folder. JournalError or BadSessionFile when it cannot be."""
    wall = time.time()
    replay = load_replay(args.session) if args.session else None
    market = Market(seed=args.seed, replay=replay)
    journal = Journal(args.state_dir)
    sockets: Sockets | None = None

    def publish(events: list) -> None:
        if sockets is not None:
            sockets.publish(events)

    exchange = Exchange(market=market, journal=journal, publish=publish)
    apps = list({app.id: app for app in (DEFAULT_APP, *args.app)}.values())
    start = args.start or datetime.fromtimestamp(at_ist(ist(wall).date(), OPEN_AT), IST)
    exchange.start(
        cash={app.user: app.cash * 100 for app in apps},
        start_at=start.timestamp(),
        start_day=start.date(),
        speed=args.speed,
        stepped=args.stepped,
        first_number=0 if args.stepped else int(wall) % 90_000_000,
        wall=wall,
    )
    desk = TokenDesk(folder=args.state_dir, apps=apps, logouts=exchange.logouts)
    sockets = Sockets(exchange=exchange, desk=desk)
    limit = None if args.no_rate_limit else RateLimit(per_minute=args.calls_a_minute)
    rest = FyersRest(exchange=exchange, desk=desk, limit=limit)
    kite = KiteRest(exchange=exchange, desk=desk, limit=limit, redirect_uri=args.redirect_uri)
    return SandboxApp(exchange=exchange, rest=rest, kite=kite, sockets=sockets), journal


async def serve(args: argparse.Namespace, listener: socket.socket, app: SandboxApp) -> None:
    """Listen until told to stop. A failing heartbeat ends the program: an exchange must not stand still unnoticed."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
        timeout_keep_alive=60,
        server_header=False,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        loop.call_later(STOP_WITHIN_S, lambda: setattr(server, "force_exit", True))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    announce(args, listener.getsockname()[1])
    heartbeat = None if args.stepped else asyncio.create_task(app.run_market())
    waiting = {serving} if heartbeat is None else {serving, heartbeat}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await serving
    if heartbeat is not None:
        heartbeat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await heartbeat
    app.exchange.persist_clock(time.time())


def announce(args: argparse.Namespace, port: int) -> None:
    if args.print_port:
        print(json.dumps({"port": port}), flush=True)
    if args.ready_fd is not None:
        os.write(args.ready_fd, f"{port}\n".encode())
        os.close(args.ready_fd)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def main() -> int:
    args = arguments()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((args.host, args.port))
    except (OSError, OverflowError) as error:
        print(
            f"sandbox: cannot listen on {args.host}:{args.port}: {_reason(error)}. Choose --port.",
            file=sys.stderr,
        )
        return 2
    listener.setblocking(False)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            app, journal = build(args)
            runner.run(serve(args, listener, app))
    except (JournalError, BadSessionFile) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # a journal that cannot be written must not go on trading
        print(f"sandbox: stopped, {args.state_dir} cannot be written: {_reason(error)}", file=sys.stderr)
        return 1
    journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
