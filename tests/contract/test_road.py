"""Fault 37: the road to a broker is walked before the open, over real sockets; what is wrong with it blocks."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accounts.models import BrokerAccount
from execution.brokers.road import Road, look_at_hosts, look_at_our_address, road_check
from execution.engine.preflight import PreflightGate, road_gate
from tests.contract.small_server import answer, free_port, serving
from tests.factories.people import BrokerAccountFactory
from trading.monitoring.models import Alert


@contextmanager
def secure_host(folder: Path, *, name: str = "localhost", lives: timedelta) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A host with a certificate of its own that lives so long from now; its address, and who believes it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder().subject_name(whose).issuer_name(whose).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + lives).add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = folder / "host.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                try:
                    ours.wrap_socket(line, server_side=True).close()
                except OSError:
                    line.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}/api", ssl.create_default_context(cafile=str(pem))
        listener.shutdown(socket.SHUT_RDWR)


def test_fault_37_a_clear_road_is_told_as_one(tmp_path):
    with secure_host(tmp_path, lives=timedelta(days=60)) as (address, trust):
        assert look_at_hosts([address, address.replace("https", "wss")], trust=trust) == Road()


@pytest.mark.parametrize(
    ("given", "cause", "blocks"),
    [
        ({"lives": timedelta(days=-1)}, "certificate has expired", True),
        ({"lives": timedelta(days=60), "name": "elsewhere.example"}, "is not to be trusted", True),
        ({"lives": timedelta(days=3)}, "runs out in 3 days", False),
    ],
)
def test_fault_37_a_certificate_that_does_not_hold_is_told(tmp_path, given, cause, blocks):
    with secure_host(tmp_path, **given) as (address, trust):
        found = look_at_hosts([address], trust=trust)
    assert cause in found.cause and found.blocks is blocks


def test_fault_37_the_worst_of_several_hosts_is_told(tmp_path):
    with secure_host(tmp_path, lives=timedelta(days=3)) as (address, trust):
        found = look_at_hosts([address, "wss://no-such-host.invalid/feed"], trust=trust)
    assert found == Road("the name no-such-host.invalid is not known", True)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    assert look_at_hosts([gone]) == Road("127.0.0.1 cannot be reached (ConnectionRefusedError)", True)


def test_fault_37_orders_that_would_come_from_another_address_than_the_registered_ones_are_told():
    registered = ("203.0.113.7", "2001:db8::7")
    assert look_at_our_address((), ask="") == Road(), "none is registered: nothing to hold it against"
    assert not look_at_our_address(registered, ask="").blocks and look_at_our_address(registered, ask="").cause
    with serving(answer("203.0.113.7\n")) as server:
        assert look_at_our_address(registered, ask=server.url) == Road()
    with serving(answer("2001:0db8:0::7")) as server:
        assert look_at_our_address(registered, ask=server.url) == Road()
    with serving(answer("203.0.113.9")) as server:
        found = look_at_our_address(registered, ask=server.url)
    assert found.blocks and found.cause.startswith(
        "orders would come from 203.0.113.9, and the broker knows 2001:db8::7"
    )
    with serving(answer("<html>")) as server:
        found = look_at_our_address(registered, ask=server.url)
    assert "could not be learnt" in found.cause and not found.blocks


def test_fault_37_what_is_found_blocks_the_engine_and_is_told_to_the_owner_until_it_is_mended(db):
    account = BrokerAccountFactory()

    def walk_to(address: str) -> PreflightGate:
        """As somebody who looks before the open; then the gate of the account, were it a live one."""
        BrokerAccount.objects.filter(pk=account.pk).update(base_url=address, environment="SANDBOX")
        account.refresh_from_db()
        road_check(account)
        account.environment = BrokerAccount.Environment.LIVE
        return road_gate(account)

    account.environment = BrokerAccount.Environment.LIVE
    assert (road_gate(account).ok, road_gate(account).blocks) == (False, False), "nobody has looked yet"
    gate = walk_to(f"http://127.0.0.1:{free_port()}")
    assert (gate.ok, gate.blocks) == (False, True) and "cannot be reached" in gate.cause
    alert = Alert.objects.get(code="BROKER_ROAD", acknowledged_at=None)
    assert (alert.level, alert.owner_id) == ("SEVERE", account.owner_id) and "127.0.0.1" in alert.message
    with serving(answer("{}")) as server:
        gate = walk_to(server.url)
    assert gate.ok and not Alert.objects.filter(acknowledged_at=None).exists()
