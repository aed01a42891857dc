"""One HTTP client per account: kept-alive connections, explicit time limits, and three honest endings.

A request was answered (`Reply`), or it never left (`NotSent`), or it left and nothing came back
(`SentButUnanswered`). Placements are sent once; only reads are ever repeated. Several may be out at once, each on a
line of its own (`lines.py`), and one thread waits for all of them. What is asked of an account takes the same lines, so
that they are warm when an order comes; files of many megabytes come through httpx.
"""

import json
import random
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from execution.brokers.errors import (
    BrokerError,
    NotSent,
    RateLimited,
    SentButUnanswered,
    TransientError,
    UnexpectedReply,
)
from execution.brokers.lines import Line, Lines, Target, Trouble, head_of, target_of
from execution.brokers.port import CallClass
from trading.domain.crashpoint import crashpoint

T = TypeVar("T")
BeforeCall = Callable[[str], None]


class CallGuard(Protocol):
    """Who knows whether the broker is well. `status` None: nothing came back. A cause keeps the call from leaving."""

    def may_call(self, klass: CallClass) -> str: ...

    def ended(self, klass: CallClass, *, status: int | None, cause: str, retry_after: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` bounds each wait for bytes, `total` the whole answer, so that a drip cannot hold us."""

    connect: float = 3.0
    read: float = 5.0
    write: float = 5.0
    total: float = 10.0


USUAL = Timeouts()
DATE_IS_OLD_BY_S = (
    2.0  # at most, beside the time a reply takes: it is of whole seconds and may be written once a second
)
TOGETHER_S = 0.003
"""Of several that are out: those that are answered within this of each other are told together."""
BULK = Timeouts(read=15.0, total=120.0)  # instrument masters are files of many megabytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came. The body is read by the dialect, not here."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, *, nan: bool = False) -> Any:
        """The body with exact numbers: fractions as Decimal. UnexpectedReply for anything that is not JSON.

        `nan`: what is no number (NaN, Infinity) comes as such a Decimal, for readers that judge value by value.
        """
        trouble: str
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=Decimal if nan else _no_such_number)
        except (ValueError, RecursionError, ArithmeticError) as error:
            trouble = type(error).__name__
        raise UnexpectedReply(f"HTTP {self.status}: the body is not JSON ({trouble}).", status=self.status)

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, as the broker asks; None where it does not say."""
        for name, scale in (("x-retry-after-ms", 1000), ("retry-after", 1)):
            try:
                return max(0.0, float(self.headers[name]) / scale)
            except (KeyError, ValueError):
                continue
        return None


def _no_such_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


class HttpClient:
    """Connections of one account. Safe for threads. Nothing it raises, logs or prints shows a header or a body."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts = USUAL,
        before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
        idle_s: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lines = Lines(idle_s)
        self._idle_s = idle_s
        self._headers = {"accept": "application/json", "accept-encoding": "gzip", **(headers or {})}
        self._timeouts = timeouts
        self._before_call = before_call
        self._guard = guard
        self._sleep = sleep
        self._head = b""
        self._dated: tuple[str, float] | None = None  # the newest reply's own date, and our wall time then

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def send_once(self, method: str, url: str, body: bytes, *, klass: CallClass) -> Reply:
        """For what must not happen twice. Raises NotSent or SentButUnanswered."""
        self._ask_leave(klass)
        return self._answer(klass, self._alone(_Call(method, url, body), self._timeouts))

    def send_together(
        self, method: str, url: str, bodies: Sequence[bytes], *, klass: CallClass
    ) -> Iterator[list[tuple[int, Reply | BrokerError]]]:
        """The same for several, side by side: each with its place and how it ended, those that ended together in one
        list. One that was not sent, or not answered, is one alone; all are out before the first is waited for."""
        ended: list[tuple[int, Reply | BrokerError]] = []
        calls: dict[int, _Call] = {}
        for place, body in enumerate(bodies):
            try:
                self._ask_leave(klass)
            except (NotSent, RateLimited) as error:
                ended.append((place, error))
            else:
                calls[place] = _Call(method, url, body)
        for some in self._exchange(calls, self._timeouts):
            yield [(place, self._told(klass, answer)) for place, answer in some]
        if ended:
            yield ended

    def read(
        self,
        method: str,
        url: str,
        *,
        understand: Callable[[Reply], T],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        attempts: int = 3,
        klass: CallClass = CallClass.READ,
    ) -> T:
        """Ask, and ask again while the trouble looks passing, with a growing and jittered pause.

        `understand` reads the reply; it raises TransientError where asking again may help. Everything else it
        raises ends the call. After the last attempt the TransientError stands.
        """
        limits = timeouts or self._timeouts
        call = _Call(method, url, body, headers or {})
        exchange = self._file if limits is BULK else self._alone
        for attempt in range(1, attempts + 1):
            self._ask_leave(klass)
            failure: TransientError
            try:
                return understand(self._answer(klass, exchange(call, limits)))
            except SentButUnanswered as error:
                failure = TransientError("NO_ANSWER", error.message)
            except TransientError as error:
                failure = error
            if attempt == attempts:
                raise failure
            self._sleep(0.1 * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        raise AssertionError("a read is attempted at least once")

    def clock_skew_s(self) -> float | None:
        """By how much the server's clock was ahead of ours at its newest reply, at the least; 0: both may be right.

        A date is of whole seconds, and many servers write it once a second. None where no reply bore one to be read.
        """
        if self._dated is None:
            return None
        written, at = self._dated
        try:
            earliest = parsedate_to_datetime(written).timestamp() - at
        except ValueError:
            return None
        return max(0.0, earliest) + min(0.0, earliest + DATE_IS_OLD_BY_S)

    def close(self) -> None:
        self._lines.close()
        if "_files" in self.__dict__:
            self._files.close()

    @cached_property
    def _files(self) -> httpx.HTTPTransport:
        return httpx.HTTPTransport(limits=httpx.Limits(max_connections=2, keepalive_expiry=self._idle_s))

    def _ask_leave(self, klass: CallClass) -> None:
        """The breaker first: a call that may not leave takes no place in the rate. NotSent (BREAKER_OPEN)."""
        if self._guard is not None and (cause := self._guard.may_call(klass)):
            raise NotSent("BREAKER_OPEN", cause)
        if self._before_call is not None:
            self._before_call(klass)

    def _answer(self, klass: CallClass, ended: Reply | BrokerError) -> Reply:
        ended = self._told(klass, ended)
        if isinstance(ended, BrokerError):
            raise ended
        return ended

    def _alone(self, call: "_Call", limits: Timeouts) -> Reply | BrokerError:
        (((_, ended),),) = self._exchange({0: call}, limits)
        return ended

    def _file(self, call: "_Call", limits: Timeouts) -> Reply | BrokerError:
        """The transport of httpx without its client: no redirects, cookies or environment. Its exceptions may quote
        what was sent: they stay here."""
        end = time.monotonic() + limits.total
        named = {"connect": limits.connect, "read": limits.read, "write": limits.write, "pool": limits.read}
        try:
            request = httpx.Request(
                call.method, call.url, headers={**self._headers, **call.headers}, content=call.body,
                extensions={"timeout": named},
            )  # fmt: skip
            response = self._files.handle_request(request)
            try:
                chunks = []
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout("the answer took too long")
                return Reply(response.status_code, response.headers, b"".join(chunks))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.InvalidURL)
            return _failure(call, Trouble(type(error).__name__, sent=not unsent))

    def _told(self, klass: CallClass, ended: Reply | BrokerError) -> Reply | BrokerError:
        """How one exchange ended, once the breaker has been told."""
        if isinstance(ended, Reply) and (written := ended.headers.get("date")) is not None:
            self._dated = (written, time.time())
        if self._guard is not None:
            if isinstance(ended, Reply):
                status, cause, retry_after = ended.status, f"HTTP {ended.status}", ended.retry_after
            else:
                status, cause, retry_after = None, ended.message, None
            self._guard.ended(klass, status=status, cause=cause, retry_after=retry_after)
        return ended

    def _exchange(
        self, calls: Mapping[int, "_Call"], limits: Timeouts
    ) -> Iterator[list[tuple[int, Reply | BrokerError]]]:
        """Send all, then hear them as they are answered. No trouble of a line comes out of here with what was sent: it
        may quote it. Ours carry neither cause nor context."""
        began = time.monotonic()
        ended: list[tuple[int, Reply | BrokerError]] = []
        out: dict[int, _Out] = {}
        waiting = select.poll()
        unreached: Trouble | None = None  # a server that one could not reach is not tried anew for each
        try:
            for place, call in calls.items():
                line, trouble = self._send(call, limits, unreached)
                if line is None:
                    assert trouble is not None
                    unreached = None if trouble.sent else trouble
                    ended.append((place, _failure(call, trouble)))
                    continue
                if call.method != "GET":
                    crashpoint("dispatch.on_the_wire")
                out[line.fileno()] = _Out(place, call, line, time.monotonic())
                waiting.register(line, select.POLLIN)
            end = began + limits.total
            while out:
                now = time.monotonic()
                until = min(end, *(one.heard + limits.read for one in out.values()))
                if ended:
                    until = min(until, now + TOGETHER_S)
                for number, _ in waiting.poll(max(0.0, until - now) * 1000):
                    if (end_of_one := self._hear(out[number])) is not None:
                        waiting.unregister(number)
                        ended.append((out.pop(number).place, end_of_one))
                        until = float("inf")
                now = time.monotonic()
                for number, one in list(out.items()):
                    if now >= min(end, one.heard + limits.read):
                        waiting.unregister(number)
                        out.pop(number).line.close()
                        ended.append((one.place, _failure(one.call, Trouble("ReadTimeout", sent=True))))
                if ended and out and now >= until:
                    yield ended
                    ended = []
            if ended:
                yield ended
        finally:
            for one in out.values():  # nobody waits for them any more
                one.line.close()

    def _send(
        self, call: "_Call", limits: Timeouts, unreached: Trouble | None
    ) -> tuple[Line, None] | tuple[None, Trouble]:
        """The line on which all of it went out. A kept one that takes not one byte has ended: another is taken."""
        try:
            target = target_of(call.url)
            request = self._request(call, target)
            while True:
                line = self._lines.take(target, connect_s=limits.connect, unreached=unreached)
                try:
                    line.write(request, limits.write)
                except Trouble as trouble:
                    line.close()
                    if trouble.sent or not line.is_used:
                        return None, trouble
                else:
                    return line, None
        except Trouble as trouble:
            return None, trouble

    def _request(self, call: "_Call", target: Target) -> bytes:
        if call.headers:
            head = head_of({**self._headers, **call.headers})
        else:
            head = self._head = self._head or head_of(self._headers)
        first = f"{call.method} {target.wanted} HTTP/1.1\r\nhost: {target.authority}\r\n".encode()
        length = b"" if call.method == "GET" and not call.body else b"content-length: %d\r\n" % len(call.body)
        return b"".join((first, head, length, b"\r\n", call.body))

    def _hear(self, one: "_Out") -> Reply | BrokerError | None:
        """What has come; None: the answer is not whole yet."""
        line = one.line
        try:
            line.hear()
            one.heard = time.monotonic()
            if not line.is_whole:
                return None
            reply = Reply(line.status, line.headers, line.body())
        except Trouble as trouble:
            line.close()
            return _failure(one.call, trouble)
        self._lines.give_back(line)
        return reply


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Out:
    """A request that has left; `heard`: when a byte went or came last."""

    place: int
    call: _Call
    line: Line
    heard: float


def _failure(call: _Call, trouble: Trouble) -> NotSent | SentButUnanswered:
    said = f"{call.method} {urlsplit(call.url).path}: {trouble.word}."
    if trouble.sent:
        return SentButUnanswered("SENT_BUT_UNANSWERED", said)
    return NotSent("NOT_SENT", said)
