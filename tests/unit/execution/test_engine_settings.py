"""Settings of the signal engine: rows by version, the portfolio's own before the house's, in force when asked next."""

import json
import threading
from decimal import Decimal

import pytest
from django.db import connection

from execution.engine_settings import (
    FIELDS,
    changes,
    draft_settings,
    drop_settings,
    publish_ladder,
    publish_settings,
    retire_ladder,
    settings_as_json,
    settings_of,
    values_from_json,
    values_of,
)
from execution.ladder_plans import ladder_named, ladders_for
from execution.models import EngineSettings, LadderPlan
from strategies.tactics.ladder import DEFAULT_RUNGS
from tests.factories.portfolio import PortfolioFactory
from trading.audit.models import AuditEntry
from trading.domain.errors import NotAllowed

TWO_STEPS = [
    {"gap_pct": "0", "weight_pct": "60", "take_profit_pct": "1"},
    {"gap_pct": "-1", "weight_pct": "40", "take_profit_pct": "2"},
]


@pytest.fixture
def portfolio(db):
    return PortfolioFactory()


@pytest.fixture
def other(db):
    return PortfolioFactory()


def refused(code: str, act, **given) -> NotAllowed:
    with pytest.raises(NotAllowed) as caught:
        act(**given)
    assert caught.value.code == code
    return caught.value


def test_a_portfolio_without_settings_of_its_own_has_those_of_the_house(portfolio, other):
    house = settings_of(None)
    assert settings_of(portfolio.pk) == house == settings_of(other.pk)
    own = publish_settings(portfolio=portfolio, values={"max_open_groups": 3}, actor="me")
    assert settings_of(portfolio.pk) == own and own.version == 1 and own.created_by == "me"
    assert own.max_open_groups == 3 and own.queue_size == house.queue_size
    assert settings_of(other.pk) == house == settings_of(None)


def test_settings_are_asked_of_the_database_each_time_in_one_statement(portfolio, django_assert_num_queries):
    settings_of(portfolio.pk)
    with django_assert_num_queries(1):
        assert settings_of(portfolio.pk).ladder.name == "Five steps"
    EngineSettings.objects.filter(portfolio=None).update(max_open_groups=77)
    assert settings_of(portfolio.pk).max_open_groups == 77


def test_settings_that_are_missing_are_an_error_with_a_name(portfolio):
    EngineSettings.objects.update(active=False)
    refused("SETTINGS_MISSING", settings_of, portfolio_id=portfolio.pk)
    error = refused("SETTINGS_INVALID", publish_settings, portfolio=None, values={"queue_size": 3}, actor="me")
    assert "max_open_groups" in error.numbers["fields"], "nothing is assumed in place of what is missing"
    everything = values_of(EngineSettings.objects.get(portfolio=None))
    assert publish_settings(portfolio=None, values=everything, actor="me") == settings_of(portfolio.pk)


def test_a_change_is_a_new_version_and_the_trail_says_what_was(portfolio):
    publish_settings(portfolio=portfolio, values={"max_open_groups": 3}, actor="me")
    second = publish_settings(
        portfolio=portfolio, values={"offset_loss_pct": Decimal("7.5"), "ranking": ["oldest"]}, actor="you"
    )
    assert second.version == 2 and second.max_open_groups == 3
    versions = EngineSettings.objects.filter(portfolio=portfolio)
    assert [(one.version, one.active) for one in versions] == [(2, True), (1, False)]
    entry = AuditEntry.objects.filter(action="engine_settings.published").first()
    assert entry.actor == "you" and entry.owner_id == portfolio.owner_id
    assert entry.detail["changed"]["offset_loss_pct"] == {"old": "5", "new": "7.5"}
    assert [one.name for one in changes(versions.get(version=1), second)] == ["ranking", "offset_loss_pct"]


def test_the_same_values_again_make_no_version(portfolio):
    first = publish_settings(portfolio=portfolio, values={"max_open_groups": 3}, actor="me")
    assert publish_settings(portfolio=portfolio, values={"max_open_groups": "3"}, actor="me") == first
    assert publish_settings(portfolio=portfolio, values={"offset_loss_pct": 5.0}, actor="me") == first
    assert AuditEntry.objects.filter(action="engine_settings.published").count() == 1


