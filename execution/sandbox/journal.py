"""The exchange's memory: an append-only file, one JSON line per thing that happened, written before anyone is told.

A line is all or nothing: a torn last line (power cut, kill -9) is dropped, and with it only what nobody was told of.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class JournalError(RuntimeError):
    """The state folder cannot be used; the message says why."""


class Journal:
    """`append` returns when the line is on the disk. One process at a time: the folder is locked."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{folder} is in use by another sandbox") from error
        except OSError as error:
            raise JournalError(f"cannot use {folder}: {error.strerror or error}") from error
        self.path = folder / "journal.jsonl"
        self._file: int | None = None

    def read(self) -> Iterator[Record]:
        """All whole lines, oldest first; a torn tail is cut off so that the next line starts clean."""
        if not self.path.exists():
            return
        good = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                except ValueError as error:
                    if lines.read(1):
                        raise JournalError(f"{self.path}: byte {good}: not a journal line") from error
                    break
                good += len(line)
                yield record
        if good != self.path.stat().st_size:
            os.truncate(self.path, good)

    def append(self, record: Record) -> None:
        data = _line(record)
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        while data:
            data = data[os.write(self._file, data) :]
        os.fdatasync(self._file)

    def replace(self, record: Record) -> None:
        """Start over from one line that holds everything (at a new session)."""
        fresh = self.path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(_line(record))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.close_file()

    def close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        self.close_file()
        os.close(self._lock)


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
