"""Who may talk to the web server, and how: an ASGI middleware around all of it. Knows nothing of pages or games.

A page on this machine is within reach of every page in the same browser, and of every user of the machine. So a request
passes only if all of it is on a list: its host (a name that was rebound to 127.0.0.1 is not), its method, its path, its
origin, and a secret that was in the address which the server printed and is a cookie from then on. Nothing is let in by
how it looks (no user agents, no deny lists but for paths, which are read before anything opens a file).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

SOCKET = "/_nicegui_ws/socket.io/"
LONGEST_ADDRESS = 2048  # bytes of path and query
LARGEST_HEADERS = 16 * 1024  # bytes of all names and values
OWN = "/_nicegui/"  # where NiceGUI serves its scripts and styles

EVENTS = {  # what the page tells the server -> with which words
    "handshake": ("tab_id", "document_id"),
    "event": ("id", "listener_id"),
    "javascript_response": ("request_id",),
    "ack": ("next_message_id",),
    "log": ("level", "message"),
}

_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """`app` behind the rules above.

    hosts: what a Host header may say, port included, as in 127.0.0.1:8080.
    token: lets in whoever sends it as ?token= or, as a cookie, has sent it before.
    paths: the pages; everything else but NiceGUI's own files is not found.
    tabs: websockets that may be open at once.
    """

    def __init__(self, app: App, *, port: int, hosts: Iterable[str], token: str, paths: Collection[str], tabs: int):
        self.app = app
        self.hosts = frozenset(host.encode() for host in hosts)
        self.cookie = f"arena_{port}".encode()  # browsers send a cookie to every port of a host
        self.token = token.encode()
        self.paths = frozenset(paths)
        self.tabs = tabs
        self.open_tabs = 0
        self._tickets: set[bytes] = set()

    def ticket(self) -> str:
        """A token that is good for one visit: for the command line of a browser, which all users of the machine see."""
        ticket = secrets.token_urlsafe(32)
        self._tickets.add(ticket.encode())
        return ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, send, refusal, self._added(scope))
            return
        headers = [(name, value) for name, value in scope["headers"] if not name.startswith(b"x-forwarded-")]
        scope = {**scope, "headers": headers}
        if scope["type"] == "http":
            await self.app(scope, receive, _with_headers(send, self._added(scope)))
            return
        self.open_tabs += 1
        try:
            await self.app(scope, _checked(receive), send)
        finally:
            self.open_tabs -= 1

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Why it may not pass; None where it may. The first rule that is broken answers."""
        rules = (self._of_method, self._of_size, self._of_host, self._of_path, self._of_origin, self._of_token)
        for rule in (*rules, self._of_place, self._of_number):
            refusal = rule(scope)
            if refusal is not None:
                return refusal
        return None

    def _of_method(self, scope: Scope) -> Refusal | None:
        if scope.get("method", "GET") not in ("GET", "HEAD"):
            return Refusal(405, "Only GET and HEAD are answered here.", ((b"allow", b"GET, HEAD"),))
        return None

    def _of_size(self, scope: Scope) -> Refusal | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            return Refusal(414, "This address is too long.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            return Refusal(431, "The headers of this request are too large.")
        if _headers(scope, b"transfer-encoding") or any(n != b"0" for n in _headers(scope, b"content-length")):
            return Refusal(413, "No request here has a body.")
        return None

    def _of_host(self, scope: Scope) -> Refusal | None:
        sent = _headers(scope, b"host")
        if len(sent) != 1 or sent[0] not in self.hosts:
            return Refusal(403, "Arena does not answer to this name. Open the address that it printed when it started.")
        return None

    def _of_path(self, scope: Scope) -> Refusal | None:
        path = scope["path"]  # decoded once; what could be decoded again is refused
        hostile = ".." in path or "//" in path or any(c in "\\%" or ord(c) < 32 or ord(c) > 126 for c in path)
        return Refusal(404, "There is no such page.") if hostile else None

    def _of_origin(self, scope: Scope) -> Refusal | None:
        own = b"http://" + _headers(scope, b"host")[0]
        origins = _headers(scope, b"origin")
        foreign = any(site not in (b"same-origin", b"none") for site in _headers(scope, b"sec-fetch-site"))
        if (origins or foreign or scope["type"] == "websocket") and origins != [own]:
            return Refusal(403, "Another site asked for this page. Copy its address into the address bar yourself.")
        return None

    def _of_token(self, scope: Scope) -> Refusal | None:
        """Refused without the secret, and sent on where it is in the address: it does not belong into the history."""
        if scope["type"] == "http" and b"token=" in scope["query_string"]:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            sent = [value.encode("latin-1", "replace") for name, value in query if name == "token"]
            if self._spend(sent) or self._has_cookie(scope):
                rest = urlencode([(name, value) for name, value in query if name != "token"])
                to = scope["raw_path"] + (b"?" + rest.encode() if rest else b"")
                cookie = self.cookie + b"=" + self.token + b"; Path=/; HttpOnly; SameSite=Strict"
                return Refusal(303, "", ((b"location", to), (b"set-cookie", cookie)))
        elif self._has_cookie(scope):
            return None
        return Refusal(
            403,
            "This page needs the key that Arena printed when it started. Copy the whole address from the terminal, "
            "with everything after ?token=, into the address bar.",
        )

    def _spend(self, sent: list[bytes]) -> bool:
        for value in sent:
            if secrets.compare_digest(value, self.token):
                return True
            for ticket in tuple(self._tickets):
                if secrets.compare_digest(value, ticket):
                    self._tickets.remove(ticket)
                    return True
        return False

    def _has_cookie(self, scope: Scope) -> bool:
        for header in _headers(scope, b"cookie"):
            for pair in header.split(b";"):
                name, _, value = pair.strip().partition(b"=")
                if name == self.cookie and secrets.compare_digest(value, self.token):
                    return True
        return False

    def _of_place(self, scope: Scope) -> Refusal | None:
        path = scope["path"]
        if scope["type"] == "websocket":
            query = parse_qsl(scope["query_string"].decode("latin-1"))
            if path == SOCKET and ("transport", "websocket") in query:
                return None
        elif path in self.paths or path.startswith(OWN):
            return None
        elif path.startswith(SOCKET.rstrip("/")):
            return Refusal(400, "Only a websocket is answered here.")  # socket.io would fall back to polling by POST
        return Refusal(404, "There is no such page.")

    def _of_number(self, scope: Scope) -> Refusal | None:
        if self.open_tabs >= self.tabs and not scope["path"].startswith(OWN):
            return Refusal(503, f"{self.tabs} pages are open, and no more can be. Close some and try again.")
        return None

    def _added(self, scope: Scope) -> Headers:
        """What every answer says beside its content."""
        host = _headers(scope, b"host")
        socket = b" ws://" + host[0] if len(host) == 1 and host[0] in self.hosts else b""
        policy = (
            b"default-src 'self'; connect-src 'self'" + socket + b"; img-src 'self' data: blob:; font-src 'self'; "
            # NiceGUI's page is an inline script, and Vue compiles its templates in the browser.
            b"script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
            b"object-src 'none'; base-uri 'none'; form-action 'none'; frame-src 'none'; frame-ancestors 'none'"
        )
        return [(b"content-security-policy", policy), *_HEADERS]


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _with_headers(send: Send, added: Headers) -> Send:
    names = {name for name, _ in added}

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in names]
            message = {**message, "headers": kept + added}
        await send(message)

    return answer


def _checked(receive: Receive) -> Receive:
    """A message that NiceGUI's page would not send ends the connection: what parses them raises at many of those."""

    async def listen() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not is_message(message.get("text")):
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    return listen


def is_message(text: str | None) -> bool:
    """Whether it is in the part of socket.io's language that NiceGUI's page speaks."""
    if text in ("1", "3", "40", "41"):  # close, pong, connect, disconnect
        return True
    event = re.fullmatch(r"42\d{0,9}(\[.*\])", text or "", re.DOTALL)
    if event is None:
        return False
    try:
        said = json.loads(event[1])
    except (ValueError, RecursionError):
        return False
    if len(said) != 2 or not isinstance(said[0], str) or not isinstance(said[1], dict):
        return False
    return said[0] in EVENTS and all(name in said[1] for name in ("client_id", *EVENTS[said[0]]))


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Arena</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<p style="font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem">{}</p></html>
"""


async def _refuse(scope: Scope, send: Send, refusal: Refusal, added: Headers) -> None:
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = _PAGE.format(refusal.text).encode() if refusal.text else b""
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *refusal.headers,
        *added,
    ]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else body})
