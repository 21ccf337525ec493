"""Certificates: whose they are, and until when they hold. Read from files with the standard library's TLS alone, no parser of our own.

Owns no connection but the one that `served_by` opens and closes. Never reads a private key for anything but to see that it fits.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convnet_kafka.errors import SettingsError

# Two ends in one process need a few rounds; more means that they do not come together.
_ROUNDS = 20
_AHEAD = "it does not hold before its time, or no more"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate.

    Attributes:
        subject: its common name, or what else its subject says.
        not_before: from when it holds.
        not_after: until when it holds.
    """

    subject: str
    not_before: datetime
    not_after: datetime

    def days_left(self, at: datetime | None = None) -> float:
        """Days until it holds no more, negative when it is over."""
        return (self.not_after - (at or datetime.now(UTC))).total_seconds() / 86_400


def authorities(path: Path) -> list[Certificate]:
    """The authorities in a PEM file.

    Raises:
        SettingsError: it cannot be read, or holds none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{path} is no PEM file with certificates of authorities: {_reason(error)}") from error
    found = [_certificate(fields) for fields in context.get_ca_certs()]
    if not found:
        raise SettingsError(f"{path} holds no certificate of an authority")
    return found


def own(certificate: Path, key: Path | None) -> Certificate:
    """A certificate that we show to others, and that its key fits.

    Args:
        certificate: PEM file with it, and maybe with what is between it and the authority.
        key: PEM file with the key; None when it stands in the same file.

    Raises:
        SettingsError: one of the files cannot be read, the key is another certificate's, or the certificate holds no more.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    try:
        for context in (server, client):
            # A key with a pass phrase would be asked for on the terminal.
            context.load_cert_chain(certificate, key, password=_no_phrase)
        # Each certificate is its own authority here: only its dates and its key are looked at.
        server.load_verify_locations(cafile=certificate)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{certificate} and its key {key or certificate} cannot be used: {_reason(error)}") from error
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server.verify_mode = ssl.CERT_REQUIRED
    try:
        return _certificate(_met(server, client))
    except ssl.SSLError as error:
        raise SettingsError(f"the certificate {certificate} is refused: {_reason(error)}") from error


def first_end(authorities_file: Path | None, certificate: Path | None = None, key: Path | None = None) -> float:
    """Unix time at which the first of these files' certificates ends; 0 where none is given.

    What cannot be read counts as not given: whoever uses it for a connection will say why.
    """
    found: list[Certificate] = []
    with suppress(SettingsError):
        found += authorities(authorities_file) if authorities_file is not None else []
    with suppress(SettingsError):
        found += [own(certificate, key)] if certificate is not None else []
    return min((each.not_after.timestamp() for each in found), default=0.0)


def served_by(host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> Certificate | None:
    """The certificate that a server shows, once `context` has found it sound; None where the context does not look.

    Raises:
        ssl.SSLCertVerificationError: it is not sound.
        ssl.SSLError: it does not speak TLS with us.
        OSError: nobody answers.
    """
    with socket.create_connection((host, port), timeout_s) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        fields = wrapped.getpeercert()
    return _certificate(fields) if fields else None


def _met(server: ssl.SSLContext, client: ssl.SSLContext) -> Mapping[str, Any]:
    """What the client's certificate says, after both ends have shaken hands in memory: the one public way to read a file's fields."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(to_server, to_client, server_side=True), client.wrap_bio(to_client, to_server)]
    for _ in range(_ROUNDS):
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            break
    fields = ends[0].getpeercert()
    if not fields:
        raise ssl.SSLError(f"no certificate was shown: {_AHEAD}")
    return fields


def _certificate(fields: Mapping[str, Any]) -> Certificate:
    subject = {name: value for part in fields.get("subject", ()) for name, value in part}
    return Certificate(
        subject=subject.get("commonName") or ", ".join(subject.values()) or "without a name",
        not_before=_moment(fields["notBefore"]),
        not_after=_moment(fields["notAfter"]),
    )


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _no_phrase() -> str:
    raise ValueError("the key has a pass phrase, which is not asked for here")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
