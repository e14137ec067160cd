"""Who may ask what, and how much: tokens, hosts, limits, security headers, and a log without personal data."""

from __future__ import annotations

import hmac
import logging
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream_app.web.problems import INTERNAL_ERROR, MEDIA_TYPE, ProblemError, problem_body
from stream_app.web.settings import Role, WebSettings, hash_token

COOKIE = "stream_app_token"
"""Cookie in which the page keeps its token; no script can read it."""
CLIENTS_MAX = 10_000
"""Clients whose rates are remembered; the one that was longest away is forgotten."""
_ADMIN = "/v1/admin/"
_OPEN = ("/v1/session", "/livez", "/readyz")
_CUSTOMERS = b"/v1/customers/"
_PARTS = (b"/history", b"/why")
REQUEST_LOGGER = "stream_app.web.requests"
"""Logger of requests, at debug level: routes, never paths."""
_log = logging.getLogger(REQUEST_LOGGER)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class Tokens:
    """Tells what a token allows; tokens are known by their hashes alone.

    Parameters
    ----------
    settings
        Holds the hashes.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._known = [(token.sha256.encode(), token.role) for token in settings.tokens]

    @property
    def are_required(self) -> bool:
        """Tell whether nobody gets in without one."""
        return bool(self._known)

    def roles(self, token: str) -> frozenset[Role]:
        """Give what a token allows; every known hash is compared, each in constant time."""
        own = hash_token(token).encode()
        found = {role for known, role in self._known if hmac.compare_digest(known, own)}
        return frozenset(Role) if Role.ADMIN in found else frozenset(found)


class RateLimiter:
    """Token buckets, one for each client.

    Parameters
    ----------
    per_second
        Sustained rate; twice as many may come at once.
    clock
        Gives seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, 2.0 * per_second, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, client: str) -> float:
        """Take one request of a client in; gives how long to wait first, 0 when it may go on."""
        now = self._clock()
        left, since = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        is_allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if is_allowed else left, now)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1.0 - left) / self._per_second


class Gate:
    """Stands before the application: lets in who may come in, within limits, and puts headers on all that goes out.

    Parameters
    ----------
    app
        The application.
    settings
        Tokens and limits.
    clock
        Gives seconds.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._settings, self._clock = app, settings, clock
        self._tokens = Tokens(settings)
        self._limiter = RateLimiter(settings.requests_per_second, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_security(message["headers"])}
            await send(message)

        try:
            self._admit(scope)
            scope["path"] = _routable_path(scope)
            await self._app(scope, self._limited(receive), send_with_headers)
        except ProblemError as problem:
            await _refuse(problem, send_with_headers)
        except Exception as error:
            _log_bug(error)
            if status:
                raise
            await _refuse(ProblemError(500, "internal_error", INTERNAL_ERROR), send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            milliseconds = (self._clock() - started) * 1000
            _log.debug("method=%s route=%s status=%d ms=%.1f", scope["method"], route, status, milliseconds)

    def _admit(self, scope: Scope) -> None:
        """Raise a problem for whoever may not come in."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        target_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if target_bytes > self._settings.target_bytes_max:
            detail = f"the address is longer than {self._settings.target_bytes_max:,} bytes"
            raise ProblemError(414, "target_too_long", detail)
        wait_seconds = self._limiter.wait_seconds(client_of(scope))
        if wait_seconds > 0.0:
            detail = f"more than {self._settings.requests_per_second:g} requests a second; slow down"
            raise ProblemError(429, "too_many_requests", detail, {"Retry-After": str(int(wait_seconds) + 1)})
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self._settings.body_bytes_max:
            raise _too_large(self._settings.body_bytes_max)
        self._require_own_host(headers)
        self._require_token(scope, headers)

    def _require_own_host(self, headers: Mapping[bytes, str]) -> None:
        """Refuse names that another site may have pointed at this machine (DNS rebinding), and requests from there."""
        host = headers.get(b"host", "")
        if self._settings.is_loopback and not self._tokens.are_required and not _is_local(host):
            raise ProblemError(403, "foreign_host", "this server answers to localhost and loopback addresses alone")
        origin = headers.get(b"origin")
        if origin is not None and not _is_same_site(origin, host):
            raise ProblemError(403, "foreign_origin", "requests from pages of other sites are refused")

    def _require_token(self, scope: Scope, headers: Mapping[bytes, str]) -> None:
        path = scope["path"]
        if not self._tokens.are_required or path in _OPEN or not path.startswith(("/v1/", "/openapi")):
            return
        needed = Role.ADMIN if path.startswith(_ADMIN) else Role.READ
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = "" if needed is Role.ADMIN else _cookie(headers.get(b"cookie", ""))
        roles = self._tokens.roles(token.strip()) if token else frozenset()
        if not roles:
            detail = "a token is needed: send `Authorization: Bearer TOKEN`"
            raise ProblemError(401, "token_needed", detail, {"WWW-Authenticate": "Bearer"})
        if needed not in roles:
            raise ProblemError(403, "not_allowed", "this token does not allow administration")

    def _limited(self, receive: Receive) -> Receive:
        """Bound bodies that do not say how long they are."""
        left = self._settings.body_bytes_max

        async def receive_limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(self._settings.body_bytes_max)
            return message

        return receive_limited


def client_of(scope: Mapping[str, Any]) -> str:
    """Give the address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else "-"


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError(413, "body_too_large", f"a body has at most {bytes_max:,} bytes here")


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname if "@" not in host else None
        return name is not None and (name == "localhost" or ip_address(name).is_loopback)
    except ValueError:
        return False


def _is_same_site(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _routable_path(scope: Scope) -> str:
    """Give the path to route by: a customer's id as one percent-encoded segment, whatever bytes it holds.

    `%2F` in an id must not be taken for the `/` between an id and `history`; the path that servers hand over is already
    decoded, so that the raw one is read instead.
    """
    raw = (scope.get("raw_path") or b"").partition(b"?")[0]
    if not raw.startswith(_CUSTOMERS):
        return str(scope["path"])
    rest, part = raw[len(_CUSTOMERS) :], b""
    for name in _PARTS:
        if rest.endswith(name) and len(rest) > len(name):
            rest, part = rest[: -len(name)], name
    return f"{_CUSTOMERS.decode()}{quote(unquote_to_bytes(rest), safe='')}{part.decode()}"


def _with_security(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    own = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
    return [*headers, *((name, value) for name, value in own if name not in present)]


def _log_bug(error: Exception) -> None:
    """Log where an error came from, without its words, which may hold what was asked for."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in reversed(frames[-6:]))
    _log.error("bug error=%s at=%s", type(error).__name__, places)


async def _refuse(problem: ProblemError, send: Send) -> None:
    body = problem_body(problem.status, problem.code, problem.detail)
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **problem.headers,
    }
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
