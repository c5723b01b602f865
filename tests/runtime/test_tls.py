"""TLS between a device and an edge: who is let in, and what is said, and counted, where somebody is not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from certificates import Authority

from hasten.core.errors import InputError
from hasten.runtime.device.dialing import NetworkDialer, reason
from hasten.runtime.device.prepared import DevicePlan, PreparedDevice
from hasten.runtime.device.tls import client_tls, distrust
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge import opened as opened_edge
from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.edge.tls import own_certificate, server_tls, tls_trouble
from hasten.runtime.notes import Notes
from hasten.runtime.wire.handshake import Hello

WAIT_S = 10.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "other")


@pytest.fixture(scope="module")
def edge(authority):
    return authority.identity("edge", "DNS:localhost,IP:127.0.0.1")


class User:
    """Notes what its uplink tells."""

    def __init__(self):
        self.reached, self.troubles = asyncio.Event(), []

    def edge_connected(self, welcome):
        self.reached.set()

    def edge_unreachable(self, reason):
        self.troubles.append(reason)
        self.reached.set()

    def edge_lost(self, reason):
        self.edge_unreachable(reason)


def meeting(package, identity, device_tls, host="127.0.0.1", client_ca=None):
    """(what the device says of it, what the edge says, what the edge counts) when a device connects."""
    said, certificate, key = [], identity.certificate, identity.key

    async def run():
        plan = EdgePlan(host=host, port=0, tls_cert=certificate, tls_key=key, client_ca=client_ca)
        opened = OpenedEdge([package], plan, Notes(said.append))
        server = await opened.start()
        user = User()
        uplink = Uplink(
            NetworkDialer(host, server.port, device_tls), Hello(bytes.fromhex(package.digest), b"", "cam"), user
        )
        await uplink.start()
        try:
            async with asyncio.timeout(WAIT_S):
                await user.reached.wait()
                while not uplink.connected and not (user.troubles and server.connections.ended):
                    await asyncio.sleep(0.005)
            return user.troubles, said[1:], dict(server.connections.ended)
        finally:
            await uplink.close()
            await opened.close()

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_device_trusts_an_edge_by_name_and_by_address(package, authority, edge, host):
    troubles, told, ended = meeting(package, edge, client_tls(authority.certificate), host)
    assert (troubles, ended) == ([], {})
    assert told[0].endswith("connected")


def test_a_certificate_of_other_names_is_said_with_its_names(package, authority):
    other = authority.identity("named", "DNS:edge.example,IP:10.0.0.7")
    (trouble, *_), told, ended = meeting(package, other, client_tls(authority.certificate))
    assert trouble == (
        "the edge's certificate is of DNS:edge.example, IP:10.0.0.7, not of 127.0.0.1: connect by a name in it, "
        "or have IP:127.0.0.1 added to its names"
    )
    assert ended["tls_left"] >= 1
    assert "broke off the TLS handshake" in told[0]
    (trouble, *_), _, _ = meeting(package, other, client_tls(authority.certificate), "localhost")
    assert "not of localhost" in trouble and "DNS:localhost" in trouble


def test_an_expired_certificate_is_said_by_the_device_and_when_the_edge_starts(package, authority):
    expired = authority.identity("expired", "IP:127.0.0.1", days=-1)
    (trouble, *_), _, ended = meeting(package, expired, client_tls(authority.certificate))
    assert trouble.startswith("the edge's certificate has expired: renew it on the edge; this device's date is 20")
    assert ended["tls_left"] >= 1
    said = own_certificate(expired.certificate, expired.certificate.read_text(), server_tls(*expired))
    assert "is not valid (certificate has expired): renew it, or set this machine's clock" in said


def test_a_certificate_may_have_remarks_in_any_language(package, authority, edge, tmp_path):
    remarked = tmp_path / "remarked.crt"
    remarked.write_bytes("für Zürich\n".encode() + edge.certificate.read_bytes())
    troubles, _, _ = meeting(package, edge._replace(certificate=remarked), client_tls(authority.certificate))
    assert troubles == []


def test_a_certificate_that_expires_while_the_edge_serves_is_told_of(package, edge, monkeypatch):
    said, states = [], ["valid", "valid", "expired", "expired"]
    monkeypatch.setattr(opened_edge, "CERTIFICATE_EVERY_S", 0.0)
    monkeypatch.setattr(opened_edge, "own_certificate", lambda *given: states.pop(0) if len(states) > 1 else states[0])

    async def run():
        opened = OpenedEdge(
            [package], EdgePlan(port=0, tls_cert=edge.certificate, tls_key=edge.key), Notes(said.append)
        )
        await opened.start()
        async with asyncio.timeout(WAIT_S):
            while len(states) > 1:
                await asyncio.sleep(0.001)
        await opened.close()

    asyncio.run(run())
    assert said == ["valid", "expired"]


def test_an_authority_that_the_device_does_not_know_is_said(package, edge, stranger):
    (trouble, *_), _, _ = meeting(package, edge, client_tls(stranger.certificate))
    assert "is not trusted" in trouble and "--tls-ca" in trouble


def test_what_other_clients_say_in_an_alert_is_put_in_words(authority, edge, stranger):
    """Python's event loops send none; blocking sockets and other programs do."""
    expired = authority.identity("old-edge", "IP:127.0.0.1", days=-1)
    found = [alerted(edge, stranger.certificate), alerted(expired, authority.certificate)]
    assert [kind for kind, _ in found] == ["tls_untrusted", "tls_expired"]
    assert "renew it" in found[1][1]


