"""When it matters that an account is signed in: from the morning before the open to the end of the session."""

from datetime import datetime, timedelta

from trading.venue.sessions import exchange_date, session_on

FORESIGHT = timedelta(minutes=75)  # the first word comes about an hour before the pre-open begins


def before_the_open(wall: datetime) -> bool:
    """True in the last stretch before a session opens."""
    session = session_on(exchange_date(wall), assume_weekdays=True)
    return session is not None and session.opens_at - FORESIGHT <= wall < session.opens_at


def hours_of_sign_in(wall: datetime) -> bool:
    """True from that stretch on to the end of the session."""
    session = session_on(exchange_date(wall), assume_weekdays=True)
    return session is not None and session.opens_at - FORESIGHT <= wall < session.closes_at
