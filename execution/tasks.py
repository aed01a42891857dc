"""Bells that beat rings for this floor."""

import logging
from collections.abc import Callable
from datetime import timedelta

from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.selectors import LOGIN_STATES
from execution.backfills import let_go, work_on_backfills
from execution.brokers.chain_source import snapshot_chains
from execution.brokers.errors import BrokerError
from execution.brokers.instrument_refresh import refresh_from_broker
from execution.brokers.login import check_sign_in
from execution.brokers.registry import AuthState, gateway_of, place_of, set_auth_state
from execution.brokers.road import road_check
from execution.brokers.sign_in_hours import before_the_open, hours_of_sign_in
from execution.engine.books import read_books
from execution.hooks.tidy import forget_deliveries
from execution.models import EngineLease, Order
from execution.services.events_seal import events_keep, events_seal
from execution.services.failsafe_watch import failsafe_watch
from execution.services.risk_keep import reports_due, risk_keep, risk_report
from execution.services.room_recount import room_recount
from trading.marketdata.clocks import venue_now
from trading.marketdata.day_end import KEPT_MONTHS, DayEnd, day_end
from trading.marketdata.models import Feed
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import Heartbeat
from trading.monitoring.slots import take_slot
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio
from trading.venue.sessions import Phase, SessionKind, exchange_date, phase_at

logger = logging.getLogger(__name__)
ENGINE_SILENT = timedelta(seconds=15)
TOKEN_FORESIGHT = timedelta(minutes=30)
CHAINS_EVERY_S = 60.0
MASTERS_EVERY_S = 20 * 3600.0  # beat rings at 08:05; a second ring of the same morning finds the slot taken


@shared_task(name="execution.poll_fills", ignore_result=True)
def poll_fills(**_from_newer_callers: object) -> None:
    """Read the books of accounts with live orders whose engine has not read them lately: it may be down."""
    if not take_slot("poll_fills", every_s=5):
        return
    busy = Order.objects.live().values_list("account_id", flat=True).distinct()
    replays = Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")  # whoever replays a day reads its books
    for account in BrokerAccount.objects.filter(pk__in=busy, auth_state=AuthState.AUTHENTICATED).exclude(
        feed__in=replays
    ):
        beat = Heartbeat.objects.filter(name=f"books:{account.pk}").first()
        if beat is not None and timezone.now() - beat.at < timedelta(seconds=8):
            continue
        try:
            gateway = gateway_of(account)
            try:
                read_books(account=account, gateway=gateway, now=venue_now(account.feed))
            finally:
                gateway.close()
        except BrokerError as error:
            logger.warning("books of account %s: %s", account.pk, error)


@shared_task(name="backfill.work", ignore_result=True)
def backfill_work_task(**_from_newer_callers: object) -> None:
    """A backfill waits, or may: work on it if nobody does."""
    work_on_backfills()


@shared_task(name="backfill.day_end", ignore_result=True)
def day_end_task(**_from_newer_callers: object) -> None:
    """The exchange day is over, or may be: close it if nobody has."""
    end_the_day()


def end_the_day(*, months: int = KEPT_MONTHS, again: bool = False) -> DayEnd | None:
    """Close the exchange day that ended last; None where that was done."""

    def rung(name: str) -> Callable[[], dict[str, bool]]:
        def ring() -> dict[str, bool]:
            after_commit(name)  # it has a slot of its own, and is done when that is due
            return {"rung": True}

        return ring

    return day_end(
        now=venue_now("NSE"), wall=timezone.now(), months=months, again=again,
        more={"doubts": rung("marketdata.check_quality"), "masters": rung("execution.refresh_instruments")},
    )  # fmt: skip


@worker_shutting_down.connect
def give_back(**_: object) -> None:
    """A backfill at work goes back to the queue after its next call."""
    let_go()


@shared_task(name="execution.forget_deliveries", ignore_result=True)
def forget_deliveries_task(**_from_newer_callers: object) -> None:
    """Once a day: what hooks received longer ago than it is kept."""
    if take_slot("forget_deliveries", every_s=3600):
        gone = forget_deliveries(wall=timezone.now())
        logger.info("%s deliveries of hooks were forgotten", gone)


@shared_task(name="execution.watch_tokens", ignore_result=True)
def watch_tokens(**_from_newer_callers: object) -> None:
    """Say so before a sign-in runs out, and when it has."""
    if not take_slot("watch_tokens", every_s=30):
        return
    wall = timezone.now()
    for account in BrokerAccount.objects.filter(auth_state=AuthState.AUTHENTICATED, token_expires_at__isnull=False):
        if account.token_expires_at is None:
            continue
        left = account.token_expires_at - wall
        if left <= timedelta(0):
            set_auth_state(account, AuthState.EXPIRED, "the sign-in has run out")
        elif account.is_live and left < TOKEN_FORESIGHT:
            raise_alert(
                "LOGIN_RUNS_OUT", f"{account.name}: the sign-in ends in {left.seconds // 60} minutes.",
                owner_id=account.owner_id, about=str(account.pk), next_step="Sign in at the broker.",
            )  # fmt: skip


@shared_task(name="execution.check_sign_ins", ignore_result=True)
def check_sign_ins(**_from_newer_callers: object) -> None:
    """Ask the brokers of live accounts whether their sign-ins still open: before the open and through the day."""
    if not take_slot("check_sign_ins", every_s=300):
        return
    for account in BrokerAccount.objects.filter(
        environment=BrokerAccount.Environment.LIVE, auth_state=AuthState.AUTHENTICATED
    ):
        if hours_of_sign_in(timezone.now()):
            check_sign_in(account)


