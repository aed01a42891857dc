"""One row that cannot be worked on must not hold up the others: the rest may be somebody's protection."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection

from trading.monitoring.alerts import Level, raise_alert

logger = logging.getLogger(__name__)


@contextmanager
def one_of_many(work: str, about: str) -> Iterator[None]:
    """Log and alert what goes wrong with one of many, and let the next have its turn.

    A database that does not answer is everybody's trouble and goes on up; so does any error inside a transaction, which
    could not be used any more.
    """
    try:
        yield
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if connection.in_atomic_block and connection.needs_rollback:
            raise
        logger.exception("%s of %s failed", work, about)
        raise_alert(
            "STEP_FAILED", f"The engine's {work} of {about} failed; everything else goes on.", level=Level.SEVERE,
            about=f"{work}:{about}", next_step="Read the engine's log.",
        )  # fmt: skip
