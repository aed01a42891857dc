"""The road to a broker, walked before the open: its names, its certificates, and the address that we come from.

A broker takes orders from the addresses that were registered with it, and from no other. A name that is not known, a
certificate that has run out or an address that changed overnight would be found by the first order; it is to be found
by somebody who looks.
"""

import socket
import ssl
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.registry import DIALECTS, place_of
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import Heartbeat

LIMIT_S = 5.0
FORESIGHT_DAYS = 7
CODE = "BROKER_ROAD"


@dataclass(frozen=True, slots=True)
class Road:
    """`cause` is empty where the road is clear; `blocks` says that no order would arrive."""

    cause: str = ""
    blocks: bool = False


def road_check(account: BrokerAccount) -> Road:
    """Walk the road of one account and keep what was found, for its engine and its owner."""
    found = look_at_hosts(DIALECTS[account.source.broker].addresses(place_of(account)))
    if not found.blocks:
        ours = look_at_our_address(settings.BROKER_STATIC_IPS, ask=settings.EGRESS_URL)
        found = ours if ours.cause else found
    Heartbeat.objects.update_or_create(
        name=road_name(account.pk),
        defaults={"at": timezone.now(), "detail": {"cause": found.cause, "blocks": found.blocks}},
    )
    if found.cause:
        raise_alert(
            CODE, f"{account.name}: {found.cause}.", level=Level.SEVERE if found.blocks else Level.WARNING,
            owner_id=account.owner_id, about=str(account.pk),
            next_step="See the runbook: The broker is down, The road to it." if found.blocks else "Look at it today.",
        )  # fmt: skip
    else:
        clear_alerts(CODE, owner_id=account.owner_id, about=str(account.pk))
    return found


def road_name(account_id: int) -> str:
    """The heartbeat that keeps it."""
    return f"road:{account_id}"


def look_at_hosts(addresses: Iterable[str], *, trust: ssl.SSLContext | None = None) -> Road:
    """Name, connection and certificate of each host, as a client sees them. The worst of them is told.

    `trust` are the authorities that are believed; the system's own where none is given.
    """
    trust = trust or ssl.create_default_context()
    hosts = {(parts.hostname or "", parts.port, parts.scheme) for parts in map(urlsplit, addresses)}
    roads = [_look_at(host, port, scheme, trust) for host, port, scheme in sorted(hosts, key=str)]
    return max(roads, key=lambda one: (one.blocks, bool(one.cause)), default=Road())


def _look_at(host: str, port: int | None, scheme: str, trust: ssl.SSLContext) -> Road:
    secure = scheme in ("https", "wss")
    try:
        with socket.create_connection((host, port or (443 if secure else 80)), timeout=LIMIT_S) as line:
            if not secure:
                return Road()
            with trust.wrap_socket(line, server_hostname=host) as tls:
                certificate = tls.getpeercert() or {}
    except socket.gaierror:
        return Road(f"the name {host} is not known", True)
    except ssl.SSLCertVerificationError as error:
        return Road(f"the certificate of {host} is not to be trusted: {error.verify_message}", True)
    except OSError as error:
        return Road(f"{host} cannot be reached ({type(error).__name__})", True)
    left_days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400
    if left_days < FORESIGHT_DAYS:
        return Road(f"the certificate of {host} runs out in {left_days:.0f} days")
    return Road()


def look_at_our_address(registered: Collection[str], *, ask: str) -> Road:
    """Is the address that the world sees one of those that are registered with the broker? Nothing is asked where none
    is named. `ask` is a page that answers with its caller's address."""
    if not registered:
        return Road()
    if not ask:
        return Road("addresses are registered with the broker, and no page is named that tells ours")
    try:
        answer = httpx.get(ask, timeout=LIMIT_S)
        ours = str(ip_address(answer.raise_for_status().text[:64].strip()))
    except (httpx.HTTPError, ValueError) as error:
        return Road(f"our own address could not be learnt ({type(error).__name__})")
    if ours not in {str(ip_address(one)) for one in registered}:
        return Road(f"orders would come from {ours}, and the broker knows {', '.join(sorted(registered))}", True)
    return Road()
