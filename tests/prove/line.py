"""The line between a desk that may be killed and a broker that must survive it: one call, one answer, over a socket."""

import threading
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from execution.brokers.fyers.mapping import read_send_reply
from execution.brokers.http import Reply
from execution.brokers.port import BookOrder, BrokerPosition, CallClass, Funds, SendResult
from trading.domain.crashpoint import crashpoint
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest


class Exchange:
    """Serves one object after the other to the lives of its desk. Every call is whole: a killed caller changes nothing
    of it."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "broker.sock")
        self._listener = Listener(self.address, family="AF_UNIX", backlog=16)
        self._lock = threading.Lock()
        self.served: Any = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: Connection) -> None:
        with line, suppress(EOFError, OSError):
            while True:
                name, args, kwargs = line.recv()
                with self._lock:
                    try:
                        answer = getattr(self.served, name)(*args, **kwargs)
                    except Exception as error:
                        answer = error
                line.send(answer)

    def close(self) -> None:
        self._listener.close()


class Line:
    """The desk's end. It is a gateway, and it also tells what the socket of the broker would."""

    def __init__(self, address: str) -> None:
        self._line = Client(address, family="AF_UNIX")

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._line.send((name, args, kwargs))
        if name == "place":
            crashpoint("dispatch.on_the_wire")
        answer = self._line.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        return understood(self.call("place", request))

    def modify(self, broker_order_id: str, **changes: Any) -> SendResult:
        return understood(self.call("modify", broker_order_id, **changes), broker_order_id)

    def cancel(self, broker_order_id: str) -> SendResult:
        return understood(self.call("cancel", broker_order_id), broker_order_id)

    def orders(self) -> list[BookOrder]:
        return self.call("orders")

    def trades(self) -> list[FillFact]:
        return self.call("trades")

    def positions(self) -> list[BrokerPosition]:
        return self.call("positions")

    def funds(self) -> Funds:
        return self.call("funds")

    def close(self) -> None:
        self._line.close()


def understood(answer: SendResult | Reply, known_id: str | None = None) -> SendResult:
    """A raw reply is read by the adapter's own reader: what it believes is part of what is proved."""
    return read_send_reply(answer, known_id=known_id) if isinstance(answer, Reply) else answer
