"""Who gets in, tried with raw requests against a server that runs; and what only the guard itself can show."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from test_arena_web import Server, running
from websockets.exceptions import ConnectionClosed, InvalidStatus

from arena.web_guard import Guard, is_message

TABS = 4
WEBSOCKET = "transport=websocket"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(TABS) as started:
        yield started


def handshake(server: Server, query: str = WEBSOCKET, **given: Any) -> int:
    """The status that answers a websocket's handshake."""
    try:
        with server.socket(query, **given):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.", ""])
def test_a_name_that_is_not_ours_is_refused_as_after_dns_rebinding(server: Server, host: str) -> None:
    host = host.format(port=server.port)
    assert server.ask(host=host).status == 403
    assert handshake(server, host=host or "x", origin=f"http://{host}") == 403


def test_both_names_of_this_machine_are_ours_and_two_at_once_or_none_are_not(server: Server) -> None:
    assert server.ask(host=f"localhost:{server.port}").status == 200
    assert server.ask(host=None).status == 400
    twice = f"GET / HTTP/1.1\r\nhost: {server.place}\r\nhost: evil.example\r\ncookie: {server.cookie}\r\n\r\n"
    assert server.send(twice.encode()).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get"])
def test_no_method_but_get_and_head_is_answered(server: Server, method: str) -> None:
    answer = server.ask(method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert server.ask(method=method, origin=f"http://{server.place}").status == 405


def test_a_body_is_refused_however_it_comes(server: Server) -> None:
    megabyte = b"x" * 2**20
    assert server.ask(body=b"", content_length=str(len(megabyte))).status == 413
    assert server.ask(body=b"1\r\nx\r\n0\r\n\r\n", transfer_encoding="chunked").status == 413
    with contextlib.suppress(ConnectionError):  # it may hang up before it has read it all
        assert server.ask(method="POST", body=megabyte, content_length=str(len(megabyte))).status == 405
    assert server.ask().status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://{place}", "http://localhost:{port}", ""])
def test_another_origin_is_refused_on_pages_and_websockets(server: Server, origin: str) -> None:
    origin = origin.format(place=server.place, port=server.port)
    assert server.ask(origin=origin).status == 403
    assert handshake(server, origin=origin) == 403


def test_a_websocket_without_an_origin_is_refused_and_our_own_page_is_not(server: Server) -> None:
    assert handshake(server, origin=None) == 403
    assert handshake(server) == 101
    assert server.ask(origin=f"http://{server.place}").status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_page_of_another_site_cannot_ask_for_ours(server: Server, site: str, status: int) -> None:
    assert server.ask(sec_fetch_site=site).status == status


def test_without_the_key_there_is_only_a_page_that_says_what_to_do(server: Server) -> None:
    for cookie in (None, "", f"arena_{server.port}=", f"arena_{server.port}={'x' * 43}", f"arena_1={server.token}"):
        answer = server.ask(cookie=cookie)
        assert answer.status == 403
        assert "Copy the whole address from the terminal" in answer.text
        assert handshake(server, cookie=cookie) == 403
    for path in ("/?token=", "/?token=x", "/?token", f"/?Token={server.token}", f"/?token={server.token[:-1]}"):
        assert server.ask(path, cookie=None).status == 403
    for path in ("/favicon.ico", "/assets/arena.css", "/nowhere", "/_nicegui/3/static/nicegui.js"):
        assert server.ask(path, cookie=None).status == 403


def test_the_cookie_is_found_among_others(server: Server) -> None:
    assert server.ask(cookie=f"a=b; arena_1=x; {server.cookie}; c").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "/..\\secret",
        "/%5c..%5csecret",
        "/assets/..%2farena.css",
        "/_nicegui/../arena/web.py",
        "/_nicegui/3.18.0/static/..%2f..%2fnicegui.py",
        "/_nicegui/3.18.0/static/%2e%2e/nicegui.py",
        "/_nicegui/3.18.0/static//etc/passwd",
        "/_nicegui/3.18.0/static/fonts%5cx",
        "/_nicegui/3.18.0/static/%252e",
        "/nul%00",
        "/_nicegui/3.18.0/static/nicegui.js%00.css",
        "//evil.example/",
        "http://evil.example/",
        "/nowhere",
        "/docs",
        "/openapi.json",
        "/assets/",
        "/assets/favicon.svg",
    ],
)
def test_a_path_that_is_no_page_of_ours_is_not_found(server: Server, path: str) -> None:
    answer = server.ask(path)
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page." in answer.text
    assert server.ask(f"{path}?token={server.token}").headers.get("location", path) == path, "leads nowhere else"


def test_long_addresses_and_large_headers_are_refused(server: Server) -> None:
    assert server.ask("/?" + "x" * 3000).status == 414
    assert server.ask(x_much="x" * 20_000).status == 431
    with contextlib.suppress(ConnectionError):  # it may hang up before it has read them all
        assert server.ask(x_much="x" * 200_000).status == 400
    assert server.ask().status == 200


