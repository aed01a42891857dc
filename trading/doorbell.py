"""The doorbell of an engine on the same machine: a socket among the desk's own, rung with one datagram, some 0.02 ms.

A bell and no more, as all bells are (`trading/outbox.py`): where nobody answers the door, or too much waits before it,
it is rung the other way, and when that fails too the sweep finds the row. The folder is the desk's alone.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

Bell = tuple[str, Mapping[str, Any]]
"""Its name and the ids of what it rings for."""
LARGEST = 1 << 16


def _door_of(account_id: int) -> Path:
    folder: Path = settings.FOLDERS.sockets / "bells"
    return folder / str(account_id)


def ring_nearby(account_id: int, bells: Sequence[Bell]) -> bool:
    """Whether the engine of the account has a door here and these bells wait before it. Never waits, never raises."""
    rung = json.dumps(bells).encode()
    try:
        return len(rung) <= LARGEST and _ringer().sendto(rung, str(_door_of(account_id))) == len(rung)
    except OSError:  # no engine here, one that is gone, or one that does not keep up
        return False


def has_door(account_id: int) -> bool:
    """Whether somebody stands at the account's door on this machine: an engine that was killed left a door behind which
    nobody is."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as visitor:
            visitor.connect(str(_door_of(account_id)))
    except OSError:  # as above; or a path that is too long for a door, or no socket to be had
        return False
    return True


@cache
def _ringer() -> socket.socket:
    """One a process: a datagram goes out whole, whichever thread sends it."""
    ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ringer.setblocking(False)
    return ringer


class Door:
    """Where the engine of an account hears what is rung on this machine. Whoever opens it last has it."""

    def __init__(self, account_id: int, *, wait_s: float = 0.5) -> None:
        self._path = _door_of(account_id)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._file = self._path.stat().st_ino
        self._socket.settimeout(wait_s)

    def wait(self) -> list[Bell]:
        """What has been rung together; nothing after a while in which nobody came."""
        try:
            rung = self._socket.recv(LARGEST)
        except TimeoutError:
            return []
        return [(name, ids) for name, ids in json.loads(rung)]

    def close(self) -> None:
        self._socket.close()
        try:
            if self._path.stat().st_ino == self._file:  # else another engine has opened its own
                self._path.unlink()
        except FileNotFoundError:
            pass
