"""Who calls, and whether they may: every request to `/v1` passes here once, before its body is read and before its handler.

Owns the callers, their allowances and the table of calls. A handler learns its tenant from `caller`, which only this module sets; so one
that was forgotten in the table serves nobody. Never logs a key.
"""

from __future__ import annotations

import asyncio
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import hdrs, web

from convnet_kafka import apikeys
from convnet_kafka.apikeys import DEFAULT_TENANT, KeyFile, KeyState, Permission, Rates
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.keyring import Keyring
from convnet_kafka.server.problems import Handler, Problem
from convnet_kafka.server.ratelimit import Allowance, Wait
from convnet_kafka.settings import ServerSettings

API_KEY_HEADER = "X-API-Key"
# RFC 6750, section 3: what a 401 must carry, so that a caller knows how to do better.
_CHALLENGE = 'Bearer realm="convnet-kafka"'
_HOW = "send `Authorization: Bearer KEY`; whoever runs this server makes keys with `convnet-kafka keys add`"


@dataclass(frozen=True, slots=True)
class Call:
    """What a route needs.

    Attributes:
        permission: what the key must allow.
        lane: where the images go that it brings; None when it brings none.
    """

    permission: Permission
    lane: Lane | None = None


# Every route under /v1. One that is missing here is not served: `check_routes` refuses to start.
CALLS: Mapping[tuple[str, str], Call] = MappingProxyType(
    {
        ("POST", "/v1/jobs"): Call(Permission.UPLOAD),
        ("POST", "/v1/jobs/{job}/images"): Call(Permission.UPLOAD, Lane.BULK),
        ("POST", "/v1/jobs/{job}/close"): Call(Permission.UPLOAD),
        ("DELETE", "/v1/jobs/{job}"): Call(Permission.UPLOAD),
        ("GET", "/v1/jobs/{job}"): Call(Permission.READ),
        ("GET", "/v1/jobs/{job}/labels"): Call(Permission.READ),
        ("POST", "/v1/classify"): Call(Permission.CLASSIFY, Lane.FAST),
        ("GET", "/v1/models"): Call(Permission.MODELS),
    }
)
_GUARDED = "/v1"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        name: of the key; empty when no keys are asked for.
        tenant: whose jobs they see.
        allow: what they may do.
        allowance: what they have left of their rates.
    """

    name: str
    tenant: str
    allow: frozenset[Permission]
    allowance: Allowance

    def admit(self, call: Call) -> None:
        """Take one request.

        Raises:
            Problem: the key is not for this call, or its rate is used up; nothing was taken.
        """
        if call.permission not in self.allow:
            allowed = ", ".join(sorted(self.allow)) or "nothing"
            raise Problem("not-allowed", f"this call needs the permission {call.permission}; key {self.name!r} has {allowed}")
        if call.lane is Lane.FAST:
            self._check_fast()
        self._obey(self.allowance.admit(call.lane))

    def check_lane(self, lane: Lane) -> None:
        """The key may send images to a lane now. Takes nothing: the request itself was admitted.

        Raises:
            Problem: it has no part in the lane, or its rate is used up.
        """
        if lane is Lane.FAST:
            self._check_fast()
        self._obey(self.allowance.wait(lane))

    def _check_fast(self) -> None:
        if self.allowance.rates.fast_images_per_s == 0:
            raise Problem("not-allowed", f"key {self.name!r} has no part in the fast lane: open a job on the bulk lane")

    def _obey(self, wait: Wait | None) -> None:
        if wait is not None:
            raise Problem(
                "rate-limited",
                f"key {self.name!r} may send {wait.per_s:g} {wait.rate}/s to each server process: there is room in {wait.seconds:.1f} s",
                retry_after_s=wait.seconds,
            )

    def charge(self, images: int, lane: Lane) -> None:
        """Count the images of a request once their number is known; more than the rate allows is a debt that the next requests wait for."""
        self.allowance.charge(images, lane)


_CALLER = web.RequestKey("caller", Caller)
# Known, admitted or not: for the log alone.
_KNOWN = web.RequestKey("known-caller", Caller)
_ANYONE = Caller("", DEFAULT_TENANT, frozenset(Permission), Allowance(Rates()))


class Guard:
    """Admits requests to one application.

    Args:
        settings: says where the keys are; without a file everybody is `default`.
        metrics: counts refusals.
    """

    def __init__(self, settings: ServerSettings, metrics: ServerMetrics) -> None:
        self._refused = metrics.refused
        self._next_expiry = metrics.next_key_expiry
        # When keys end that have an end, unix time, ascending.
        self._ends: list[float] = []
        self._callers: dict[str, Caller] = {}
        self._keyring = Keyring(settings.keys_file, self._adopt) if settings.keys_file is not None else None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """True when no key is asked for."""
        return self._keyring is None

    def load(self) -> None:
        """Read the keys.

        Raises:
            SettingsError: the file is missing, broken or empty.
        """
        if self._keyring is not None:
            self._keyring.load()

    def start(self) -> None:
        """Follow the keys file from now on."""
        if self._keyring is not None:
            self._reading = asyncio.create_task(self._keyring.keep_reading(), name="keys")

    def sample(self) -> None:
        """Bring the gauge up to date."""
        at = bisect_right(self._ends, apikeys.now().timestamp())
        self._next_expiry.set(self._ends[at] if at < len(self._ends) else 0)

    async def close(self) -> None:
        """Stop following it."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def admit(self, request: web.Request) -> None:
        """Let a request through, once: asked again for the same request it does nothing. Paths outside of /v1 need nothing.

        Raises:
            Problem: no key, a wrong one, one that may not do this, or one whose rate is used up.
        """
        if _CALLER in request:
            return
        call = _call_of(request)
        if call is None:
            return
        try:
            caller = request[_KNOWN] = self._authenticate(request)
            caller.admit(call)
        except Problem as problem:
            self._refused.labels(problem.slug).inc()
            raise
        request[_CALLER] = caller

    def admit_to(self, request: web.Request, lane: Lane) -> None:
        """Let an admitted request's images into a lane that only its body or its job names. May be asked again.

        Raises:
            Problem: the key has no part in the lane, or its rate is used up.
        """
        try:
            caller(request).check_lane(lane)
        except Problem as problem:
            self._refused.labels(problem.slug).inc()
            raise

    def _authenticate(self, request: web.Request) -> Caller:
        if self._keyring is None:
            return _ANYONE
        sent = _sent_key(request)
        if not sent:
            raise Problem("unauthenticated", f"this server asks for a key: {_HOW}", headers={hdrs.WWW_AUTHENTICATE: _CHALLENGE})
        found = self._keyring.find(sent)
        if found is None:
            raise _wrong("nobody has this key, or it was replaced")
        name, key = found
        state = key.state(apikeys.now())
        if state is not KeyState.ACTIVE:
            raise _wrong(f"key {name!r} is {state}")
        return self._callers[name]

    def _adopt(self, keys: KeyFile) -> None:
        """New keys: whoever's rates are as before keeps what is left of them."""
        callers = {}
        for name, key in keys.keys.items():
            before = self._callers.get(name)
            allowance = before.allowance if before is not None and before.allowance.rates == key.rates else Allowance(key.rates)
            callers[name] = Caller(name, key.tenant, key.allow, allowance)
        self._callers = callers
        self._ends = sorted(key.expires.timestamp() for key in keys.keys.values() if key.expires is not None and key.revoked is None)


