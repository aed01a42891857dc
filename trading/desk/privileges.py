"""PostgreSQL refuses to run as root, so root starts it as somebody else, who must still reach a private folder.

A checkout below /root (0700) hides both the data and the wheel's binaries from every other user. Rather than open the
folder to all, the child keeps one capability through exec: to read and pass through folders. Only when it must.
"""

import ctypes
import os
import pwd
import signal
import stat
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def die_with_parent(with_signal: signal.Signals, *, parent: int) -> None:
    """To be called in a child before exec: the kernel sends the signal when the parent is gone, even by kill -9."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0), "prctl")
    if os.getppid() != parent:  # it went between fork and here
        os._exit(1)


def postgres_owner(data: Path) -> pwd.struct_passwd | None:
    """Who is to own PostgreSQL's folder: None for ourselves.

    As root: whoever owns it already, else TARAZU_PG_OWNER, else the account `postgres`, else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    names = [os.environ.get("TARAZU_PG_OWNER", ""), "postgres", "nobody"]
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((known[name] for name in names if name in known and known[name].pw_uid != 0), None)


def open_to(path: Path, owner: pwd.struct_passwd) -> bool:
    """Whether every folder above the path lets this user through by its plain permissions."""
    for folder in [path, *path.parents]:
        if not folder.exists():
            continue
        found = folder.stat()
        others = stat.S_IXGRP if found.st_gid == owner.pw_gid else stat.S_IXOTH
        if not found.st_mode & (stat.S_IXUSR if found.st_uid == owner.pw_uid else others):
            return False
    return True


def become(owner: pwd.struct_passwd, *, see_private_folders: bool) -> None:
    """To be called in a child before exec: drop root for good, keeping at most the right to pass through folders."""
    capability = None
    if see_private_folders:
        ours = int(Path("/proc/self/status").read_text().split("CapPrm:")[1].split()[0], 16)
        capability = next((one for one in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if ours >> one & 1), None)
    if capability is not None:
        # Without this the change of user drops every capability, and access(2), with which initdb looks for its
        # neighbours, ignores those that are left. What is not wanted goes with capset below.
        _check(_libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl")
    os.setgroups([])
    os.setresgid(owner.pw_gid, owner.pw_gid, owner.pw_gid)
    os.setresuid(owner.pw_uid, owner.pw_uid, owner.pw_uid)
    if capability is not None:
        sets = (_Sets * 2)()
        sets[0] = _Sets(1 << capability, 1 << capability, 1 << capability)
        header = _Header(CAPABILITY_VERSION_3, 0)
        _check(_libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")
        _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl")


def before_exec(
    *, owner: pwd.struct_passwd | None, private: bool, with_signal: signal.Signals, parent: int
) -> Callable[[], None]:
    """The child's last steps before it turns into the server."""

    def prepare() -> None:
        if owner is not None:
            become(owner, see_private_folders=private)
        die_with_parent(with_signal, parent=parent)  # last: a change of user clears it

    return prepare
