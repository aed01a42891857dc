"""Rows about fetching history: what was asked for, how far it is, and how many calls were not needed."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.marketdata.models.feed import Feed


class HistoryTally(models.Model):
    """One exchange day's fetching of a feed: requests that would have been needed, and requests that were made."""

    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="+", db_index=False)
    date = models.DateField()
    needed = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    bars = models.BigIntegerField(default=0, help_text="bars that the calls brought")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "date"], name="tally_once")]
        verbose_name_plural = "history tallies"

    def __str__(self) -> str:
        return f"{self.feed} {self.date}: {self.calls} of {self.needed} calls"

    @property
    def saved(self) -> int:
        return max(0, self.needed - self.calls)

    @property
    def saved_pct(self) -> float:
        return 100.0 * self.saved / self.needed if self.needed else 100.0


class RefusedBar(models.Model):
    """A bar that a history told and that cannot be: set aside with its numbers as they came.

    Its minute is not traded on while the row is open. It is asked for again a few times, longer and longer apart, and
    settled by a good bar of that start, whoever brings it.
    """

    class State(models.TextChoices):
        OPEN = "OPEN", "is asked for again"
        SETTLED = "SETTLED", "a good bar came"
        GIVEN_UP = "GIVEN_UP", "not asked for any more"

    UNSETTLED = (State.OPEN, State.GIVEN_UP)

    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="+", db_index=False)
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="+")
    timeframe = models.PositiveSmallIntegerField(help_text="minutes; 1440 is a day")
    started_at = models.DateTimeField(help_text="the bar's start; of a line without a time the begin of what was asked")
    why = models.CharField(max_length=16, help_text="HIGH_BELOW_LOW, NOT_ENCLOSED, NO_PRICE, NO_NUMBER, …")
    raw = models.CharField(max_length=300, help_text="the line as it came, last time")
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    asked = models.PositiveSmallIntegerField(default=1, help_text="answers that had no good bar of this start")
    next_ask_at = models.DateTimeField(null=True, help_text="venue time; empty: not asked for again")
    found_at = models.DateTimeField(help_text="venue time")
    settled_at = models.DateTimeField(null=True, help_text="venue time")

    class Meta:
        ordering = ["-started_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["feed", "timeframe", "instrument", "started_at"], name="refused_bar_once"),
            models.CheckConstraint(
                condition=models.Q(state="OPEN") | models.Q(next_ask_at__isnull=True), name="only_open_is_asked_again"
            ),
        ]
        indexes = [
            models.Index(
                fields=["feed", "timeframe", "instrument"],
                condition=Q(state__in=["OPEN", "GIVEN_UP"]),
                name="refused_unsettled",
            )
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe}m {self.started_at:%Y-%m-%d %H:%M} {self.why.lower()}"


class CandleArchive(models.Model):
    """One file of old candles that were taken out of the database once the file had been read back and compared."""

    feed = models.ForeignKey(Feed, on_delete=models.PROTECT, related_name="+", db_index=False)
    timeframe = models.PositiveSmallIntegerField(help_text="minutes; 1440 is a day")
    first_day = models.DateField()
    last_day = models.DateField(help_text="included")
    path = models.CharField(max_length=200, help_text="below var/archive")
    sha256 = models.CharField(max_length=64)
    bars = models.BigIntegerField()
    archived_at = models.DateTimeField(help_text="wall time")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "timeframe", "first_day"], name="archived_once")]

    def __str__(self) -> str:
        return self.path


class Backfill(Owned):
    """A wish for the past: candles of these instruments between two days. The row is the work; it is done once.

    What is done is told by the candles themselves and by CandleCoverage: a worker that was killed is followed by
    another that asks for nothing twice.
    """

    class State(models.TextChoices):
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    OPEN = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="backfills")
    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="+")
    account_id = models.BigIntegerField(help_text="the broker account whose history is asked")
    title = models.CharField(max_length=160)
    symbols = models.JSONField(help_text="symbols, in the order in which they are fetched")
    timeframe = models.PositiveSmallIntegerField(help_text="minutes; 1440 is a day")
    from_date = models.DateField()
    to_date = models.DateField(help_text="included")
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    position = models.PositiveIntegerField(default=0, help_text="instruments that are through")
    needed = models.BigIntegerField(default=0, help_text="requests it takes to fetch everything")
    settled = models.BigIntegerField(default=0, help_text="requests that were made, or were not needed")
    calls = models.BigIntegerField(default=0)
    bars = models.BigIntegerField(default=0, help_text="bars that arrived")
    stored = models.BigIntegerField(default=0, help_text="of these, bars that were new")
    failed = models.JSONField(default=dict, help_text="symbol to the code of what went wrong")
    holder = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True, help_text="wall time; a claim that grew older may be taken over")
    error = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(help_text="wall time")
    started_at = models.DateTimeField(null=True, help_text="wall time")
    finished_at = models.DateTimeField(null=True, help_text="wall time")

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["state"], condition=Q(state__in=["QUEUED", "RUNNING"]), name="backfill_open")]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN

    @property
    def saved(self) -> int:
        """Requests that were not needed."""
        return max(0, self.settled - self.calls)

    @property
    def percent(self) -> int:
        if self.state == self.State.DONE:
            return 100
        return min(99, 100 * self.settled // self.needed) if self.needed else 0

    def pace(self, wall: datetime) -> tuple[float | None, float | None]:
        """Bars a second since it began, and the seconds that are left at its rate of calls; None: not known yet."""
        if self.started_at is None or not self.settled:
            return None, None
        seconds = max(((self.finished_at or wall) - self.started_at).total_seconds(), 1e-3)
        left = (self.needed - self.settled) * seconds / self.settled if self.is_open else 0.0
        return self.bars / seconds, max(0.0, left)
