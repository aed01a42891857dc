"""Whoever writes in a paper book rings; its order streams in this process look at once, those of others within half a
second. The rows are the news, this is only their bell."""

import threading
from collections import defaultdict

_listening: dict[int, set[threading.Event]] = defaultdict(set)
_lock = threading.Lock()


def listen(account_id: int) -> threading.Event:
    bell = threading.Event()
    with _lock:
        _listening[account_id].add(bell)
    return bell


def leave(account_id: int, bell: threading.Event) -> None:
    with _lock:
        _listening[account_id].discard(bell)


def ring(account_id: int) -> None:
    with _lock:
        bells = list(_listening.get(account_id, ()))
    for bell in bells:
        bell.set()
