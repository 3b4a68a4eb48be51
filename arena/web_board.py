"""A board on a page: its picture, the layer that is clicked, and what is shown where a game cannot be drawn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from nicegui import events, ui

from arena.clicks import Way, targets
from arena.svg import Marks, layer, picture
from arena.web_theme import ASSETS
from games.scene import Scene

STYLE = ASSETS / "play.css"
_LARGE = 36  # places: on smaller boards it is plain to see where one may go

_ON_CLICK = """(event) => {
  const place = event.target.closest("[data-place]");
  if (place) emit(Number(place.dataset.place));
}"""
_ON_KEY = """(event) => {
  const place = event.target.closest("[data-place]");
  if (!place) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    emit(Number(place.dataset.place));
    return;
  }
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if (!dx && !dy) return;
  event.preventDefault();
  let nearest = null, least = Infinity;
  for (const other of place.parentElement.querySelectorAll("[data-place]")) {
    const x = other.dataset.x - place.dataset.x, y = other.dataset.y - place.dataset.y;
    const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
    if (along > 1e-6 && along + 3 * across < least) [nearest, least] = [other, along + 3 * across];
  }
  if (!nearest) return;
  place.tabIndex = -1;
  nearest.tabIndex = 0;
  nearest.focus();
}"""
"""The arrows go to the nearest place that way; Enter and space click it."""

_LABEL = "The board: arrow keys and Enter"
"""Always the same, as the layer is sent anew when anything in it changes, and the focus would be lost."""


@dataclass(frozen=True, slots=True)
class View:
    """What one pair of eyes sees of a game."""

    scene: Scene | None
    text: str = ""  # where there is no scene
    title: str = "The board"  # for those who cannot see it
    marks: Marks = field(default_factory=Marks)
    clickable: bool = True


class Board:
    """The element. `show` draws; clicks and keys come back as the number of a place."""

    def __init__(self, on_place: Callable[[int], Awaitable[None]]) -> None:
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        self._on_place = on_place
        self._shown: dict[ui.html | ui.label, str] = {}
        with ui.element("div").classes("board"):
            self._picture = ui.html("", sanitize=False)
            self._layer = ui.html("", sanitize=False).classes("board-clicks")
            self._layer.on("click", self._placed, js_handler=_ON_CLICK)
            self._layer.on("keydown", self._placed, js_handler=_ON_KEY)
            self._text = ui.label().classes("board-text mono")

    def show(self, view: View) -> None:
        scene = view.scene
        self._set(self._picture, "" if scene is None else picture(scene, view.marks, view.title))
        clickable = scene is not None and view.clickable and bool(scene.places)
        self._set(self._layer, layer(scene, _LABEL) if scene is not None and clickable else "")
        self._set(self._text, view.text if scene is None else "")
        self._picture.set_visibility(scene is not None)
        self._layer.set_visibility(clickable)
        self._text.set_visibility(scene is None)

    def _set(self, element: ui.html | ui.label, content: str) -> None:
        """Only what has changed is sent, so that the keyboard's focus is not lost."""
        if self._shown.get(element) == content:
            return
        self._shown[element] = content
        if isinstance(element, ui.label):
            element.set_text(content)
        else:
            element.set_content(content)

    async def _placed(self, event: events.GenericEventArguments) -> None:
        if isinstance(event.args, int):
            await self._on_place(event.args)


def aims(scene: Scene | None, ways: Mapping[int, Way], chosen: Way) -> list[int]:
    """The places to be marked as those that may be clicked next: of a move of one click where they are few of many."""
    if chosen or scene is None or len(scene.places) < _LARGE or any(len(way) > 1 for way in ways.values()):
        return targets(ways, chosen)
    first = sorted({way[0] for way in ways.values()})
    return first if 4 * len(first) <= len(scene.places) else []
