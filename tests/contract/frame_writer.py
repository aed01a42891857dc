"""The venue's half of the binary protocol, written for the tests from the protocol's description alone."""

import struct

from execution.brokers.fyers.price_frames import ABSENT, Change, Feed, Item, Lite, Snapshot


def feed_frame(feed: Feed) -> bytes:
    body = b"\x06" + struct.pack(">IH", feed.number, len(feed.items)) + b"".join(_item(item) for item in feed.items)
    return struct.pack(">H", len(body) % 65536) + body


def answer_frame(kind: int, fields: dict[int, bytes]) -> bytes:
    body = bytes((kind, len(fields)))
    for number, value in fields.items():
        body += bytes((number,)) + struct.pack(">H", len(value)) + value
    return struct.pack(">H", len(body)) + body


def _item(item: Item) -> bytes:
    if isinstance(item, Change):
        return b"U" + item.topic_id + _values(item.values)
    if isinstance(item, Lite):
        return b"L" + item.topic_id + struct.pack(">i", ABSENT if item.value is None else item.value)
    assert isinstance(item, Snapshot)
    return (
        b"S"
        + item.topic_id
        + _text(item.topic)
        + _values(item.values)
        + b"\x00\x00"
        + struct.pack(">HB", item.multiplier, item.precision)
        + _text(item.exchange)
        + _text(item.token)
        + _text(item.symbol)
    )


def _values(values: tuple[int | None, ...]) -> bytes:
    raw = [ABSENT if value is None else value for value in values]
    return struct.pack(f">B{len(raw)}i", len(raw), *raw)


def _text(words: str) -> bytes:
    encoded = words.encode()
    return bytes((len(encoded),)) + encoded
