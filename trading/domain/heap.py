"""A process that has started keeps what it started with: the collector need not walk it again."""

import gc

YOUNG = 20_000
"""New objects before the youngest are looked at. An order makes thousands; nearly all of them die by themselves."""


def settle_heap() -> None:
    """Call once all is loaded: a full collection, of hundreds of thousands of objects, must not fall into an order."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
