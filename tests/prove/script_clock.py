"""The wall clock of a life that is compared with another: it goes on with the script, and not with the machine.

Much of what an engine does hangs on how old something is: an exit that rests for six seconds is priced anew, a doubt is
looked up after two. On a busy machine more of that falls between two steps of the script than on an idle one, and each
further question to the broker finds its books and its news later: the same fill is then told by the socket here and by
the book there. Where two processes are to do the same, time must be part of what is given. Nothing else is: both read
their own rows, hash in their own order and speak to a broker of their own, and what they say is compared to the letter.
"""

import time
from datetime import UTC, datetime

from django.utils import timezone

STEP_S = 0.7
"""Wall seconds between two steps. No patience of the engine is a multiple of it: nothing falls on an edge."""
READING_S = 1e-6
"""It stands still for nobody: whoever waits for an instant gets there."""


class ScriptClock:
    """Takes the place of the process's clocks, from the present on, for as long as the process lives."""

    def __init__(self) -> None:
        self._at = time.time()
        time.time = time.monotonic = self.read
        timezone.now = self.now

    def read(self) -> float:
        self._at += READING_S
        return self._at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.read(), UTC)

    def step(self) -> None:
        self._at += STEP_S