def test_the_house_holds_again_once_the_own_are_dropped(portfolio):
    publish_settings(portfolio=portfolio, values={"max_open_groups": 3}, actor="me")
    assert drop_settings(portfolio=portfolio, actor="me") is True
    assert drop_settings(portfolio=portfolio, actor="me") is False
    assert settings_of(portfolio.pk).portfolio is None
    assert publish_settings(portfolio=portfolio, values={"queue_size": 1}, actor="me").version == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("nonsense", 1), ("max_open_groups", 0), ("max_open_groups", 1.5), ("max_open_groups", True),
     ("max_open_groups", None), ("max_open_groups", "9" * 6000), ("max_open_groups", [1]), ("queue_ttl_s", "soon"),
     ("offset_enabled", "yes"), ("take_profit", "NEVER"), ("take_profit", "\x00"), ("pyramid_pct", "NaN"),
     ("pyramid_pct", "0.00001"), ("pyramid_pct", float("inf")), ("offset_pyramids", 6), ("ladder", "None such"),
     ("ladder", "\x00"), ("ladder", 5), ("ranking", []), ("ranking", ["oldest", "oldest"]), ("ranking", ["newest"]),
     ("ranking", [["oldest"]]), ("ranking", "oldest")],
)  # fmt: skip
def test_a_value_that_may_not_be_is_refused_by_its_name(portfolio, name, value):
    error = refused("SETTINGS_INVALID", draft_settings, portfolio=portfolio, values={name: value})
    assert list(error.numbers["fields"]) == [name]
    refused("SETTINGS_INVALID", publish_settings, portfolio=portfolio, values={name: value}, actor="me")
    assert not EngineSettings.objects.filter(portfolio=portfolio).exists()


def test_a_ladder_of_another_portfolio_is_not_to_be_had(portfolio, other):
    theirs = publish_ladder(portfolio=other, name="Theirs", rungs=TWO_STEPS, actor="them")
    refused("SETTINGS_INVALID", draft_settings, portfolio=portfolio, values={"ladder": theirs})
    refused("SETTINGS_INVALID", draft_settings, portfolio=portfolio, values={"ladder": "Theirs"})
    refused("LADDER_UNKNOWN", ladder_named, portfolio_id=portfolio.pk, name="Theirs")
    assert [one.name for one in ladders_for(portfolio.pk)] == ["Five steps", "One entry"]
    assert [one.name for one in ladders_for(other.pk)] == ["Theirs", "Five steps", "One entry"]


# -- ladders ---------------------------------------------------------------------------------------------------------


def test_a_changed_ladder_is_a_new_row_and_settings_follow_its_name(portfolio):
    first = publish_ladder(portfolio=portfolio, name="Mine", rungs=TWO_STEPS, actor="me")
    publish_settings(portfolio=portfolio, values={"ladder": "Mine"}, actor="me")
    again = [{name: f"{value}.00" for name, value in rung.items()} for rung in TWO_STEPS]
    assert publish_ladder(portfolio=portfolio, name="Mine", rungs=again, actor="me") == first
    second = publish_ladder(portfolio=portfolio, name="Mine", rungs=TWO_STEPS, stop_pct="2.5", actor="me")
    first.refresh_from_db()
    assert second != first and first.retired_at is not None and first.stop_pct is None
    now = settings_of(portfolio.pk)
    assert now.ladder == second and now.version == 2
    assert [one.pk for one in ladders_for(portfolio.pk) if one.name == "Mine"] == [second.pk]


def test_a_ladder_of_ones_own_takes_the_place_of_the_houses_of_that_name(portfolio, other):
    publish_settings(portfolio=portfolio, values={"queue_size": 1}, actor="me")
    own = publish_ladder(portfolio=portfolio, name="Five steps", rungs=TWO_STEPS, actor="me")
    assert settings_of(portfolio.pk).ladder == own == ladder_named(portfolio.pk, "Five steps")
    assert settings_of(other.pk).ladder != own and len(settings_of(None).ladder.rungs) == len(DEFAULT_RUNGS)


def test_a_ladder_in_use_stays(portfolio):
    mine = publish_ladder(portfolio=portfolio, name="Mine", rungs=TWO_STEPS, actor="me")
    publish_settings(portfolio=portfolio, values={"ladder": mine}, actor="me")
    refused("LADDER_IN_USE", retire_ladder, ladder_id=mine.pk, actor="me")
    publish_settings(portfolio=portfolio, values={"ladder": "One entry"}, actor="me")
    assert retire_ladder(ladder_id=mine.pk, actor="me") is True
    assert retire_ladder(ladder_id=mine.pk, actor="me") is False
    refused("LADDER_UNKNOWN", ladder_named, portfolio_id=portfolio.pk, name="Mine")
    assert AuditEntry.objects.filter(action="ladder.retired", owner_id=portfolio.owner_id).count() == 1


