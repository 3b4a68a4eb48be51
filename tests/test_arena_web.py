"""The web server as a process of its own: what it prints, serves, forgets and leaves behind."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from arena import web_theme
from arena.web import serve
from games import scene
from games.names import UserError

PROGRAM = """
import gc, sys, threading
from nicegui import Client, ui
from rich.console import Console
from starlette.responses import PlainTextResponse
from arena.web import serve
from arena.web_theme import frame
from games.names import UserError

LINKS = {"Home": "/", "Echo": "/echo?name=you"}

def home():
    with frame("Home", LINKS):
        number = ui.label("0")
        ui.button("count", on_click=lambda: number.set_text(str(int(number.text) + 1)))
        ui.button("boom", on_click=lambda: 1 / 0)
        ui.table(rows=[{"player": "main@3"}])
        ui.slider(min=0, max=9, value=4)
        ui.select(["one", "two"], value="one", label="Which")
        ui.echart({"xAxis": {}, "yAxis": {}, "series": [{"type": "line", "data": [[0, 1], [1, 3]]}]})

async def echo(name: str = "", times: int = 1):
    with frame("Echo", LINKS):
        ui.label(name * times)

def mistaken():
    ui.label("half a page")
    raise UserError("There is no run 'x'. Did you mean 'y'?")

def broken():
    raise RuntimeError("secret detail")

def tally():
    ui.context.client.delete()  # its own page is not one of those
    gc.collect()
    return PlainTextResponse(str(len(Client.instances)))

def think():
    threading.Thread(target=threading.Event().wait).start()
    ui.label("thinking for ever")

pages = {"/": home, "/echo": echo, "/mistaken": mistaken, "/broken": broken, "/tally": tally, "/think": think}
sys.exit(serve(pages, port=0, browser=False, console=Console(), patience=0.0, tabs=int(sys.argv[1])))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass
class Server:
    process: subprocess.Popen[str]
    line: str  # that it printed
    port: int
    token: str

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        return f"arena_{self.port}={self.token}"

    def send(self, request: bytes) -> Answer:
        """Bytes as they are, and what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Answer(response.status, response.headers, response.read().decode())

    def ask(self, path: str = "/", *, method: str = "GET", body: bytes = b"", **headers: str | None) -> Answer:
        """A request with host and cookie; headers are changed, or left out where None, by name with _ for -."""
        sent = {"host": self.place, "cookie": self.cookie, "connection": "close", **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in sent.items() if value is not None]
        return self.send("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body)

    @contextmanager
    def socket(self, query: str, *, path: str = "/_nicegui_ws/socket.io/", **headers: str | None) -> Iterator[Any]:
        """A websocket as the page opens it; raises InvalidStatus where it is refused."""
        sent = {"host": self.place, "origin": f"http://{self.place}", "cookie": self.cookie, **headers}
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        given = [
            (name.replace("_", "-"), value) for name, value in sent.items() if value is not None and name != "host"
        ]
        uri = f"ws://{sent['host']}{path}?EIO=4&{query}"
        with raw, connect(uri, sock=raw, additional_headers=given, proxy=None, compression=None) as opened:
            yield opened

    @contextmanager
    def tab(self, path: str = "/") -> Iterator["Tab"]:
        """A page that is open, as a browser has it."""
        page = self.ask(path)
        assert page.status == 200, page.text
        client = re.search(r"'client_id': '([^']+)'", page.text)
        assert client is not None
        query = f"client_id={client[1]}&next_message_id=0&implicit_handshake=true&document_id=d&tab_id=t&old_tab_id="
        with self.socket(f"transport=websocket&{query}") as opened:
            assert opened.recv(timeout=30).startswith("0{")
            opened.send("40")
            assert opened.recv(timeout=30).startswith("40{")
            yield Tab(opened, client[1], elements(page.text))

    def pages(self) -> int:
        """How many it keeps in memory."""
        return int(self.ask("/tally").text)


@dataclass
class Tab:
    socket: ClientConnection
    client: str
    elements: dict[str, dict[str, Any]]
    texts: list[str] = field(default_factory=list)  # that came since it was opened

    def click(self, label: str) -> None:
        number, element = next((n, e) for n, e in self.elements.items() if e.get("props", {}).get("label") == label)
        listener = next(event["listener_id"] for event in element["events"] if event["type"] == "click")
        said = {"id": int(number), "client_id": self.client, "listener_id": listener, "args": []}
        self.socket.send(f"42{json.dumps(['event', said])}")

    def hear(self, what: str) -> str:
        """The next message that has this in it."""
        while True:
            message = self.socket.recv(timeout=30)
            assert isinstance(message, str)
            if message == "2":
                self.socket.send("3")
            elif what in message:
                return message

    def closed(self) -> bool:
        """Whether the server ends the connection, within the next three messages."""
        try:
            for _ in range(3):
                if self.socket.recv(timeout=30) == "2":
                    self.socket.send("3")
        except ConnectionClosed:
            return True
        return False


def elements(page: str) -> dict[str, dict[str, Any]]:
    """What the page is built of, by number."""
    found = re.search(r"parseElements\(String\.raw`(.*?)`\)", page, re.DOTALL)
    assert found is not None
    read: dict[str, dict[str, Any]] = json.loads(unescape(found[1]))
    return read


@contextmanager
def running(tabs: int = 500) -> Iterator[Server]:
    command = [sys.executable, "-c", PROGRAM, str(tabs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43})\n", line)
            assert found is not None, line + (process.communicate(timeout=30)[1] if not line else "")
            yield Server(process, line, int(found[1]), found[2])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


class Links(HTMLParser):
    """Every address in a page that a browser fetches by itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)
        for imports in re.findall(r'<script type="importmap">(.*?)</script>', page, re.DOTALL):
            self.found |= set(json.loads(imports)["imports"].values())
        self.found |= set(re.findall(r"""@import url\(["']?([^"')]+)""", page))
        self.found |= set(re.findall(r"""\bimport\b[^;\n]*?["']([^"']+/[^"']+)["']""", page))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found |= {value for name, value in attrs if name in ("src", "href", "srcset", "data") and value}


