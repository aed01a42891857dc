"""`python -m tests.prove [PART…] [--size N] [--minutes M] [--fresh]`: prove it, and write down what was tried.

Every unit that was tried is a line in var/prove.jsonl, so that a run goes on where the last one was cut; the counts are
in var/prove.json. Units tried on other code count no more. Exit 1 when anything failed.
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

from tests.bench.__main__ import database
from tests.prove.parts import PARTS, Part, Tried

CHECKOUT = Path(__file__).resolve().parents[2]
LINES, SUMMARY = CHECKOUT / "var" / "prove.jsonl", CHECKOUT / "var" / "prove.json"
PRODUCT = ("trading", "accounts", "risk", "strategies", "execution")
SAY_EVERY_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("parts", nargs="*", help="which parts (all of them)")
    parser.add_argument("--size", type=int, help="seeds, rounds or bodies of each part, instead of its own size")
    parser.add_argument("--minutes", type=float, help="stop after so long; the next run goes on from there")
    parser.add_argument("--only", default="", help="units whose name holds this")
    parser.add_argument("--fresh", action="store_true", help="forget what was tried before")
    given = parser.parse_args()
    LINES.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        LINES.unlink(missing_ok=True)
    end = time.monotonic() + given.minutes * 60 if given.minutes else float("inf")
    with database():
        for path in sorted(Path(__file__).parent.glob("part_*.py")):
            importlib.import_module(f"tests.prove.{path.stem}")
        if unknown := sorted(set(given.parts) - PARTS.keys()):
            parser.error(f"no such part: {', '.join(unknown)} (there are {', '.join(PARTS)})")
        code = fingerprint()
        for name in given.parts or list(PARTS):
            prove(PARTS[name], size=given.size or PARTS[name].size, only=given.only, code=code, end=end)
    summary = summarise(code)
    SUMMARY.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {SUMMARY}")
    return 1 if any(part["failures"] for part in summary["parts"].values()) else 0


def prove(part: Part, *, size: int, only: str, code: str, end: float) -> None:
    """Try what has not been tried yet, and write down each unit as soon as it is over."""
    known = {line["unit"] for line in told() if line["part"] == part.name and line["code"] == code}
    wanted = [unit for unit in part.units(size) if unit not in known and only in unit]
    print(f"{part.name}: {part.claim}. {len(wanted)} to try, {len(known)} known.", flush=True)
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
                print(f"\n  {unit}: {'; '.join(tried.trouble)}", flush=True)
            if time.monotonic() - said > SAY_EVERY_S or number == len(wanted):
                said = time.monotonic()
                print(f"\r  {number} of {len(wanted)}, {failed} failed", end="", flush=True)
    print(flush=True)


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
    """A hash of the product's code: what was tried on other code proves nothing of this."""
    digest = hashlib.sha256()
    for package in PRODUCT:
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
