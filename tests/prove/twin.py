"""`python -m tests.prove.twin DATABASE`: another process that walks the same trials, for whoever asks it line by line.

It hashes in another order, its people and shares have other names, its feed and its line to a broker are its own, its
clock shows another decade: what comes out the same here and there hangs on the seed alone.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAMES_FROM = 500_000
"""Where the numbers in the twin's names begin."""
HERE_BEGINS, THERE_BEGINS = datetime(2016, 2, 29, 18, 29, 40, tzinfo=UTC), datetime(2046, 6, 15, 5, 30, tzinfo=UTC)
"""Where the clocks of a trial begin, behind and ahead of any machine's: whatever is measured between such a clock and
the machine's has no age in one process and a great one in the other. Here midnight comes on the way, in India."""


class Twin:
    """The asking end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def log(self, scenario: str, seed: str) -> tuple[str, list[str]]:
        """The hash of the trial's event log there, and what was wrong with it."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the twin has no ears")
        self._process.stdin.write(json.dumps([scenario, seed]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the twin ended with {self._process.wait()}")
        log, trouble = json.loads(answer)
        return log, trouble


@contextmanager
def twin() -> Iterator[Twin]:
    """On the database that this process uses."""
    from django.db import connection

    hashing = (int(os.environ.get("PYTHONHASHSEED", "random").replace("random", "0")) + 77) % 4_000_000_000
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.prove.twin", connection.settings_dict["NAME"]],
        cwd=Path(__file__).resolve().parents[2], env=os.environ | {"PYTHONHASHSEED": str(hashing)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Twin(process)
    finally:
        process.communicate()


def event_log(portfolio_id: int) -> str:
    """A hash of everything that was said about every order, but for the names and instants that differ by nature."""
    from execution.models import Order

    lines = []
    for order in Order.objects.filter(portfolio_id=portfolio_id).order_by("pk").prefetch_related("events", "fills"):
        lines.append(
            f"{order.reason} {order.side} {order.quantity} {order.order_type} {order.limit_price} {order.state}"
        )
        lines += [
            f"{event.seq} {event.kind} {event.source} {event.from_state} {event.to_state} {event.applied}"
            for event in order.events.all()
        ]
        lines += [f"{fill.broker_trade_id} {fill.quantity} {fill.price}" for fill in order.fills.all()]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def walk(stage: Any, scenario: str, seed: str, *, begins_at: datetime = HERE_BEGINS) -> tuple[str, list[str]]:
    """One trial of this process: the hash of its event log, and what was wrong with it."""
    from tests.prove.trial import trial_by_script

    outcome = trial_by_script(stage, seed=seed, scenario=scenario, begins_at=begins_at)
    return event_log(outcome.portfolio_id), outcome.trouble


def main(database: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "trading.settings.test"
    import django

    django.setup()
    from django.db import connection

    import tests.factories as factories
    from tests.prove import crash

    connection.settings_dict["NAME"] = database
    for made in vars(factories).values():
        if isinstance(made, type) and hasattr(made, "reset_sequence"):
            made.reset_sequence(NAMES_FROM, force=True)
    with crash.stage(feed="twin") as stage:
        for line in sys.stdin:
            print(json.dumps(walk(stage, *json.loads(line), begins_at=THERE_BEGINS)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # threads of the line may still wait for a caller
