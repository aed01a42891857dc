"""What can be traded or watched, and the lists it stands in."""

from django.db import models

from trading.domain.instruments import InstrumentSpec

DERIVATIVES = "FO"


def ticker_of(symbol: str, *, segment: str) -> str:
    """The short name a trader says: SBIN, NIFTY26AUG24000CE."""
    listed = symbol.partition(":")[2]
    if segment == DERIVATIVES:
        return listed
    return listed.rpartition("-")[0] or symbol


class Instrument(models.Model):
    """Something that can be traded, or an index that can be watched."""

    symbol = models.CharField(max_length=60, unique=True, help_text="NSE:SBIN-EQ")
    name = models.CharField(max_length=120)
    exchange = models.CharField(max_length=8, default="NSE")
    segment = models.CharField(max_length=8, default="CM")
    instrument_type = models.CharField(max_length=12, default="EQ", help_text="EQ, ETF, INDEX, FUTIDX, OPTSTK …")
    fy_token = models.CharField(max_length=24, blank=True, help_text="FYERS: fytoken")
    kite_token = models.CharField(max_length=24, blank=True, help_text="Zerodha: instrument_token")
    exchange_token = models.CharField(max_length=16, blank=True)
    isin = models.CharField(max_length=12, blank=True)
    sector = models.CharField(max_length=60, blank=True)
    tick_size = models.DecimalField(max_digits=8, decimal_places=4)
    lot_size = models.PositiveIntegerField(default=1)
    freeze_quantity = models.PositiveIntegerField(null=True)
    has_derivatives = models.BooleanField(default=False)
    underlying = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="contracts")
    underlying_name = models.CharField(max_length=40, blank=True, help_text="of a contract: NIFTY")
    expiry = models.DateField(null=True)
    strike = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    option_type = models.CharField(max_length=2, blank=True, help_text="CE, PE")
    active = models.BooleanField(default=True)
    listed_from = models.DateField(null=True, help_text="day of the first master that had it")
    master_date = models.DateField(null=True)

    class Meta:
        ordering = ["symbol"]
        indexes = [
            models.Index(
                fields=["underlying_name", "expiry", "strike"], name="contracts_of",
                condition=models.Q(expiry__isnull=False),
            ),
            models.Index(fields=["isin"], name="instrument_by_isin", condition=~models.Q(isin="")),
            models.Index(fields=["fy_token"], name="instrument_by_fy_token", condition=~models.Q(fy_token="")),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.symbol

    @property
    def ticker(self) -> str:
        """The short name a trader says: SBIN, NIFTY26AUG24000CE."""
        return ticker_of(self.symbol, segment=self.segment)

    @property
    def is_derivative(self) -> bool:
        """A future or an option: it has an expiry and trades in lots."""
        return self.segment == DERIVATIVES

    @property
    def own_sector(self) -> str:
        """Its sector, of a future or an option that of its underlying; "" where it is not known."""
        return self.sector or (self.underlying.sector if self.underlying is not None else "")

    @property
    def is_tradable(self) -> bool:
        return self.active and self.instrument_type != "INDEX"

    @property
    def spec(self) -> InstrumentSpec:
        return InstrumentSpec(
            symbol=self.symbol,
            tick_size=self.tick_size,
            lot_size=self.lot_size,
            freeze_quantity=self.freeze_quantity,
            lower_band=None,
            upper_band=None,
            segment=self.segment,
        )


class Universe(models.Model):
    """A named list of instruments, with the days on which each belonged to it."""

    name = models.CharField(max_length=60, unique=True)
    description = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return self.name


class UniverseMember(models.Model):
    """One instrument's stay in a universe. An open end means: still in."""

    universe = models.ForeignKey(Universe, on_delete=models.CASCADE, related_name="members")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="memberships")
    from_date = models.DateField()
    to_date = models.DateField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["universe", "instrument", "from_date"], name="member_joined_once")
        ]

    def __str__(self) -> str:
        return f"{self.instrument} in {self.universe}"
