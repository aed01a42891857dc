"""The same numbers one bar at a time, in constant time and memory. `update(...)` gives the newest value.

Each class follows its kernel step by step, so its values equal the batch's. A missing (not finite) bar returns NaN and
changes nothing, as in `rows`.
"""

from math import isfinite, nan


class StreamingSma:
    """`moving.sma`, one value at a time."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._window = [0.0] * n
        self._seen = 0
        self._total = 0.0

    def update(self, x: float) -> float:
        if not isfinite(x):
            return nan
        slot = self._seen % self.n
        old = self._window[slot]
        self._window[slot] = x
        self._seen += 1
        if self._seen % self.n == 0:
            self._total = 0.0
            for value in self._window:
                self._total += value
        else:
            self._total += x
            if self._seen > self.n:
                self._total -= old
        return self._total / self.n if self._seen >= self.n else nan


class StreamingEma:
    """`moving.ema`, one value at a time."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._weight = 2.0 / (n + 1)
        self._seen = 0
        self._mean = 0.0

    def update(self, x: float) -> float:
        if not isfinite(x):
            return nan
        self._seen += 1
        if self._seen > self.n:
            self._mean += self._weight * (x - self._mean)
            return self._mean
        self._mean += x
        if self._seen < self.n:
            return nan
        self._mean /= self.n
        return self._mean


class StreamingRsi:
    """`oscillators.rsi`, one value at a time."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._changes = 0
        self._previous = nan
        self._gain = 0.0
        self._loss = 0.0

    def update(self, x: float) -> float:
        if not isfinite(x):
            return nan
        change, self._previous = x - self._previous, x
        if change != change:  # the first bar has nothing to change from
            return nan
        self._changes += 1
        up = change if change > 0.0 else 0.0
        down = -change if change < 0.0 else 0.0
        if self._changes <= self.n:
            self._gain += up / self.n
            self._loss += down / self.n
        else:
            self._gain += (up - self._gain) / self.n
            self._loss += (down - self._loss) / self.n
        if self._changes < self.n:
            return nan
        both = self._gain + self._loss
        return 100.0 * (self._gain / both) if both > 0.0 else 50.0


class StreamingAtr:
    """`volatility.atr`, one bar at a time."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._ranges = 0
        self._previous = nan
        self._mean = 0.0

    def update(self, high: float, low: float, close: float) -> float:
        if not (isfinite(high) and isfinite(low) and isfinite(close)):
            return nan
        previous, self._previous = self._previous, close
        if previous != previous:
            return nan
        true_range = max(high, previous) - min(low, previous)
        self._ranges += 1
        if self._ranges <= self.n:
            self._mean += true_range / self.n
        else:
            self._mean += (true_range - self._mean) / self.n
        return self._mean if self._ranges >= self.n else nan
