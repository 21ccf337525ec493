"""Broken ways to Kafka, each made here, and the line that the doctor has for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convnet_kafka.certificates import authorities, first_end, own
from convnet_kafka.diagnosis.doctor.findings import Status
from convnet_kafka.errors import SettingsError
from support.certificates import Authority, Listener
from support.examining import examined, failures, lines, place, warnings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "another authority")


@pytest.fixture
def plain() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def tls(port: int, authority: Authority, **other: object) -> str:
    kafka = {"bootstrap_servers": f"127.0.0.1:{port}", "security_protocol": "SSL", "ssl_ca_location": authority.certificate}
    found = examined(place(kafka=kafka | other), "tls")
    return lines(found, Status.FAIL) + lines(found, Status.WARN)


def test_a_name_that_nobody_knows() -> None:
    said = failures(place("no-such-broker.invalid:9092"), "names")
    assert "the name no-such-broker.invalid has no address here" in said
    assert "is KAFKA_BOOTSTRAP_SERVERS right?" in said


def test_a_port_where_nobody_listens() -> None:
    assert "127.0.0.1:1 refuses" in failures(place("127.0.0.1:1"), "ports")


def test_an_address_without_a_port_means_kafkas_own() -> None:
    assert place("kafka://broker,[::1]:9093, other:9094").bootstrap == [("broker", 9092), ("::1", 9093), ("other", 9094)]


def test_tls_where_none_is_expected(authority: Authority) -> None:
    with Listener(authority.sign("tls", "127.0.0.1", 90)) as listener:
        said = failures(place(f"127.0.0.1:{listener.port}"), "tls")
    assert f"127.0.0.1:{listener.port} speaks TLS, and KAFKA_SECURITY_PROTOCOL is PLAINTEXT" in said
    assert "set it to SSL" in said


def test_no_tls_where_it_is_expected(plain: Listener, authority: Authority) -> None:
    assert f"127.0.0.1:{plain.port} does not speak TLS, and KAFKA_SECURITY_PROTOCOL is SSL" in tls(plain.port, authority)


def test_a_broker_whose_certificate_is_over(authority: Authority) -> None:
    with Listener(authority.sign("over", "127.0.0.1", -1)) as listener:
        said = tls(listener.port, authority)
    assert f"the certificate of 127.0.0.1:{listener.port} is refused: certificate has expired" in said
    assert "renew it" in said


def test_a_broker_whose_certificate_ends_soon(authority: Authority) -> None:
    with Listener(authority.sign("soon", "127.0.0.1", 5)) as listener:
        said = tls(listener.port, authority)
    assert "the certificate soon of 127.0.0.1" in said
    assert "days -> renew it before then" in said


def test_a_broker_of_another_authority(authority: Authority, other_authority: Authority) -> None:
    with Listener(authority.sign("foreign", "127.0.0.1", 90)) as listener:
        said = tls(listener.port, other_authority)
    assert "is refused: unable to get local issuer certificate" in said
    assert str(other_authority.certificate) in said


def test_a_broker_under_another_name(authority: Authority) -> None:
    with Listener(authority.sign("elsewhere", "10.1.2.3", 90)) as listener:
        said = tls(listener.port, authority)
        relaxed = tls(listener.port, authority, client_options={"ssl.endpoint.identification.algorithm": "none"})
    assert "connect by a name that stands in the certificate" in said
    assert relaxed == ""


def test_our_own_certificate_and_a_key_that_is_another_ones(authority: Authority) -> None:
    certificate, key = authority.sign("client", "127.0.0.1", 90)
    _, other_key = authority.sign("stranger", "127.0.0.1", 90)
    over, over_key = authority.sign("former", "127.0.0.1", -1)
    assert own(certificate, key).subject == "client"
    assert 88 < own(certificate, key).days_left() < 91
    with Listener(authority.sign("broker", "127.0.0.1", 90)) as listener:
        mixed = tls(listener.port, authority, ssl_certificate_location=certificate, ssl_key_location=other_key)
        former = tls(listener.port, authority, ssl_certificate_location=over, ssl_key_location=over_key)
    assert f"{certificate} and its key {other_key} cannot be used" in mixed
    assert f"the certificate {over} is refused: certificate has expired" in former


def test_a_file_of_authorities_that_is_none(tmp_path: Path, authority: Authority) -> None:
    assert [each.subject for each in authorities(authority.certificate)] == ["test authority"]
    (tmp_path / "ca.crt").write_text("hello")
    with pytest.raises(SettingsError, match="is no PEM file"):
        authorities(tmp_path / "ca.crt")
    kafka = {"security_protocol": "SSL", "ssl_ca_location": tmp_path / "absent.crt"}
    assert "absent.crt is no PEM file with certificates of authorities: No such file" in failures(place(kafka=kafka), "tls")


def test_kafka_that_says_nothing(plain: Listener) -> None:
    where = place(f"127.0.0.1:{plain.port}", patience_s=1.0)
    said = examined(where, "kafka", "topics", "groups")
    assert f"kafka: Kafka at 127.0.0.1:{plain.port} does not answer in 1 s (PLAINTEXT)" in lines(said, Status.FAIL)
    assert [finding.check for finding in said if finding.status is Status.SKIP] == ["topics", "groups"]


def test_a_password_that_is_set_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    unused = place(kafka={"sasl_username": "somebody", "sasl_password": "hunter2"})
    assert "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD is set, and KAFKA_SECURITY_PROTOCOL is PLAINTEXT" in warnings(unused, "kafka-password")
    sasl = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "somebody",
        "sasl_password_file": tmp_path / "password",
    }
    assert "password is empty" in failures(place(kafka=sasl), "kafka-password")


def test_the_first_end_of_all_certificates_in_use_is_known_for_the_metrics(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.sign("client", "127.0.0.1", 3)
    assert first_end(authority.certificate, certificate, key) == own(certificate, key).not_after.timestamp()
    assert first_end(authority.certificate) == authorities(authority.certificate)[0].not_after.timestamp()
    assert first_end(None) == first_end(tmp_path / "absent.crt") == 0.0
