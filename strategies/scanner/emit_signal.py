"""An opinion becomes a row, once, and rings for somebody to act on it."""

from datetime import timedelta

from django.utils import timezone

from risk.policies import active_policy
from strategies.models import Deployment, Signal
from trading.domain.signals import SignalDraft
from trading.outbox import after_commit
from trading.realtime.publish import publish


def emit_signal(*, deployment: Deployment, draft: SignalDraft) -> Signal | None:
    """Store a signal; None when this bar of this instrument had one already."""
    wall = timezone.now()
    portfolio = deployment.portfolio
    signal, is_new = Signal.objects.get_or_create(
        dedupe_key=draft.dedupe_key,
        defaults={
            "portfolio": portfolio, "deployment": deployment, "instrument_id": draft.instrument_id, "side": draft.side,
            "entry": draft.entry, "stop": draft.stop, "target": draft.target, "score": draft.score,
            "features": draft.features, "explanation": draft.explanation, "bar_at": draft.bar_at, "created_at": wall,
            "expires_at": wall + timedelta(seconds=active_policy(portfolio.pk).max_signal_age_s),
        },
    )  # fmt: skip
    if not is_new:
        return None
    after_commit("engine.signal", account_id=portfolio.account_id, signal_id=str(signal.pk))
    publish(portfolio.owner_id, "signal", signal=str(signal.pk), state=signal.state)
    return signal
