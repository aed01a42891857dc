"""Frames of the data socket: what clients send, what the exchange answers. All numbers are big-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AUTH, ACK, SUBSCRIBE, UNSUBSCRIBE, FEED, PAUSE, RESUME, PING, MODE = 1, 3, 4, 5, 6, 7, 8, 11, 12
ABSENT = -(2**31)
INT32_MAX = 2**31 - 1
MAX_ITEMS = 300  # keeps a feed frame within its 16-bit length


@dataclass(frozen=True)
class ControlFrame:
    """A client frame: its type and fields by id."""

    type: int
    fields: dict[int, bytes]

    def text(self, field: int) -> str:
        return self.fields.get(field, b"").decode("utf-8", "replace")

    def channels(self, field: int = 1) -> list[int]:
        """Channel numbers of a 64-bit bitmap."""
        bits = int.from_bytes(self.fields.get(field, b""), "big")
        return [number for number in range(64) if bits >> number & 1]

    def topics(self) -> list[str]:
        """Topic names of a subscribe or unsubscribe frame; ValueError if the block is cut short."""
        block = self.fields.get(1, b"")
        if len(block) < 2:
            raise ValueError("no topic block")
        names, at = [], 2
        for _ in range(int.from_bytes(block[:2], "big")):
            if at >= len(block) or at + 1 + block[at] > len(block):
                raise ValueError("topic block is cut short")
            names.append(block[at + 1 : at + 1 + block[at]].decode("utf-8", "replace"))
            at += 1 + block[at]
        return names


def read_frame(data: bytes) -> ControlFrame:
    """Decode a client frame; ValueError if it is cut short. The official client gets the length bytes wrong: unread."""
    if len(data) < 3:
        raise ValueError("frame too short")
    if data[2] == PING or len(data) < 4:
        return ControlFrame(data[2], {})
    fields: dict[int, bytes] = {}
    at = 4
    for _ in range(data[3]):
        if at + 3 > len(data):
            raise ValueError("frame is cut short")
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 + size > len(data):
            raise ValueError("field is cut short")
        fields[data[at]] = data[at + 3 : at + 3 + size]
        at += 3 + size
    return ControlFrame(data[2], fields)


def result(type_: int, *, ok: bool, ack_interval: int | None = None) -> bytes:
    """`K` or not; the answer to an authentication also carries the ack interval."""
    fields = [(1, b"K" if ok else b"E")]
    if ack_interval is not None:
        fields.append((2, struct.pack(">I", ack_interval)))
    body = bytes([type_, len(fields)]) + b"".join(
        struct.pack(">BH", number, len(value)) + value for number, value in fields
    )
    return struct.pack(">H", len(body)) + body


def snapshot_item(topic_id: bytes, topic: str, values: Sequence[int], *, token: str, symbol: str) -> bytes:
    """Everything of a topic. Multiplier 1, precision 2: prices are paise."""
    return b"".join(
        (
            b"S",
            topic_id,
            _text(topic),
            bytes([len(values)]),
            struct.pack(f">{len(values)}i", *values),
            b"\0\0",
            struct.pack(">HB", 1, 2),
            _text("NSE"),
            _text(token),
            _text(symbol),
        )
    )


def update_item(topic_id: bytes, before: Sequence[int], after: Sequence[int]) -> bytes | None:
    """What changed, positional, up to the last change; None if nothing did."""
    changed = [new if new != old else ABSENT for old, new in zip(before, after, strict=True)]
    while changed and changed[-1] == ABSENT:
        changed.pop()
    if not changed:
        return None
    return b"U" + topic_id + bytes([len(changed)]) + struct.pack(f">{len(changed)}i", *changed)


def lite_item(topic_id: bytes, last: int) -> bytes:
    return b"L" + topic_id + struct.pack(">i", last)


def feed_frames(items: Sequence[bytes], *, first_number: int) -> Iterator[bytes]:
    """Feed frames for all items, numbered from `first_number`."""
    for count, at in enumerate(range(0, len(items), MAX_ITEMS)):
        part = items[at : at + MAX_ITEMS]
        body = struct.pack(">BIH", FEED, first_number + count, len(part)) + b"".join(part)
        yield struct.pack(">H", len(body) & 0xFFFF) + body


def fits(value: int) -> int:
    return min(value, INT32_MAX)


def _text(text: str) -> bytes:
    raw = text.encode()[:255]
    return bytes([len(raw)]) + raw
