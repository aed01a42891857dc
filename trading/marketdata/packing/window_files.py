"""Windows as files: what one process has read and laid out, the next one maps into memory.

A file holds one window and what it was made of: the series with their revisions. It is only used while these are still
the same, so that a stale file is never served, and it is put in place whole, so that a half written one is never seen.
Losing the files costs a reading from the database and nothing else.
"""

import hashlib
import json
import logging
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.conf import settings

logger = logging.getLogger(__name__)
MAGIC: Final = b"TZWINDOW1\n"
LEAST_CELLS: Final = 50_000  # bars times instruments; a smaller window is read as quickly as a file is opened
MOST_BYTES: Final = 1 << 30  # of all files; the ones used longest ago go first
_ALIGNED: Final = 64


def folder() -> Path:
    return Path(settings.VAR) / "windows"


def path_of(key: tuple[Any, ...]) -> Path:
    return folder() / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.window"


def store(key: tuple[Any, ...], made_of: Any, starts: np.ndarray, values: list[np.ndarray]) -> None:
    """Put a window's file in place. A disk that is full or not ours costs the file, not the scan."""
    if values[0].size < LEAST_CELLS:
        return
    path = path_of(key)
    head = json.dumps({"key": repr(key), "made_of": made_of, "shape": values[0].shape}).encode()
    fresh = path.with_suffix(f".{os.getpid()}.{os.urandom(4).hex()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(MAGIC + len(head).to_bytes(8, "little") + head)
            for array in (starts, *values):
                file.write(b"\0" * (-file.tell() % _ALIGNED))
                file.write(np.ascontiguousarray(array).data)
        fresh.replace(path)
        _tidy()
    except OSError as error:
        logger.warning("the window could not be kept as a file: %s", error)
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def load(key: tuple[Any, ...], made_of: Any) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Starts and the five columns of a window, mapped read-only; None: there is no file made of exactly this."""
    path = path_of(key)
    try:
        with path.open("rb") as file:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        os.utime(path)
    except (OSError, ValueError):  # none, or an empty one
        return None
    begin = len(MAGIC) + 8
    if raw[: len(MAGIC)] != MAGIC:
        return None
    end = begin + int.from_bytes(raw[len(MAGIC) : begin], "little")
    try:
        head = json.loads(raw[begin:end])
    except ValueError:
        return None
    if head.get("key") != repr(key) or head.get("made_of") != made_of:
        return None
    symbols, bars = head["shape"]
    at, arrays = end, []
    for count, kind in ((bars, np.int64), *[(symbols * bars, np.float64)] * 5):
        at += -at % _ALIGNED
        if at + 8 * count > len(raw):
            return None
        arrays.append(np.frombuffer(raw, kind, count, at))
        at += 8 * count
    return arrays[0], [array.reshape(symbols, bars) for array in arrays[1:]]


def _tidy() -> None:
    """Keep the files within their room."""
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder().glob("*.window"))
    total = sum(size for _, size, _ in files)
    for _, size, path in files[:-1]:
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)  # who has it mapped keeps it
        total -= size
