"""Where servers and classifiers answer over HTTP, and what they say there. Asks all of them at once, and waits for none of them long.

Owns no connection that outlives a call.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from convnet_kafka.errors import SettingsError

# Before an address, as Thanos and others have it: every address that the name has, for a headless Service.
DNS = "dns+"
ANSWER_S = 2.0
AT_ONCE = 32
# A page of metrics is some 100 KB; more is no page of ours.
MOST_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica's address.

    Attributes:
        url: without a path.
        name: for people; the address where nothing better is known.
    """

    url: str
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.url.rpartition("://")[2]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, or why there is none.

    Attributes:
        status: of HTTP; 0 when nobody answered.
        body: what came.
        error: why nobody answered; empty when somebody did.
        seconds_ahead: how far the other clock is ahead of ours, to a second; None when it was not told.
    """

    status: int = 0
    body: bytes = b""
    error: str = ""
    seconds_ahead: float | None = None

    def fields(self) -> dict[str, Any]:
        """The answer as JSON; empty when it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Addresses:
    """What was given as endpoints; names of headless Services are looked up again each time, as replicas come and go.

    Attributes:
        given: addresses, such as `http://10.0.0.7:8081` or `dns+http://convnet-classifier:8081`.
        fixed: endpoints that are known by name already.
    """

    given: Sequence[str] = ()
    fixed: Sequence[Endpoint] = ()
    unknown: list[str] = field(default_factory=list)

    def resolve(self) -> list[Endpoint]:
        """Every endpoint there is now; names without an address are noted in `unknown`."""
        self.unknown.clear()
        found = {endpoint.url: endpoint for endpoint in self.fixed}
        for text in self.given:
            try:
                endpoints = _expanded(text)
            except OSError as error:
                self.unknown.append(f"{text}: {error.strerror or error}")
                continue
            for endpoint in endpoints:
                found.setdefault(endpoint.url, endpoint)
        return list(found.values())


def checked(texts: Iterable[str]) -> list[str]:
    """Addresses as they are given, a scheme added where none stands.

    Raises:
        SettingsError: one is no address.
    """
    found = []
    for text in texts:
        bare = text.strip().rstrip("/")
        scheme = "" if "://" in bare else "http://"
        whole = f"{DNS}{scheme}{bare.removeprefix(DNS)}" if bare.startswith(DNS) else f"{scheme}{bare}"
        parts = urlsplit(whole.removeprefix(DNS))
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(f"{text!r} is no address: give http://HOST:PORT, or dns+http://NAME:PORT for every address of a name")
        found.append(whole)
    return found


def _expanded(text: str) -> list[Endpoint]:
    if not text.startswith(DNS):
        return [Endpoint(text)]
    parts = urlsplit(text.removeprefix(DNS))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)})
    return [Endpoint(f"{parts.scheme}://{f'[{address}]' if ':' in address else address}:{port}") for address in addresses]


def fetch(url: str, timeout_s: float = ANSWER_S) -> Page:
    """One page, whatever its status. Never raises for what is on the other side."""
    asked = time.time()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - `checked` lets only http and https through
            return Page(answer.status, answer.read(MOST_BYTES), seconds_ahead=_ahead(answer.headers.get("Date"), asked))
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.read(MOST_BYTES), seconds_ahead=_ahead(error.headers.get("Date"), asked))
    except urllib.error.URLError as error:
        return Page(error=str(getattr(error.reason, "strerror", None) or error.reason))
    except (OSError, ValueError) as error:
        return Page(error=str(error) or type(error).__name__)


def of_all(endpoints: Sequence[T], ask: Callable[[T], Any]) -> list[Any]:
    """What `ask` says of each, asked at once."""
    if not endpoints:
        return []
    with ThreadPoolExecutor(min(len(endpoints), AT_ONCE)) as pool:
        return list(pool.map(ask, endpoints))


def _ahead(date: str | None, asked: float) -> float | None:
    """How far the sender's clock is ahead, from its `Date` (whole seconds); 0 when it may be right."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rarely looked at

    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    now = time.time()
    # It was cut to a second, at some moment between asking and now.
    if told + 1 < asked:
        return told + 1 - asked
    return told - now if told > now else 0.0
