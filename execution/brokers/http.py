"""One HTTP client per account: kept-alive connections, explicit time limits, and three honest endings.

A request was answered (`Reply`), or it never left (`NotSent`), or it left and nothing came back
(`SentButUnanswered`). Placements are sent once; only reads are ever repeated. The transport is used without httpx's
client around it: no redirects, cookies or environment are wanted here, and it halves our share of an order's time.
"""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Protocol, TypeVar

import httpx

from execution.brokers.errors import NotSent, SentButUnanswered, TransientError, UnexpectedReply
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
    pool: float = 1.0
    total: float = 10.0

    def as_extension(self) -> dict[str, dict[str, float]]:
        return {"timeout": {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}}


USUAL = Timeouts()
DATE_IS_OLD_BY_S = (
    2.0  # at most, beside the time a reply takes: it is of whole seconds and may be written once a second
)
BULK = Timeouts(read=15.0, total=120.0)  # instrument masters are files of many megabytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came. The body is read by the dialect, not here."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body with exact numbers: fractions as Decimal. UnexpectedReply for anything that is not JSON."""
        trouble: str
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_no_such_number)
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
        self._transport = httpx.HTTPTransport(
            http1=True,
            http2=False,
            retries=0,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=idle_s),
        )
        self._headers = {"accept": "application/json", "accept-encoding": "gzip", **(headers or {})}
        self._timeouts = timeouts
        self._extension = timeouts.as_extension()
        self._before_call = before_call
        self._guard = guard
        self._sleep = sleep
        self._urls: dict[str, httpx.URL] = {}
        self._dated: tuple[str, float] | None = None  # the newest reply's own date, and our wall time then

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def send_once(self, method: str, url: str, body: bytes, *, klass: CallClass) -> Reply:
        """For what must not happen twice. Raises NotSent or SentButUnanswered."""
        self._ask_leave(klass)
        parsed = self._urls.get(url)
        if parsed is None:
            parsed = self._urls[url] = httpx.URL(url)
        return self._watched(klass, method, parsed, body, self._headers, self._timeouts, self._extension)

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
        merged = {**self._headers, **headers} if headers else self._headers
        target = httpx.URL(url)
        for attempt in range(1, attempts + 1):
            self._ask_leave(klass)
            failure: TransientError
            try:
                extension = limits.as_extension()
                return understand(self._watched(klass, method, target, body, merged, limits, extension))
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
        self._transport.close()

    def _ask_leave(self, klass: CallClass) -> None:
        """The breaker first: a call that may not leave takes no place in the rate. NotSent (BREAKER_OPEN)."""
        if self._guard is not None and (cause := self._guard.may_call(klass)):
            raise NotSent("BREAKER_OPEN", cause)
        if self._before_call is not None:
            self._before_call(klass)

    def _watched(self, klass: CallClass, *request: Any) -> Reply:
        """One exchange, whose end the breaker is told."""
        try:
            reply = self._exchange(*request)
        except (NotSent, SentButUnanswered) as error:
            if self._guard is not None:
                self._guard.ended(klass, status=None, cause=error.message, retry_after=None)
            raise
        if (written := reply.headers.get("date")) is not None:
            self._dated = (written, time.time())
        if self._guard is not None:
            self._guard.ended(klass, status=reply.status, cause=f"HTTP {reply.status}", retry_after=reply.retry_after)
        return reply

    def _exchange(
        self,
        method: str,
        url: httpx.URL,
        body: bytes,
        headers: Mapping[str, str],
        limits: Timeouts,
        extension: dict[str, Any],
    ) -> Reply:
        deadline = time.monotonic() + limits.total
        # The library's exceptions may quote what was sent, so they are left behind: raised outside of `except`,
        # ours carry neither cause nor context.
        failure: NotSent | SentButUnanswered
        try:
            request = httpx.Request(method, url, headers=headers, content=body, extensions=extension)
            response = self._transport.handle_request(request)
            if method != "GET":
                crashpoint("dispatch.on_the_wire")
            try:
                chunks = []
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer took too long")
                return Reply(response.status_code, response.headers, b"".join(chunks))
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            failure = NotSent("NOT_SENT", f"{method} {url.path}: {type(error).__name__}.")
        except httpx.HTTPError as error:
            failure = SentButUnanswered("SENT_BUT_UNANSWERED", f"{method} {url.path}: {type(error).__name__}.")
        raise failure
