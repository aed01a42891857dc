"""Which code found it: the version of the project and a hash of every file that can move a figure."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_PARTS: Final = ("strategies/backtest", "strategies/rules", "strategies/tactics", "trading/indicators", "trading/venue")


@cache
def code_version() -> str:
    """For example `0.1.0+3f9a1c0b77de`: the same sources give the same text on every machine."""
    digest = hashlib.sha256()
    for part in _PARTS:
        for path in sorted((_ROOT / part).rglob("*.py")):
            digest.update(str(path.relative_to(_ROOT)).encode())
            digest.update(path.read_bytes())
    return f"{_project_version()}+{digest.hexdigest()[:12]}"


def _project_version() -> str:
    try:
        return version("tarazu")
    except PackageNotFoundError:  # run from a checkout, which is how the desk is installed
        import tomllib

        return str(tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"])
