"""What a web process gets ready beside its first requests, so that no alert and no order waits for it."""

from trading.domain.heap import loading
from trading.marketdata.packing.aligned import warm_blocks
from trading.web.alert_way import warm


def get_ready() -> None:
    """The statements of an alert, and the kernels that lay out candles: gates ask how a share has moved. What numba
    reads before its first kernel, kept or not, holds everything in a process up for a fifth of a second."""
    warm()
    with loading():
        warm_blocks()
