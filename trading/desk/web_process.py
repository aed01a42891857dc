"""One of several web processes: it must not outlive the one that started it, or it would keep the port."""

from trading.asgi import application
from trading.desk.children import watch_parent

__all__ = ["application"]

watch_parent()
