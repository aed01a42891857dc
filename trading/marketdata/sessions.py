"""The session an instrument trades in, on the calendar of its feed."""

from datetime import datetime

from trading.marketdata.models import Feed, Instrument
from trading.venue.sessions import Session, SessionKind, exchange_date, session_on


def session_kind(instrument: Instrument) -> SessionKind:
    """Whose hours an instrument keeps."""
    if instrument.is_derivative:
        return SessionKind.DERIVATIVES
    return SessionKind.EQUITY_DERIVATIVE_STOCK if instrument.has_derivatives else SessionKind.EQUITY


def session_at(feed: Feed, instrument: Instrument, now: datetime) -> Session | None:
    """Today's session, or None on a closed day. A day that no calendar knows is closed, but for a simulation."""
    return session_of(feed, session_kind(instrument), now)


def session_of(feed: Feed, kind: SessionKind, now: datetime) -> Session | None:
    """The same for whatever keeps hours of one kind."""
    return session_on(exchange_date(now), kind=kind, assume_weekdays=feed.kind != Feed.Kind.EXCHANGE)
