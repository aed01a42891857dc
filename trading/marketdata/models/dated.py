"""What was true of an instrument on a day: its names, its tick and lot, its sector; and which master said so.

An instrument row says what holds today. These rows say since when, and what held before.
"""

from django.db import models


class InstrumentRefresh(models.Model):
    """One master that was taken over, or refused. Written once."""

    class Outcome(models.TextChoices):
        TAKEN = "TAKEN"
        NOTHING_NEW = "NOTHING_NEW"
        REFUSED = "REFUSED"

    at = models.DateTimeField(help_text="when it was read")
    as_of = models.DateField(null=True, help_text="the exchange day the master is of")
    source = models.CharField(max_length=12, help_text="FYERS, KITE")
    markets = models.CharField(max_length=60, blank=True, help_text="NSE CM, NSE FO")
    file_name = models.CharField(max_length=200, blank=True, help_text="empty: asked of the broker")
    sha256 = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=60)
    outcome = models.CharField(max_length=12, choices=Outcome)
    code = models.CharField(max_length=40, blank=True, help_text="why it was refused")
    message = models.CharField(max_length=400, blank=True)
    listed = models.PositiveIntegerField(default=0, help_text="lines of the master")
    counts = models.JSONField(default=dict, help_text="added, changed, renamed, returned, retired, expired, refused")

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["markets", "-at"], name="refreshes_of_market")]

    def __str__(self) -> str:
        return f"{self.source} {self.markets} {self.as_of or ''} {self.outcome.lower()}"


class InstrumentChange(models.Model):
    """What one refresh changed about one instrument. Of contracts that come and go by the thousand only the numbers
    are kept (`InstrumentRefresh.counts`); their changes of tick, lot and name are here."""

    class Kind(models.TextChoices):
        ADDED = "ADDED"
        CHANGED = "CHANGED"
        RENAMED = "RENAMED"
        RETURNED = "RETURNED"
        RETIRED = "RETIRED"
        REFUSED = "REFUSED"

    refresh = models.ForeignKey(InstrumentRefresh, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=8, choices=Kind)
    symbol = models.CharField(max_length=60)
    field = models.CharField(max_length=24, blank=True)
    before = models.CharField(max_length=120, blank=True)
    after = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["symbol", "-id"], name="changes_of_symbol")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind.lower()} {self.field}"


class FormerIdentity(models.Model):
    """What an instrument was known by before: its symbol, ISIN and token up to and with `until_date`.

    History, memberships and orders hang on the instrument's row, so they survive the change of its name.
    """

    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="former")
    symbol = models.CharField(max_length=60)
    isin = models.CharField(max_length=12, blank=True)
    fy_token = models.CharField(max_length=24, blank=True)
    until_date = models.DateField(help_text="the last day it was so")
    source = models.CharField(max_length=120)

    class Meta:
        ordering = ["-until_date"]
        constraints = [models.UniqueConstraint(fields=["instrument", "symbol", "isin"], name="former_identity_once")]
        indexes = [models.Index(fields=["symbol", "until_date"], name="former_by_symbol")]

    def __str__(self) -> str:
        return f"{self.symbol} until {self.until_date}"


class InstrumentTerms(models.Model):
    """Tick, lot and largest single order from a day on, until the next row of the instrument. Rupees and units."""

    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="terms")
    from_date = models.DateField()
    tick_size = models.DecimalField(max_digits=8, decimal_places=4)
    lot_size = models.PositiveIntegerField()
    freeze_quantity = models.PositiveIntegerField(null=True)
    source = models.CharField(max_length=120)

    class Meta:
        ordering = ["from_date"]
        constraints = [
            models.UniqueConstraint(fields=["instrument", "from_date"], name="terms_once_a_day"),
            models.CheckConstraint(condition=models.Q(tick_size__gt=0, lot_size__gte=1), name="terms_make_sense"),
        ]

    def __str__(self) -> str:
        return f"from {self.from_date}: tick {self.tick_size}, lot {self.lot_size}"