def test_only_websockets_are_answered_where_nicegui_talks(server: Server) -> None:
    path = "/_nicegui_ws/socket.io/"
    polling = server.ask(f"{path}?EIO=4&transport=polling")
    assert polling.status == 400
    assert server.ask(f"{path}?EIO=4&transport=polling&sid=x", method="POST").status == 405
    assert "access-control-allow-origin" not in polling.headers
    assert handshake(server, "transport=polling") == 404
    assert handshake(server, path="/") == 404
    assert "transports: [&#34;websocket&#34;]" in server.ask().text or "['websocket']" in server.ask().text


@pytest.mark.parametrize("path", ["/", "/?token=x", "/nowhere", "/favicon.ico", "/assets/arena.css", "/echo?times=no"])
def test_every_answer_keeps_browsers_strict_and_names_nobody_else(server: Server, path: str) -> None:
    headers = server.ask(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == f"'self' ws://{server.place}"
    assert not [
        source for sources in policy.values() for source in sources.split() if source in ("*", "http:", "https:")
    ]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in headers if name.lower().startswith(("access-control", "server", "x-powered"))]


def test_a_header_of_proxies_changes_nothing(server: Server) -> None:
    page = server.ask(x_forwarded_prefix="/evil", x_forwarded_host="evil.example", x_forwarded_proto="https")
    assert page.status == 200
    assert "evil" not in page.text


def test_more_tabs_than_may_be_open_are_told_so_until_one_is_closed(server: Server) -> None:
    with ExitStack() as tabs:
        for _ in range(TABS):
            tabs.enter_context(server.tab())
        full = server.ask()
        assert full.status == 503
        assert f"{TABS} pages are open" in full.text
        assert handshake(server) == 503
    assert any(server.ask().status == 200 for _ in range(1000))


@pytest.mark.parametrize("garbage", ["x", "", "4", "42", "42[", '42["event",{}]', "451-[]", "2" * 60_000, b"\x00\xff"])
def test_a_client_that_sends_garbage_is_cut_off_and_another_plays_on(server: Server, garbage: str | bytes) -> None:
    with server.tab() as honest:
        with server.tab() as broken:
            broken.socket.send(garbage)
            assert broken.closed()
        honest.click("count")
        honest.hear('"text":"1"')


def test_a_message_beyond_the_limit_closes_its_connection_alone(server: Server) -> None:
    with server.tab() as honest:
        with server.tab() as large:
            large.socket.send("42" + "x" * 70_000)
            with pytest.raises(ConnectionClosed) as closed:
                large.socket.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        honest.click("count")
        honest.hear('"text":"1"')


def test_a_client_that_hangs_up_in_the_middle_of_a_message_harms_nobody(server: Server) -> None:
    with server.tab() as honest:
        with server.tab() as broken:
            broken.socket.socket.sendall(b"\x81\xfe\x10\x00mask" + b"x" * 100)  # says that 4096 bytes come
            broken.socket.socket.shutdown(socket.SHUT_RDWR)
        with socket.create_connection(("127.0.0.1", server.port)) as half:
            half.sendall(b"GET / HTTP/1.1\r\nhost: ")
        honest.click("count")
        honest.hear('"text":"1"')


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3", True),
        ("40", True),
        ('42["ack",{"client_id":"a","next_message_id":3}]', True),
        ('421["handshake",{"client_id":"a","tab_id":"t","document_id":"d"}]', True),
        ('42["event",{"client_id":"a","id":1}]', False),
        ('42["run",{"client_id":"a"}]', False),
        ('42[["event"],{"client_id":"a"}]', False),
        ("42" + "[" * 30_000 + "]", False),
        ("40/admin,", False),
        (None, False),
    ],
)
def test_only_what_the_page_says_is_understood(text: str | None, spoken: bool) -> None:
    assert is_message(text) is spoken


async def answered(guard: Guard, **scope: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """What the guard alone answers to a GET; 299 where it lets it through."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("it reads no body")

    asked = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", **scope}
    await guard({"headers": [(b"host", b"127.0.0.1:1")], **asked}, receive, send)
    return sent[0]["status"], sent[0]["headers"], sent[1]["body"]


def guarded() -> Guard:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": [(b"referrer-policy", b"unsafe-url")]})
        await send({"type": "http.response.body", "body": b""})

    return Guard(app, port=1, hosts=["127.0.0.1:1"], token="key", paths=["/"], tabs=1)


def test_the_ticket_on_a_command_line_opens_once_and_the_key_again_and_again() -> None:
    guard = guarded()
    ticket = guard.ticket().encode()
    assert ticket != b"key"
    statuses = [asyncio.run(answered(guard, query_string=b"token=" + t))[0] for t in (ticket, ticket, b"key", b"key")]
    assert statuses == [303, 403, 303, 303]


def test_a_head_is_answered_without_a_body_and_what_the_app_says_of_policy_is_replaced() -> None:
    status, headers, body = asyncio.run(answered(guarded(), method="HEAD"))
    assert (status, body) == (403, b"")
    assert int(dict(headers)[b"content-length"]) > 0
    host_and_key = [(b"host", b"127.0.0.1:1"), (b"cookie", b"arena_1=key")]
    status, headers, _ = asyncio.run(answered(guarded(), headers=host_and_key))
    assert status == 299
    assert [value for name, value in headers if name == b"referrer-policy"] == [b"no-referrer"]