def test_the_address_leads_to_the_page_and_loses_its_key_on_the_way(server: Server) -> None:
    entered = server.ask(f"/echo?name=you&token={server.token}&times=2", cookie=None)
    assert (entered.status, entered.headers["location"]) == (303, "/echo?name=you&times=2")
    name, *rest = entered.headers["set-cookie"].split("; ")
    assert name == server.cookie
    assert set(rest) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    page = server.ask("/echo?name=you&times=2", cookie=name)
    assert page.status == 200
    assert "youyou" in [element.get("text") for element in elements(page.text).values()]
    assert server.token not in page.text


def test_nothing_is_fetched_from_anywhere_else(server: Server) -> None:
    links = Links(server.ask("/").text).found
    assert len(links) >= 12, links
    assert not [link for link in links if not re.match(r"/[^/]", link)]
    for link in sorted(links - {link for link in links if link.endswith("/")}):
        answer = server.ask(link)
        assert answer.status == 200, link
        if "css" in answer.headers["content-type"]:
            fetched = re.findall(r"""(?:@import|url\()\s*["']?([^"')]+)""", answer.text)
            assert not [address for address in fetched if re.match(r"(https?:)?//", address)], link


def test_the_style_sheet_has_every_colour_of_boards_for_light_and_dark(server: Server) -> None:
    sheet = server.ask(web_theme.STYLE_PATH)
    assert (sheet.status, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8")
    for role, (light, dark) in scene.COLOURS.items():
        assert f"--scene-{role}: light-dark({light}, {dark});" in sheet.text
    assert "color-scheme: light dark" in sheet.text
    assert server.ask("/favicon.ico").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("text", "ground", "least"),
    [
        *((text, ground, 4.5) for text in ("ink", "faint", "accent", "good", "bad") for ground in ("paper", "surface")),
        *(("edge", ground, 3.0) for ground in ("paper", "surface")),
        ("ink", "wash", 4.5),
        ("#ffffff", "fill", 4.5),
    ],
)
def test_colours_can_be_told_apart_as_wcag_asks(text: str, ground: str, least: float) -> None:
    for theme in (0, 1):
        pair = [web_theme.COLOURS.get(name, (name, name))[theme] for name in (text, ground)]
        bright, dim = sorted(map(luminance, pair), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= least, (text, ground, theme)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_frame_names_the_page_and_marks_where_one_is(server: Server) -> None:
    page = server.ask("/echo?name=you")
    assert "<title>Echo – Arena</title>" in page.text
    links = [e["props"] for e in elements(page.text).values() if "href" in e.get("props", {})]
    assert [link["href"] for link in links] == ["/", "/", "/echo?name=you"]
    assert [link.get("aria-current") for link in links] == [None, None, "page"]


def test_what_was_asked_wrongly_is_said_on_the_page_and_a_fault_of_ours_is_not(server: Server) -> None:
    mistaken, broken, unread = (server.ask(path) for path in ("/mistaken", "/broken", "/echo?times=many"))
    texts = [[e.get("text") for e in elements(page.text).values()] for page in (mistaken, broken)]
    assert (mistaken.status, broken.status, unread.status) == (400, 500, 422)
    assert "There is no run 'x'. Did you mean 'y'?" in texts[0]
    assert "half a page" not in texts[0]
    assert "This went wrong; the terminal shows where." in texts[1]
    assert "secret" not in broken.text + unread.text


def test_a_handler_that_raises_ends_neither_its_own_page_nor_another(server: Server) -> None:
    with server.tab() as one, server.tab() as other:
        one.click("boom")
        assert "the terminal shows where" in one.hear('"notify"')
        for tab in (one, other):
            tab.click("count")
            tab.hear('"text":"1"')


def test_two_hundred_pages_opened_and_closed_leave_nothing_behind(server: Server) -> None:
    before = server.pages()  # of other tests, that were asked for but never opened: those are kept for a minute
    memory = []
    for _ in range(2):
        for _ in range(100):
            with server.tab():
                pass
        for _ in range(300):
            if server.pages() <= before:
                break
        memory.append(psutil.Process(server.process.pid).memory_info().rss / 2**20)
    assert server.pages() <= before
    assert memory[1] - memory[0] < 10, "megabytes for the second hundred"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_it_with_its_code_though_pages_are_open_and_a_thread_thinks(name: str, code: int) -> None:
    with running() as server, server.tab() as tab, server.tab("/think"):
        for _ in range(2):  # as where a shell and its child both pass it on
            server.process.send_signal(getattr(signal, name))
        assert tab.closed()
        printed, complained = server.process.communicate(timeout=30)
        assert (server.process.returncode, printed, complained) == (code, "", "")


def test_a_port_that_is_taken_is_said_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^Port {port} is taken: choose another with --port"):
            serve({}, port=port, browser=False, console=Console())


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [("127.0.0.1", 70_000, "There is no port 70000"), ("192.0.2.1", 0, "Port 0 of 192.0.2.1 cannot be opened")],
)
def test_an_address_that_cannot_be_had_is_said(host: str, port: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        serve({}, host=host, port=port, browser=False, console=Console())


def test_importing_the_server_loads_no_web_framework() -> None:
    code = "import arena.web, sys; print({'nicegui', 'uvicorn', 'fastapi'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_browser_shows_it_in_both_themes_at_any_width_and_stays_at_home(server: Server, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    quiet = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet.split())
        page = browser.new_page(viewport={"width": 380, "height": 800}, color_scheme="dark")
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda opened: asked.append(opened.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(server.line.split()[1])
        page.wait_for_function("window.did_handshake === true")
        page.get_by_role("button", name="count").click()
        page.get_by_text("1", exact=True).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 380
        paper = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(paper) == rgb(web_theme.COLOURS["paper"][1]), "as the system is"
        page.get_by_text("Theme: auto").click()
        assert page.evaluate(paper) == rgb(web_theme.COLOURS["paper"][0])
        page.reload()
        page.get_by_text("Theme: light").wait_for()
        assert page.evaluate(paper) == rgb(web_theme.COLOURS["paper"][0]), "as was chosen"
        assert "token" not in page.url
        browser.close()
    assert said == []
    assert {re.sub(r"(\w+://[^/]+).*", r"\1", url) for url in asked if not url.startswith("data:")} == {
        f"http://{server.place}",
        f"ws://{server.place}",
    }


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"