def caller(request: web.Request) -> Caller:
    """Who sent a request that was admitted.

    Raises:
        LookupError: it was not: the route is none of `CALLS`.
    """
    found: Caller | None = request.get(_CALLER)
    if found is None:
        raise LookupError("a handler was reached past the guard")
    return found


def known_caller(request: web.Request) -> Caller | None:
    """Whose key a request has, admitted or not; None when it has none that is good, or needs none."""
    return request.get(_KNOWN)


def check_access(settings: ServerSettings) -> None:
    """The keys can be read, and nobody can reach this server past its own machine without one, unless that was said.

    Raises:
        SettingsError: not so; says what to do.
    """
    if settings.keys_file is not None:
        Keyring(settings.keys_file).load()
    elif not settings.insecure and not is_loopback(settings.host):
        raise SettingsError(
            f"refusing to listen on {settings.host or 'all addresses'} without keys, where everybody who reaches it could use it: make one "
            "with `convnet-kafka keys add NAME --file keys.json` and name the file with --keys-file (CONVNET_SERVER_KEYS_FILE), or say "
            "--insecure (CONVNET_SERVER_INSECURE=true) where only those who may can reach it"
        )


def check_routes(routes: Iterable[web.AbstractRoute]) -> None:
    """Every route under /v1 has its place in `CALLS`.

    Raises:
        RuntimeError: one has not: a mistake of whoever added it.
    """
    for route in routes:
        if route.resource is not None and _is_guarded(route.resource.canonical):
            _needs(route.method, route.resource.canonical)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address. Another name than localhost may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _call_of(request: web.Request) -> Call | None:
    """What a request's route needs; None for what needs nothing: probes, the page, and paths that do not exist."""
    resource = request.match_info.route.resource
    if resource is None or not _is_guarded(resource.canonical):
        return None
    return _needs(request.method, resource.canonical)


def _is_guarded(template: str) -> bool:
    return template == _GUARDED or template.startswith(_GUARDED + "/")


def _needs(method: str, template: str) -> Call:
    # aiohttp answers HEAD with the handler of GET.
    call = CALLS.get(("GET" if method == "HEAD" else method, template))
    if call is None:
        raise RuntimeError(f"{method} {template} is not in CALLS (server/auth.py): say what a key needs for it")
    return call


def _sent_key(request: web.Request) -> str:
    """The key in a request: as a bearer token, else in a header of its own; empty when there is none."""
    kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.headers.get(API_KEY_HEADER, "").strip()


def _wrong(why: str) -> Problem:
    challenge = f'{_CHALLENGE}, error="invalid_token"'
    return Problem("unauthenticated", f"the key gives no access: {why}; {_HOW}", headers={hdrs.WWW_AUTHENTICATE: challenge})


GUARD = web.AppKey("guard", Guard)


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: no handler under /v1 is reached by whom the guard does not admit."""
    request.app[GUARD].admit(request)
    return await handler(request)