@pytest.mark.parametrize(
    "given",
    [{"rungs": []}, {"rungs": "x"}, {"rungs": TWO_STEPS[:1]}, {"name": ""}, {"name": "\x00"}, {"name": "x" * 61},
     {"overrides": {"20": TWO_STEPS}}, {"overrides": {"²": TWO_STEPS}}, {"overrides": {"1": TWO_STEPS[1:]}},
     {"overrides": [1]}, {"stop_pct": "51"}, {"stop_pct": "x"}],
)  # fmt: skip
def test_a_ladder_that_may_not_be_is_refused(portfolio, given):
    wrong = {"portfolio": portfolio, "name": "Mine", "rungs": TWO_STEPS, "actor": "me"} | given
    refused("LADDER", publish_ladder, **wrong)
    assert not LadderPlan.objects.filter(portfolio=portfolio).exists()


# -- as a file -------------------------------------------------------------------------------------------------------


def test_settings_go_out_as_a_file_and_come_back_elsewhere(portfolio, other):
    publish_ladder(portfolio=portfolio, name="Mine", rungs=TWO_STEPS, overrides={"01": TWO_STEPS}, actor="me")
    publish_ladder(portfolio=portfolio, name="For a hook", rungs=TWO_STEPS, stop_pct="0.5", actor="me")
    was = publish_settings(
        portfolio=portfolio, values={"ladder": "Mine", "offset_enabled": True, "pyramid_pct": "2.5"}, actor="me"
    )
    backup = values_from_json(settings_as_json(was), portfolio=other)
    assert set(backup.values) == set(FIELDS) and {one.name for one in backup.ladders} == {"Mine", "For a hook"}
    assert changes(was, draft_settings(portfolio=other, values=backup.values, ladders=backup.ladders)) == []
    assert not LadderPlan.objects.filter(portfolio=other).exists(), "a file that is read is not yet in force"
    new = publish_settings(portfolio=other, values=backup.values, ladders=backup.ladders, actor="them")
    assert changes(was, new) == [] and new.ladder.portfolio == other
    assert values_from_json(settings_as_json(new), portfolio=other).ladders == [], "what is there is not made again"


def test_a_file_that_names_only_some_changes_only_those(portfolio):
    backup = values_from_json('{"settings": {"queue_size": 7, "pyramid_pct": 0.1}}', portfolio=portfolio)
    new = publish_settings(portfolio=portfolio, values=backup.values, actor="me")
    assert (new.queue_size, new.pyramid_pct, new.max_open_groups) == (7, Decimal("0.1"), 10)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "SETTINGS_FILE"), ("{", "SETTINGS_FILE"), ("[]", "SETTINGS_FILE"), ('{"settings": 5}', "SETTINGS_FILE"),
     ('{"settings": {}}', "SETTINGS_FILE"), ("[" * 50_000, "SETTINGS_FILE"),
     ('{"settings": {"a": NaN}}', "SETTINGS_FILE"),
     ('{"settings": {"nonsense": 1}}', "SETTINGS_INVALID"), ('{"settings": {"queue_size": "x"}}', "SETTINGS_INVALID"),
     ('{"settings": {}, "ladders": [5]}', "SETTINGS_FILE"), ('{"settings": {}, "ladders": {"a": 1}}', "SETTINGS_FILE"),
     ('{"settings": {}, "ladders": [{"name": 5}]}', "SETTINGS_FILE"),
     ('{"settings": {}, "ladders": [{"name": "a", "rungs": [], "more": 1}]}', "SETTINGS_FILE"),
     ('{"settings": {}, "ladders": [{"name": "a", "rungs": []}]}', "LADDER")],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(portfolio, text, code):
    refused(code, values_from_json, text=text, portfolio=portfolio)


@pytest.mark.django_db(transaction=True)
def test_two_who_publish_at_once_make_two_versions():
    portfolio = PortfolioFactory()
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def publish(size: int) -> None:
        try:
            start.wait()
            publish_settings(portfolio=portfolio, values={"queue_size": size}, actor="me")
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=publish, args=(10 + number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    versions = EngineSettings.objects.filter(portfolio=portfolio)
    assert sorted(one.version for one in versions) == [1, 2, 3, 4]
    assert [one.version for one in versions if one.active] == [4]
    assert json.loads(settings_as_json(settings_of(portfolio.pk)))["engine"] == f"{portfolio} v4"
