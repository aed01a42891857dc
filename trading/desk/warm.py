"""Compile the indicator kernels once, into a cache that every process then loads: `python -m trading.desk.warm`."""

import os
import time

from trading.settings import env
from trading.settings.env import BASE_DIR


def main() -> None:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(env.folder("TARAZU_VAR", BASE_DIR / "var") / "numba"))
    from trading.indicators.registry import warm_cache  # reads the cache's place when it is imported

    began = time.monotonic()
    warm_cache()
    print(f"compiled in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
