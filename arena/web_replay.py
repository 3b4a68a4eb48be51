"""The pages of stored games: which there are, and one of them move by move, with what a player thinks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from nicegui import events, ui

from arena import replay
from arena.lobby import Lobby
from arena.match import Table
from arena.replay import Replay, Stored
from arena.sitting import Thought, acting_seats, thought
from arena.svg import Marks
from arena.viewer import PACE, lent, ways_at
from arena.web_board import Board, View
from arena.web_panels import Thoughts
from arena.web_threads import in_thread
from games import GameSpec
from games.names import UserError
from games.scene import EVERYTHING, Place, Scene, scene_of

LISTED = 200  # games on the page, the newest
ANYBODY = ""

_ON_MOVE = """(event) => {
  const move = event.target.closest("[data-step]");
  if (move) emit(Number(move.dataset.step));
}"""
_FOLLOW = """setTimeout(() => {
  const move = document.querySelector("[data-step][aria-current]"), list = move?.closest("ol");
  if (!move) return;
  const above = move.getBoundingClientRect().top - list.getBoundingClientRect().top;
  list.scrollTop += above - list.clientHeight / 2;
  if (JUMPED) move.focus({ preventScroll: true });
}, 50)"""
"""Once the list of moves is drawn, the one that is shown is in its middle, and has the focus where it was JUMPED to."""


def address(stored: Stored) -> str:
    return f"/replay?{urlencode({'match': stored.match, 'game': stored.game})}"


def games_page(folder: Path, a: str, b: str) -> None:
    """The newest games of `a`, of `a` and `b` together, or of anybody, stored in `folder`."""
    with replay.archive(folder) as archive:
        players = archive.players()
        for name in filter(None, (a, b)):
            if name not in players:
                ui.label(f"Nobody called {name} has played here.").classes("bad")
                a, b = ANYBODY, ANYBODY
        found = archive.games(a or None, b or None, last=LISTED)
        spec = archive.spec
    ui.label("Games").classes("h1")
    with ui.element("div").classes("row"):
        for label, chosen, other in (("Player", a, b), ("against", b, a)):
            names = {ANYBODY: "anybody", **{name: name for name in players}}
            picked = ui.select(names, label=label, value=chosen).props("dense outlined options-dense behavior=menu")
            picked.style("min-width: 11rem")
            first = label == "Player"
            picked.on_value_change(
                lambda event, other=other, first=first: ui.navigate.to(
                    "/games?" + urlencode({"a": event.value, "b": other} if first else {"a": other, "b": event.value})
                )
            )
    if not found:
        ui.label("They have not met yet.").classes("quiet")
        return
    rows = "".join(_row(stored, spec) for stored in reversed(found))
    heads = "".join(f"<th>{name}</th>" for name in ("game", "for", "players", "result", "steps"))
    table = f'<table class="table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    ui.html(f'<div class="scroll-x">{table}</div>', sanitize=False)
    if len(found) == LISTED:
        ui.label(f"The newest {LISTED} are shown.").classes("quiet")


def _row(stored: Stored, spec: GameSpec) -> str:
    called = f"{stored.match}.{stored.game}"
    link = f'<a href="{escape(address(stored))}">{called}</a>' if stored.kept else called
    players = " – ".join(stored.lineup)
    cells = (link, stored.purpose, escape(players), escape(stored.in_words(spec)), str(stored.length))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


class ReplayPage:
    """One stored game in one tab."""

    def __init__(self, played: Replay, lobby: Lobby) -> None:
        self.played, self.lobby, self.names = played, lobby, played.names
        self.step, self.playing, self.gone = 0, False, False
        self.turning = False  # pages, in a thread
        self.jumped = False  # by the list of moves
        self.eyes = EVERYTHING
        self.thinking = ""  # the reference of who is asked what they think
        self.thoughts: dict[int, Thought] = {}
        self._build()

    def _build(self) -> None:
        played, spec = self.played, self.played.game.spec
        ui.context.client.on_delete(self._leave)
        ui.keyboard(on_key=self._key, repeating=True)
        with ui.element("div").classes("split play"):
            with ui.element("div").classes("stack"):
                ui.label(" – ".join(self.names)).classes("h1")
                if played.problem is not None:
                    ui.label(played.problem).classes("bad")
                self.board = Board(self._clicked)
                self.status = ui.label().classes("play-status").props("role=status aria-live=polite")
                self.slider = ui.slider(min=0, max=max(played.steps, 1), step=1, value=0)
                self.slider.props('dense aria-label="Step"').on_value_change(self._slid)
                with ui.element("div").classes("row"):
                    for name, way in (("First", -played.steps), ("Back", -1), ("Next", 1), ("Last", played.steps)):
                        ui.button(name, on_click=lambda _, way=way: self.turn(self.step + way)).props(
                            "outline dense no-caps"
                        )
                    self.auto = ui.button("Play", on_click=self.autoplay).props("outline dense no-caps")
            with ui.element("div").classes("stack"):
                with ui.element("div").classes("row"):
                    self.asked = ui.select({}, label="Who is asked", on_change=self._ask)
                    self.asked.props("behavior=menu").classes("play-name")
                    if not spec.perfect_information:
                        eyes = {EVERYTHING: "everything", **{seat: self.names[seat] for seat in range(spec.seats)}}
                        seen = ui.select(eyes, label="Seen by", value=EVERYTHING, on_change=self._see)
                        seen.props("behavior=menu")
                self.analysis = Thoughts(self.look, "Whoever is asked cannot say what they think of it.")
                with ui.element("section").classes("card").props('aria-label="Moves"'):
                    ui.label("Moves").classes("h2")
                    self.moves = ui.html("", sanitize=False).classes("play-record numbers")
                    self.moves.on("click", self._jumped, js_handler=_ON_MOVE)
                    self.moves.on("keydown.enter", self._jumped, js_handler=_ON_MOVE)

    async def start(self) -> None:
        """Find out who may be asked, and show the first position."""
        self.asked.set_options({each.reference: each.name for each in await in_thread(self.lobby.players)})
        in_it = [self.lobby.full(name.partition("?")[0]) for name in self.played.stored.lineup]
        self.asked.set_value(next((name for name in in_it if name in self.asked.options), None))
        await self.look()

    # ---- what the reader does

    async def turn(self, step: int) -> None:
        step = min(max(step, 0), self.played.steps)
        if self.turning or step == self.step:
            return
        self.step = step
        await self.look()

    async def autoplay(self) -> None:
        self.playing = not self.playing
        while self.playing and not self.gone and self.step < self.played.steps:
            self.auto.set_text("Pause")
            await self.turn(self.step + 1)
            await asyncio.sleep(PACE)
        self.playing = False
        self.auto.set_text("Play")

    async def _slid(self, event: events.ValueChangeEventArguments[float | None]) -> None:
        await self.turn(int(event.value or 0))

    async def _jumped(self, event: events.GenericEventArguments) -> None:
        if isinstance(event.args, int):
            self.jumped = True
            await self.turn(event.args)

    async def _key(self, event: events.KeyEventArguments) -> None:
        ways = {"ArrowLeft": -1, "ArrowRight": 1, "Home": -self.played.steps, "End": self.played.steps}
        way = ways.get(event.key.name or "")
        if event.action.keydown and way is not None and not event.modifiers.alt:
            await self.turn(self.step + way)

    async def _clicked(self, place: int) -> None:
        """The board is only looked at."""

    async def _ask(self, event: events.ValueChangeEventArguments[str | None]) -> None:
        self.thinking, self.thoughts = event.value or "", {}
        await self.look()

    async def _see(self, event: events.ValueChangeEventArguments[int]) -> None:
        self.eyes = int(event.value)
        await self.look()

    def _leave(self) -> None:
        self.gone = True

    # ---- what is shown

    async def look(self) -> None:
        if self.turning or self.gone:
            return
        self.turning = True
        try:
            scene, text, last, table = await in_thread(self._position)
            if self.analysis.wanted and self.thinking:
                await in_thread(self._think, table)
        except UserError as error:
            self.status.set_text(str(error))
            return
        finally:
            self.turning = False
        self._show(scene, text, last, table)

    def _position(self) -> tuple[Scene | None, str, list[Place], Table]:
        """What is seen after `step` steps, and where the last of them was made."""
        step, played = self.step, self.played
        last = ways_at(played.table(step - 1), played.moves[step - 1], self.eyes) if step else []
        table = played.table(step)
        scene = scene_of(table.game, table.states, 0, self.eyes)
        return scene, "" if scene else table.game.text(table.states, 0, max(self.eyes, 0)), last, table

    def _think(self, table: Table) -> None:
        if self.step in self.thoughts or table.over[0]:
            return
        policy = self.lobby.occupant(self.thinking).policy
        found = None if policy is None else thought(table, policy, acting_seats(table)[0])
        if found is not None:
            self.thoughts[self.step] = found

    def _show(self, scene: Scene | None, text: str, last: Sequence[Place], table: Table) -> None:
        played, spec = self.played, table.game.spec
        thought_of = self.thoughts.get(self.step)
        heat = self.analysis.heat(thought_of)
        if scene is not None and thought_of is not None and heat and self.eyes == EVERYTHING:
            scene = lent(scene, scene_of(table.game, table.states, 0, thought_of.seat))
        title = f"{spec.name} after {self.step} of {played.steps} steps"
        self.board.show(View(scene, text, title, Marks(last=last, heat=heat), clickable=False))
        if self.analysis.wanted:
            self.analysis.show(table, self.names, self.thoughts, played.steps)
        self.slider.set_value(self.step)
        self.status.set_text(self._said())
        self.moves.set_content(_moves(played.moves_in_words(), self.step, played.opening))
        ui.run_javascript(_FOLLOW.replace("JUMPED", str(self.jumped).lower()))
        self.jumped = False

    def _said(self) -> str:
        played = self.played
        if self.step < played.steps or played.problem is not None:
            opening = " It was drawn at random, as an opening." if 0 < self.step <= played.opening else ""
            return f"After {self.step} of {played.steps} steps.{opening}"
        return played.stored.in_words(played.game.spec)


def _moves(words: Sequence[str], step: int, opening: int) -> str:
    """The moves as a list: a click goes to the position after it."""
    rows = []
    for number, said in enumerate(words, 1):
        now = ' aria-current="step"' if number == step else ""
        kind = ' class="quiet"' if number <= opening else ""
        rows.append(f'<li{kind}><a role="button" tabindex="0" data-step="{number}"{now}>{escape(said)}</a></li>')
    return f"<ol>{''.join(rows)}</ol>"
