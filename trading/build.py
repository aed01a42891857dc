"""Which code a process runs: a digest of its own sources, so that processes of two builds notice each other."""

import hashlib
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("accounts", "execution", "risk", "strategies", "trading")


@lru_cache(maxsize=1)
def build_id() -> str:
    """Sixteen hex digits. Read once in a process's life: what it loaded is what it runs."""
    return digest_of(ROOT)


def digest_of(root: Path) -> str:
    """Of the names and contents of all Python files of the desk below `root`."""
    seen = hashlib.blake2b(digest_size=8)
    for part in PARTS:
        for path in sorted((root / part).rglob("*.py")):
            seen.update(path.relative_to(root).as_posix().encode())
            seen.update(path.read_bytes())
    return seen.hexdigest()
