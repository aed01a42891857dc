"""A condition that wakes whoever began to wait last.

Threads that share work keep things that are soon cold: a line to the database whose server process has its plans and
caches, a line to the broker, what the processor's caches hold. `threading.Condition` wakes them in turns, so that each
is cold when its turn comes; where there is little to do, the same one should do it all.
"""

from threading import Lock
from types import TracebackType


class NewestFirst:
    """Used as `threading.Condition` is: held with `with`, and by whoever waits or wakes. It cannot be held twice."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Lock] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go until somebody wakes this thread, then hold again. False: nobody did within `timeout` seconds."""
        mine = Lock()
        mine.acquire()
        self._waiting.append(mine)
        self._lock.release()
        try:
            woken = mine.acquire() if timeout is None else mine.acquire(timeout=max(0.0, timeout))
        finally:
            self._lock.acquire()
        if not woken and mine in self._waiting:
            self._waiting.remove(mine)
            return False
        return True  # or woken between the end of its patience and here: it counts, for nobody else was

    def notify(self, number: int = 1) -> None:
        """Wake so many, the newest first."""
        for _ in range(min(number, len(self._waiting))):
            self._waiting.pop().release()

    def notify_all(self) -> None:
        self.notify(len(self._waiting))
