"""Decides which requests are answered, before the app sees them.

A page of another site can send requests to 127.0.0.1 from the user's own browser, or point a name of its own there
(DNS rebinding). So the Host must be a name of this server, and an Origin, which browsers send with every request that
changes something, must be the page's own. With a token, every call of the interface needs it.
"""

import secrets
import socket
import typing
import urllib.parse
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kits_tf.web.errors import FORBIDDEN

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
EVERY_ADDRESS = ("0.0.0.0", "::", "")
PORTS = {"http": 80, "https": 443}
API = "/api"
# The page runs its own scripts and NiiVue, which embeds its font and draws pictures from memory. None uses eval.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; "
          "connect-src 'self' data: blob:; img-src 'self' data: blob:; font-src data:; worker-src blob:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}


class Guard:
    """An ASGI app around the app.

    Args:
        app: the app.
        host: the address that the server listens on.
        names: more names of this server, as of a reverse proxy.
        token: the token that calls of the interface must have, or None.
    """

    def __init__(self, app: ASGIApp, host: str, names: Iterable[str] = (), token: str | None = None) -> None:
        self._app, self._token, self._every = app, token, host in EVERY_ADDRESS
        own = {socket.gethostname(), socket.getfqdn()} if self._every else {host}
        self._names = LOOPBACK | {name.lower() for name in (*own, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reason = self._refuses(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = Headers(raw=message["headers"])
                message["headers"] = [*message["headers"], *((name.encode(), value.encode())
                                                             for name, value in HEADERS.items() if name not in known)]
            await send(message)

        app: typing.Any = JSONResponse({"detail": reason}, FORBIDDEN) if reason else self._app
        await app(scope, receive, send_with_headers)

    def _refuses(self, scope):
        """Returns the reason to refuse a request, or "" to let it pass."""
        headers = Headers(scope=scope)
        name, port = _name_and_port(headers.get("host", ""))
        if not self._is_own(name, scope):
            return ("The Host header is not a name of this server; open the address that the server printed, or start "
                    "it with --public_hosts.")
        for origin in headers.getlist("origin"):
            scheme, _, rest = origin.partition("://")
            from_name, from_port = _name_and_port(rest)
            usual = PORTS.get(scheme)
            if not usual or not self._is_own(from_name, scope) or (from_port or usual) != (port or usual):
                return "The Origin header is of another site; only this server's own page may call it."
        path = scope["path"]
        if self._token is not None and (path == API or path.startswith(f"{API}/")):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._token.encode()):
                return "The token is missing or wrong; send it as Authorization: Bearer TOKEN."
        return ""

    def _is_own(self, name, scope):
        """Returns whether a host name is one of this server's. If it listens everywhere, also the address called."""
        return name in self._names or (self._every and bool(scope.get("server")) and name == scope["server"][0])


def _name_and_port(authority):
    """Returns (host name, port) of a Host header; "" if it is invalid, and None for a port that is not given."""
    try:
        parts = urllib.parse.urlsplit(f"//{authority}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None
    if parts.netloc != authority or "@" in authority:
        return "", None
    return name.lower().rstrip("."), port
