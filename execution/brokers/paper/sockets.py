"""The streams of a paper account: its orders from its own book, its prices from the connection that brings them."""

from collections.abc import Callable
from threading import Event

from django.db import connection

from execution.brokers.dialect import Hearers
from execution.brokers.paper import rows
from execution.brokers.paper.bell import leave, listen
from execution.brokers.paper.book import Book
from execution.brokers.paper.gateway import PaperGateway
from execution.brokers.port import Tick
from execution.models.paper import PaperBook, PaperOrder, PaperTrade

LOOK_S = 0.5
_GLANCE_S = 0.1


class PaperOrderSocket:
    """Tells what happened in the book since it began to listen, in the order in which it was committed."""

    def __init__(self, *, account_id: int, hearers: Hearers) -> None:
        self.account_id = account_id
        self._hearers = hearers

    def run(self, stop: Event) -> None:
        bell = listen(self.account_id)
        cause = "stopped"
        try:
            heard = self._sequence()
            self._hearers.on_state("connected", "")
            waited = 0.0
            while not stop.is_set():
                rung = bell.wait(_GLANCE_S)
                waited = 0.0 if rung else waited + _GLANCE_S
                if rung or waited >= LOOK_S:
                    bell.clear()
                    waited = 0.0
                    heard = self._tell(heard)
                    connection.close()  # nothing is held while nothing happens
        except Exception as error:
            cause = type(error).__name__
            raise
        finally:
            leave(self.account_id, bell)
            self._hearers.on_state("disconnected", cause)
            connection.close()

    def _sequence(self) -> int:
        return PaperBook.objects.values_list("sequence", flat=True).get(account=self.account_id)

    def _tell(self, heard: int) -> int:
        """Everything after `heard`, up to what was committed as we looked."""
        last = self._sequence()
        if last <= heard:
            return heard
        span = {"version__gt": heard, "version__lte": last}
        orders = PaperOrder.objects.filter(book__account=self.account_id, **span)
        trades = PaperTrade.objects.filter(order__book__account=self.account_id, **span).select_related("order")
        news: list[PaperOrder | PaperTrade] = sorted([*orders, *trades], key=lambda one: one.version)
        traded = set()
        for one in news:
            if isinstance(one, PaperTrade):
                self._hearers.on_fill(rows.fill(one))
                traded.add((one.order.symbol, one.order.product))
            else:
                self._hearers.on_order(rows.order(one))
        if traded:
            for position in Book(PaperBook.objects.get(account=self.account_id)).positions():
                if (position.symbol, position.product) in traded:
                    self._hearers.on_position(position)
        return last


def matching(gateway: PaperGateway, on_ticks: Callable[[list[Tick]], None]) -> Callable[[list[Tick]], None]:
    """Whoever listens hears of prices when the book has met them: a stop at the broker is first."""

    def hear(ticks: list[Tick]) -> None:
        gateway.hear(ticks)
        on_ticks(ticks)
        connection.close()  # the thread of a price stream holds none between two frames

    return hear
