"""Compile the kernels once, into a cache that every process then loads: `python -m trading.desk.warm`.

The byte code of our own modules too: whoever runs them later may not be allowed to write beside them.
"""

import compileall
import os
import time

from trading.settings import env
from trading.settings.env import BASE_DIR


def main() -> None:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(env.folder("TARAZU_VAR", BASE_DIR / "var") / "numba"))
    from strategies.rules.columns import warm as warm_rules  # these read the cache's place when they are imported
    from strategies.runs.warm import warm_research
    from trading.indicators.greeks import warm_greeks
    from trading.indicators.registry import warm_cache
    from trading.marketdata.aligned import warm_blocks

    began = time.monotonic()
    for app in ("accounts", "execution", "risk", "strategies", "trading"):
        compileall.compile_dir(BASE_DIR / app, quiet=1)
    warm_cache()
    warm_rules()
    warm_blocks()
    warm_research()
    warm_greeks()
    print(f"compiled in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
