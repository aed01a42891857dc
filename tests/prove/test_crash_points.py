"""SIGKILL at every named point, a restart, and both sides agree: a sample of the campaign of `make prove`."""

from pathlib import Path

import pytest
from django.db import connections

from tests.prove import crash
from tests.prove.designs import DESIGNS
from tests.prove.part_same_seed import same_here_and_there
from tests.prove.twin import twin
from trading.domain.crashpoint import POINTS


@pytest.fixture
def stage(transactional_db, valkey):
    with crash.stage() as stage:
        yield stage
    connections.close_all()


def test_every_point_is_in_the_code_once():
    assert crash.points_in_code(Path(__file__).resolve().parents[2]) == dict.fromkeys(POINTS, 1)


def survives(stage, *points: str) -> None:
    """Killed there, started again, come to rest: nothing is doubled, lost or stuck."""
    for point in points:
        outcome = crash.run(stage, crash.trial_of(point, 0))
        assert point in outcome.killed, f"{point} was never reached"
        assert not outcome.trouble, (point, outcome.trouble)


def test_fault_01_kill_before_the_intent_is_committed(stage):
    survives(stage, "intake.asked", "intake.intent_written", "intake.fates_written")


def test_fault_02_kill_between_the_commit_and_the_answer(stage):
    survives(stage, "intake.committed")


def test_fault_03_kill_inside_the_transaction_of_risk_and_order(stage):
    survives(stage, "risk.reserved")


def test_fault_04_kill_between_the_commit_and_the_bell(stage):
    survives(stage, "intake.before_bell")


def test_fault_05_kill_between_the_claim_and_the_first_byte(stage):
    survives(stage, "dispatch.claimed", "house.absence_proven")


def test_fault_06_kill_between_the_last_byte_and_the_answer(stage):
    survives(stage, "dispatch.on_the_wire")


def test_fault_07_kill_between_the_answer_and_its_record(stage):
    survives(stage, "dispatch.answered")


def test_fault_08_kill_around_the_booking_of_a_fill(stage):
    survives(stage, "fills.books_fetched", "fills.booked", "fills.applied")


def test_fault_09_kill_between_a_fill_and_its_protection(stage):
    survives(stage, "protect.stop_wanted", "protect.move_asked")


def test_fault_10_kill_between_the_cancel_and_the_exit(stage):
    survives(stage, "exit.cancels_asked")


def test_fault_11_kill_while_the_kill_switch_flattens(stage):
    survives(stage, "kill.exits_asked")


def test_fault_12_kill_while_the_two_sides_are_compared(stage):
    survives(stage, "recon.healing")


def test_fault_13_kill_while_a_trade_is_closed_in_the_journal(stage):
    survives(stage, "house.trade_closed")


def test_kill_while_a_trade_is_built_up(stage):
    survives(stage, "ladder.group_written", "ladder.leg_asked")


def test_kill_between_the_steps_of_a_part_and_of_a_promotion(stage):
    survives(stage, "parts.kept", "parts.due", "parts.queued", "pool.promoting", "pool.promoted")


def test_killed_between_the_decision_to_follow_the_market_and_the_change(stage):
    survives(stage, "chase.step_written")


def test_kill_while_real_trades_take_the_place_of_what_stood_in_for_them(stage):
    survives(stage, "fills.replaced")


def test_kill_while_a_person_says_yes(stage):
    survives(stage, "intake.approved")


def test_killed_while_programs_post_orders_and_alerts_by_the_short_ways(stage):
    """What is posted together is decided together; whoever was not answered posts again, by the long way it is."""
    seed = next(seed for seed in range(50) if crash.trial_of("intake.committed", seed).scenario == "posted")
    for trial in (crash.trial_of("intake.committed", seed), crash.trial_of("intake.alerts_stored", 0)):
        outcome = crash.run(stage, trial)
        assert trial.point in outcome.killed and not outcome.trouble, (trial, outcome.trouble)


def test_killed_between_a_child_of_a_large_order_and_the_turn_that_it_took(stage):
    survives(stage, "parent.child_asked")


def test_killed_while_winners_pay_for_a_loser(stage):
    survives(stage, "offset.winner_asked")


@pytest.mark.parametrize("name", DESIGNS)
def test_the_oracle_sees_through_a_broken_design(stage, name):
    assert crash.caught(stage, name) is not None


def test_the_same_seed_gives_the_same_event_log_in_another_process(stage):
    """In the last a starved machine once priced anew between two other steps: the age of an exit was told by the
    database's clock, which was not the script's."""
    with twin() as other:
        for unit in ("pieces:1", "hand:2", "ladder:9"):
            assert same_here_and_there((stage, other), unit).trouble == []