class PriceBand(models.Model):
    """The lowest and the highest price that a venue takes of an instrument on one day. Rupees. Bands are relaxed
    within a day, so a row says what was last heard."""

    feed = models.ForeignKey("marketdata.Feed", on_delete=models.CASCADE, related_name="+", db_index=False)
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="bands")
    session_date = models.DateField()
    lower = models.DecimalField(max_digits=14, decimal_places=4)
    upper = models.DecimalField(max_digits=14, decimal_places=4)
    source = models.CharField(max_length=24, help_text="MASTER, BOOK")
    heard_at = models.DateTimeField(help_text="wall time of the first word of these two")

    class Meta:
        ordering = ["-session_date"]
        constraints = [
            models.UniqueConstraint(fields=["feed", "instrument", "session_date"], name="band_once_a_day"),
            models.CheckConstraint(
                condition=models.Q(lower__gt=0, upper__gt=models.F("lower")), name="band_makes_sense"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.session_date}: {self.lower} to {self.upper}"


class SectorStay(models.Model):
    """The sector an instrument was counted to. An open end means: still."""

    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="sector_stays")
    sector = models.CharField(max_length=60)
    from_date = models.DateField()
    to_date = models.DateField(null=True)
    source = models.CharField(max_length=120)

    class Meta:
        ordering = ["from_date"]
        constraints = [models.UniqueConstraint(fields=["instrument", "from_date"], name="sector_once_a_day")]

    def __str__(self) -> str:
        return f"{self.sector} from {self.from_date}"


class CalendarDay(models.Model):
    """A day that is not like its weekday: closed, a weekend session, or hours of its own. Beside the shipped table;
    a row here takes the place of the shipped one of its day."""

    class Kind(models.TextChoices):
        CLOSED = "CLOSED", "closed"
        FULL = "FULL", "weekend day with ordinary hours"
        HOURS = "HOURS", "hours of its own"

    date = models.DateField(unique=True)
    kind = models.CharField(max_length=6, choices=Kind)
    name = models.CharField(max_length=120)
    hours = models.CharField(max_length=60, blank=True, help_text="09:15-10:00 11:30-12:30; only for hours of its own")
    certain = models.BooleanField(default=True, help_text="off: the hours are expected, good for simulation only")
    source = models.CharField(max_length=200, help_text="circular or notice, with its date")
    changed_by = models.CharField(max_length=60)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["-date"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="HOURS") & ~models.Q(hours="") | ~models.Q(kind="HOURS") & models.Q(hours=""),
                name="hours_where_they_differ",
            )
        ]

    def __str__(self) -> str:
        return f"{self.date} {self.kind.lower()}: {self.name}"


class CalendarYear(models.Model):
    """All holidays of this year are entered: its other weekdays trade. Without it a day of the year is closed."""

    year = models.PositiveSmallIntegerField(unique=True)
    source = models.CharField(max_length=200, help_text="the exchange's circular of the year's holidays")
    changed_by = models.CharField(max_length=60)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["-year"]

    def __str__(self) -> str:
        return str(self.year)


class SessionPlan(models.Model):
    """The phases of an ordinary day from a day on, for one kind of session."""

    class Kind(models.TextChoices):
        EQUITY = "EQUITY", "shares"
        EQUITY_DERIVATIVE_STOCK = "EQUITY_DERIVATIVE_STOCK", "shares that have derivatives"
        DERIVATIVES = "DERIVATIVES", "futures and options"

    kind = models.CharField(max_length=24, choices=Kind)
    from_date = models.DateField()
    phases = models.CharField(max_length=600, help_text="PREOPEN_ENTRY 09:00-09:08~1; …; CONTINUOUS 09:15-15:30")
    source = models.CharField(max_length=200)
    changed_by = models.CharField(max_length=60)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["-from_date"]
        constraints = [models.UniqueConstraint(fields=["kind", "from_date"], name="plan_once")]

    def __str__(self) -> str:
        return f"{self.kind} from {self.from_date}"


class ExpiryRuleRow(models.Model):
    """The weekday on which contracts of a cycle end, from a day on."""

    class Weekday(models.TextChoices):
        MON = "MON"
        TUE = "TUE"
        WED = "WED"
        THU = "THU"
        FRI = "FRI"
        NONE = "NONE", "no such contracts"

    class Cycle(models.TextChoices):
        WEEKLY = "WEEKLY"
        MONTHLY = "MONTHLY"

    from_date = models.DateField()
    exchange = models.CharField(max_length=8)
    underlying = models.CharField(max_length=40, default="*", help_text="NIFTY; * for all others")
    cycle = models.CharField(max_length=8, choices=Cycle)
    weekday = models.CharField(max_length=4, choices=Weekday)
    source = models.CharField(max_length=200)
    changed_by = models.CharField(max_length=60)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["-from_date"]
        verbose_name = "expiry rule"
        constraints = [
            models.UniqueConstraint(fields=["from_date", "exchange", "underlying", "cycle"], name="expiry_rule_once")
        ]

    def __str__(self) -> str:
        return f"{self.exchange} {self.underlying} {self.cycle.lower()}: {self.weekday} from {self.from_date}"


