"""Where a desk keeps its things. Names only: nothing here touches a disk, so settings may ask at any time."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

LONGEST_SOCKET = 100  # bytes; the kernel takes 107, and PostgreSQL adds ".lock" to its own


@dataclass(frozen=True)
class Folders:
    """The folders below `var`, and the addresses of the embedded servers that live there."""

    var: Path

    @property
    def postgres(self) -> Path:
        return self.var / "postgres"

    @property
    def valkey(self) -> Path:
        return self.var / "valkey"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def secrets(self) -> Path:
        return self.var / "secrets"

    @property
    def sandbox(self) -> Path:
        return self.var / "sandbox"

    @property
    def run(self) -> Path:
        """Locks and state of the running servers."""
        return self.var / "run"

    @property
    def sockets(self) -> Path:
        """`var/run`, or a short folder of our own under the temporary one when a socket's path would not fit."""
        longest = str(self.run / "pg" / ".s.PGSQL.5432.lock")
        if len(longest.encode()) <= LONGEST_SOCKET and re.fullmatch(r"[\w/.+-]+", longest, re.ASCII):
            return self.run
        name = hashlib.blake2b(str(self.var).encode(), digest_size=5).hexdigest()
        return Path(tempfile.gettempdir()) / f"tarazu-{os.geteuid()}-{name}"

    @property
    def postgres_sockets(self) -> Path:
        return self.sockets / "pg"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def database_url(self) -> str:
        return f"postgres://tarazu@/tarazu?host={self.postgres_sockets}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.valkey_socket}"
