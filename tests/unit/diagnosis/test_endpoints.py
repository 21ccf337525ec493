"""Addresses of replicas as people give them, names with several addresses, and answers that are late, odd or missing."""

from __future__ import annotations

import socket
from email.utils import formatdate

import pytest

from convnet_kafka.diagnosis import endpoints
from convnet_kafka.diagnosis.endpoints import Addresses, Endpoint, checked, fetch
from convnet_kafka.errors import SettingsError
from support.metrics_page import MetricsPage


def test_addresses_as_people_give_them() -> None:
    assert checked(["10.0.0.7:8081", " https://a.example/ ", "dns+classifier:8081"]) == [
        "http://10.0.0.7:8081",
        "https://a.example",
        "dns+http://classifier:8081",
    ]
    for wrong in ("", "file:///etc/passwd", "ftp://x:1", "dns+file:///x"):
        with pytest.raises(SettingsError, match="is no address"):
            checked([wrong])


def test_every_address_of_a_name_is_a_replica_and_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"classifier": ["10.0.0.2", "10.0.0.1", "fd00::1"]}

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(endpoints.socket, "getaddrinfo", look_up)
    addresses = Addresses(
        checked(["dns+http://classifier:8081", "dns+http://absent:1", "http://10.0.0.1:8081"]), [Endpoint("http://h:1", "one")]
    )
    assert [each.url for each in addresses.resolve()] == [
        "http://h:1",
        "http://10.0.0.1:8081",
        "http://10.0.0.2:8081",
        "http://[fd00::1]:8081",
    ]
    assert [str(each) for each in addresses.resolve()][:2] == ["one", "10.0.0.1:8081"]
    assert addresses.unknown == ["dns+http://absent:1: Name or service not known"]
    known["classifier"] = ["10.0.0.9"]
    assert [each.url for each in addresses.resolve()] == ["http://h:1", "http://10.0.0.9:8081", "http://10.0.0.1:8081"]


def test_an_answer_is_told_as_it_is() -> None:
    with MetricsPage("a 1\n", ready=False, reasons=["no model"]) as page:
        said = fetch(f"{page.url}/readyz")
        assert (said.status, said.fields()["reasons"]) == (503, ["no model"])
        assert said.seconds_ahead == 0
        assert fetch(f"{page.url}/metrics").fields() == {}
    gone = fetch("http://127.0.0.1:1/readyz")
    assert (gone.status, gone.error) == (0, "Connection refused")


@pytest.mark.parametrize(("offset_s", "least", "most"), [(3600, 3590, 3601), (-3600, -3601, -3590), (0, 0, 0)])
def test_a_clock_is_read_from_the_date_of_an_answer(offset_s: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = endpoints.time.time()
    found = endpoints._ahead(formatdate(now + offset_s, usegmt=True), now)
    assert found is not None
    assert least <= found <= most
    assert endpoints._ahead("yesterday", now) is None
