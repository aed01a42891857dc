"""Instrument masters as files: opened with care, recognised by what is in them, read by their broker's dialect.

A file is read as a whole before anything of it is believed. What cannot be a master is refused with a stable code, and
nothing is changed by it: NOT_TEXT, EMPTY_FILE, BROKEN_ARCHIVE, TOO_LARGE, UNKNOWN_LAYOUT, CUT_FILE, WRONG_LINE.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from execution.brokers.errors import UnexpectedReply
from execution.brokers.fyers import masters as fyers
from execution.brokers.http import Reply
from execution.brokers.kite import masters as kite
from execution.brokers.port import ListedInstrument
from trading.marketdata.listing.instruments import MasterRefused

T = TypeVar("T")
LARGEST = 400_000_000  # bytes, unpacked: ten times the largest master there is
_OTHERS = (b"PAR1", b"PK\x03\x04", b"\x89PNG", b"%PDF", b"\x7fELF", b"<!DO", b"<htm", b"<HTM")


@dataclass(frozen=True, slots=True)
class MasterFile:
    """A master as read. `as_of`: the day it says it is of; None where its layout has none."""

    source: str  # FYERS, KITE
    listed: list[ListedInstrument]
    as_of: date | None
    sha256: str


def read_master(path: Path) -> MasterFile:
    """Read a FYERS master (CSV of any age, or JSON) or a Zerodha instrument dump, packed or not. MasterRefused."""
    body = _unpacked(path)
    if not body.strip():
        raise MasterRefused("EMPTY_FILE", f"{path.name} is empty")
    if body.startswith(_OTHERS) or b"\x00" in body[:4096]:
        raise MasterRefused("NOT_TEXT", f"{path.name} is not a master: no text file")
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        if body.lstrip()[:1] == b"{":
            listed, as_of = _refused(lambda: fyers.read_json(Reply(200, {}, body)), path)
            return MasterFile("FYERS", listed, as_of, sha256)
        if not body.endswith(b"\n"):
            raise MasterRefused("CUT_FILE", f"{path.name} ends in the middle of a line")
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        if body[:64].lstrip(b"\xef\xbb\xbf").startswith(kite.HEADER_START):
            return MasterFile("KITE", _refused(lambda: kite.read_csv(text), path), None, sha256)
        listed, as_of = _refused(lambda: fyers.read_csv(text), path)
        return MasterFile("FYERS", listed, as_of, sha256)
    except UnicodeDecodeError:
        raise MasterRefused("NOT_TEXT", f"{path.name} is not a master: no text file") from None


def _refused(read: Callable[[], T], path: Path) -> T:
    """Read, and say what is wrong in the words of a file rather than of a reply."""
    try:
        return read()
    except MasterRefused as error:
        raise MasterRefused(error.code, f"{path.name}: {error.message}", **error.numbers) from None
    except UnexpectedReply as error:
        raise MasterRefused("UNKNOWN_LAYOUT", f"{path.name}: {error.message}") from None


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            body = gzip.GzipFile(fileobj=raw).read(LARGEST + 1) if packed else raw.read(LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise MasterRefused("BROKEN_ARCHIVE", f"{path.name} is a damaged or cut .gz file") from None
    except OSError as error:
        raise MasterRefused("CANNOT_READ", f"{path} cannot be read: {error.strerror or error}") from None
    if len(body) > LARGEST:
        raise MasterRefused("TOO_LARGE", f"{path.name} has more than {LARGEST // 1_000_000} MB")
    return body
