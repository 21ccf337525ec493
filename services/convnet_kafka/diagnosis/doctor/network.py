"""The way to Kafka, step by step: names, ports, TLS. Asks no broker anything."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

from convnet_kafka.certificates import Certificate, authorities, own, served_by
from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import SettingsError

# An authority's or client's certificate is changed by people: a month is time to do it.
SOON_DAYS = 30.0
# OpenSSL's numbers for what is wrong with a certificate (x509_vfy.h).
_EXPIRED, _NOT_YET, _UNKNOWN_AUTHORITY, _OTHER_NAME = {10}, {9}, {18, 19, 20, 21}, {62, 64}

T = TypeVar("T")


def names(place: Installation) -> Findings:
    """Every host in KAFKA_BOOTSTRAP_SERVERS has an address here."""
    for host, _ in place.bootstrap:
        addresses = _within(place.patience_s, lambda host=host: _addresses(host))  # type: ignore[misc]
        if isinstance(addresses, Exception):
            yield fail(
                f"the name {host} has no address here: {addresses}",
                "is KAFKA_BOOTSTRAP_SERVERS right? In a cluster a Service of another namespace needs it: NAME.NAMESPACE.svc",
            )
        else:
            yield well(f"{host} is {', '.join(addresses)}" if addresses != [host] else f"{host} is an address, which needs no name")
    if not place.bootstrap:
        yield fail("KAFKA_BOOTSTRAP_SERVERS is empty", "set it to host:port of one or more brokers")


def ports(place: Installation) -> Findings:
    """Every address in KAFKA_BOOTSTRAP_SERVERS takes connections."""
    for host, port in place.bootstrap:
        yield _port(host, port, place.patience_s)


def _port(host: str, port: int, patience_s: float) -> Finding:
    try:
        with socket.create_connection((host, port), patience_s):
            return well(f"{host}:{port} takes connections")
    except socket.gaierror:
        return skip(f"{host} has no address")
    except TimeoutError:
        return fail(
            f"{host}:{port} does not answer in {patience_s:.0f} s",
            "something drops the packets: a NetworkPolicy, a firewall, or an address that is not routed from here",
        )
    except OSError as error:
        return fail(
            f"{host}:{port} refuses: {error.strerror or error}",
            "does Kafka run there? On this machine 'convnet-kafka up' or 'convnet-kafka broker' starts one; in a cluster look at its pods, "
            "and at the port of the listener that is meant",
        )


def tls(place: Installation) -> Findings:
    """Certificates are sound and hold for long enough, and both ends mean TLS, or neither does."""
    if "SSL" not in place.kafka.security_protocol:
        yield from _unexpected_tls(place)
        return
    yield from _files(place)
    for host, port in place.bootstrap:
        yield _served(place, host, port)


def _unexpected_tls(place: Installation) -> Findings:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for host, port in place.bootstrap:
        try:
            served_by(host, port, context, min(place.patience_s, 2.0))
        except ssl.SSLError as error:
            # A certificate is asked of us: that is TLS too.
            if "CERTIFICATE_REQUIRED" not in str(error.reason):
                continue
        except OSError:
            continue
        yield fail(
            f"{host}:{port} speaks TLS, and KAFKA_SECURITY_PROTOCOL is {place.kafka.security_protocol}",
            f"set it to {'SASL_SSL' if 'SASL' in place.kafka.security_protocol else 'SSL'}, and KAFKA_SSL_CA_LOCATION to the authority's "
            "file",
        )


def _files(place: Installation) -> Findings:
    kafka = place.kafka
    found: list[tuple[str, Certificate]] = []
    try:
        if kafka.ssl_ca_location is not None:
            found += [(f"the authority {each.subject} in {kafka.ssl_ca_location}", each) for each in authorities(kafka.ssl_ca_location)]
        if kafka.ssl_certificate_location is not None:
            mine = own(kafka.ssl_certificate_location, kafka.ssl_key_location)
            found.append((f"our certificate {mine.subject} in {kafka.ssl_certificate_location}", mine))
    except SettingsError as error:
        yield fail(str(error), "mount the right files, and set KAFKA_SSL_CA_LOCATION, _CERTIFICATE_LOCATION and _KEY_LOCATION to them")
    for what, certificate in found:
        yield _dated(what, certificate)


def _dated(what: str, certificate: Certificate) -> Finding:
    left, until = certificate.days_left(), f"{certificate.not_after:%Y-%m-%d}"
    if left < 0:
        return fail(f"{what} ended on {until}", "get a new one, and mount it")
    if left < SOON_DAYS:
        return warn(f"{what} ends on {until}, in {left:.0f} days", "renew it before then")
    return well(f"{what} holds until {until}")


def _served(place: Installation, host: str, port: int) -> Finding:
    where = f"{host}:{port}"
    try:
        certificate = served_by(host, port, _context(place), place.patience_s)
    except ssl.SSLCertVerificationError as error:
        return _unsound(where, error, place)
    except ssl.SSLError as error:
        if error.reason in {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}:
            return fail(
                f"{where} does not speak TLS, and KAFKA_SECURITY_PROTOCOL is {place.kafka.security_protocol}",
                "take the port of the TLS listener, or set the protocol to what this listener speaks",
            )
        return fail(
            f"{where} and we cannot agree on TLS: {error.reason or error}", "look at the listener's protocols and its client authentication"
        )
    except SettingsError as error:
        return skip(str(error))
    except OSError as error:
        return skip(f"{where} does not answer: {error.strerror or error}")
    if certificate is None:
        return warn(f"{where} speaks TLS, and KAFKA_CLIENT_OPTIONS say not to look at its certificate", "let it be looked at")
    return _dated(f"the certificate {certificate.subject} of {where}", certificate)


def _unsound(where: str, error: ssl.SSLCertVerificationError, place: Installation) -> Finding:
    said = f"the certificate of {where} is refused: {error.verify_message}"
    if error.verify_code in _EXPIRED:
        return fail(said, "the broker's certificate is over: renew it there (Strimzi renews its own; look at the Kafka resource's status)")
    if error.verify_code in _NOT_YET:
        return fail(said, "it holds only later: is the clock of this machine right?")
    if error.verify_code in _UNKNOWN_AUTHORITY:
        which = place.kafka.ssl_ca_location or "the system's authorities, as KAFKA_SSL_CA_LOCATION is not set"
        return fail(
            said,
            f"it was not signed by those in {which}; with Strimzi take ca.crt of the Secret CLUSTER-cluster-ca-cert, also after a renewal",
        )
    if error.verify_code in _OTHER_NAME:
        return fail(said, "connect by a name that stands in the certificate, or add this one to it")
    return fail(said, "mend the certificate, or the file of authorities")


def _context(place: Installation) -> ssl.SSLContext:
    """As librdkafka looks at the broker, with the same files."""
    kafka, given = place.kafka, {name: str(value).lower() for name, value in place.kafka.client_options.items()}
    try:
        context = ssl.create_default_context(cafile=str(kafka.ssl_ca_location) if kafka.ssl_ca_location else None)
        if kafka.ssl_certificate_location is not None:
            context.load_cert_chain(kafka.ssl_certificate_location, kafka.ssl_key_location)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"not tried: {error}") from error
    if given.get("ssl.endpoint.identification.algorithm") == "none":
        context.check_hostname = False
    if given.get("enable.ssl.certificate.verification") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _addresses(host: str) -> list[str]:
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def _within(seconds: float, ask: Callable[[], T]) -> T | Exception:
    """The answer, or why there is none: a resolver has time-outs of its own, far longer than anybody waits here."""
    answers: list[T | Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else TimeoutError(f"no answer in {seconds:.0f} s")