@shared_task(name="execution.check_roads", ignore_result=True)
def check_roads(**_from_newer_callers: object) -> None:
    """Names, certificates and our own address, of live accounts: before the open and through the day."""
    if not take_slot("check_roads", every_s=300) or not hours_of_sign_in(timezone.now()):
        return
    for account in BrokerAccount.objects.filter(environment=BrokerAccount.Environment.LIVE):
        road_check(account)


@shared_task(name="execution.remind_of_sign_in", ignore_result=True)
def remind_of_sign_in(**_from_newer_callers: object) -> None:
    """On the morning of a trading day, tell owners of live accounts that nobody has signed in yet."""
    wall = timezone.now()
    if not take_slot("remind_of_sign_in", every_s=300) or not before_the_open(wall):
        return
    for account in BrokerAccount.objects.filter(
        environment=BrokerAccount.Environment.LIVE, auth_state__in=LOGIN_STATES
    ):
        raise_alert(
            "SIGN_IN_BEFORE_OPEN", f"{account.name} is not signed in, and the market opens soon.",
            owner_id=account.owner_id, about=str(account.pk), next_step="Settings, Brokers: sign in at the broker.",
        )  # fmt: skip


@shared_task(name="execution.watch_heartbeats", ignore_result=True)
def watch_heartbeats(**_from_newer_callers: object) -> None:
    """The worker looks after the engine: an engine that fell silent is told of by somebody else."""
    if not take_slot("watch_heartbeats", every_s=5):
        return
    Heartbeat.objects.update_or_create(name="worker", defaults={"at": timezone.now()})
    for lease in EngineLease.objects.select_related("account").exclude(state=EngineLease.State.STOPPED):
        about = str(lease.account_id)
        if lease.beat_at is None or timezone.now() - lease.beat_at > ENGINE_SILENT:
            raise_alert(
                "ENGINE_SILENT", f"The engine of {lease.account.name} has been silent.", level=Level.SEVERE,
                owner_id=lease.account.owner_id, about=about, next_step="Look at the engine's process and log.",
            )  # fmt: skip
        else:
            clear_alerts("ENGINE_SILENT", owner_id=lease.account.owner_id, about=about)


@shared_task(name="execution.refresh_instruments", ignore_result=True)
def refresh_instruments_task(
    *, forced: bool = False, actor: str = "operator", **_from_newer_callers: object
) -> None:  # fmt: skip
    """Once a day, or when somebody asks (an operator, a signal that waits for tick and lot): the instrument masters
    of every broker that has an account here."""
    if not forced and not take_slot("refresh_instruments", every_s=MASTERS_EVERY_S):
        return
    asked: set[tuple[str, str | None]] = set()
    for account in BrokerAccount.objects.filter(price_source=None).order_by("environment", "pk"):
        where = (account.broker, place_of(account).base_url)
        if where in asked:
            continue
        asked.add(where)
        for one in refresh_from_broker(
            account, now=venue_now(account.feed), actor=actor if forced else "schedule"
        ):  # fmt: skip
            logger.info("master %s: %s", one.name, one.error or (one.diff and one.diff.counts()))


@shared_task(name="execution.snapshot_chains", ignore_result=True)
def snapshot_chains_task(**_from_newer_callers: object) -> None:
    """While derivatives trade, keep the option chains of the configured underlyings: one account of each feed asks."""
    if not take_slot("snapshot_chains", every_s=CHAINS_EVERY_S):
        return
    replays = Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")
    asked: set[str] = set()
    for account in BrokerAccount.objects.filter(auth_state=AuthState.AUTHENTICATED).exclude(
        feed__in=replays
    ).order_by("pk"):  # fmt: skip
        now = venue_now(account.feed)
        phase = phase_at(now, kind=SessionKind.DERIVATIVES, assume_weekdays=not account.has_market_prices)
        if account.feed in asked or phase is not Phase.CONTINUOUS:
            continue
        asked.add(account.feed)
        try:
            gateway = gateway_of(account)
        except BrokerError as error:
            logger.warning("option chains by account %s: %s", account.pk, error)
            continue
        try:
            snapshot_chains(account, gateway, now=now)
        finally:
            gateway.close()


@shared_task(name="execution.recount_room", ignore_result=True)
def recount_room(**_from_newer_callers: object) -> None:
    """What risk has given away, counted again from the orders themselves."""
    if take_slot("recount_room", every_s=60):
        room_recount(days={exchange_date(venue_now(name)) for name in Feed.objects.values_list("name", flat=True)})


@shared_task(name="execution.watch_strategies", ignore_result=True)
def watch_strategies(**_from_newer_callers: object) -> None:
    """Strategies that must stop are stopped."""
    if take_slot("watch_strategies", every_s=15):
        failsafe_watch()


@shared_task(name="execution.keep_risk", ignore_result=True)
def keep_risk(**_from_newer_callers: object) -> None:
    """The numbers of risk for the history and the open pages; the report of a session that is over."""
    if not take_slot("keep_risk", every_s=5):
        return
    replays = Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")
    for portfolio in Portfolio.objects.select_related("account").exclude(account__feed__in=replays):
        now = venue_now(portfolio.account.feed)
        risk_keep(portfolio=portfolio, now=now)
        for day in reports_due(portfolio, now=now):
            risk_report(portfolio=portfolio, day=day)


@shared_task(name="execution.seal_events", ignore_result=True)
def seal_events(**_from_newer_callers: object) -> None:
    """Seal what was said about orders since the last time."""
    if take_slot("seal_events", every_s=300):
        events_seal()


@shared_task(name="execution.verify_events", ignore_result=True)
def verify_events(**_from_newer_callers: object) -> None:
    """Walk the whole chain of seals, once a night."""
    if take_slot("verify_events", every_s=20 * 3600):
        events_keep(actor="the night")
