"""The binary frames of the price socket. Pure: bytes in, facts out, and the other way for what we send.

Everything is big-endian; the length in front of a frame is unreliable on both sides, so the websocket message is the
frame. A frame that does not add up raises UnexpectedReply. Source: FYERS API v3, data socket (HSM).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from execution.brokers.errors import UnexpectedReply

ABSENT = -(2**31)  # "unchanged" in any position
DEFAULT_CHANNEL = 11
TOPICS_PER_FRAME = 1500
PING = b"\x00\x01\x0b"


class Kind(IntEnum):
    AUTHENTICATE = 1
    ACKNOWLEDGE = 3
    SUBSCRIBE = 4
    UNSUBSCRIBE = 5
    FEED = 6
    PAUSE = 7
    RESUME = 8
    PING = 11
    MODE = 12
    MESSAGE = 51


# -- what the server says ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of something we asked. `fields` by their number; the first one says `K` for success."""

    kind: Kind
    fields: dict[int, bytes]

    @property
    def is_ok(self) -> bool:
        return self.fields.get(1) == b"K"

    @property
    def ack_every(self) -> int:
        """For an authentication: acknowledge every so many feed frames; 0 for never."""
        return int.from_bytes(self.fields.get(2, b""), "big")


@dataclass(frozen=True, slots=True)
class Message:
    """Words from the server, usually an error. `about` is the kind of frame that it answers."""

    code: int
    text: str
    about: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything about one topic; later changes refer to it by `topic_id`. None: the venue gives no value."""

    topic_id: bytes
    topic: str
    values: tuple[int | None, ...]
    multiplier: int
    precision: int
    exchange: str
    token: str
    symbol: str

    def price(self, raw: int) -> Decimal:
        """Rupees."""
        scaled = Decimal(raw).scaleb(-self.precision)
        return scaled if self.multiplier == 1 else scaled / self.multiplier


@dataclass(frozen=True, slots=True)
class Change:
    """New values from field 0 on. None: as before."""

    topic_id: bytes
    values: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Lite:
    """A new last price and nothing else."""

    topic_id: bytes
    value: int | None


Item = Snapshot | Change | Lite


@dataclass(frozen=True, slots=True)
class Feed:
    """One frame of prices. `number` is what an acknowledgement refers to."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Unheeded:
    """A kind of frame that means nothing to us."""

    kind: int


ServerFrame = Answer | Message | Feed | Unheeded

_ANSWERS = frozenset({Kind.AUTHENTICATE, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.PAUSE, Kind.RESUME, Kind.MODE})


def decode(frame: bytes) -> ServerFrame:
    """What one websocket message of the server says. UnexpectedReply if it breaks off or makes no sense."""
    if len(frame) < 3:
        raise UnexpectedReply(f"price frame: only {len(frame)} bytes.")
    kind = frame[2]
    if kind == Kind.FEED:
        return _Reader(frame, 3).feed()
    if kind in _ANSWERS:
        return Answer(Kind(kind), _Reader(frame, 3).fields())
    if kind == Kind.MESSAGE:
        return _message(_Reader(frame, 3).fields())
    return Unheeded(kind)


def _message(fields: dict[int, bytes]) -> Message:
    about = fields.get(3)
    return Message(
        code=int.from_bytes(fields.get(1, b""), "big", signed=True),
        text=fields.get(2, b"").decode("utf-8", "replace"),
        about=about[0] if about else None,
    )


class _Reader:
    """A walk through one frame."""

    __slots__ = ("at", "frame")

    def __init__(self, frame: bytes, at: int) -> None:
        self.frame = frame
        self.at = at

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.frame):
            raise UnexpectedReply(f"price frame: breaks off at byte {len(self.frame)}.")
        piece = self.frame[self.at : end]
        self.at = end
        return piece

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def text(self) -> str:
        raw = self.take(self.u8())
        return raw.decode("utf-8", "replace")

    def values(self) -> tuple[int | None, ...]:
        count = self.u8()
        raw = struct.unpack(f">{count}i", self.take(4 * count))
        return tuple(None if value == ABSENT else value for value in raw)

    def fields(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for _ in range(self.u8()):
            number = self.u8()
            found[number] = self.take(self.u16())
        return found

    def feed(self) -> Feed:
        number = self.u32()
        return Feed(number, tuple(self.item() for _ in range(self.u16())))

    def item(self) -> Item:
        letter = self.take(1)
        topic_id = self.take(2)
        if letter == b"U":
            return Change(topic_id, self.values())
        if letter == b"L":
            value = int.from_bytes(self.take(4), "big", signed=True)
            return Lite(topic_id, None if value == ABSENT else value)
        if letter == b"S":
            return self.snapshot(topic_id)
        raise UnexpectedReply(f"price frame: unknown item {letter!r}.")

    def snapshot(self, topic_id: bytes) -> Snapshot:
        topic, values = self.text(), self.values()
        self.take(2)  # nobody says what these mean
        multiplier, precision = self.u16(), self.u8()
        if multiplier == 0 or precision > 9:
            raise UnexpectedReply(f"price frame: no such scale ({multiplier}, {precision}).")
        return Snapshot(topic_id, topic, values, multiplier, precision, self.text(), self.text(), self.text())


# -- what we say ---------------------------------------------------------------------------------------------------


def _frame(kind: Kind, fields: Iterable[tuple[int, bytes]]) -> bytes:
    written = [bytes((number,)) + len(value).to_bytes(2, "big") + value for number, value in fields]
    body = bytes((kind, len(written))) + b"".join(written)
    return len(body).to_bytes(2, "big") + body


def authenticate(hsm_key: str, *, source: str) -> bytes:
    """The first frame that counts. `hsm_key` is a claim of the access token."""
    return _frame(Kind.AUTHENTICATE, [(1, hsm_key.encode("ascii")), (2, b"P"), (3, b"\x01"), (4, source.encode())])


def mode(*, lite: bool = False, channel: int = DEFAULT_CHANNEL) -> bytes:
    """Full: whole rows. Lite: last prices alone."""
    return _frame(Kind.MODE, [(1, _bitmap(channel)), (2, b"L" if lite else b"F")])


def pause(*, channel: int = DEFAULT_CHANNEL) -> bytes:
    return _frame(Kind.PAUSE, [(1, _bitmap(channel))])


def resume(*, channel: int = DEFAULT_CHANNEL) -> bytes:
    return _frame(Kind.RESUME, [(1, _bitmap(channel))])


def _bitmap(channel: int) -> bytes:
    return (1 << channel).to_bytes(8, "big")


def subscribe(topics: list[str], *, channel: int = DEFAULT_CHANNEL) -> bytes:
    """At most TOPICS_PER_FRAME topics."""
    return _frame(Kind.SUBSCRIBE, [(1, _topic_block(topics)), (2, bytes((channel,)))])


def unsubscribe(topics: list[str], *, channel: int = DEFAULT_CHANNEL) -> bytes:
    return _frame(Kind.UNSUBSCRIBE, [(1, _topic_block(topics)), (2, bytes((channel,)))])


def _topic_block(topics: list[str]) -> bytes:
    if len(topics) > TOPICS_PER_FRAME:
        raise ValueError(f"{len(topics)} topics do not go into one frame")
    encoded = [topic.encode("ascii") for topic in topics]
    return len(topics).to_bytes(2, "big") + b"".join(bytes((len(topic),)) + topic for topic in encoded)


def acknowledge(number: int) -> bytes:
    return _frame(Kind.ACKNOWLEDGE, [(1, number.to_bytes(4, "big"))])
