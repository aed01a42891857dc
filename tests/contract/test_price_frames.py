"""The binary price protocol: the published examples to the byte, and no bytes that can hurt."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.brokers.errors import UnexpectedReply
from execution.brokers.fyers import price_frames
from execution.brokers.fyers.price_board import PriceBoard
from execution.brokers.fyers.price_frames import ABSENT, Answer, Change, Feed, Kind, Lite, Message, Snapshot, decode
from execution.brokers.port import Tick
from tests.contract.frame_writer import answer_frame, feed_frame

SNAPSHOT = bytes.fromhex(
    "00840600000001000153 0700 0e73667c6e73655f636d7c33303435 15"
    "0000ef3800173ec8691e8ebc691e8ebd0000000a000000140000ef330000ef3d00000005"
    "0001b198000363300000eeb7800000000000ec540000f03c000109a00000c350"
    "0000d74c000107240000ede40000ee48 0000 0001 02 034e5345 0433303435 075342494e2d4551"
)
CHANGE = bytes.fromhex("00130600000002000155070002 0000ef3d 00173ecd")
CHANGE_WITHOUT_PRICE = bytes.fromhex("00170600000003000155070003 80000000 00173ecd 691e8ebe")
INDEX = bytes.fromhex(
    "004d0600000004000153 0800 1269667c6e73655f636d7c4e69667479203530 06"
    "0027f5ba002800a5691e8ebc002818970027ed7700280d39 0000 0001 02 034e5345 053236303030 074e4946545935 30"
)
LITE = bytes.fromhex("000e060000000500014c07000000ef42")


@pytest.fixture
def board():
    return PriceBoard({"sf|nse_cm|3045": "NSE:SBIN-EQ", "if|nse_cm|Nifty 50": "NSE:NIFTY50-INDEX"})


def ticks(board: PriceBoard, *frames: bytes) -> list[Tick]:
    found: list[Tick] = []
    for frame in frames:
        feed = decode(frame)
        assert isinstance(feed, Feed)
        found = board.ticks(feed)
    return found


def test_a_snapshot_tells_all_there_is_to_know(board):
    assert ticks(board, SNAPSHOT) == [
        Tick(
            symbol="NSE:SBIN-EQ",
            last_price=Decimal("612.40"),
            volume=1523400,
            traded_at=datetime.fromtimestamp(1763610300, UTC),
            bid=Decimal("612.35"),
            ask=Decimal("612.45"),
            previous_close=Decimal("610.00"),
            open=Decimal("609.00"),
            high=Decimal("615.00"),
            low=Decimal("605.00"),
        )
    ]


def test_a_change_leaves_the_rest_as_it_was(board):
    (tick,) = ticks(board, SNAPSHOT, CHANGE)
    assert (tick.last_price, tick.volume, tick.bid) == (Decimal("612.45"), 1523405, Decimal("612.35"))


def test_a_value_marked_absent_stays_as_it_was(board):
    (tick,) = ticks(board, SNAPSHOT, CHANGE_WITHOUT_PRICE)
    assert tick.last_price == Decimal("612.40")
    assert tick.traded_at == datetime.fromtimestamp(1763610302, UTC)


def test_a_lite_frame_moves_the_price_alone(board):
    (tick,) = ticks(board, SNAPSHOT, LITE)
    assert (tick.last_price, tick.volume) == (Decimal("612.50"), 1523400)


def test_an_index_has_neither_volume_nor_sides(board):
    (tick,) = ticks(board, INDEX)
    assert tick == Tick(
        symbol="NSE:NIFTY50-INDEX",
        last_price=Decimal("26188.10"),
        volume=0,
        traded_at=datetime.fromtimestamp(1763610300, UTC),
        previous_close=Decimal("26216.05"),
        open=Decimal("26248.25"),
        high=Decimal("26277.35"),
        low=Decimal("26166.95"),
    )


def test_a_change_of_something_never_described_is_passed_over(board):
    assert ticks(board, CHANGE) == []
    assert ticks(board, LITE) == []


def test_a_topic_we_did_not_ask_for_makes_no_tick():
    assert ticks(PriceBoard({}), SNAPSHOT, CHANGE) == []


def test_currency_prices_are_divided_by_their_multiplier():
    snapshot = Snapshot(b"\x01\x00", "sf|cde_fo|1", (965475,), 100, 2, "NSE", "1", "X")
    assert snapshot.price(965475) == Decimal("96.5475")


def test_what_we_send_is_what_the_protocol_prints():
    key = "a" * 56
    printed = (
        bytes.fromhex("00570104010038") + key.encode() + bytes.fromhex("020001500300010104000f") + b"PythonSDK-3.2.0"
    )
    assert price_frames.authenticate(key, source="PythonSDK-3.2.0") == printed
    assert bytes.fromhex("00010b") == price_frames.PING
    assert price_frames.mode()[2:] == bytes.fromhex("0c02010008000000000000080002000146")
    assert price_frames.mode(lite=True)[-1:] == b"L"
    assert price_frames.pause()[2:] == bytes.fromhex("07010100080000000000000800")
    assert price_frames.acknowledge(10) == bytes.fromhex("0009030101000400 00000a")
    topics = ["sf|nse_cm|3045", "if|nse_cm|Nifty 50"]
    block = b"\x00\x02\x0esf|nse_cm|3045\x12if|nse_cm|Nifty 50"
    assert price_frames.subscribe(topics)[2:] == b"\x04\x02\x01\x00\x24" + block + b"\x02\x00\x01\x0b"
    assert price_frames.unsubscribe(topics)[2] == Kind.UNSUBSCRIBE


def test_answers_and_messages_are_read_as_printed():
    assert decode(bytes.fromhex("000d0102010001 4b 020004 00000000")) == Answer(
        Kind.AUTHENTICATE, {1: b"K", 2: b"\0\0\0\0"}
    )
    accepted = decode(bytes.fromhex("000d0102010001 4b 020004 0000000a"))
    assert isinstance(accepted, Answer) and accepted.is_ok and accepted.ack_every == 10
    assert decode(bytes.fromhex("0006040101000158")) == Answer(Kind.SUBSCRIBE, {1: b"X"})
    assert decode(bytes.fromhex("00153303 010004 0000c739 020005 6c696d6974 030001 04")) == Message(51001, "limit", 4)


def test_live_answers_may_carry_more_fields_than_we_read():
    frame = answer_frame(1, {1: b"K", 2: (5).to_bytes(4, "big"), 3: b'{"version":"1.0.0"}'})
    answer = decode(frame)
    assert isinstance(answer, Answer) and answer.is_ok and answer.ack_every == 5


i32 = st.none() | st.integers(ABSENT + 1, 2**31 - 1)
short_text = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40)
ids = st.binary(min_size=2, max_size=2)
rows = st.lists(i32, max_size=30).map(tuple)
snapshots = st.builds(
    Snapshot,
    topic_id=ids,
    topic=short_text | st.sampled_from(["sf|nse_cm|3045", "if|nse_cm|Nifty 50"]),
    values=rows,
    multiplier=st.integers(1, 65535),
    precision=st.integers(0, 9),
    exchange=short_text,
    token=short_text,
    symbol=short_text,
)
items = snapshots | st.builds(Change, topic_id=ids, values=rows) | st.builds(Lite, topic_id=ids, value=i32)
feeds = st.builds(Feed, number=st.integers(0, 2**32 - 1), items=st.lists(items, max_size=12).map(tuple))


@given(feeds)
def test_every_feed_survives_the_wire(feed):
    assert decode(feed_frame(feed)) == feed


@given(feeds)
def test_the_board_makes_only_sound_ticks_of_any_feed(feed):
    board = PriceBoard({"sf|nse_cm|3045": "NSE:SBIN-EQ", "if|nse_cm|Nifty 50": "NSE:NIFTY50-INDEX"})
    for tick in board.ticks(feed):
        assert tick.last_price > 0 and tick.volume >= 0
        assert tick.traded_at is None or tick.traded_at.tzinfo is UTC


@given(feeds.filter(lambda feed: feed.items), st.data())
def test_a_frame_cut_short_is_refused_and_not_guessed_at(feed, data):
    whole = feed_frame(feed)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(UnexpectedReply):
        decode(whole[:cut])


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\0\0\x06" + tail))
def test_no_bytes_do_worse_than_an_unexpected_reply(frame):
    try:
        decode(frame)
    except UnexpectedReply:
        return


@given(st.lists(st.text("abcdefgh|0123456789 ", min_size=1, max_size=60), max_size=50))
def test_a_subscription_names_every_topic_once_and_in_order(topics):
    frame = price_frames.subscribe(topics)
    assert int.from_bytes(frame[:2], "big") == len(frame) - 2
    at, found = 9, []
    for _ in range(int.from_bytes(frame[7:9], "big")):
        size = frame[at]
        found.append(frame[at + 1 : at + 1 + size].decode())
        at += 1 + size
    assert found == topics
    assert frame[at:] == b"\x02\x00\x01\x0b"
