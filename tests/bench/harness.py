"""What a bench is: a function that measures and says so. Compare ratios inside one run, not between machines."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LOWER_IS_BETTER = {"s", "ms", "µs", "ns", "MB"}


class Skipped(Exception):
    """This bench needs something that is not here. The message says what."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `peer` names what it is held against; the peer's figure has the same unit."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: above 1 we are ahead, whatever the unit."""
        if self.peer_value is None:
            return None
        better, worse = (self.value, self.peer_value) if self.unit in LOWER_IS_BETTER else (self.peer_value, self.value)
        return worse / better if better else None

    def as_dict(self) -> dict[str, object]:
        return {
            "value": _short(self.value), "unit": self.unit, "peer": self.peer, "ratio": _short(self.ratio),
            "peer_value": _short(self.peer_value),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """What a bench is given. `quick` asks for smaller sizes and fewer rounds; `var` is gone afterwards."""

    quick: bool
    var: Path

    def rounds(self, usual: int) -> int:
        return max(2, usual // 4) if self.quick else usual


Bench = Callable[[Run], Iterator[Figure]]
BENCHES: dict[str, Bench] = {}


def bench(function: Bench) -> Bench:
    """Register a bench. It yields its figures; the first line of its docstring is shown."""
    BENCHES[function.__name__] = function
    return function


def timed(call: Callable[[], object], rounds: int, *, warm_up: int = 1) -> list[float]:
    """Seconds of each round, the garbage collector held back meanwhile."""
    for _ in range(warm_up):
        call()
    seconds = []
    with _no_collections():
        for _ in range(rounds):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    return seconds


def middle_ms(call: Callable[[], object], rounds: int, *, warm_up: int = 1) -> float:
    """The median round, in milliseconds."""
    return median(timed(call, rounds, warm_up=warm_up)) * 1000


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds of a call: the median over the rounds; and of the first call of a turn alone."""

    settled: float
    first: float


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int, *, least_s: float = 0.03) -> dict[str, Turns]:
    """Each call in turn in every round, so that a busy neighbour slows all; each for `least_s` on end in its turn.

    A call then finds what it left near, as in a program of its own. The first call of a turn finds what others left:
    it counts as one of its turn, and is told by itself too.
    """
    again = {}
    for name, call in calls.items():
        call()
        again[name] = max(1, int(least_s / max(timed(call, 1, warm_up=0)[0], 1e-9)))
    settled: dict[str, list[float]] = {name: [] for name in calls}
    first: dict[str, list[float]] = {name: [] for name in calls}
    with _no_collections():
        for _ in range(rounds):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                first[name].append(time.perf_counter() - began)
                for _ in range(again[name] - 1):
                    call()
                settled[name].append((time.perf_counter() - began) / again[name])
    return {name: Turns(settled=median(settled[name]), first=median(first[name])) for name in calls}


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile: 0.99 of a hundred values is the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def keep_freed_memory() -> None:
    """Let the allocator (glibc's) keep what is freed, for whoever is measured in this process.

    Else a result of a megabyte is given back to the system and its pages are handed out anew in each round, which takes
    longer than reckoning what is in them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(option, 1 << 28)


@contextmanager
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
