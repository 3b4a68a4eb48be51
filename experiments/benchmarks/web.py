"""The web server under load: N tabs open at once, and how long a click in one takes while all click.

    uv run python experiments/benchmarks/web.py [--tabs 50] [--clicks 20] [--bytes 20000]

A click goes over the websocket, changes an SVG of that size on the server, and comes back as an update; no browser
draws it and nobody thinks. Server and clients share the machine. Prints JSON: milliseconds to open a tab and to answer
a click (median and 95th percentile, one tab alone and all at once), megabytes of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin


def serve_page(size: int) -> int:
    """In the server's process: one page, whose button changes a picture."""
    from nicegui import ui
    from rich.console import Console

    from arena.web import serve
    from arena.web_theme import frame

    def page() -> None:
        with frame("Benchmark", {}):
            board = ui.html("", sanitize=False)
            count = iter(range(10**9))
            ui.button("go", on_click=lambda: board.set_content(f"<svg><!--{next(count)}{'x' * size}--></svg>"))

    return serve({"/": page}, port=0, browser=False, console=Console())


@dataclass
class Tab:
    socket: ClientConnection
    client: str
    event: dict[str, Any]
    clicks: int = 0

    async def click(self) -> float:
        """Seconds until the update is here."""
        began = time.perf_counter()
        await self.socket.send(f"42{json.dumps(['event', self.event])}")
        while True:
            message = str(await self.socket.recv())
            if message == "2":
                await self.socket.send("3")
            elif f"<!--{self.clicks}x" in message:
                self.clicks += 1
                return time.perf_counter() - began


async def open_tab(web: httpx.AsyncClient, stack: AsyncExitStack) -> Tab:
    page = (await web.get("/")).text
    client = re.findall(r"'client_id': '([^']+)'", page)[0]
    elements = json.loads(unescape(re.findall(r"parseElements\(String\.raw`(.*?)`\)", page, re.DOTALL)[0]))
    number, button = next((n, e) for n, e in elements.items() if e.get("props", {}).get("label") == "go")
    address = str(web.base_url).rstrip("/")
    query = f"client_id={client}&next_message_id=0&implicit_handshake=true&document_id=d&tab_id=t&old_tab_id="
    socket = await stack.enter_async_context(
        connect(
            f"{address.replace('http', 'ws')}/_nicegui_ws/socket.io/?EIO=4&transport=websocket&{query}",
            origin=Origin(address),
            additional_headers={"cookie": "; ".join(f"{name}={value}" for name, value in web.cookies.items())},
            compression=None,
        )
    )
    await socket.recv()
    await socket.send("40")
    await socket.recv()
    listener = button["events"][0]["listener_id"]
    return Tab(socket, client, {"id": int(number), "client_id": client, "listener_id": listener, "args": []})


async def measure(address: str, tabs: int, clicks: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(httpx.AsyncClient(base_url=address.split("?")[0], trust_env=False))
        await web.get(address)
        opened, opening = [], []
        for _ in range(tabs):
            began = time.perf_counter()
            opened.append(await open_tab(web, stack))
            opening.append(time.perf_counter() - began)
        alone = [await opened[0].click() for _ in range(clicks)]
        together = [t for _ in range(clicks) for t in await asyncio.gather(*(tab.click() for tab in opened))]
        return {"open_ms": spread(opening), "click_alone_ms": spread(alone), "click_all_ms": spread(together)}


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    middle, high = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]
    return {"median": round(1e3 * middle, 1), "p95": round(1e3 * high, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Clicks on many open pages at once.")
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--clicks", type=int, default=20, help="in each tab")
    parser.add_argument("--bytes", type=int, default=20_000, help="of a board's SVG")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        sys.exit(serve_page(given.bytes))
    command = [sys.executable, __file__, "--serve", "--bytes", str(given.bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1]
            measured = asyncio.run(measure(address, given.tabs, given.clicks))
            memory = psutil.Process(process.pid).memory_info().rss / 2**20
            print(json.dumps({"tabs": given.tabs, "bytes": given.bytes, **measured, "server_mb": round(memory)}))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
