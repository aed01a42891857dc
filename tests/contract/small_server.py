"""A venue of a few lines, for what a well-behaved one never does: hang up, hang, stammer, answer nonsense."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Handler = Callable[[socket.socket, bytes], None]


@dataclass
class SmallServer:
    port: int
    requests: list[bytes] = field(default_factory=list)
    lines: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(body: bytes | str, *, status: int = 200, headers: str = "") -> Handler:
    """Say this to every request, and keep the line."""
    raw = body.encode() if isinstance(body, str) else body

    def say(line: socket.socket, _request: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n{headers}\r\n"
        line.sendall(head.encode() + raw)

    return say


def hang_up(line: socket.socket, _request: bytes) -> None:
    line.shutdown(socket.SHUT_RDWR)


def in_turn(*handlers: Handler) -> Handler:
    """One for each request, the last for all that follow."""
    left = list(handlers)

    def take(line: socket.socket, request: bytes) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(line, request)

    return take


@contextmanager
def serving(handler: Handler) -> Iterator[SmallServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SmallServer(listener.getsockname()[1])
        threads: list[threading.Thread] = []

        def serve(line: socket.socket) -> None:
            try:
                while request := _read_request(line):
                    server.requests.append(request)
                    handler(line, request)
            except OSError:
                return

        def accept() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                server.lines.append(line)
                threads.append(threading.Thread(target=serve, args=(line,)))
                threads[-1].start()

        doorman = threading.Thread(target=accept)
        doorman.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            doorman.join(5)
            for line in server.lines:
                try:
                    line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # hung up already
                line.close()
            for thread in threads:
                thread.join(5)


def _read_request(line: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = line.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    size = 0
    for header in head.lower().split(b"\r\n"):
        if header.startswith(b"content-length:"):
            size = int(header.split(b":")[1])
    while len(body) < size:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


def free_port() -> int:
    """A port on which nobody listens (now)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
