import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.ownership import Owned, OwnedQuerySet


class RunQuerySet(OwnedQuerySet):
    def with_progress(self) -> "RunQuerySet":
        """Beside each run, how much of its work is done, as its chunks say."""
        done = (
            RunChunk.objects.filter(run=OuterRef("pk"))
            .order_by()
            .values("run")
            .annotate(total=Sum("done"))
            .values("total")
        )
        return self.annotate(done_units=Coalesce(Subquery(done, output_field=models.BigIntegerField()), 0))

    def open(self) -> "RunQuerySet":
        return self.filter(state__in=BacktestRun.OPEN)


class BacktestRun(models.Model):
    """Something somebody wants to know about the past, from the wish to the answer.

    The row is the work; whoever rings for it, it is done once. What was asked never changes; the answer lies beside it.
    """

    OWNER = "owner"

    class Kind(models.TextChoices):
        BACKTEST = "BACKTEST", "Backtest"
        SWEEP = "SWEEP", "Sweep"
        WALK_FORWARD = "WALK_FORWARD", "Walk-forward"
        MONTE_CARLO = "MONTE_CARLO", "Monte Carlo"
        LOOK_AHEAD = "LOOK_AHEAD", "Look-ahead check"
        PORTFOLIO = "PORTFOLIO", "Portfolio of strategies"

    class State(models.TextChoices):
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    OPEN = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="backtest_runs")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.BACKTEST)
    title = models.CharField(max_length=160)
    version = models.ForeignKey(
        "strategies.ContractVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="backtest_runs"
    )
    request = models.JSONField(default=dict, help_text="contract, market and money; empty: made of other runs")
    study = models.JSONField(default=dict, help_text="what the kind needs beyond the request, the seed among it")
    limits = models.JSONField(default=dict, help_text="the house's limits when it was asked")
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    units = models.BigIntegerField(default=1, help_text="how much work there is, in the units its chunks count")
    generation = models.PositiveIntegerField(default=0, help_text="how often its chunks led to further ones")
    holder = models.UUIDField(null=True, help_text="who puts the answer together")
    leased_until = models.DateTimeField(null=True, help_text="wall time")
    error_code = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(help_text="wall time")
    started_at = models.DateTimeField(null=True, help_text="wall time")
    finished_at = models.DateTimeField(null=True, help_text="wall time")
    ended_by = models.CharField(max_length=150, blank=True, help_text="who cancelled it")

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="run_newest"),
            models.Index(fields=["state"], condition=Q(state__in=["QUEUED", "RUNNING"]), name="run_open"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN

    @property
    def done(self) -> int:
        """Units done. From `with_progress` where the row came that way."""
        if self.state == self.State.DONE:
            return self.units
        counted = getattr(self, "done_units", None)
        if counted is None:
            counted = self.chunks.aggregate(n=Coalesce(Sum("done"), 0))["n"]
        return min(int(counted), self.units)

    @property
    def percent(self) -> int:
        return 100 * self.done // self.units if self.units else 100

    def pace(self, wall: datetime) -> tuple[float | None, float | None]:
        """Units a second since it began, and the seconds that are left at that rate; None: not known yet."""
        done = self.done
        if self.started_at is None or not done:
            return None, None
        end = self.finished_at or wall
        seconds = max((end - self.started_at).total_seconds(), 1e-3)
        rate = done / seconds
        return rate, (self.units - done) / rate if self.is_open else 0.0


class RunChunk(Owned):
    """A piece of a run's work, small enough to lose. Taken by one worker at a time, twice at most."""

    OWNER = "run__owner"

    class State(models.TextChoices):
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        DONE = "DONE"

    run = models.ForeignKey(BacktestRun, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    spec = models.JSONField(default=dict)
    state = models.CharField(max_length=7, choices=State, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    holder = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True, help_text="wall time; a claim that grew older may be taken over")
    done = models.BigIntegerField(default=0, help_text="units of the run's work")
    result = models.BinaryField(null=True)

    class Meta:
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="chunk_once")]
        indexes = [models.Index(fields=["state"], condition=~Q(state="DONE"), name="chunk_open")]

    def __str__(self) -> str:
        return f"{self.run} #{self.number}"


class RunResult(Owned):
    """What a run found, with all that is needed to find it again. Written once; it goes only with its run."""

    OWNER = "run__owner"

    run = models.OneToOneField(BacktestRun, primary_key=True, on_delete=models.CASCADE, related_name="result")
    report = models.BinaryField(help_text="the JSON text, byte for byte, compressed")
    arrays = models.BinaryField(help_text="trades and curves, packed")
    figures = models.JSONField(default=dict, help_text="the few numbers that lists and comparisons show")
    data_hash = models.CharField(max_length=64, blank=True)
    run_hash = models.CharField(max_length=64)
    engine_version = models.PositiveIntegerField()
    code_version = models.CharField(max_length=80)
    seed = models.BigIntegerField(null=True)
    stored_at = models.DateTimeField(help_text="wall time")

    def __str__(self) -> str:
        return f"{self.run} {self.run_hash[:12]}"
