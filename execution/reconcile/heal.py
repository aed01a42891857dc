"""Safe repairs: take over what the books have and we have not. All else waits for a second look, then for a person."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.models import Group, Mismatch
from execution.reconcile.compare import Difference
from execution.reconcile.money import BALANCE
from trading.domain.crashpoint import crashpoint
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.realtime.publish import publish
from trading.venue.sessions import exchange_date

SECOND_LOOK = timedelta(seconds=5)
"""A difference that is younger may be a fill on its way."""
State = Mismatch.State
WATCHED = [State.SEEN, State.OPEN, State.DISPUTED]


@transaction.atomic
def mismatches_note(*, account: BrokerAccount, found: list[Difference], now: datetime) -> list[str]:
    """Keep the rows of what differs in step with what was found; returns what was done, in words.

    Seen once it waits, seen again after SECOND_LOOK it is held back, gone it is resolved. An order that no row knows
    is held back at once: the books were taken over before, and no fill on its way explains it. `now` is venue time.
    """
    wall, done = timezone.now(), []
    rows = {
        (row.kind, row.symbol, row.product, row.reference): row
        for row in Mismatch.objects.select_for_update().filter(account=account, state__in=WATCHED).order_by("pk")
    }
    for one in found:
        row = rows.pop((one.kind, one.symbol, one.product, one.reference), None)
        if row is None:
            row = Mismatch.objects.create(
                account=account, kind=one.kind, symbol=one.symbol, product=one.product, reference=one.reference,
                session_date=exchange_date(now), ours=one.ours, theirs=one.theirs, working=one.working,
                first_seen_at=wall, last_seen_at=wall,
                state=State.OPEN if one.kind == Mismatch.Kind.UNKNOWN_TAG else State.SEEN,
            )  # fmt: skip
            done.append(f"{one.symbol}: {one.kind} seen for the first time")
            if row.is_held_back:
                _hold_back(account, row)
            continue
        changed = (row.ours, row.theirs) != (one.ours, one.theirs)
        row.ours, row.theirs, row.working, row.last_seen_at = one.ours, one.theirs, one.working, wall
        if changed and row.state == State.SEEN:
            row.first_seen_at = wall  # it moves still: the second look begins anew
        if row.state == State.SEEN and wall - row.first_seen_at >= SECOND_LOOK:
            if one.reference == BALANCE and one.theirs > one.ours:  # more money needs nobody's decision
                row.state, row.decided_at, row.decided_by = State.ACCEPTED, wall, "money came in"
                row.save()
                done.append(f"{row.both_sides}: money came in")
                continue
            row.state = State.OPEN
            done.append(f"{one.symbol}: {one.kind} put into quarantine")
            _hold_back(account, row)
        row.save()
    for row in rows.values():
        if row.kind != Mismatch.Kind.UNKNOWN_TAG or row.session_date < exchange_date(now):
            row.state, row.decided_at, row.decided_by = State.RESOLVED, wall, "both sides agree"
            row.save()
            done.append(f"{row.symbol}: {row.kind} is gone")
            clear_alerts("QUARANTINED", owner_id=account.owner_id, about=str(row.pk))
            publish(account.owner_id, "position", mismatch=row.pk)
    crashpoint("recon.healing")
    return done


def _hold_back(account: BrokerAccount, row: Mismatch) -> None:
    Group.objects.filter(
        portfolio__account=account, instrument__symbol=row.symbol, product=row.product
    ).exclude(state=Group.State.CLOSED).update(quarantined=True)  # fmt: skip
    where = "at all" if row.kind == Mismatch.Kind.FUNDS else "in it"
    raise_alert(
        "QUARANTINED", f"{row.symbol}: {row.get_kind_display()}. {row.both_sides}.",
        level=Level.SEVERE, owner_id=account.owner_id, about=str(row.pk),
        next_step=f"Decide on the reconciliation page. Nothing is entered {where} meanwhile.",
    )  # fmt: skip
    publish(account.owner_id, "position", mismatch=row.pk)
