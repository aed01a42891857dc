"""What an order socket says, kept for a moment: whatever has come in meanwhile is heard together."""

import threading
from collections.abc import Callable, Sequence

from execution.brokers.port import BookOrder
from trading.domain.fills import FillFact

News = BookOrder | FillFact
MOST_TOGETHER = 64


class Inbox:
    """Filled by the socket's thread, emptied by one of its own: `hear` takes reports as they came. What is left when
    `hear` fails is dropped: the books have it, and `on_loss` has them read."""

    def __init__(self, hear: Callable[[Sequence[News]], None], *, on_loss: Callable[[], None]) -> None:
        self._hear, self._on_loss = hear, on_loss
        self._came = threading.Condition()
        self._news: list[News] = []

    def put(self, news: News) -> None:
        with self._came:
            self._news.append(news)
            self._came.notify()

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with self._came:
                if not self._news:
                    self._came.wait(0.5)
                news, self._news = self._news[:MOST_TOGETHER], self._news[MOST_TOGETHER:]
            if not news:
                continue
            try:
                self._hear(news)
            except BaseException:
                self._on_loss()
                raise
