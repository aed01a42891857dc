"""`python -m tests.prove [PART…] [--size N] [--minutes M] [--lanes N] [--fresh]`: prove it, write down what was tried.

Every unit that was tried is a line in var/prove.jsonl, so that a run goes on where the last one was cut; the counts are
in var/prove.json. Units tried on other code count no more. Lanes are processes beside each other on the same servers,
each with a database of its own and its share of the units. Exit 1 when anything failed.
"""

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "trading.settings.test"

import django
from django.db import connection

from tests.bench.__main__ import database
from tests.prove.parts import PARTS, Part, Tried

CHECKOUT = Path(__file__).resolve().parents[2]
LINES, SUMMARY = CHECKOUT / "var" / "prove.jsonl", CHECKOUT / "var" / "prove.json"
PRODUCT = ("trading", "accounts", "risk", "strategies", "execution")
TRIALS = "tests/prove"
SAY_EVERY_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("parts", nargs="*", help="which parts (all of them)")
    parser.add_argument("--size", type=int, help="seeds, rounds or bodies of each part, instead of its own size")
    parser.add_argument("--minutes", type=float, help="stop after so long; the next run goes on from there")
    parser.add_argument("--only", default="", help="units whose name holds this")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="processes beside each other")
    parser.add_argument("--lane", type=int, help=argparse.SUPPRESS)  # which of them this is
    parser.add_argument("--fresh", action="store_true", help="forget what was tried before")
    given = parser.parse_args()
    load_parts()
    if unknown := sorted(set(given.parts) - PARTS.keys()):
        parser.error(f"no such part: {', '.join(unknown)} (there are {', '.join(PARTS)})")
    LINES.parent.mkdir(parents=True, exist_ok=True)
    if given.lane is not None:
        walk_lane(given)
        return 0
    if given.fresh:
        LINES.unlink(missing_ok=True)
    with database():
        for number in range(given.lanes):
            connection.creation.clone_test_db(suffix=f"lane{number}", verbosity=0, autoclobber=True)
        lanes = [start_lane(number) for number in range(given.lanes)]
        broken = [number for number, lane in enumerate(lanes) if lane.wait() != 0]
    summary = summarise(fingerprint())
    SUMMARY.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {SUMMARY}")
    if broken:
        print(f"lanes that did not come to their end: {broken}")
    return 1 if broken or any(part["failures"] for part in summary["parts"].values()) else 0


def load_parts() -> None:
    django.setup()
    for path in sorted(Path(__file__).parent.glob("part_*.py")):
        importlib.import_module(f"tests.prove.{path.stem}")


def start_lane(number: int) -> "subprocess.Popen[bytes]":
    """This command once more, as one lane of it: told apart from the others as the workers of the tests are."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.prove", *sys.argv[1:], "--lane", str(number)],
        cwd=CHECKOUT, env=os.environ | {"PYTEST_XDIST_WORKER": f"gw{number}", "PYTHONHASHSEED": str(number)},
    )  # fmt: skip


def walk_lane(given: argparse.Namespace) -> None:
    """Every lanes-th unit of every part, on a copy of the database that was made for all of them."""
    end = time.monotonic() + given.minutes * 60 if given.minutes else float("inf")
    code = fingerprint()
    connection.settings_dict["NAME"] = f"test_{connection.settings_dict['NAME']}_lane{given.lane}"
    for name in given.parts or list(PARTS):
        units = list(PARTS[name].units(given.size or PARTS[name].size))[given.lane :: given.lanes]
        prove(PARTS[name], units=[unit for unit in units if given.only in unit], code=code, end=end)


def prove(part: Part, *, units: list[str], code: str, end: float) -> None:
    """Try what has not been tried yet, and write down each unit as soon as it is over."""
    known = {line["unit"] for line in told() if line["part"] == part.name and line["code"] == code}
    wanted = [unit for unit in units if unit not in known]
    print(f"{part.name}: {part.claim}. {len(wanted)} to try, {len(units) - len(wanted)} known.", flush=True)
    failed, said = 0, 0.0
    with part.prepare() as prepared, LINES.open("a") as lines:
        for number, unit in enumerate(wanted, start=1):
            if time.monotonic() > end:
                break
            began = time.monotonic()
            try:
                tried = part.attempt(prepared, unit)
            except Exception as error:
                tried = Tried(trouble=[f"{type(error).__name__}: {error}"])
            failed += bool(tried.trouble)
            line = {
                "part": part.name, "unit": unit, "code": code, "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - began, 3), "counts": tried.counts, "trouble": tried.trouble,
            }  # fmt: skip
            print(json.dumps(line, ensure_ascii=False), file=lines, flush=True)
            if tried.trouble:
                print(f"  {unit}: {'; '.join(tried.trouble)}", flush=True)
            if time.monotonic() - said > SAY_EVERY_S or number == len(wanted):
                said = time.monotonic()
                print(f"  {part.name}: {number} of {len(wanted)}, {failed} failed", flush=True)


def told() -> list[dict[str, Any]]:
    """Every unit that was ever tried here; a line cut short by a kill is none."""
    lines = []
    for text in LINES.read_text().splitlines() if LINES.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def summarise(code: str) -> dict[str, Any]:
    """Counts of the present code, part by part."""
    parts: dict[str, dict[str, Any]] = {}
    for part in PARTS.values():
        units = {line["unit"]: line for line in told() if line["part"] == part.name and line["code"] == code}
        counts: Counter[str] = Counter()
        for line in units.values():
            counts.update(line["counts"])
        parts[part.name] = {
            "claim": part.claim, "units": len(units), "asked": sum(1 for _ in part.units(part.size)),
            "counts": dict(sorted(counts.items())),
            "seconds": round(sum(line["seconds"] for line in units.values()), 1),
            "failures": {unit: line["trouble"] for unit, line in units.items() if line["trouble"]},
        }  # fmt: skip
    return {
        "code": code, "commit": commit(), "written_at": datetime.now(UTC).isoformat(timespec="seconds"), "parts": parts
    }  # fmt: skip


def fingerprint() -> str:
    """A hash of the product's code and of the trials': what was tried on other code, or otherwise, proves nothing of
    this."""
    digest = hashlib.sha256()
    for package in (*PRODUCT, TRIALS):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            digest.update(str(path.relative_to(CHECKOUT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def commit() -> str:
    try:
        return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of the line may still wait for a caller
