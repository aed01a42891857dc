"""From a symbol to the name under which the price socket knows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import UnexpectedReply
from execution.brokers.fyers import mapping
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.http import BeforeCall, HttpClient, Reply

SYMBOLS_PER_CALL = 500
SEGMENT_NAMES = {
    "1010": "nse_cm",
    "1011": "nse_fo",
    "1012": "cde_fo",
    "1020": "nse_com",
    "1120": "mcx_fo",
    "1210": "bse_cm",
    "1211": "bse_fo",
    "1212": "bcs_fo",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Topic → symbol, and the symbols for which there is none."""

    topics: dict[str, str]
    refused: list[str]


def topic_of(symbol: str, fy_token: str, index_names: dict[str, str]) -> str | None:
    """`sf|nse_cm|3045`, or `if|nse_cm|Nifty 50` for an index. None for a segment that has no prices here."""
    segment = SEGMENT_NAMES.get(fy_token[:4])
    if segment is None or len(fy_token) < 11:
        return None
    if symbol.endswith("-INDEX"):
        return f"if|{segment}|{index_names.get(symbol) or symbol.partition(':')[2].partition('-')[0]}"
    return f"sf|{segment}|{fy_token[10:]}"


class TopicResolver:
    """Asks the broker for the tokens and keeps what it learnt: they hold for the day."""

    def __init__(
        self, *, endpoints: Endpoints, credentials: Credentials, before_call: BeforeCall | None = None
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._http = HttpClient(before_call=before_call, idle_s=endpoints.idle_s)
        self._tokens: dict[str, str] = {}
        self._index_names: dict[str, str] | None = None

    def resolve(self, symbols: Iterable[str]) -> Resolved:
        """Raises BrokerError where the broker cannot be asked."""
        wanted = list(dict.fromkeys(symbols))
        missing = [symbol for symbol in wanted if symbol not in self._tokens]
        for at in range(0, len(missing), SYMBOLS_PER_CALL):
            self._tokens.update(self._ask(missing[at : at + SYMBOLS_PER_CALL]))
        index_names = self._names() if any(symbol.endswith("-INDEX") for symbol in wanted) else {}
        found = Resolved({}, [])
        for symbol in wanted:
            token = self._tokens.get(symbol)
            topic = topic_of(symbol, token, index_names) if token else None
            if topic is None:
                found.refused.append(symbol)
            else:
                found.topics[topic] = symbol
        return found

    def _ask(self, symbols: list[str]) -> dict[str, str]:
        return self._http.read(
            "POST",
            self._endpoints.symbol_token,
            understand=mapping.reader("validSymbol", _read_tokens),
            body=mapping.encode({"symbols": symbols}),
            headers={"authorization": self._credentials.access_token, "content-type": "application/json"},
        )

    def _names(self) -> dict[str, str]:
        if self._index_names is None:
            self._index_names = self._http.read("GET", self._endpoints.index_names, understand=_read_index_names)
        return self._index_names

    def close(self) -> None:
        self._http.close()


def _read_tokens(payload: Any) -> dict[str, str]:
    valid = fields.row(payload, "validSymbol")
    return {symbol: fields.identity(valid, symbol) for symbol in valid}


def _read_index_names(reply: Reply) -> dict[str, str]:
    if reply.status != 200:
        mapping.open_envelope(reply)
        raise UnexpectedReply(f"index names: HTTP {reply.status}.")
    names = fields.row(reply.json(), "index names")
    return {symbol: fields.identity(names, symbol) for symbol in names}
