"""Where compiled kernels are kept: a folder for each state of the source that they are made of.

numba looks at the file of a kernel alone, and takes what it kept although a function of another file, or a constant,
that went into it has changed. So the folder bears a hash of all those files: after an update nothing old is run.
"""

import hashlib
import re
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
PACKAGES = ("trading/indicators", "trading/venue", "trading/marketdata", "strategies/rules", "strategies/backtest")
MADE_OF = re.compile(rb"\b(?:njit|kernel|compiled|bare)\b")
IMPORTED = re.compile(rb"^(?:from|import) ((?:trading|strategies|risk|execution)[\w.]*)", re.MULTILINE)
MADE = ".made"
"""Lies in a folder in which all of them are."""


def kernels_of(var: Path) -> Path:
    """The folder of the present source, under the desk's own folder."""
    return var / "numba" / fingerprint()


def fingerprint() -> str:
    """A hash of the files with kernels, of our own files that they import, and of what is installed."""
    digest = hashlib.blake2b(digest_size=8)
    for path, text in sorted(_source().items()):
        digest.update(str(path.relative_to(BASE_DIR)).encode() + b"\0" + text + b"\0")
    return digest.hexdigest()


def place_and_time() -> str:
    """A hash of where those files lie and when they were written: numba takes nothing made of others."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(_source()):
        digest.update(f"{path}\0{path.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _source() -> dict[Path, bytes]:
    installed = BASE_DIR / "requirements" / "base.txt"
    source: dict[Path, bytes] = {installed: installed.read_bytes()}
    for package in PACKAGES:
        for path in (BASE_DIR / package).rglob("*.py"):
            text = path.read_bytes()
            if MADE_OF.search(text):
                source[path] = text
    for text in list(source.values()):
        for name in IMPORTED.findall(text):
            path = BASE_DIR / f"{name.decode().replace('.', '/')}.py"
            if path not in source and path.is_file():
                source[path] = path.read_bytes()
    return source
