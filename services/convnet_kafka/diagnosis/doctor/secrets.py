"""Secrets in files: there, readable, long enough, not over, and not readable by everybody. What stands in them is never shown."""

from __future__ import annotations

import ipaddress
import os
import stat
from datetime import timedelta
from pathlib import Path

from convnet_kafka import apikeys
from convnet_kafka.apikeys import KeyState
from convnet_kafka.diagnosis.doctor.findings import Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import SettingsError
from convnet_kafka.server.config import signing_keys
from convnet_kafka.settings import KafkaSettings

# Callers need time to take a new key.
SOON = timedelta(days=14)


def signing(place: Installation) -> Findings:
    """The keys that sign job ids are there and long enough."""
    if place.server is None:
        yield skip("no server is set up here")
        return
    paths = place.server.signing_key_files
    try:
        keys = signing_keys(place.server)
    except SettingsError as error:
        yield fail(str(error), "a server does not start without; all servers of a release need the same one")
        return
    if len(set(keys)) < len(keys):
        yield warn("both signing keys are the same", "a rotation puts a new key first and the old one second")
    yield from _private(paths)
    yield well(f"{len(keys)} signing key{'s' * (len(keys) != 1)}, {' and '.join(f'{len(key)} bytes' for key in keys)}")


def api_keys(place: Installation) -> Findings:
    """The file of the API keys can be used, and some key gives access."""
    server = place.server
    if server is None:
        yield skip("no server is set up here")
        return
    if server.keys_file is None:
        if _is_loopback(server.host):
            yield well("no API key is asked for, and only this machine reaches the server")
        elif server.insecure:
            yield warn(
                f"whoever reaches {server.host}:{server.port} needs no key (CONVNET_SERVER_INSECURE)", "set CONVNET_SERVER_KEYS_FILE"
            )
        else:
            yield fail(
                f"the server would listen on {server.host} without asking for keys, and so does not start",
                "set CONVNET_SERVER_KEYS_FILE ('convnet-kafka keys add' makes it), or CONVNET_SERVER_INSECURE=true behind what asks itself",
            )
        return
    try:
        keys = apikeys.read(server.keys_file).keys
    except SettingsError as error:
        yield fail(str(error), "a server that runs goes on with the keys it has; one that starts does not")
        return
    now = apikeys.now()
    active = {name: key for name, key in keys.items() if key.state(now) is KeyState.ACTIVE}
    if not active:
        yield fail(
            f"none of the {len(keys)} keys in {server.keys_file} gives access: all callers are answered 401",
            f"convnet-kafka keys add NAME --file {server.keys_file}",
        )
        return
    for name, key in active.items():
        if key.expires is not None and key.expires - now < SOON:
            yield warn(
                f"the key {name!r} ends on {key.expires:%Y-%m-%d %H:%M} UTC", f"convnet-kafka keys rotate {name} --file {server.keys_file}"
            )
    yield from _private([server.keys_file])
    yield well(f"{len(active)} of {len(keys)} API keys give access")


def kafka_password(place: Installation) -> Findings:
    """The password for Kafka is there where one is asked for, and is not set where none is."""
    kafka = place.kafka
    if "SASL" not in kafka.security_protocol:
        given = [name for name, value in _credentials(kafka).items() if value is not None]
        if given:
            yield warn(
                f"{', '.join(given)} is set, and KAFKA_SECURITY_PROTOCOL is {kafka.security_protocol}: it is not used",
                "set the protocol to SASL_SSL or SASL_PLAINTEXT, as the listener has it",
            )
        return
    if kafka.sasl_mechanism is None:
        yield fail(
            f"KAFKA_SECURITY_PROTOCOL is {kafka.security_protocol} but KAFKA_SASL_MECHANISM is not set",
            "set it, for example to SCRAM-SHA-512",
        )
        return
    path = kafka.sasl_password_file
    if path is not None:
        try:
            if not path.read_text().strip():
                yield fail(f"KAFKA_SASL_PASSWORD_FILE {path} is empty", "mount the Secret that holds the password")
                return
        except OSError as error:
            yield fail(f"KAFKA_SASL_PASSWORD_FILE {path} cannot be read: {error.strerror}", "mount the Secret that holds the password")
            return
        yield from _private([path])
    yield well(f"credentials for {kafka.sasl_mechanism} are set")


def _credentials(kafka: KafkaSettings) -> dict[str, object]:
    return {
        "KAFKA_SASL_USERNAME": kafka.sasl_username,
        "KAFKA_SASL_PASSWORD": kafka.sasl_password,
        "KAFKA_SASL_PASSWORD_FILE": kafka.sasl_password_file,
    }


def _private(paths: list[Path]) -> Findings:
    for path in paths:
        mode = path.stat().st_mode
        # A mounted Secret is readable by all in its container, which is one user's; its file is a link that Kubernetes swaps.
        if mode & stat.S_IROTH and not _is_mounted(path):
            yield warn(f"{path} can be read by every user of this machine ({stat.filemode(mode)})", f"chmod 600 {path}")


def _is_mounted(path: Path) -> bool:
    return (path.parent / "..data").exists() or os.path.ismount(path) or os.path.ismount(path.parent)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
