"""The account's circuit breaker, as the HTTP client and the sockets ask it."""

from execution.brokers.port import CallClass
from risk.circuit_breaker import BreakerClass, CallEnd, CircuitBreaker

TOO_MANY, SERVER_TROUBLE = 429, 500
_FAILS_WITH = {CallClass.READ: BreakerClass.READ, CallClass.DATA: BreakerClass.DATA}
_PROTECTS = frozenset({CallClass.EXIT, CallClass.CANCEL, CallClass.PACED_EXIT})


class BrokerGuard:
    """Calls that write orders fail together, reads of the books too, and so does market data."""

    def __init__(self, account_id: int) -> None:
        self._breaker = CircuitBreaker(account_id)

    def may_call(self, klass: CallClass) -> str:
        return self._breaker.may_call(_class_of(klass), protects=klass in _PROTECTS)

    def ended(self, klass: CallClass, *, status: int | None, cause: str, retry_after: float | None) -> None:
        if status == TOO_MANY:
            end = CallEnd.THROTTLED
        else:
            end = CallEnd.FAILED if status is None or status >= SERVER_TROUBLE else CallEnd.GOOD
        self._breaker.ended(_class_of(klass), end, cause=cause, retry_after_s=retry_after)


class StreamGuard:
    """Sockets fail together: where none comes about any more, the broker is not knocked at by each of them."""

    def __init__(self, account_id: int) -> None:
        self._breaker = CircuitBreaker(account_id)

    def may_connect(self) -> str:
        return self._breaker.may_call(BreakerClass.STREAM)

    def accepted(self) -> None:
        self._breaker.ended(BreakerClass.STREAM, CallEnd.GOOD)

    def failed(self, *, status: int | None, cause: str, retry_after: float | None) -> None:
        end = CallEnd.THROTTLED if status == TOO_MANY else CallEnd.FAILED
        self._breaker.ended(BreakerClass.STREAM, end, cause=cause, retry_after_s=retry_after)


def _class_of(klass: CallClass) -> BreakerClass:
    return _FAILS_WITH.get(CallClass(klass), BreakerClass.ORDER_WRITE)
