"""What a person sees of winners that pay for losers: what would be done now, why not, what is under way. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from execution.engine_settings import settings_of
from execution.models import EngineSettings, OffsetMark, OffsetPlan, OffsetWatch
from execution.offset_facts import rules_of, trades_of
from strategies.tactics.offsets import HeldTrade, Look, look
from trading.portfolio.models import Portfolio

NEWEST = 10


@dataclass(frozen=True, slots=True)
class OffsetPanel:
    """`look.plan` is what would be done now, else `look.code` and `look.said` tell why nothing; `look.losers` says of
    each losing trade why it is kept. `live`: the plan under way, with its lines. `marks`: by the id of the group, what
    people said. `newest`: plans that are over, the newest first."""

    settings: EngineSettings
    trades: tuple[HeldTrade, ...]
    look: Look
    live: OffsetPlan | None
    newest: tuple[OffsetPlan, ...]
    marks: dict[str, tuple[OffsetMark, ...]]
    looked_at: datetime | None
    said: str

    @property
    def enabled(self) -> bool:
        return self.settings.offset_enabled


def offset_panel(portfolio: Portfolio, *, now: datetime) -> OffsetPanel:
    """The panel of one portfolio; writes nothing. `now` is venue time."""
    settings = settings_of(portfolio.pk)
    trades = trades_of(portfolio, settings, now)
    plans = OffsetPlan.objects.filter(portfolio=portfolio).select_related("loser__instrument")
    plans = plans.prefetch_related("lines__group__instrument")
    watch = OffsetWatch.objects.filter(portfolio=portfolio).first()
    marks: dict[str, tuple[OffsetMark, ...]] = {}
    for mark in OffsetMark.objects.filter(group__in=[one.key for one in trades], ended_at=None).order_by("pk"):
        marks[str(mark.group_id)] = (*marks.get(str(mark.group_id), ()), mark)
    return OffsetPanel(
        settings=settings,
        trades=tuple(trades),
        look=look(trades, rules_of(settings), timezone.now()),
        live=plans.filter(state__in=OffsetPlan.LIVE).first(),
        newest=tuple(plans.exclude(state__in=OffsetPlan.LIVE)[:NEWEST]),
        marks=marks,
        looked_at=watch.looked_at if watch else None,
        said=watch.said if watch else "",
    )
