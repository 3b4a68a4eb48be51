"""The web server: pages built with NiceGUI, served to browsers on this machine. What is on a page it does not know.

One process serves once: NiceGUI keeps its pages in module state. All rules on who may ask for what are in
`arena.web_guard`. Nothing is fetched from anywhere else: NiceGUI brings its scripts, and this folder its style sheet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import inspect
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from arena import web_theme
from arena.interrupts import EXIT
from arena.web_guard import Guard
from games.names import UserError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI
    from rich.console import Console

LARGEST_MESSAGE = 64 * 1024  # bytes that a browser may send at once
BUILDING = 30.0  # seconds that a page may take before it is shown
GRACE = 0.5  # seconds from the end of the server to that of the process, where threads still think
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::")


def serve(
    pages: Mapping[str, Callable[..., Any]],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    browser: bool = True,
    console: Console,
    patience: float = 10.0,
    tabs: int = 500,
) -> int:
    """Serve `pages` until Ctrl-C or SIGTERM; returns the exit code, 130 or 143.

    pages: path -> what builds the page, anew for each tab, with `nicegui.ui`; its arguments are the query's parameters.
    port: 0 takes any that is free. Raises UserError where it is taken.
    browser: open the first page there.
    patience: seconds that a tab which is gone may take to come back; then its page is forgotten.
    tabs: that may be open at once.
    """
    import uvicorn

    sys.setswitchinterval(0.0005)  # of threads that think, which would hold up each answer for 5 ms a time otherwise
    listening = _bind(host, port)
    port = int(listening.getsockname()[1])
    guard = Guard(
        _application(pages, patience),
        port=port,
        hosts=_names(host, port),
        token=secrets.token_urlsafe(32),
        paths=(*pages, "/favicon.ico", web_theme.STYLE_PATH),
        tabs=tabs,
    )
    config = uvicorn.Config(
        guard,
        http="h11",  # holds headers to a limit
        h11_max_incomplete_event_size=32 * 1024,
        ws="websockets-sansio",
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_interval=None,  # socket.io has its own
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    address = _address(host, port)

    def ready() -> None:
        console.print(f"Open {address}?token={guard.token.decode()}", markup=False, highlight=False, soft_wrap=True)
        if host not in _LOOPBACK:
            console.print("Whoever can reach this machine and has this address can play. It is not encrypted.")
        if browser and _can_show():
            threading.Thread(target=webbrowser.open, args=(f"{address}?token={guard.ticket()}",), daemon=True).start()

    return _run(uvicorn.Server(config), listening, ready)


def _application(pages: Mapping[str, Callable[..., Any]], patience: float) -> FastAPI:
    """NiceGUI with these pages, its noise and its polling turned off, as an ASGI application."""
    from fastapi import FastAPI, Response
    from nicegui import app, core, ui

    log = logging.getLogger("nicegui")
    log.setLevel(logging.ERROR)
    log.addFilter(lambda record: not isinstance(record.msg, UserError))  # is told on the page
    app.config.socket_io_js_transports = ["websocket"]
    core.sio.eio.transports = ["websocket"]
    core.sio.eio.cors_allowed_origins = []  # none are named, so that no header says whom else we trust
    web_theme.set_defaults()
    for path, build in pages.items():
        ui.page(path, response_timeout=BUILDING)(_told(build))
    outer = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    css = web_theme.style_sheet()

    @outer.get(web_theme.STYLE_PATH)
    def style() -> Response:
        return Response(css, media_type="text/css", headers={"cache-control": "no-cache"})

    ui.run_with(
        outer,
        title="Arena",
        favicon=web_theme.ASSETS / "favicon.svg",
        dark=None,
        language="en-US",
        reconnect_timeout=patience,
        message_history_length=100,
        tailwind=False,
        gzip_middleware_factory=None,
        show_welcome_message=False,
    )
    return outer


def _told(build: Callable[..., Any]) -> Callable[..., Any]:
    """`build`, and what goes wrong in it or on its page told to whoever looks, in a sentence."""
    from nicegui import ui

    @functools.wraps(build)
    async def page(*arguments: Any, **query: Any) -> Any:
        ui.on_exception(lambda error: ui.notify(_sentence(error), type="negative"))
        try:
            built = build(*arguments, **query)
            return await built if inspect.isawaitable(built) else built
        except Exception as error:  # whatever it is, it ends this page only
            if not isinstance(error, UserError):
                logging.getLogger("nicegui").exception("The page %s broke.", ui.context.client.page.path)
            ui.context.client.status_code = 400 if isinstance(error, UserError) else 500
            ui.context.client.content.clear()
            with web_theme.frame("Error", {}):
                ui.label(_sentence(error))
            return None

    return page


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else "This went wrong; the terminal shows where."


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UserError(f"There is no port {port}: --port goes from 0 (any that is free) to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise UserError(f"There is no host {host!r}: --host is an address of this machine, as in 127.0.0.1.") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"Port {port} is taken: choose another with --port; --port 0 takes a free one.") from None
        raise UserError(f"Port {port} of {host} cannot be opened: {error.strerror}.") from None
    return listening


def _names(host: str, port: int) -> set[str]:
    """What may be written in an address for this server, with its port."""
    import psutil

    names = {"127.0.0.1", "localhost", host}
    if host in _EVERYWHERE:
        addresses = (address for card in psutil.net_if_addrs().values() for address in card)
        inet = (socket.AF_INET, socket.AF_INET6)
        names |= {socket.gethostname(), *(a.address.partition("%")[0] for a in addresses if a.family in inet)}
    return {_place(name.lower(), port) for name in names}


def _address(host: str, port: int) -> str:
    return f"http://{_place(socket.gethostname().lower() if host in _EVERYWHERE else host.lower(), port)}/"


def _place(name: str, port: int) -> str:
    """As a browser writes it: without the port that it takes anyway."""
    name = f"[{name}]" if ":" in name else name
    return name if port == 80 else f"{name}:{port}"


def _can_show() -> bool:
    """Whether a browser would have a screen; without one, a text browser would take the terminal."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _run(server: uvicorn.Server, listening: socket.socket, ready: Callable[[], None]) -> int:
    """Serve until a signal comes, and return its exit code; calls `ready` once requests are answered."""
    setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010  # it would raise them again at the end
    codes: list[int] = []

    def stop(number: int, frame: object) -> None:
        codes.append(EXIT[signal.Signals(number).name])
        server.should_exit = True

    async def run() -> None:
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started and not server.should_exit:
            ready()
        await serving

    threads = set(threading.enumerate())
    before = {name: signal.signal(getattr(signal, name), stop) for name in EXIT}
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.2))
        loop.close()
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
    code = codes[0] if codes else 0
    if any(thread.is_alive() and not thread.daemon for thread in set(threading.enumerate()) - threads):
        _end_soon(code)
    return code


def _end_soon(code: int) -> None:
    """Python waits at its end for threads, also for one that thinks for minutes: so much time it does not get."""
    timer = threading.Timer(GRACE, os._exit, (code,))
    timer.daemon = True
    timer.start()
