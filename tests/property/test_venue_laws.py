"""What always holds of sessions, slices and charges."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trading.domain.orders import Side
from trading.venue import calendar
from trading.venue.charges import ChargeBroker, ChargeSegment, charges_for_order
from trading.venue.precision import slice_quantity, stock_tick
from trading.venue.sessions import Phase, SessionKind, bar_start, next_session, session_on

DAYS = st.dates(calendar.SHIPPED_FROM, calendar.SHIPPED_TO)
KINDS = st.sampled_from(SessionKind)


@given(day=DAYS, kind=KINDS, minutes=st.sampled_from([1, 3, 5, 15, 30, 60, 1440]))
def test_bars_tile_the_continuous_session(day, kind, minutes):
    session = session_on(day, kind=kind)
    if session is None:
        return
    starts = session.bar_starts(minutes)
    lengths = [session.bar_end(start, minutes) - start for start in starts]
    assert sum(lengths, timedelta()) == timedelta(minutes=session.minutes)
    assert all(session.phase_at(start) is Phase.CONTINUOUS for start in starts)
    assert starts == sorted(set(starts))


@given(day=DAYS, kind=KINDS, second=st.integers(0, 86_399), minutes=st.sampled_from([1, 5, 15, 60]))
def test_an_instant_has_a_bar_exactly_while_trading_is_continuous(day, kind, second, minutes):
    session = session_on(day, kind=kind)
    if session is None:
        return
    instant = session.opens_at.replace(hour=0, minute=0) + timedelta(seconds=second)
    start = bar_start(instant, session, minutes)
    assert (start is not None) == (session.phase_at(instant) is Phase.CONTINUOUS)
    if start is not None:
        assert start <= instant < session.bar_end(start, minutes)
        assert start in session.bar_starts(minutes)


@given(day=DAYS, kind=KINDS)
def test_the_next_session_is_the_first_open_day(day, kind):
    session = session_on(day, kind=kind)
    if session is None:
        return
    following = next_session(session.opens_at, kind=kind)
    if following is None:
        return
    between = [day + timedelta(days=step) for step in range(1, (following.date - day).days)]
    assert all(session_on(closed, kind=kind) is None for closed in between)


@given(lots=st.integers(1, 5_000), lot=st.integers(1, 500), freeze_lots=st.integers(1, 60), slack=st.integers(0, 499))
def test_slices_add_up_in_whole_lots_under_the_freeze_quantity(lots, lot, freeze_lots, slack):
    freeze = freeze_lots * lot + min(slack, lot - 1)
    pieces = slice_quantity(lots * lot, freeze, lot)
    assert sum(pieces) == lots * lot
    assert all(0 < piece <= freeze and piece % lot == 0 for piece in pieces)
    assert len(pieces) == -(-lots // freeze_lots)


@given(price=st.decimals(1, 200_000, places=2), step=st.decimals(0, 50_000, places=2))
def test_a_dearer_share_never_has_a_finer_tick(price, step):
    day = date(2026, 2, 16)
    assert stock_tick(price + step, on_date=day) >= stock_tick(price, on_date=day) > Decimal(0)


@given(
    broker=st.sampled_from(ChargeBroker),
    segment=st.sampled_from(ChargeSegment),
    side=st.sampled_from(Side),
    on_date=st.dates(date(2021, 1, 1), date(2027, 1, 1)),
    fills=st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 500_000)), min_size=1, max_size=8),
)
def test_what_is_posted_fill_by_fill_is_what_the_order_costs(broker, segment, side, on_date, fills):
    def so_far(count: int):
        return charges_for_order(
            broker=broker,
            segment=segment,
            side=side,
            quantity=sum(quantity for quantity, _ in fills[:count]),
            value_paise=sum(quantity * price for quantity, price in fills[:count]),
            on_date=on_date,
        )

    posted = [so_far(count + 1) - so_far(count) for count in range(len(fills))]
    assert all(paise >= 0 for sheet in posted for paise in sheet.lines().values())
    total = posted[0]
    for sheet in posted[1:]:
        total = total + sheet
    assert total == so_far(len(fills))
    assert total.brokerage <= 2000
