"""How a send ended, in the three words of the port; the same for every broker that is spoken to over HTTP."""

from collections.abc import Callable, Iterator, Sequence

from execution.brokers.errors import BrokerError, NotSent, RateLimited, SentButUnanswered
from execution.brokers.http import HttpClient, Reply
from execution.brokers.port import CallClass, Refused, SendResult, Unknown
from trading.domain.orders import OrderRequest

ReadReply = Callable[[Reply], SendResult]


def send(
    http: HttpClient, method: str, url: str, body: bytes, *, klass: CallClass, read: ReadReply,
    known_id: str | None = None,
) -> SendResult:  # fmt: skip
    """Once. `known_id` is the order that a change or a cancel is about."""
    answer: Reply | BrokerError
    try:
        answer = http.send_once(method, url, body, klass=klass)
    except (NotSent, RateLimited, SentButUnanswered) as error:
        answer = error
    return _result(answer, read, known_id)


def place_together(
    http: HttpClient, url: str, requests: Sequence[OrderRequest], *, klass: CallClass, read: ReadReply,
    body_of: Callable[[OrderRequest], bytes], refused: Callable[[OrderRequest], Refused | None],
) -> Iterator[list[tuple[int, SendResult]]]:  # fmt: skip
    """Placements side by side, each once; see `SendsTogether`. What may not leave is told last: none waits for it."""
    kept = [refused(request) for request in requests]
    leaving = [place for place, why in enumerate(kept) if why is None]
    bodies = [body_of(requests[place]) for place in leaving]
    for ended in http.send_together("POST", url, bodies, klass=klass):
        yield [(leaving[number], _result(answer, read, None)) for number, answer in ended]
    if told := [(place, why) for place, why in enumerate(kept) if why is not None]:
        yield list(told)


def _result(answer: Reply | BrokerError, read: ReadReply, known_id: str | None) -> SendResult:
    if isinstance(answer, Reply):
        return read(answer)
    if isinstance(answer, NotSent | RateLimited):  # the latter from our own bucket: before anything was sent
        return Refused(answer.code, answer.message, known_id)
    return Unknown(answer.message)