def alerted(identity, trusted):
    """What an edge makes of a client that trusts somebody else, or finds that the time is over."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_tls(*identity).wrap_bio(up, down, server_side=True)
    client = client_tls(trusted).wrap_bio(down, up, server_hostname="127.0.0.1")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            if side is server:
                return tls_trouble(error)
    raise AssertionError("they agreed")


def test_a_device_shows_its_certificate_where_the_edge_asks_for_one(package, authority, edge):
    known = client_tls(authority.certificate, *authority.identity("cam"))
    troubles, told, ended = meeting(package, edge, known, client_ca=authority.certificate)
    assert (troubles, ended) == ([], {})
    assert told[0].endswith("connected")


def test_a_device_without_a_certificate_that_is_asked_for_is_told_so(package, authority, edge):
    bare = client_tls(authority.certificate)
    (trouble, *_), told, ended = meeting(package, edge, bare, client_ca=authority.certificate)
    assert "wants a certificate of this device" in trouble or "asks for a certificate of this device" in trouble
    assert ended["tls_no_certificate"] >= 1
    assert "shows no certificate, expected one of --client-ca" in told[0]


def test_a_certificate_of_another_authority_or_time_is_not_let_in(package, authority, edge, stranger):
    for identity in (stranger.identity("cam"), authority.identity("old-cam", days=-1)):
        context = client_tls(authority.certificate, *identity)
        _, told, ended = meeting(package, edge, context, client_ca=authority.certificate)
        assert ended["tls_certificate"] >= 1
        assert "the device's certificate is not accepted" in told[0]


@pytest.mark.parametrize(
    ("alert", "told"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "asks for a certificate of this device"),
        ("TLSV1_ALERT_UNKNOWN_CA", "its --client-ca did not sign it"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "this device's certificate has expired"),
    ],
)
def test_what_the_edge_says_of_a_devices_certificate_is_put_in_words(alert, told):
    error = ssl.SSLError(1, "[SSL] alert")
    error.reason = alert
    assert told in reason(error)


def test_a_certificate_of_tomorrow_is_a_question_of_the_devices_clock():
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    assert "is not valid yet; this device's date is 20" in distrust(error, "edge", "")


def test_what_an_edge_says_of_its_certificate(authority, edge):
    told = own_certificate(
        edge.certificate, edge.certificate.read_text(), server_tls(*edge, client_ca=authority.certificate)
    )
    assert "is of DNS:localhost, IP:127.0.0.1, valid until" in told
    shown, context = edge.certificate.read_text(), server_tls(*edge)
    for renewed in (authority.identity("nameless").certificate, Path("gone.pem")):  # devices still see the old one
        assert "valid until" in own_certificate(renewed, shown, context)
    nameless = authority.identity("nameless")
    told = own_certificate(nameless.certificate, nameless.certificate.read_text(), server_tls(*nameless))
    assert "has no subjectAltName: devices will refuse it" in told


def test_files_that_do_not_fit_are_refused_by_name(package, authority, edge, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(InputError, match=r"edge: client-ca: got .*bad.pem"):
        server_tls(*edge, client_ca=bad)
    with pytest.raises(InputError, match="without a password"):
        server_tls(edge.certificate, authority.identity("another").key)
    with pytest.raises(InputError, match="a certificate and a key, or neither"):
        client_tls(authority.certificate, edge.certificate)
    with pytest.raises(InputError, match="device: tls_ca"):
        PreparedDevice(package, DevicePlan(edge="localhost:1", tls_cert=edge.certificate, tls_key=edge.key))
    with pytest.raises(InputError, match=r"edge: client-ca: got .*expected it with a certificate of the edge's own"):
        OpenedEdge([package], EdgePlan(client_ca=authority.certificate), Notes(print))
