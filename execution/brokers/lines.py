"""Kept connections to a broker, HTTP/1.1: a request goes out whole, its answer is read as it comes, and whoever has
several out waits for all of them at once.

A line knows whether a byte of a request may have left: what must not happen twice needs no more and no less. Parsed by
llhttp (httptools). No redirects, cookies, proxies or environment.
"""

import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

import httptools
import httpx

BLOCK = 1 << 18
MOST_KEPT = 8
PLAIN = "/?%:@!$&'()*+,;=~"  # in an address as they are
LARGEST_BODY = 1 << 25
"""Bytes, unpacked. A book of thousands of orders is a tenth of it; what is larger is a file and does not come here."""


class Trouble(Exception):
    """A line failed, in one word. `sent`: a byte of the request may have left this machine."""

    def __init__(self, word: str, *, sent: bool) -> None:
        super().__init__(word)
        self.word, self.sent = word, sent


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the server, how the head names it, and what is asked for there."""

    scheme: str
    host: str
    port: int
    authority: str
    wanted: str

    @property
    def server(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


@lru_cache(maxsize=512)
def target_of(url: str) -> Target:
    """Trouble for what is no address of a server."""
    parts = urlsplit(url)
    trouble = parts.scheme not in ("http", "https") or not parts.hostname
    port = None
    try:
        port = parts.port
    except ValueError:
        trouble = True
    if trouble:
        raise Trouble("UnsupportedProtocol", sent=False)
    host, path, query = parts.hostname or "", quote(parts.path or "/", safe=PLAIN), quote(parts.query, safe=PLAIN)
    named = f"[{host}]" if ":" in host else host
    authority = named if port is None else f"{named}:{port}"
    port = port or (443 if parts.scheme == "https" else 80)
    return Target(parts.scheme, host, port, authority, f"{path}?{query}" if query else path)


def head_of(headers: Mapping[str, str]) -> bytes:
    """Lines of a head. Trouble for what would be more than one line, or no text of a head."""
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text or not text.isascii():
        raise Trouble("LocalProtocolError", sent=False)
    return text.encode()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Line:
    """One connection. Not safe for threads: whoever has taken it has it alone."""

    def __init__(self, server: tuple[str, str, int], connected: socket.socket) -> None:
        self.server, self._socket = server, connected
        self._secret = isinstance(connected, ssl.SSLSocket)
        self.is_used = False
        self.since = 0.0
        self._parser: Any = None
        self._forget()

    def _forget(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head_came = self._more = self._goes_on = False
        self.is_whole = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def is_stale(self) -> bool:
        """The server has hung up, or says what nobody has asked for."""
        return bool(_readable(self._socket, 0))

    def close(self) -> None:
        self._socket.close()

    # -- asking ------------------------------------------------------------------------------------------------------

    def write(self, request: bytes, within_s: float) -> None:
        """All of it, or Trouble."""
        self._forget()
        self._parser = httptools.HttpResponseParser(self)
        left, end = memoryview(request), time.monotonic() + within_s
        while left:
            word = ""
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if not _writable(self._socket, end - time.monotonic()):
                    word = "WriteTimeout"
            except OSError:
                word = "WriteError"
            if word:  # a line of TLS may have sent a part of what it was given
                raise Trouble(word, sent=self._secret or len(left) < len(request))

    # -- hearing -----------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Read what has come, without waiting. Trouble where the answer can never be whole."""
        word = ""
        try:
            while not self.is_whole:
                data = self._socket.recv(BLOCK)
                if data:
                    self._parser.feed_data(data)
                elif self._head_came and not {"content-length", "transfer-encoding"} & self.headers.keys():
                    self.is_whole = self._more = True  # as long as it was: the line ends with it
                else:
                    word = "RemoteProtocolError"
                    break
                if not self._secret:
                    break  # of TLS there may be more that no poll shows
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            word = "ReadError"
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            word = "RemoteProtocolError"
        if not word and self._size > LARGEST_BODY:
            word = "RemoteProtocolError"
        if word:
            raise Trouble(word, sent=True)

    def body(self) -> bytes:
        """Of a whole answer, unpacked."""
        whole = b"".join(self._body)
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("identity", "") or not whole:
            return whole
        if coding in ("gzip", "x-gzip", "deflate"):
            unpack = zlib.decompressobj(47)  # zlib.h: it says itself which of them it is
            try:
                plain = unpack.decompress(whole, LARGEST_BODY)
            except zlib.error:
                plain = b""
            if unpack.eof:
                return plain
        raise Trouble("DecodingError", sent=True)

    @property
    def may_go_on(self) -> bool:
        """Another request may follow its answer."""
        return self.is_whole and not self._more and self._goes_on

    # What llhttp calls.

    def on_message_begin(self) -> None:
        self._more = self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_whole:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if not self.is_whole:
            self._head_came, self.status = True, self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if not self.is_whole:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self.is_whole:
            return
        if self.status < 200:  # more is to come
            self._forget()
        else:
            self.is_whole = True
            self._goes_on = bool(self._parser.should_keep_alive())  # llhttp knows it here, and not afterwards


@dataclass(slots=True)
class Lines:
    """The lines of one client, by server. The one that was busy last is taken first; safe for threads."""

    idle_s: float
    _idle: dict[tuple[str, str, int], list[Line]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def take(self, target: Target, *, connect_s: float, unreached: Trouble | None = None) -> Line:
        """A line that is kept and well, else a new one. Trouble where none comes about, or would (`unreached`)."""
        now = time.monotonic()
        while True:
            with self._lock:
                kept = self._idle.get(target.server)
                line = kept.pop() if kept else None
            if line is None and unreached is not None:
                raise unreached
            if line is None:
                return _connected(target, connect_s)
            if now - line.since <= self.idle_s and not line.is_stale():
                line.is_used = True
                return line
            line.close()

    def give_back(self, line: Line) -> None:
        """For the next who asks, where another request may follow; else it is closed."""
        line.since = time.monotonic()
        if line.may_go_on:
            with self._lock:
                kept = self._idle.setdefault(line.server, [])
                if not self._closed and len(kept) < MOST_KEPT:
                    kept.append(line)
                    return
        line.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for line in (one for kept in idle.values() for one in kept):
            line.close()


def _connected(target: Target, within_s: float) -> Line:
    opened, word = None, ""
    try:
        opened = socket.create_connection((target.host, target.port), within_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "https":
            opened = _tls().wrap_socket(opened, server_hostname=target.host)
        opened.setblocking(False)
    except TimeoutError:
        word = "ConnectTimeout"
    except (OSError, UnicodeError):
        word = "ConnectError"
    if opened is None or word:
        if opened is not None:
            opened.close()
        raise Trouble(word, sent=False)
    return Line(target.server, opened)


def _readable(line: socket.socket, within_s: float) -> list[Any]:
    waiting = select.poll()
    waiting.register(line, select.POLLIN)
    return waiting.poll(int(within_s * 1000))


def _writable(line: socket.socket, within_s: float) -> list[Any]:
    waiting = select.poll()
    waiting.register(line, select.POLLOUT)
    return waiting.poll(max(0, int(within_s * 1000)))
