"""The page where people play, as `arena play GAME --against PLAYER --web` serves it: how soon a click is answered.

    uv run python experiments/benchmarks/web.py clicks [--games connect_four …] [--against random] [--clicks 100]
    uv run python experiments/benchmarks/web.py crowd [--tables 50] [--seconds 60] [--slow mcts:20000]

`clicks`: a chromium (Playwright) plays alone. A click's time is that from the browser's own click event to the frame
that shows one's own piece, and to the one that shows the agent's reply. The server's process notes when its agent was
asked and when it answered, and `beyond` is the time to the reply less that. `crowd`: the same on connect_four against
random, which costs nothing; alone, beside one table whose slow player thinks all the time, and beside many tables that
play whole games, half of them against mcts:100 and half against random, each over its websocket as a browser would,
with a pause before every click; without the slow table and with it.

Prints a JSON object for each measurement: milliseconds (median, 95th percentile), processor seconds of the server, of
chromium and of this program, the server's memory, and how loaded the machine was, which all of them share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from playwright.async_api import Browser, Page, async_playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from agents.core import Choice, Context, Policy
from arena.clicks import Way, ways_of
from arena.match import Table
from games import Decisions, Keys, make
from games.scene import scene_of

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WARM = 5  # clicks before those that count
PATIENCE = 60.0  # seconds after which an answer has failed to come
WATCH = """() => {
  const drawn = (step) => requestAnimationFrame(() => setTimeout(() => { step.drawn = performance.now(); }, 0));
  const moves = () => document.querySelectorAll(".play-record li").length;
  window.clicked = null;
  document.addEventListener("click", (event) => {
    window.clicked = { at: event.timeStamp, before: moves(), own: null, reply: null };
  }, true);
  new MutationObserver(() => {
    const now = window.clicked;
    if (!now) return;
    const more = moves() - now.before;
    if (more >= 1 && !now.own) drawn(now.own = {});
    if (more >= 2 && !now.reply) drawn(now.reply = {});
  }).observe(document.body, { childList: true, subtree: true, characterData: true, attributes: true });
}"""
"""Notes in the browser when a move has been drawn: the record and the board are one update, so one frame."""

READY = """() => {
  const said = document.querySelector(".play-status").textContent;
  const now = window.clicked;
  const shown = !now || (now.own?.drawn && (!now.reply || now.reply.drawn));
  return shown && (said === "Your move." || /Recorded|Kept for replay/.test(said)) ? said : null;
}"""


# ---- the server's process


class Timed:
    """A policy, and when it was asked and answered: seconds on the clock that all processes of a machine share."""

    def __init__(self, policy: Policy, asked: list[tuple[float, float, float]]) -> None:
        self.policy, self.asked, self.memory = policy, asked, policy.memory

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        began, cpu = time.monotonic(), time.thread_time()
        choice = self.policy.act(decisions, context, keys)
        self.asked.append((began, time.monotonic(), time.thread_time() - cpu))
        return choice


def serve_game(game: str, against: str) -> int:
    """What the command `arena play` serves; prints at the end when its agents were thinking."""
    from dataclasses import replace

    from rich.console import Console

    from arena.lobby import Lobby
    from arena.process import settle
    from arena.seating import Invitation
    from arena.sitting import Occupant
    from arena.web import serve
    from arena.web_pages import game_pages

    asked: list[tuple[float, float, float]] = []

    class TimedLobby(Lobby):
        def occupant(self, reference: str, settings: Any = None) -> Occupant:
            seated = super().occupant(reference, settings)
            assert seated.policy is not None
            return replace(seated, policy=Timed(seated.policy, asked))

    settle()
    code = serve(game_pages(TimedLobby(game, []), Invitation(against)), port=0, browser=False, console=Console())
    print(json.dumps(asked), flush=True)
    return code


class Server:
    """That process, seen from here."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process, self.address = process, address
        self.origin = "http://" + urlsplit(address).netloc
        self._seen = psutil.Process(process.pid)
        self.asked: list[tuple[float, float, float]] = []  # began, ended, processor seconds; once it has ended

    def cpu(self) -> float:
        """Processor seconds so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> int:
        return round(self._seen.memory_info().rss / 2**20)

    def end(self) -> None:
        self._process.terminate()
        told, _ = self._process.communicate(timeout=60)
        self.asked = [(began, ended, cpu) for began, ended, cpu in json.loads(told.splitlines()[-1])]


@contextmanager
def serving(game: str, against: str) -> Iterator[Server]:
    command = [sys.executable, str(Path(__file__).resolve()), "serve", game, against]
    root = str(Path(__file__).resolve().parents[2])
    with (
        tempfile.TemporaryDirectory() as folder,  # where the ledger of these games goes
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": root}
        ) as process,
    ):
        try:
            assert process.stdout is not None
            server = Server(process, process.stdout.readline().split()[1])
            yield server
            server.end()
        finally:
            process.kill()


# ---- who plays


class Mirror:
    """The game as a client knows it: from the moves that its page shows."""

    def __init__(self, game: str, seed: int) -> None:
        self.game, self.random = make(game), np.random.default_rng(seed)
        self.begin()

    def begin(self) -> None:
        self.table = Table(self.game, np.array([1], np.uint64))

    def follow(self, record: Sequence[str]) -> None:
        """Play on by the record, whose lines read `you e2e4`."""
        for line in record[int(self.table.steps[0]) :]:
            named = {self.name(action): action for action in self.legal()}
            self.table.play(np.array([[named[line.partition(" ")[2]]]]))

    def legal(self) -> list[int]:
        legal: list[int] = np.flatnonzero(self.table.pending().legal[0, 0]).tolist()
        return legal

    def name(self, action: int) -> str:
        return self.game.action_name(self.table.states, 0, int(self.table.pending().seat[0, 0]), action)

    def choose(self) -> Way:
        """The places of some move that clicks alone make."""
        ways = ways_of(scene_of(self.game, self.table.states, 0, 0), self.legal())
        taken = list(ways.values())
        alone = [way for way in ways.values() if taken.count(way) == 1]
        return alone[self.random.integers(len(alone))]


@dataclass
class Clicks:
    """Times of clicks, in seconds."""

    own: list[float] = field(default_factory=list)
    reply: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)  # the reply, less the time that the agent took
    spans: list[tuple[float, float]] = field(default_factory=list)  # of the click and the reply, on the shared clock


async def click_through(page: Page, mirror: Mirror, count: int) -> Clicks:
    """Play `count` moves in the browser, game after game. Raises TimeoutError where an answer does not come."""
    clicks = Clicks()
    while len(clicks.reply) < count + WARM:
        said = await (await page.wait_for_function(READY, timeout=1e3 * PATIENCE)).json_value()
        if said != "Your move.":
            await page.evaluate("window.clicked = null")
            await page.get_by_role("button", name="New game", exact=True).click()
            await page.wait_for_function("document.querySelectorAll('.play-record li').length === 0")
            await page.evaluate("window.clicked = null")
            mirror.begin()
            continue
        mirror.follow(await page.locator(".play-record li").all_inner_texts())
        began = time.monotonic()
        for place in mirror.choose():
            x, y = await page.evaluate(
                "(place) => { const at = document.querySelector(`[data-place='${place}']`).getBoundingClientRect();"
                " return [at.x + at.width / 2, at.y + at.height / 2]; }",
                place,
            )
            await page.mouse.click(x, y)
        await page.wait_for_function(READY, timeout=1e3 * PATIENCE)
        timed = await page.evaluate("window.clicked")
        clicks.own.append((timed["own"]["drawn"] - timed["at"]) / 1e3)
        if timed["reply"]:
            clicks.reply.append((timed["reply"]["drawn"] - timed["at"]) / 1e3)
            clicks.spans.append((began, time.monotonic()))
    return Clicks(clicks.own[WARM:], clicks.reply[WARM:], [], clicks.spans[WARM:])


def without_thinking(clicks: Clicks, asked: Sequence[tuple[float, float, float]]) -> Clicks:
    """With `beyond`, where one agent was asked at a time: nobody else played."""
    for (began, ended), reply in zip(clicks.spans, clicks.reply, strict=True):
        thought = [end - start for start, end, _ in asked if began <= start and end <= ended]
        assert len(thought) == 1, "one click, one reply"
        clicks.beyond.append(reply - thought[0])
    return clicks


class Tab:
    """A page without a browser: what is sent and shown, over its websocket."""

    def __init__(self, socket: ClientConnection, client: str, elements: dict[str, Any]) -> None:
        self.socket, self.client, self.elements = socket, client, elements

    def find(self, name: str) -> str:
        """The number of the element of that class, or with that label."""
        return next(
            number
            for number, element in self.elements.items()
            if name in element.get("class", ()) or element.get("props", {}).get("label") == name
        )

    async def click(self, name: str, *arguments: int) -> None:
        number = self.find(name)
        listener = next(e["listener_id"] for e in self.elements[number]["events"] if e["type"] == "click")
        sent = {"id": int(number), "client_id": self.client, "listener_id": listener}
        await self.socket.send("42" + json.dumps(["event", {**sent, "args": [json.dumps(a) for a in arguments]}]))

    async def listen(self) -> None:
        """Take in what the server sends next."""
        async with asyncio.timeout(PATIENCE):  # wait_for may swallow a cancellation before Python 3.12
            message = str(await self.socket.recv())
        if message == "2":
            await self.socket.send("3")
        elif message.startswith('42["update"'):
            for number, element in json.loads(message[2:])[1].items():
                if element is not None and number != "_id":
                    self.elements[number] = element

    @property
    def status(self) -> str:
        return str(self.elements[self.find("play-status")].get("text", ""))

    @property
    def record(self) -> list[str]:
        shown = self.elements[self.find("play-record")]["props"]["innerHTML"]
        return [unescape(re.sub("<.*?>", "", line)) for line in re.findall("<li>(.*?)</li>", shown)]


async def open_tab(server: Server, stack: AsyncExitStack, against: str) -> Tab:
    web = await stack.enter_async_context(httpx.AsyncClient(base_url=server.origin, trust_env=False, timeout=PATIENCE))
    await web.get(server.address)
    page = (await web.get("/", params={"against": against})).text
    client = re.findall(r"'client_id': '([^']+)'", page)[0]
    elements = json.loads(unescape(re.findall(r"parseElements\(String\.raw`(.*?)`\)", page, re.DOTALL)[0]))
    query = f"client_id={client}&next_message_id=0&implicit_handshake=true&document_id=d&tab_id=t&old_tab_id="
    socket = await stack.enter_async_context(
        connect(
            f"{server.origin.replace('http', 'ws')}/_nicegui_ws/socket.io/?EIO=4&transport=websocket&{query}",
            origin=Origin(server.origin),
            additional_headers={"cookie": "; ".join(f"{name}={value}" for name, value in web.cookies.items())},
            compression=None,
        )
    )
    await socket.recv()
    await socket.send("40")
    return Tab(socket, client, elements)


@dataclass
class Crowd:
    """What the tables without a browser come to."""

    games: int = 0
    failures: list[str] = field(default_factory=list)
    replies: dict[str, list[float]] = field(default_factory=dict)  # by opponent: seconds from a click to the reply


async def play_games(tab: Tab, mirror: Mirror, crowd: Crowd, against: str, pause: float) -> None:
    """Play game after game, and pause for half to one and a half times `pause` seconds before each click."""
    try:
        while True:
            while tab.status != "Your move.":
                if re.search("Recorded|Kept for replay", tab.status):
                    crowd.games += 1
                    await asyncio.sleep(pause)
                    mirror.begin()
                    await tab.click("New game")
                    while tab.record:
                        await tab.listen()
                await tab.listen()
            mirror.follow(tab.record)
            await asyncio.sleep(pause * mirror.random.uniform(0.5, 1.5))
            before, began = len(tab.record), time.perf_counter()
            for place in mirror.choose():
                await tab.click("board-clicks", place)
            while len(tab.record) < before + 1:
                await tab.listen()
            while not (len(tab.record) >= before + 2 or re.search("won|lost|[Dd]raw", tab.status)):
                await tab.listen()
            crowd.replies.setdefault(against, []).append(time.perf_counter() - began)
    except Exception as error:  # whatever ends a table is what is counted here
        crowd.failures.append(f"{type(error).__name__}: {error}; the page said {tab.status!r}")


# ---- what is measured


class Meter:
    """Processor seconds by process from when it was made, and the load."""

    def __init__(self, server: Server) -> None:
        self.server, self.began = server, time.monotonic()
        self.before = self._now()

    def _now(self) -> dict[str, float]:
        own = psutil.Process()
        browsers = [child for child in own.children(recursive=True) if "chrom" in child.name()]
        used = [child.cpu_times() for child in browsers]
        mine = own.cpu_times()
        return {
            "server": self.server.cpu(),
            "chromium": sum(times.user + times.system for times in used),
            "clients": mine.user + mine.system,
        }

    def read(self) -> dict[str, Any]:
        spent = {name: round(now - self.before[name], 1) for name, now in self._now().items()}
        load = [round(each, 1) for each in os.getloadavg()[:2]]
        wall = round(time.monotonic() - self.began, 1)
        return {"wall_s": wall, "cpu_s": spent, "server_mb": self.server.megabytes(), "load_1_5_min": load}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    middle, high = statistics.median(seconds), float(np.quantile(seconds, 0.95))
    return {"n": len(seconds), "median": round(1e3 * middle, 1), "p95": round(1e3 * high, 1)}


async def open_page(browser: Browser, server: Server) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.goto(server.address)
    await page.locator(".board").wait_for()
    await page.evaluate(WATCH)
    return page


async def measure_clicks(game: str, against: str, count: int) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        with serving(game, against) as server:
            page = await open_page(browser, server)
            meter = Meter(server)
            clicks = await click_through(page, Mirror(game, 1), count)
            read = meter.read()
            await page.close()
        await browser.close()
    without_thinking(clicks, server.asked)
    return {
        "game": game, "against": against, "own_ms": spread(clicks.own), "reply_ms": spread(clicks.reply),
        "beyond_ms": spread(clicks.beyond), **read,
    }  # fmt: skip


async def measure_crowd(given: argparse.Namespace) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        with serving("connect_four", "random") as server:
            page = await open_page(browser, server)
            mirror = Mirror("connect_four", 1)
            for tables, slow in ((0, ""), (0, given.slow), (given.tables, ""), (given.tables, given.slow)):
                async with AsyncExitStack() as stack:
                    told = await beside(page, mirror, server, stack, tables, slow, given)
                print(json.dumps(told), flush=True)
        await browser.close()


async def beside(
    page: Page, mirror: Mirror, server: Server, stack: AsyncExitStack, tables: int, slow: str, given: argparse.Namespace
) -> dict[str, Any]:
    """The browser's clicks, while that many tables, and one against `slow` if it is named, play for some time."""
    crowd, playing = Crowd(), []
    players = [("mcts:100", "random")[table % 2] for table in range(tables)] + [slow] * bool(slow)
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        tabs = [await open_tab(server, stack, against) for against in players]
    opened = time.perf_counter() - began
    for number, (tab, against) in enumerate(zip(tabs, players, strict=True)):
        pause = 0.0 if against == slow else given.pause
        other = Mirror("connect_four", 100 + number)
        playing.append(asyncio.create_task(play_games(tab, other, crowd, against, pause)))
    meter = Meter(server)
    clicks = await click_through(page, mirror, given.clicks)
    await asyncio.sleep(max(0.0, given.seconds - (time.monotonic() - meter.began)) if tables else 0.0)
    read = meter.read()
    for task in playing:
        task.cancel()
    await asyncio.gather(*playing, return_exceptions=True)
    return {
        "tables": tables, "slow": slow, "own_ms": spread(clicks.own), "reply_ms": spread(clicks.reply),
        "tables_reply_ms": {against: spread(replies) for against, replies in crowd.replies.items()},
        "games": crowd.games, "failures": crowd.failures, "open_s": round(opened, 1), **read,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon the page answers a click.")
    parsers = parser.add_subparsers(dest="what", required=True)
    alone = parsers.add_parser("clicks")
    alone.add_argument("--games", nargs="+", default=["connect_four", "openspiel/go?board_size=19", "openspiel/chess"])
    alone.add_argument("--against", default="random")
    alone.add_argument("--clicks", type=int, default=100)
    crowd = parsers.add_parser("crowd")
    crowd.add_argument("--tables", type=int, default=50)
    crowd.add_argument("--slow", default="mcts:20000")
    crowd.add_argument("--pause", type=float, default=1.0, help="seconds, of each table, before a click")
    crowd.add_argument("--seconds", type=float, default=60.0, help="at least, with the tables")
    crowd.add_argument("--clicks", type=int, default=100, help="of the browser, in each measurement")
    server = parsers.add_parser("serve", description="The server's process; for this program itself.")
    server.add_argument("game")
    server.add_argument("against")
    given = parser.parse_args()
    if given.what == "serve":
        sys.exit(serve_game(given.game, given.against))
    if given.what == "crowd":
        asyncio.run(measure_crowd(given))
        return
    for game in given.games:
        print(json.dumps(asyncio.run(measure_clicks(game, given.against, given.clicks))), flush=True)


if __name__ == "__main__":
    main()
