from trading.marketdata.models.candles import CandleBlock, CandleCoverage, CandleSeries
from trading.marketdata.models.chains import ChainSnapshot
from trading.marketdata.models.dated import (
    CalendarDay,
    CalendarYear,
    CorporateAction,
    ExpiryRuleRow,
    FormerIdentity,
    InstrumentChange,
    InstrumentRefresh,
    InstrumentTerms,
    PriceBand,
    QualityDay,
    SectorStay,
    SessionPlan,
)
from trading.marketdata.models.feed import Feed
from trading.marketdata.models.fetching import Backfill, CandleArchive, HistoryTally, RefusedBar
from trading.marketdata.models.instrument import Instrument, Universe, UniverseMember

__all__ = [
    "Backfill",
    "CalendarDay",
    "CalendarYear",
    "CandleArchive",
    "CandleBlock",
    "CandleCoverage",
    "CandleSeries",
    "ChainSnapshot",
    "CorporateAction",
    "ExpiryRuleRow",
    "Feed",
    "FormerIdentity",
    "HistoryTally",
    "Instrument",
    "InstrumentChange",
    "InstrumentRefresh",
    "InstrumentTerms",
    "PriceBand",
    "QualityDay",
    "RefusedBar",
    "SectorStay",
    "SessionPlan",
    "Universe",
    "UniverseMember",
]
