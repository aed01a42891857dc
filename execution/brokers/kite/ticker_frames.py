"""The binary frames of the ticker. Integers are big-endian. Source: Kite Connect v3, websocket streaming."""

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from execution.brokers.errors import UnexpectedReply

HEARTBEAT: Final = 1  # bytes
LTP, INDEX_QUOTE, INDEX_FULL, QUOTE, FULL = 8, 28, 32, 44, 184
DIVISORS = {3: Decimal(10_000_000), 6: Decimal(10_000), 12: Decimal(10_000)}
_PAISE = Decimal(100)
_WORDS = {kind: struct.Struct(f">{kind // 4}I") for kind in (LTP, INDEX_QUOTE, INDEX_FULL, QUOTE)}
_FULL_HEAD = struct.Struct(">16I")
_LEVEL = struct.Struct(">IIHxx")


@dataclass(frozen=True, slots=True)
class Packet:
    """One instrument in one frame. Prices in rupees; None where this kind of packet does not say."""

    token: int
    last_price: Decimal
    volume: int | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    previous_close: Decimal | None = None
    traded_at: datetime | None = None
    exchange_at: datetime | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


def subscribe(tokens: Iterable[int]) -> str:
    return json.dumps({"a": "subscribe", "v": list(tokens)})


def unsubscribe(tokens: Iterable[int]) -> str:
    return json.dumps({"a": "unsubscribe", "v": list(tokens)})


def full(tokens: Iterable[int]) -> str:
    """Ask for everything there is, times and depth included."""
    return json.dumps({"a": "mode", "v": ["full", list(tokens)]})


def read_frame(frame: bytes) -> list[Packet]:
    """The packets of one frame; none in a heartbeat. UnexpectedReply where lengths do not add up."""
    if len(frame) == HEARTBEAT:
        return []
    if len(frame) < 2:
        raise UnexpectedReply("ticker: an empty frame.")
    count, at = int.from_bytes(frame[:2], "big"), 2
    packets = []
    for _ in range(count):
        length = int.from_bytes(frame[at : at + 2], "big")
        body = frame[at + 2 : at + 2 + length]
        if len(frame) < at + 2 or len(body) != length:
            raise UnexpectedReply("ticker: a frame that ends too early.")
        packets.append(_packet(body))
        at += 2 + length
    if at != len(frame):
        raise UnexpectedReply("ticker: a frame with more than it announced.")
    return packets


def _packet(body: bytes) -> Packet:
    if len(body) == FULL:
        return _full(body)
    if len(body) not in _WORDS:
        raise UnexpectedReply(f"ticker: a packet of {len(body)} bytes.")
    words = _WORDS[len(body)].unpack(body)
    token = words[0]
    price = _prices_of(token)
    if len(body) == LTP:
        return Packet(token, _last(price(words[1])))
    if len(body) in (INDEX_QUOTE, INDEX_FULL):
        return Packet(
            token, _last(price(words[1])), high=price(words[2]), low=price(words[3]), open=price(words[4]),
            previous_close=price(words[5]), exchange_at=_instant(words[7]) if len(body) == INDEX_FULL else None,
        )  # fmt: skip
    return _quote(words)


def _quote(words: tuple[int, ...], **more: object) -> Packet:
    price = _prices_of(words[0])
    return Packet(
        words[0], _last(price(words[1])), volume=words[4], open=price(words[7]), high=price(words[8]),
        low=price(words[9]), previous_close=price(words[10]), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _full(body: bytes) -> Packet:
    words = _FULL_HEAD.unpack_from(body)
    price = _prices_of(words[0])
    levels = [_LEVEL.unpack_from(body, 64 + 12 * number) for number in range(10)]
    return _quote(
        words, traded_at=_instant(words[11]), exchange_at=_instant(words[15]), bid=price(levels[0][1]),
        ask=price(levels[5][1]),
    )  # fmt: skip


def _prices_of(token: int) -> Callable[[int], Decimal | None]:
    """How prices of this instrument are read: its exchange is in the last byte of its number."""
    divisor = DIVISORS.get(token & 0xFF, _PAISE)

    def price(raw: int) -> Decimal | None:
        return Decimal(raw) / divisor if raw else None

    return price


def _last(price: Decimal | None) -> Decimal:
    if price is None:
        raise UnexpectedReply("ticker: a packet without a price.")
    return price


def _instant(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
