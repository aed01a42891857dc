"""How a person gets a paper account: by the page, by program; on nobody's prices but his own."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from accounts.models import BrokerAccount, User
from execution.models import PaperBook
from tests.factories import BrokerAccountFactory, UserFactory
from tests.factories.market import FeedFactory
from tests.factories.people import paper_account_on
from trading.api.models import IdempotencyRecord
from trading.audit.models import AuditEntry
from trading.portfolio.models import Portfolio

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]
PAGE, API = "/settings/brokers/paper/", "/api/v1/accounts/paper/"


@pytest.fixture
def person() -> User:
    return UserFactory()


@pytest.fixture
def source(person: User) -> BrokerAccount:
    FeedFactory(name="sandbox")
    return BrokerAccountFactory(owner=person, name="My FYERS")


@pytest.fixture
def page(client: Client, person: User) -> Client:
    client.force_login(person)
    return client


def press(page: Client, account: BrokerAccount, **changes: str):
    given = {"name": "Paper", "source": str(account.pk), "cash": "5,00,000", "slippage": "", "share": ""}
    return page.post(PAGE, given | changes, headers={"HX-Request": "true"})


def test_a_paper_account_is_opened_with_its_book_and_its_portfolio(page, person, source):
    assert "My FYERS" in page.get(PAGE).content.decode()
    assert press(page, source, slippage="2.5", share="10").status_code == 204
    account = BrokerAccount.objects.get(name="Paper")
    assert (account.environment, account.broker, account.feed, account.price_source) == (
        "PAPER", "FYERS", "sandbox", source,
    )  # fmt: skip
    book, portfolio = PaperBook.objects.get(account=account), Portfolio.objects.get(account=account)
    assert (book.cash_paise, book.slippage_bps, book.volume_share_pct) == (50_000_000, Decimal("2.5"), Decimal(10))
    assert (portfolio.owner, portfolio.name, portfolio.opening_cash_paise) == (person, "Paper", 50_000_000)
    assert AuditEntry.objects.filter(action="account.paper_opened", owner_id=person.pk).exists()

    told = page.get("/settings/brokers/").content.decode()
    assert "Prices from" in told and "₹5,00,000.00" in told and "Up to 10 % of what trades, 2.50 bps" in told


def test_pressed_twice_it_is_opened_once(page, source):
    assert press(page, source).status_code == 204
    again = press(page, source)
    assert again.status_code == 422 and "ACCOUNT_EXISTS" in again.content.decode()
    assert PaperBook.objects.count() == Portfolio.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": " "}, "ACCOUNT_NAME"), ({"name": "x" * 61}, "ACCOUNT_NAME"), ({"name": "My FYERS"}, "ACCOUNT_EXISTS"),
        ({"cash": "much"}, "PAPER_CASH"), ({"cash": "999"}, "PAPER_CASH"), ({"cash": "1e20"}, "PAPER_CASH"),
        ({"cash": "NaN"}, "PAPER_CASH"), ({"cash": "1000.005"}, "PAPER_CASH"), ({"cash": "-5000"}, "PAPER_CASH"),
        ({"slippage": "501"}, "PAPER_SLIPPAGE"), ({"slippage": "-1"}, "PAPER_SLIPPAGE"),
        ({"share": "0"}, "PAPER_SHARE"), ({"share": "101"}, "PAPER_SHARE"), ({"share": "Infinity"}, "PAPER_SHARE"),
        ({"source": "0"}, "NO_SUCH_ACCOUNT"), ({"source": "one"}, "NO_SUCH_ACCOUNT"),
        ({"source": "9" * 30}, "NO_SUCH_ACCOUNT"),
    ],
)  # fmt: skip
def test_what_cannot_be_one_is_told_and_nothing_is_kept(page, source, change, code):
    answer = press(page, source, **change)
    assert answer.status_code == 422 and code in answer.content.decode()
    assert not PaperBook.objects.exists() and not Portfolio.objects.exists()


def test_nobody_lives_on_the_prices_of_another_person(page, source):
    foreign = BrokerAccountFactory(name="Foreign FYERS")
    answer = press(page, foreign)
    assert answer.status_code == 422 and "NO_SUCH_ACCOUNT" in answer.content.decode()
    assert "Foreign" not in answer.content.decode() and not PaperBook.objects.exists()


def test_a_paper_account_is_no_source_of_prices(page, source):
    paper = paper_account_on(source)
    answer = press(page, paper)
    assert answer.status_code == 422 and "PAPER_SOURCE" in answer.content.decode()


def test_whoever_has_no_account_is_told_to_link_one_first(page):
    assert "Link an account first" in page.get(PAGE).content.decode()


def test_a_paper_account_has_no_sign_in_of_its_own(page, source):
    paper = paper_account_on(source)
    for act in ("sign-in", "forget"):
        answer = page.post(f"/settings/brokers/{paper.pk}/{act}/", headers={"HX-Request": "true"})
        assert answer.status_code == 422 and "PAPER_ACCOUNT" in answer.content.decode()


def test_an_operator_sees_the_books_and_brings_one_to_the_present(client, source):
    """The source is not signed in here, and that is what the console says."""
    paper = paper_account_on(source)
    client.force_login(UserFactory(operator=True))
    listing = "/console/execution/paperbook/"
    assert "My FYERS" in client.get(listing).content.decode()
    book = PaperBook.objects.get(account=paper)
    answer = client.post(listing, {"action": "present", "_selected_action": [book.pk]}, follow=True)
    told = answer.content.decode()
    assert "NOT_SIGNED_IN" in told and "0 of 1" in told


def by_program(person: User, body: dict[str, object], *, key: str = "paper-account-1", scope: str = "trade"):
    _, token = issue(owner=person, name="program", now=timezone.now(), scope=scope)
    return Client().post(
        API, body, content_type="application/json",
        headers={"authorization": f"Bearer {token}", "idempotency-key": key},
    )  # fmt: skip


def test_by_program_the_same_wish_is_one_account(person, source):
    body = {"name": "Paper", "price_source": source.pk, "opening_cash": "250000.00"}
    first, second = by_program(person, body), by_program(person, body)
    assert first.status_code == second.status_code == 201 and first.json() == second.json()
    assert first.json()["environment"] == "PAPER" and PaperBook.objects.count() == 1
    _, token = issue(owner=person, name="reader", now=timezone.now(), scope="read")
    listed = Client().get("/api/v1/accounts/", headers={"authorization": f"Bearer {token}"}).json()
    assert [(one["name"], one["price_source"]) for one in listed] == [("My FYERS", None), ("Paper", "My FYERS")]
    assert not {"app_id", "app_secret_sealed", "access_token_sealed", "postback_key"} & set(listed[0])


def test_by_program_an_opening_whose_answer_was_lost_is_found_and_not_made_again(person, source):
    """The process died between the commit and the answer: the same key finds the account, another key does not."""
    body = {"name": "Paper", "price_source": source.pk, "opening_cash": "250000.00"}
    opened = by_program(person, body)
    IdempotencyRecord.objects.update(status=None, body=None, claimed_at=timezone.now() - timedelta(minutes=1))
    again = by_program(person, body)
    assert (again.status_code, again.json()) == (201, opened.json())
    assert PaperBook.objects.count() == Portfolio.objects.count() == 1
    assert AuditEntry.objects.filter(action="account.paper_opened").count() == 1
    other = by_program(person, body, key="paper-account-2")
    assert (other.status_code, other.json()["code"]) == (409, "ACCOUNT_EXISTS")
    stranger = UserFactory()
    theirs = body | {"price_source": BrokerAccountFactory(owner=stranger, feed=source.feed).pk}
    assert by_program(stranger, theirs).status_code == 201, "a key of one person is nothing to another"
    assert PaperBook.objects.count() == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"opening_cash": "1"}, 400), ({"price_source": "x"}, 400), ({"leverage": 5}, 400),
        ({"volume_share_pct": "0"}, 422),
    ],
)  # fmt: skip
def test_by_program_what_cannot_be_one_is_a_problem(person, source, change, status):
    body = {"name": "Paper", "price_source": source.pk, "opening_cash": "250000.00"} | change
    assert by_program(person, body).status_code == status
    assert not PaperBook.objects.exists()


def test_by_program_neither_a_foreign_source_nor_a_key_that_only_reads(person, source):
    body = {"name": "Paper", "price_source": BrokerAccountFactory().pk, "opening_cash": "250000.00"}
    assert by_program(person, body).status_code == 404
    body["price_source"] = source.pk
    assert by_program(person, body, scope="read").status_code == 403
    assert not PaperBook.objects.exists()
