"""What all kernels share: how they are compiled, and what they do about a missing bar.

**The rule for missing bars.** A bar whose inputs are not all finite is left out: its output is NaN (False for a cross)
and the indicator goes on over the bars that exist, as if the missing one had never been. So leading NaN only delays
the warm-up, one lost minute does not silence an average for twenty, and no value ever depends on a later bar.

Compiled machine code is kept by numba beside the source, or in NUMBA_CACHE_DIR. The cache does not see a change of
this file through the kernels that use it: delete it after editing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

kernel: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def present(x):
    """Positions of the finite values of one row: int64[k]."""
    at = np.empty(x.size, dtype=np.int64)
    k = 0
    for i in range(x.size):
        if np.isfinite(x[i]):
            at[k] = i
            k += 1
    return at[:k]


@kernel
def present_in_both(x, y):
    """Positions where two rows are finite together: int64[k]."""
    return present(x + y)


@kernel
def present_in_all(x, y, z):
    """Positions where three rows are finite together: int64[k]."""
    return present(x + y + z)
