"""Cash a trade in shares must bring along. Intraday: the exchange's floor of 20 % (VaR + ELM), so five times at most;
a broker may ask more for a volatile name. Delivery: all of it. Derivatives need SPAN and are not reckoned here."""

from decimal import ROUND_UP, Decimal
from typing import Final

from trading.domain.orders import Product

_SHARE_OF_VALUE: Final = {Product.INTRADAY: Decimal("0.20"), Product.CNC: Decimal("1.00")}


def margin_required(*, product: Product, quantity: int, price: Decimal) -> Decimal:
    """Rupees blocked for `quantity` shares, rounded up to the paisa. ValueError: a product of derivatives."""
    if product not in _SHARE_OF_VALUE:
        raise ValueError(f"the margin of product {product} depends on the whole portfolio and is not known here")
    return (quantity * price * _SHARE_OF_VALUE[product]).quantize(Decimal("0.01"), ROUND_UP)


def most_leverage(product: Product) -> Decimal | None:
    """How often the money of a trade in shares may be spent at once. None: it depends on the whole portfolio."""
    share = _SHARE_OF_VALUE.get(product)
    return None if share is None else 1 / share