class CorporateAction(models.Model):
    """A step that the past of an instrument must be multiplied by, or is suspected to need. Only CONFIRMED count."""

    class Kind(models.TextChoices):
        SPLIT_OR_BONUS = "SPLIT_OR_BONUS", "split or bonus"
        DEMERGER = "DEMERGER", "demerger"
        DIVIDEND = "DIVIDEND", "special dividend"
        RIGHTS = "RIGHTS", "rights"
        MERGER = "MERGER", "merger: its shares become shares of another"
        OTHER = "OTHER", "other"

    class State(models.TextChoices):
        SUSPECTED = "SUSPECTED"
        ANNOUNCED = "ANNOUNCED", "Announced, waits for the close before it"
        CONFIRMED = "CONFIRMED"
        DISMISSED = "DISMISSED"
        WITHDRAWN = "WITHDRAWN"

    UNDECIDED = (State.SUSPECTED, State.ANNOUNCED)
    """States in which old and new prices of the instrument cannot be compared."""
    CHANGES_SHARES = (Kind.SPLIT_OR_BONUS, Kind.MERGER)
    """Kinds that change the number of shares, and so the volumes before."""

    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="actions")
    ex_date = models.DateField(help_text="first day that trades without it")
    kind = models.CharField(max_length=16, choices=Kind)
    factor = models.DecimalField(max_digits=16, decimal_places=10, help_text="prices before are multiplied by it")
    state = models.CharField(max_length=10, choices=State, default=State.SUSPECTED)
    source = models.CharField(max_length=200)
    note = models.CharField(max_length=300, blank=True)
    terms = models.JSONField(default=dict, blank=True, help_text="as it was announced; empty: found by its prices")
    suspected = models.JSONField(default=dict, blank=True, help_text="what prices had shown before it was announced")
    found_at = models.DateTimeField()
    decided_by = models.CharField(max_length=60, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-ex_date"]
        constraints = [
            models.UniqueConstraint(fields=["instrument", "ex_date"], name="action_once"),
            models.CheckConstraint(condition=models.Q(factor__gt=0), name="factor_makes_sense"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.ex_date} × {self.factor.normalize():f}"

    @property
    def known_factor(self) -> str | None:
        """The factor without trailing zeros; None: announced, and the close that it takes is not stored yet."""
        return None if self.state == self.State.ANNOUNCED else f"{self.factor.normalize():f}"

    @property
    def told(self) -> str:
        """What it is, in words."""
        return self.note or self.get_kind_display()


class QualityDay(models.Model):
    """What the stored candles of one instrument on one day are worth. Written anew when the day is judged again."""

    feed = models.ForeignKey("marketdata.Feed", on_delete=models.CASCADE, related_name="+", db_index=False)
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.CASCADE, related_name="+")
    timeframe = models.PositiveSmallIntegerField(help_text="minutes")
    day = models.DateField()
    score = models.PositiveSmallIntegerField(help_text="0 to 100")
    expected = models.PositiveIntegerField(help_text="bars the session has")
    present = models.PositiveIntegerField()
    untrusted = models.PositiveIntegerField(default=0)
    defects = models.JSONField(default=dict, help_text="code → bars it concerns")
    largest_gap = models.PositiveIntegerField(default=0, help_text="bars")
    gap_from = models.CharField(max_length=5, blank=True, help_text="local time in India")
    checked_at = models.DateTimeField()

    class Meta:
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["feed", "timeframe", "instrument", "day"], name="quality_day_once"),
            models.CheckConstraint(condition=models.Q(score__lte=100), name="score_of_hundred"),
        ]
        indexes = [models.Index(fields=["feed", "timeframe", "day"], name="quality_by_day")]

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe}m {self.day}: {self.score}"
