"""Lots that an exit gives up, and charges as the contract note has them."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.api_keys import issue
from execution.facts import facts_of
from execution.lots import lots_of
from execution.models import Order
from execution.services.override import close_position
from tests.factories import PortfolioFactory, UserFactory
from trading.portfolio.booking import CHARGE_ACCOUNTS
from trading.portfolio.ledger import balance
from trading.portfolio.lots import Lot, Relief, held_lots, relieve
from trading.portfolio.models import LedgerEntry, LedgerTransaction, Position
from trading.portfolio.rebuild import drift
from trading.portfolio.true_up import booked_charges, true_up_charges
from trading.venue.charges import ChargeSheet
from trading.venue.sessions import exchange_date

lots = st.lists(st.integers(1, 500), min_size=1, max_size=6).map(
    lambda sizes: [Lot(f"lot {number}", size) for number, size in enumerate(sizes)]
)


@given(lots, st.data(), st.sampled_from(Relief))
def test_what_is_given_up_adds_up_and_is_held(held, data, method):
    quantity = data.draw(st.integers(1, sum(lot.quantity for lot in held)))
    taken = relieve(held, quantity, method, first=held[-1].name)
    assert sum(lot.quantity for lot in taken) == quantity
    sizes = {lot.name: lot.quantity for lot in held}
    assert all(0 < lot.quantity <= sizes[lot.name] for lot in taken)
    assert sum(lot.quantity for lot in held_lots(held, [taken])) == sum(sizes.values()) - quantity
    assert taken == relieve(held, quantity, method, first=held[-1].name)


def test_the_oldest_first_the_named_first_or_each_its_share():
    held = [Lot("a", 10), Lot("b", 5), Lot("c", 5)]
    assert relieve(held, 12) == [Lot("a", 10), Lot("b", 2)]
    assert relieve(held, 12, Relief.SPECIFIC, first="c") == [Lot("c", 5), Lot("a", 7)]
    assert relieve(held, 10, Relief.PRO_RATA) == [Lot("a", 5), Lot("b", 3), Lot("c", 2)]
    for wrong in (0, 21):
        with pytest.raises(ValueError):
            relieve(held, wrong)
    with pytest.raises(ValueError, match="no lot x"):
        relieve(held, 1, Relief.SPECIFIC, first="x")


def test_an_exit_stores_what_it_gives_up_before_it_is_sent(desk):
    group = desk.enter(filled=4)
    entry = group.orders.get(reason="ENTRY")
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.turn(2)
    bought = lots_of(group)
    assert [lot.quantity for lot in bought] == [4, 6]
    close_position(group_id=group.pk, actor="me", now=desk.now[0])
    desk.turn(3)
    exit_order = Order.objects.get(reason="MANUAL")
    assert exit_order.lot_relief == [[bought[0].name, 4], [bought[1].name, 6]]
    desk.broker.fill(exit_order.broker_order_id, 7, "812.00")
    desk.turn(1)
    assert lots_of(group) == [Lot(bought[1].name, 3)]


NOTE = ChargeSheet(brokerage=40_00, stt=2_00, exchange=25, sebi=1, stamp=24, gst=7_25)


def test_the_contract_note_has_the_last_word_once(desk):
    desk.enter()
    day, portfolio = exchange_date(desk.now[0]), desk.portfolio
    before = balance(portfolio.pk, "CASH") + sum(booked_charges(portfolio.pk, day).values())
    how = {"portfolio_id": portfolio.pk, "day": day, "actor": "me", "now": desk.now[0]}
    posted = true_up_charges(note=NOTE, reference="CN-1", **how)
    assert posted is not None and posted.kind == LedgerTransaction.Kind.ADJUSTMENT
    booked = booked_charges(portfolio.pk, day)
    assert {name: booked.get(account, 0) for name, account in CHARGE_ACCOUNTS.items()} == NOTE.lines()
    assert balance(portfolio.pk, "CASH") == before - NOTE.total
    assert true_up_charges(note=NOTE, reference="CN-1", **how) is None
    assert true_up_charges(note=NOTE, reference="CN-2", **how) is None, "it says so already"
    assert sum(LedgerEntry.objects.values_list("amount_paise", flat=True)) == 0
    assert drift(portfolio, facts_of(portfolio)) == []


def test_a_program_posts_a_note_of_its_own_portfolio_once(desk):
    desk.enter()
    day = str(exchange_date(desk.now[0]))
    address = f"/api/v1/portfolios/{desk.portfolio.pk}/contract-notes/"
    _, token = issue(owner=desk.world.user, name="bot", scope="trade", now=timezone.now())
    program = Client(headers={"authorization": f"Bearer {token}"})
    before = program.get(address, {"day": day}).json()
    assert Decimal(before["total"]) > 0 and not before["corrected"]
    note = {"day": day, "reference": "CN-7", "lines": {"brokerage": "40.00", "gst": "7.25"}}

    def post(given, path=address):
        return program.post(path, given, content_type="application/json")

    first = post(note)
    assert first.status_code == 201 and first.json()["corrected"] and first.json()["total"] == "47.25"
    assert first.json()["lines"]["stt"] == "0.00"
    assert post(note).status_code == 200 and not post(note).json()["corrected"]
    for wrong in ({"bribe": "1"}, {"stt": "much"}, {"stt": "-1"}, {"stt": "NaN"}):
        reply = post(note | {"lines": wrong, "reference": "CN-8"})
        assert reply.status_code == 422 and reply.json()["code"] == "CONTRACT_NOTE", reply.content
    assert program.get(address, {"day": "yesterday"}).status_code == 422
    another = f"/api/v1/portfolios/{PortfolioFactory().pk}/contract-notes/"
    assert post(note, another).status_code == program.get(another, {"day": day}).status_code == 404


def test_an_operator_posts_a_note_in_the_console(desk):
    desk.enter()
    day = exchange_date(desk.now[0])
    operator = UserFactory(operator=True)
    client = Client()
    client.force_login(operator)
    page = reverse("admin:portfolio_ledgertransaction_true_up")
    assert b"Charges by a contract note" in client.get(reverse("admin:portfolio_ledgertransaction_changelist")).content
    shown = client.get(page, {"portfolio": desk.portfolio.pk, "day": str(day)})
    booked = booked_charges(desk.portfolio.pk, day)
    assert shown.context["form"].initial["stt"] * 100 == booked.get(CHARGE_ACCOUNTS["stt"], 0)
    note = {"portfolio": desk.portfolio.pk, "day": str(day), "reference": "CN-3", "brokerage": "40.00"}
    assert b"as on contract note CN-3" in client.post(page, note, follow=True).content
    assert booked_charges(desk.portfolio.pk, day)["BROKERAGE"] == 40_00
    assert b"nothing was posted" in client.post(page, note, follow=True).content
    assert client.post(page, note | {"brokerage": "-1"}).status_code == 200
    looker = UserFactory(is_staff=True)
    client.force_login(looker)
    assert client.get(page).status_code == 403


def test_the_command_posts_a_note_in_rupees_and_names_what_is_wrong(desk, capsys):
    desk.enter()
    day = str(exchange_date(desk.now[0]))
    call_command(
        "true_up", str(desk.portfolio.pk), "--date", day, "--reference", "CN-9", "--note", '{"brokerage": "40.00"}'
    )
    assert "CN-9" in capsys.readouterr().out
    assert booked_charges(desk.portfolio.pk, exchange_date(desk.now[0]))["BROKERAGE"] == 40_00
    for wrong in ('{"bribe": 1}', "[]", '{"stt": "much"}'):
        with pytest.raises(CommandError):
            call_command("true_up", str(desk.portfolio.pk), "--date", day, "--reference", "CN-9", "--note", wrong)
    with pytest.raises(CommandError, match="which note"):
        call_command("true_up", str(desk.portfolio.pk), "--date", day, "--note", "{}")


def test_a_table_that_says_something_else_than_the_facts_is_found(desk):
    desk.enter()
    Position.objects.filter(portfolio=desk.portfolio).update(cost_paise=1)
    found = drift(desk.portfolio, facts_of(desk.portfolio))
    assert any("position" in one for one in found)
