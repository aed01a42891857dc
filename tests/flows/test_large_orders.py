"""Large orders at their doors: the ticket, the page, programs, the console."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import issue
from execution.models import Order, ParentOrder
from tests.factories import DeploymentFactory, UserFactory
from tests.factories.strategies import house_version
from tests.small_desk import small_desk
from trading.audit.models import AuditEntry

pytestmark = pytest.mark.django_db
ASK = {
    "symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": 60, "limit_price": "813.00", "stop_price": "804.00",
    "style": "TWAP", "minutes": 12, "slices": 6,
}  # fmt: skip
TICKET = {
    "symbol": "sbin", "side": "BUY", "quantity": "60", "order_type": "LIMIT", "limit_price": "813.00",
    "stop_price": "804.00", "product": "INTRADAY", "work": "ICEBERG", "visible": "20",
    "key": "00000000-0000-4000-8000-000000000001",
}  # fmt: skip


@pytest.fixture
def desk(valkey):
    return small_desk()


@pytest.fixture
def client(desk) -> Client:
    client = Client()
    client.force_login(desk.world.user)
    return client


@pytest.fixture
def program(desk):
    _, secret = issue(owner=desk.world.user, name="mine", now=timezone.now(), scope="trade")

    def call(method: str, path: str, body=None, key: str = "a-key-of-mine"):
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
        return getattr(Client(), method)(
            f"/api/v1/large-orders/{path}", body, content_type="application/json", headers=headers
        )

    return call


def test_the_ticket_lets_one_out_and_a_second_press_is_the_same(desk, client):
    for _ in range(2):
        done = client.post(reverse("web:ticket"), TICKET)
        said = done.content.decode()
        assert done.status_code == 200 and "Being worked" in said, said[said.index("<dialog") :]
    parent = ParentOrder.objects.get()
    assert (parent.quantity, parent.visible_quantity, Order.objects.count()) == (60, 20, 1)
    desk.turn(2)
    page = client.get(reverse("web:orders")).content.decode()
    assert reverse("web:large-order", args=[parent.pk]) in page and "Being worked" in page
    story = client.get(reverse("web:order", args=[Order.objects.get().pk])).content.decode()
    assert reverse("web:large-order", args=[parent.pk]) in story
    assert "no large order yet" not in client.get(reverse("web:large-orders")).content.decode().lower()


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"visible": ""}, "needed for this"), ({"order_type": "MARKET"}, "needs a limit"), ({"visible": "60"}, "VISIBLE"),
     ({"work": "TWAP", "minutes": "999", "slices": "5"}, "375"), ({"work": "VWAP"}, "valid choice")],
)  # fmt: skip
def test_what_cannot_be_is_said_on_the_ticket(desk, client, changes, says):
    answer = client.post(reverse("web:ticket"), TICKET | changes)
    assert answer.status_code == 422 and says in answer.content.decode() and not ParentOrder.objects.exists()


def test_a_refusal_is_told_with_its_code(desk, client):
    answer = client.post(reverse("web:ticket"), TICKET | {"stop_price": "820.00"})
    assert "STOP_REQUIRED" in answer.content.decode() and not Order.objects.exists()
    page = client.get(reverse("web:large-order", args=[ParentOrder.objects.get().pk]))
    assert page.status_code == 200 and "STOP_REQUIRED" in page.content.decode()
    again = client.post(reverse("web:large-order-withdraw", args=[ParentOrder.objects.get().pk]))
    assert again.status_code == 200, "there is nothing to take back, and nothing breaks"


def test_the_page_shows_how_far_it_is_and_takes_back_the_rest(desk, client):
    client.post(reverse("web:ticket"), TICKET)
    desk.turn(2)
    desk.broker.fill(desk.broker.newest(), 20, "812.90")
    desk.turn(3)
    parent = ParentOrder.objects.get()
    page = client.get(reverse("web:large-order", args=[parent.pk])).content.decode()
    assert "20 of 60 filled (33 %), 20 at work, 20 to come" in page and "812.90" in page
    asking = client.get(reverse("web:large-order-withdraw", args=[parent.pk])).content.decode()
    assert "20 filled, 20 at work, 20 to come" in asking
    assert "Being taken back" in client.post(reverse("web:large-order-withdraw", args=[parent.pk])).content.decode()
    desk.turn(3)
    page = client.get(reverse("web:large-order", args=[parent.pk])).content.decode()
    assert "WITHDRAWN" in page and "40 were not bought" in page
    assert client.get(reverse("web:large-order-withdraw", args=[parent.pk])).status_code == 409
    assert AuditEntry.objects.filter(action="parent_order.withdrawn").count() == 1


def test_nothing_yet_is_said(desk, client):
    assert "No large order yet" in client.get(reverse("web:large-orders")).content.decode()


def test_programs_ask_look_and_take_back(desk, program):
    first, second = program("post", "", ASK), program("post", "", ASK)
    assert first.status_code == second.status_code == 201 and first.json()["id"] == second.json()["id"]
    told = first.json()
    assert (told["quantity"], told["state"], told["filled_quantity"], len(told["orders"])) == (60, "LIVE", 0, 1)
    assert [one["id"] for one in program("get", "").json()] == [told["id"]]
    back = program("post", f"{told['id']}/withdraw/", key="another-key")
    assert back.status_code == 202 and back.json()["asked"] is True
    desk.turn(3)
    assert program("get", f"{told['id']}/").json()["state"] == "SHORT"
    assert program("get", "999999/").status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [({"stop_price": "820.00"}, 422, "STOP_REQUIRED"), ({"slices": 61}, 422, "SLICES"), ({"style": "VWAP"}, 400, None),
     ({"symbol": "NSE:NOTHING-EQ"}, 404, "UNKNOWN_SYMBOL"), ({"wild": 1}, 400, None)],
)  # fmt: skip
def test_programs_are_told_what_is_wrong(desk, program, changes, status, code):
    answer = program("post", "", ASK | changes)
    assert answer.status_code == status and (code is None or answer.json()["code"] == code)


def test_operators_see_it_and_take_it_back(desk, client):
    client.post(reverse("web:ticket"), TICKET)
    parent = ParentOrder.objects.get()
    operator = Client()
    operator.force_login(UserFactory(is_staff=True, is_superuser=True))
    assert "SBIN" in operator.get(reverse("admin:execution_parentorder_changelist")).content.decode()
    assert operator.get(reverse("admin:execution_parentorder_change", args=[parent.pk])).status_code == 200
    operator.post(
        reverse("admin:execution_parentorder_changelist"), {"action": "withdraw", "_selected_action": parent.pk}
    )
    parent.refresh_from_db()
    assert parent.code == "WITHDRAWN" and parent.limit_price == Decimal("813.0000")


def test_a_deployment_chooses_by_page_and_by_program(desk, client):
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    address = reverse("web:deployment-work", args=[deployment.pk])
    shown = client.get(address).content.decode()
    assert "Large entries of" in shown and "as the settings of its portfolio say" in shown
    given = {"style": "TWAP", "from_rupees": "250000", "minutes": "30", "slices": "6", "visible_pct": "20"}
    assert client.post(address, given | {"slices": "1"}).status_code == 200, "told on the form"
    assert not deployment.works.exists()
    for _ in range(2):
        assert client.post(address, given).status_code == 302
    assert list(deployment.works.values_list("version", "active", "style", "minutes")) == [(1, True, "TWAP", 30)]
    assert address in client.get(reverse("web:contract", args=[deployment.version.contract_id])).content.decode()
    _, secret = issue(owner=desk.world.user, name="mine", now=timezone.now(), scope="trade")
    door = f"/api/v1/deployments/{deployment.pk}/work/"
    by = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "a-key-of-mine"}
    assert client.get(door, headers=by).json()["minutes"] == 30
    changed = client.put(door, {"style": "ICEBERG"}, content_type="application/json", headers=by)
    assert changed.status_code == 200 and changed.json()["version"] == 2, changed.content
    assert "in force" in client.get(address).content.decode()
