"""`python -m tests.bench [--quick] [NAME…]`: run the benches, print a table, write var/bench.json.

They run on the same throw-away servers as the tests. Exit 1 when a bench failed; a skipped one says why.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "trading.settings.test"

from tests.bench.harness import BENCHES, Figure, Run, Skipped

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = CHECKOUT / "var" / "bench.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the desk.")
    parser.add_argument("names", nargs="*", help="benches to run (all of them)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--durable", action="store_true", help="commits wait for the disk, as on a desk")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go (var/bench.json)")
    given = parser.parse_args()
    with ExitStack() as stack:
        stack.enter_context(database(durable=given.durable))
        for path in sorted(Path(__file__).parent.glob("bench_*.py")):
            importlib.import_module(f"tests.bench.{path.stem}")
        if unknown := sorted(set(given.names) - BENCHES.keys()):
            parser.error(f"no such bench: {', '.join(unknown)} (there are {', '.join(BENCHES)})")
        run = Run(quick=given.quick, var=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tarazu-bench-"))))
        figures, trouble = measure(given.names or list(BENCHES), run)
    print(table(figures))
    print(f"commits that wait for the disk: {'yes' if given.durable else 'no, these servers are thrown away'}")
    for name, why in trouble:
        print(f"{name}: {why}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(given.json.read_text()) if given.names and given.json.exists() else {}
    known |= {one.name: one.as_dict() for one in figures}
    given.json.write_text(json.dumps(known, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    print(f"written to {given.json}")
    return 1 if any(why.startswith("failed") for _, why in trouble) else 0


def measure(names: list[str], run: Run) -> tuple[list[Figure], list[tuple[str, str]]]:
    figures: list[Figure] = []
    trouble: list[tuple[str, str]] = []
    for name in names:
        print(f"… {name}: {(BENCHES[name].__doc__ or '').splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            figures += BENCHES[name](run)
        except Skipped as why:
            trouble.append((name, f"skipped: {why}"))
        except Exception as error:
            traceback.print_exc()
            trouble.append((name, f"failed: {type(error).__name__}: {error}"))
    return figures, trouble


@contextmanager
def database(*, durable: bool = False) -> Iterator[None]:
    """Servers and an empty database with all tables, gone afterwards."""
    import django
    from django.conf import settings
    from django.db import connection

    from trading.desk.servers import Servers

    with ExitStack() as stack:
        if not os.environ.get("TEST_DATABASE_URL"):
            stack.callback(shutil.rmtree, settings.VAR, ignore_errors=True)
            stack.enter_context(Servers(Path(settings.VAR), throwaway=not durable))
        django.setup()
        name = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)


def table(figures: list[Figure]) -> str:
    rows = [("what", "figure", "unit", "ratio", "peer")]
    for one in figures:
        ratio = "" if one.ratio is None else f"{one.ratio:.1f}×"
        peer = "" if one.peer is None else f"{one.peer} ({one.peer_value:,.4g} {one.unit})"
        rows.append((one.name, f"{one.value:,.4g}", one.unit, ratio, peer))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            row[1].rjust(widths[1]),
            row[2].ljust(widths[2]),
            row[3].rjust(widths[3]),
            row[4],
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
