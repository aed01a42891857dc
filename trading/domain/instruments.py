"""What must be known of an instrument before a price or a quantity of it means anything."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """Tick in rupees, lot and freeze in units, bands in rupees; None where the exchange sets no limit."""

    symbol: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None
    lower_band: Decimal | None
    upper_band: Decimal | None
    segment: str

    def whole_lots(self, quantity: int | Decimal) -> int:
        """The largest tradable quantity not above this one."""
        units = int(quantity)
        return max(0, units - units % self.lot_size)

    def on_tick(self, price: Decimal) -> bool:
        return price % self.tick_size == 0
