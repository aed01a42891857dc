"""Compile the kernels once, into a cache that every process then loads: `python -m trading.desk.warm`.

The byte code of our own modules too: whoever runs them later may not be allowed to write beside them. Where all of it
is there already, nothing is done.
"""

import compileall
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from trading.settings import env
from trading.settings.env import BASE_DIR
from trading.settings.kernels import MADE, kernels_of, place_and_time


def main() -> None:
    given = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(given) if given else kernels_of(env.folder("TARAZU_VAR", BASE_DIR / "var"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if is_made(folder):
        return
    print("Compiling the kernels (a minute, once for each version)", flush=True)
    began = time.monotonic()
    for app in ("accounts", "execution", "risk", "strategies", "trading"):
        compileall.compile_dir(BASE_DIR / app, quiet=1)
    _compile_all()
    if not given:
        for old in folder.parent.iterdir():
            if old != folder:
                shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    (folder / MADE).write_text(place_and_time())
    print(f"compiled in {time.monotonic() - began:.0f} s")


def is_made(folder: Path) -> bool:
    """Every kernel of the present source is in the folder, and numba will take it: it was made of these very files."""
    made = folder / MADE
    return made.is_file() and made.read_text() == place_and_time()


def _compile_all() -> None:
    """Two halves beside each other, about as long; no kernel is in both."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for done in [processes.submit(_indicators), processes.submit(_research)]:
            done.result()


def _indicators() -> None:
    from strategies.rules.columns import warm as warm_rules  # these read the cache's place when they are imported
    from trading.indicators.greeks import warm_greeks
    from trading.indicators.registry import warm_cache
    from trading.marketdata.packing.aligned import warm_blocks

    warm_cache()
    warm_rules()
    warm_blocks()
    warm_greeks()


def _research() -> None:
    from strategies.runs.warm import warm_research

    warm_research()


if __name__ == "__main__":
    main()
