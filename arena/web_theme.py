"""What every page has: its frame, its colours in light and dark, its style sheet. No page itself.

Colours are CSS variables which follow the theme, the reader's choice or else the system's. What is drawn as SVG uses
them too: `fill="var(--scene-seat0)"`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from games import scene

if TYPE_CHECKING:
    from nicegui import ui

ASSETS = Path(__file__).parent / "assets"
STYLE_PATH = "/assets/arena.css"

COLOURS: dict[str, tuple[str, str]] = {  # by role, on a light page and on a dark one
    "paper": ("#fbfbfa", "#15171b"),
    "surface": ("#ffffff", "#1d2025"),  # of panels and controls
    "ink": ("#1f2329", "#e6e8ec"),
    "faint": ("#5c6470", "#a0a7b3"),  # text of less weight; 4.5:1 on paper and surface
    "rule": ("#dfe2e7", "#343941"),
    "edge": ("#858d99", "#737b87"),  # of controls; 3:1 on paper and surface
    "accent": ("#1f5fa8", "#7fb2ec"),
    "fill": ("#1f5fa8", "#3672b5"),  # of buttons, under white
    "wash": ("#e9f0f9", "#22303f"),  # the accent as a background
    "good": ("#1d7a4c", "#63c08f"),
    "bad": ("#b3372c", "#f0897e"),
}

CONTROLS = {  # properties of Quasar -> what in nicegui.ui has them unless told otherwise
    "unelevated no-caps": ("button", "dropdown_button", "toggle"),
    "outlined dense": ("input", "number"),
    "outlined dense options-dense": ("select",),
    "dense": ("checkbox", "switch", "radio", "expansion"),
    "flat bordered": ("card",),
    "flat bordered dense": ("table",),
    "no-caps dense": ("tabs",),
}

HEAD = """<link rel="stylesheet" href="/assets/arena.css">
<script>
  (() => {
    const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
    const names = ["auto", "light", "dark"];
    const read = () => { try { return localStorage.getItem("arena-theme"); } catch { return null; } };
    const apply = () => {
      const chosen = names.includes(read()) ? read() : "auto";
      const dark = chosen === "dark" || (chosen === "auto" && system.matches);
      root.dataset.theme = chosen;
      root.dataset.dark = dark;
      window.Quasar?.Dark.set(dark);
      window.dispatchEvent(new CustomEvent("arena-theme", { detail: { dark } }));
    };
    window.nextTheme = () => {
      const next = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
      try { localStorage.setItem("arena-theme", next); } catch { root.dataset.theme = next; }
      apply();
    };
    system.addEventListener("change", apply);
    window.addEventListener("storage", apply);
    document.addEventListener("DOMContentLoaded", apply);
    apply();
  })();
</script>
"""
"""Of every page, before anything is drawn: else a dark page would flash white."""


def set_defaults() -> None:
    """Of all pages: the head, and plainer controls than NiceGUI's. Once in a process, before pages are built."""
    from nicegui import ui

    ui.add_head_html(HEAD, shared=True)
    for props, controls in CONTROLS.items():
        for control in controls:
            getattr(ui, control).default_props(props)


@contextmanager
def frame(title: str, links: Mapping[str, str]) -> Iterator[ui.element]:
    """The frame of a page around what is built inside: a header with `links` (text -> path), and the main column.

    `title` is shown on the browser's tab. Yields the main element.
    """
    from nicegui import ui

    ui.page_title(f"{title} – Arena")
    here = ui.context.client.page.path
    with ui.element("header").classes("arena-header"), ui.element("div").classes("arena-bar"):
        _link("Arena", "/").classes("arena-name")
        with ui.element("nav").props('aria-label="Pages"'):
            for text, path in links.items():
                _link(text, path).props('aria-current="page"' if path.partition("?")[0] == here else "")
        toggle = ui.element("button").classes("arena-theme").props('type="button"')
        with toggle.on("click", js_handler="() => window.nextTheme()"):
            for theme in ("auto", "light", "dark"):
                with ui.element("span").classes(theme):
                    ui.html(f"Theme: {theme}", sanitize=False, tag="span")
    with ui.element("main").classes("arena-main") as main:
        yield main


def _link(text: str, path: str) -> ui.link:
    from nicegui import ui

    return ui.link(text, path)


def style_sheet() -> str:
    """The CSS of all pages."""
    return variables(COLOURS) + scene_variables() + (ASSETS / "arena.css").read_text(encoding="utf-8")


def scene_variables() -> str:
    """Colours of boards by role as CSS variables: `--scene-ink` and so on."""
    return variables(scene.COLOURS, "scene-")


def variables(colours: Mapping[str, tuple[str, str]], prefix: str = "") -> str:
    lines = (f"  --{prefix}{role}: light-dark({light}, {dark});\n" for role, (light, dark) in colours.items())
    return ":root {\n" + "".join(lines) + "}\n"
