"""A switch stops what belongs to its scope and nothing else; it is carried out to the end; it is undone with care."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.second_factor import FreshFactor, give_factor
from execution.engine.rules_due import rules_due
from execution.kill_choices import choices_for, scope_for
from execution.kill_report import kill_report
from execution.models import Group, Order
from execution.services import runaway_watch as watch
from execution.services.kill_resume import kill_resume
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm
from execution.services.signal_accept import signal_accept
from execution.states import OrderState
from risk.kill_switch import DESK, Scope, ScopeKind, of_portfolio
from risk.models import TradingState
from strategies.contracts.publish import publish_library
from strategies.models import Signal
from tests.factories import DeploymentFactory, InstrumentFactory, PortfolioFactory, SignalFactory, UserFactory
from tests.factories.people import a_factor, code_now, set_up_factor
from tests.small_broker import Refuse
from tests.small_desk import small_desk
from trading.domain.errors import NotAllowed, NotFound
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(valkey):
    return small_desk()


def scopes_of(desk, order) -> dict[str, Scope]:
    owner, portfolio = desk.world.user.pk, desk.portfolio
    contract = order.group.signal.deployment.version.contract_id
    return {
        "desk": DESK, "user": Scope(ScopeKind.USER, owner, owner), "portfolio": of_portfolio(portfolio),
        "account": Scope(ScopeKind.ACCOUNT, portfolio.account_id, owner),
        "strategy": Scope(ScopeKind.STRATEGY, contract, owner), "strategy of all": Scope(ScopeKind.STRATEGY, contract),
        "symbol": Scope(ScopeKind.SYMBOL, desk.instrument.pk, owner),
        "symbol of all": Scope(ScopeKind.SYMBOL, desk.instrument.pk),
    }  # fmt: skip


def signalled(desk) -> Order:
    """An entry that a contract asked for."""
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=publish_library(actor="the desk")[0])
    SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target="829.00",
    )  # fmt: skip
    desk.world.still_running()
    signal = signal_accept(signal_id=Signal.objects.get().pk, now=desk.now[0])
    assert signal.state == "ACCEPTED", signal.refusal
    return Order.objects.get()


@pytest.mark.parametrize(
    "which",
    ["desk", "user", "account", "portfolio", "strategy", "strategy of all", "symbol", "symbol of all"],
)
def test_a_queued_order_dies_by_the_switch_of_any_scope_it_belongs_to(desk, which):
    order = signalled(desk)
    scope = scopes_of(desk, order)[which]
    kill_switch_pull(scope=scope, level=1, reason="drill", actor="me", now=desk.now[0])
    desk.turn(2)
    order.refresh_from_db()
    assert order.state == OrderState.WITHDRAWN and not desk.broker.book
    assert Scope.read(scope.key, scope.owner_id) == scope


def test_others_go_on(desk):
    order = signalled(desk)
    stranger = PortfolioFactory()
    others = [
        of_portfolio(stranger), Scope(ScopeKind.SYMBOL, InstrumentFactory().pk),
        Scope(ScopeKind.SYMBOL, desk.instrument.pk, stranger.owner_id),
        Scope(ScopeKind.STRATEGY, order.group.signal.deployment.version.contract_id, stranger.owner_id),
        Scope(ScopeKind.USER, stranger.owner_id, stranger.owner_id),
        Scope(ScopeKind.ACCOUNT, stranger.account_id, stranger.owner_id),
    ]  # fmt: skip
    for scope in others:
        kill_switch_pull(scope=scope, level=5, reason="not mine", actor="me", now=desk.now[0])
    desk.turn()
    order.refresh_from_db()
    assert order.state == OrderState.ACKED or order.state == OrderState.OPEN


def test_a_person_may_stop_only_what_is_theirs(desk):
    signalled(desk)
    keys = {scope.key for scope in choices_for(desk.world.user)}
    assert {key.split(":")[0] for key in keys} == {"PORTFOLIO", "STRATEGY", "SYMBOL", "ACCOUNT", "USER"}
    assert all(scope_for(desk.world.user, key).owner_id == desk.world.user.pk for key in keys)
    stranger = UserFactory()
    for key in [*keys, "GLOBAL", "PORTFOLIO:999999"]:
        if not key.startswith("SYMBOL"):
            with pytest.raises(NotFound):
                scope_for(stranger, key)
    for key in ["", "PORTFOLIO", "PORTFOLIO:x", "MOON:1", "SYMBOL:1:x", "GLOBAL:1"]:
        with pytest.raises(NotAllowed):
            scope_for(stranger, key)


def test_flatten_is_taken_up_again_after_a_crash_and_names_what_is_left(desk):
    group = desk.enter()
    scope = of_portfolio(desk.portfolio)
    kill_switch_pull(scope=scope, level=4, reason="flash crash", actor="me", now=desk.now[0])
    # Killed before the exit was asked for: the row of the switch is all that is left of the press.
    Group.objects.filter(pk=group.pk).update(close_reason="", close_asked_by="")
    report = kill_report(scope)
    assert not report.done and any(desk.instrument.ticker in line for line in report.residue)
    desk.world.still_running()
    assert desk.engine.keep_rules_of_time() >= 1
    desk.turn(4)
    desk.broker.fill(desk.broker.newest(), 10, "812.00")
    desk.turn(3)
    report = kill_report(scope)
    assert desk.held() == 0 and report.done and report.residue == ()
    assert desk.engine.keep_rules_of_time() == 0, "nothing is left to ask for"


def test_rearming_wants_a_fresh_factor_and_clean_books(desk):
    signalled(desk)
    desk.broker.answers.append("vanished")
    desk.turn()
    scope = of_portfolio(desk.portfolio)
    kill_switch_pull(scope=scope, level=2, reason="no", actor="me", now=desk.now[0])
    stale = FreshFactor(1, "totp", timezone.now() - timedelta(minutes=6))
    with pytest.raises(NotAllowed, match="five minutes"):
        kill_switch_rearm(scope=scope, reason="yes", actor="me", factor=stale, now=desk.now[0])
    with pytest.raises(NotAllowed, match="unknown fate"):
        kill_switch_rearm(scope=scope, reason="yes", actor="me", factor=a_factor(), now=desk.now[0])
    assert TradingState.objects.get(scope=scope.key).level == 2


def test_a_code_is_good_once_and_guessing_is_stopped(desk):
    user = desk.world.user
    with pytest.raises(NotAllowed, match="none is set up"):
        give_factor(user, "123456")
    set_up_factor(user)
    assert give_factor(user, f" {code_now()[:3]} {code_now()[3:]} ").is_fresh()
    with pytest.raises(NotAllowed, match="used before"):
        give_factor(user, code_now())
    with pytest.raises(NotAllowed):
        give_factor(user, code_now(later=-1))
    for guess in ("", "000000", "abc", "111111", "222222", "333333"):
        with pytest.raises(NotAllowed) as refused:
            give_factor(user, guess)
    assert refused.value.code == "SECOND_FACTOR_LOCKED"
    with pytest.raises(NotAllowed):
        give_factor(user, code_now(later=1))


# -- by itself ---------------------------------------------------------------------------------------------------


def test_a_program_that_runs_away_pulls_its_own_switch(desk, monkeypatch):
    monkeypatch.setattr(watch, "_last_look", {})
    for _ in range(8):
        desk.broker.answers.append(Refuse())
        desk.ask()
        desk.turn(2)
    assert watch.runaway_watch(account_id=desk.account.pk, now=desk.now[0]) == 1
    state = TradingState.objects.get()
    assert (state.level, state.set_by) == (2, "runaway watch") and state.reason.startswith("REJECTIONS")
    watch._last_look.clear()
    assert watch.runaway_watch(account_id=desk.account.pk, now=desk.now[0]) == 0, "it is pulled already"
    desk.engine.read_books()
    kill_switch_rearm(
        scope=of_portfolio(desk.portfolio), reason="fixed", actor="me", factor=a_factor(), now=desk.now[0]
    )
    watch._last_look.clear()
    assert watch.runaway_watch(account_id=desk.account.pk, now=desk.now[0]) == 0, (
        "what was known is not held against it"
    )


# -- from a terminal ---------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("killswitch", *arguments, stdout=out, stderr=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_refuses_nonsense_and_rearms_with_a_code(desk):
    for wrong in (["--level", "1"], ["--level", "1", "--reason", "x", "--scope", "PORTFOLIO:77777"]):
        with pytest.raises(CommandError):
            run(*wrong)
    assert not TradingState.objects.filter(level__gt=0).exists()
    name = f"PORTFOLIO:{desk.portfolio.name}"
    assert run("--level", "1", "--reason", "drill", "--scope", name)[0] == 0
    operator = UserFactory(operator=True)
    set_up_factor(operator)
    with pytest.raises(CommandError, match="which operator"):
        run("--rearm", "--reason", "over", "--scope", name, "--user", desk.world.user.username)
    with pytest.raises(CommandError, match="not the newest"):
        run("--rearm", "--reason", "over", "--scope", name, "--user", operator.username, "--code", "000000")
    status, said = run(
        "--rearm", "--reason", "over", "--scope", name, "--user", operator.username, "--code", code_now()
    )
    assert status == 0 and "may go on" in said
    assert not TradingState.objects.filter(level__gt=0).exists()
    assert not Alert.objects.filter(code="KILL_SWITCH", acknowledged_at=None).exists()


def test_a_switch_of_others_is_no_work_for_this_account_and_one_of_ours_is_of_whatever_scope(desk):
    order, now = signalled(desk), desk.now[0]
    kill_switch_pull(scope=of_portfolio(PortfolioFactory()), level=2, reason="not ours", actor="them", now=now)
    assert kill_resume not in rules_due(account_id=desk.account.pk, now=now)
    for name, scope in scopes_of(desk, order).items():
        TradingState.objects.all().delete()
        TradingState.objects.create(scope=scope.key, owner_id=scope.owner_id, level=2, set_at=timezone.now())
        assert kill_resume in rules_due(account_id=desk.account.pk, now=now), name
