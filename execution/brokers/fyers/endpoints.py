"""Where FYERS lives, or something that speaks like it."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Full addresses. `idle_s`: how long an idle connection may be kept before the server is likely to drop it."""

    api: str
    data: str
    public: str
    order_socket: str
    price_socket: str
    idle_s: float
    control: str | None = None  # a simulated venue's own switches; the exchange has none

    @classmethod
    def live(cls) -> "Endpoints":
        return cls(
            api="https://api-t1.fyers.in/api/v3",
            data="https://api-t1.fyers.in/data",
            public="https://public.fyers.in",
            order_socket="wss://socket.fyers.in/trade/v3",
            price_socket="wss://socket.fyers.in/hsm/v1-5/prod",
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
            api=f"{base}/api/v3",
            data=f"{base}/data",
            public=base,
            order_socket=f"{socket}/trade/v3",
            price_socket=f"{socket}/hsm/v1-5/prod",
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

    @property
    def orders(self) -> str:
        return f"{self.api}/orders/sync"

    def symbol_master(self, stem: str) -> str:
        """The JSON master of one segment: NSE_CM, NSE_FO, BSE_CM …"""
        return f"{self.public}/sym_details/{stem}_sym_master.json"

    @property
    def index_names(self) -> str:
        return f"{self.public}/sym_details/index_hsm_mapping.json"

    @property
    def symbol_token(self) -> str:
        return f"{self.data}/symbol-token"
