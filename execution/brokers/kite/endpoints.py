"""Where Kite Connect lives, or something that speaks like it."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Full addresses. `idle_s`: how long an idle connection may be kept before the server is likely to drop it."""

    api: str
    login: str
    socket: str
    idle_s: float
    control: str | None = None  # a simulated venue's own switches; the exchange has none

    @classmethod
    def live(cls) -> "Endpoints":
        return cls(
            api="https://api.kite.trade",
            login="https://kite.zerodha.com/connect/login",
            socket="wss://ws.kite.trade",
            idle_s=20.0,
        )

    @classmethod
    def of(cls, base_url: str) -> "Endpoints":
        """One server that answers for all hosts, as a sandbox does: `http://127.0.0.1:7401`."""
        base = base_url.rstrip("/")
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"not an http address: {base_url!r}")
        socket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path}"
        return cls(
            api=base,
            login=f"{base}/connect/login",
            socket=socket,
            idle_s=4.0,  # uvicorn drops idle connections after five
            control=f"{base}/sandbox",
        )

    @property
    def is_live(self) -> bool:
        """The broker's own hosts: what is placed here is for real money."""
        return self.control is None

    @property
    def is_loopback(self) -> bool:
        """True for plain http on this machine: the only place where a sign-in may go without a person."""
        parts = urlsplit(self.api)
        return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")

    def orders(self, broker_order_id: str = "") -> str:
        """Every order of the desk is of the regular variety: brackets and covers are its own work."""
        return f"{self.api}/orders/regular{'/' + broker_order_id if broker_order_id else ''}"

    def triggers(self, trigger_id: str = "") -> str:
        return f"{self.api}/gtt/triggers{'/' + trigger_id if trigger_id else ''}"
