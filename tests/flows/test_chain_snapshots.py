"""The minute's job keeps the chains of the configured underlyings, apart from the exchange's own where simulated."""

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from execution.brokers.chain_source import SANDBOX, snapshot_chains
from execution.brokers.errors import TransientError
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.login import sign_in_sandbox
from tests.contract.conftest import SANDBOX_APP, sandbox
from tests.factories.people import BrokerAccountFactory
from trading.marketdata.models import ChainSnapshot
from trading.marketdata.option_chain import chain_at, chain_expiries, greeks_of
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway(tmp_path):
    with sandbox(tmp_path, "--stepped") as url:
        endpoints = Endpoints.of(url)
        token = sign_in_sandbox(endpoints=endpoints, app=SANDBOX_APP).access_token
        one = FyersGateway(endpoints=endpoints, credentials=Credentials(SANDBOX_APP.app_id, token))
        yield one
        one.close()


def test_chains_of_all_underlyings_are_kept_and_make_sense(gateway):
    now = timezone.now()
    kept = snapshot_chains(BrokerAccountFactory(), gateway, now=now)
    assert [row.underlying for row in kept] == ["NIFTY", "NIFTY", "BANKNIFTY", "BANKNIFTY"]
    assert {row.exchange for row in kept} == {SANDBOX} and not ChainSnapshot.objects.exclude(exchange=SANDBOX).exists()
    days = chain_expiries("NIFTY", now, exchange=SANDBOX)
    seen = chain_at("NIFTY", days[0], now, exchange=SANDBOX)
    assert len(days) == 2 and seen is not None and seen.snapshot.strikes == 51
    # A strike far away is worth its intrinsic value to the tick, near an expiry most are: no volatility can be told.
    later = chain_at("NIFTY", days[1], now, exchange=SANDBOX)
    assert later is not None
    greeks = greeks_of(later.chain, spot=float(later.snapshot.spot), expiry=days[1], now=now)
    deltas = greeks.call["delta"][np.isfinite(greeks.call["delta"])]
    assert len(deltas) > 25 and deltas[0] > 0.9 and 0.1 > deltas[-1] > 0 and (np.diff(deltas) < 0).all()
    assert chain_at("NIFTY", days[0], now) is None, "none of it stands among the exchange's own"


def test_the_same_chain_again_is_counted(gateway):
    account, now = BrokerAccountFactory(), timezone.now()
    first = snapshot_chains(account, gateway, now=now)
    again = snapshot_chains(account, gateway, now=now + timedelta(seconds=60))
    assert {row.pk for row in first} >= {row.pk for row in again if row.repeats}
    assert not Alert.objects.filter(code="CHAINS_NOT_READ", acknowledged_at=None).exists()


def test_an_underlying_that_fails_is_told_and_the_others_are_kept(gateway, settings):
    settings.OPTION_CHAINS = ["NSE:SBIN-EQ", "NSE:NIFTY50-INDEX"]
    account = BrokerAccountFactory()
    kept = snapshot_chains(account, gateway, now=timezone.now())
    assert {row.underlying for row in kept} == {"NIFTY"}
    assert "NSE:SBIN-EQ" in Alert.objects.get(code="CHAINS_NOT_READ").message

    settings.OPTION_CHAINS = ["NSE:NIFTY50-INDEX"]
    snapshot_chains(account, gateway, now=timezone.now())
    assert not Alert.objects.filter(code="CHAINS_NOT_READ", acknowledged_at=None).exists()


def test_a_broker_that_is_down_keeps_nothing_and_breaks_nothing(gateway):
    class Down:
        def option_chain(self, symbol, **how):
            raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")

    assert snapshot_chains(BrokerAccountFactory(), Down(), now=timezone.now()) == []
    assert "HTTP 503" in Alert.objects.get(code="CHAINS_NOT_READ").message
