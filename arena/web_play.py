"""The page where people play: a board, what is thought of it, who sits where, and what was played.

Each tab has a sitting of its own. Agents think in threads, so a slow one never holds up another tab; while they do, the
tab's own controls only say so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from nicegui import ui

from arena.clicks import Way, follow, targets, ways_of, why_not
from arena.lobby import Lobby, Seatable
from arena.seating import Invitation, Keep
from arena.sitting import Occupant, Sitting, Thought
from arena.svg import Marks
from arena.viewer import Viewer
from arena.web_board import Board, View
from arena.web_panels import SeatPanel, Thoughts
from arena.words import find_move, in_words
from games import GameError
from games.keys import mix
from games.names import UserError, split_settings
from games.scene import Scene, scene_of

Result = TypeVar("Result")
THREADS = ThreadPoolExecutor(64, thread_name_prefix="thinking")
"""Where agents think. More than there are cores: most of them wait for a policy that another table uses."""

LISTED = 80  # moves offered as buttons; more are typed
PAUSE = 0.7  # seconds between two moves of agents that are watched
PERSON = ""  # in place of a player's reference


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(THREADS, work, *arguments)


class PlayPage:
    """One tab."""

    def __init__(self, lobby: Lobby, invitation: Invitation, keep: Keep, stored: Path) -> None:
        """`stored` is the folder whose games the page of replays shows."""
        self.lobby, self.keep, self.stored = lobby, keep, stored
        self.person, self.seed = invitation.person, invitation.seed
        self.seats: list[SeatPanel] = []
        self.viewer: Viewer | None = None
        self.scene: Scene | None = None
        self.text = ""  # the board in words, where there is no scene
        self.ways: Mapping[int, Way] = {}  # of the moves that may be clicked
        self.chosen: Way = ()  # clicked so far, of a move that takes more
        self.hinted: int | None = None
        self.offered: tuple[int, ...] = ()  # moves that one way on the board stands for, to be named
        self.game_seed = 0
        self.busy = self.playing = self.gone = False
        self._build(invitation)

    # ---- what is on the page

    def _build(self, invitation: Invitation) -> None:
        ui.context.client.on_delete(self._leave)
        with ui.element("div").classes("split play"):
            with ui.element("div").classes("stack"):
                self.heading = ui.label(self.lobby.spec.name).classes("h1")
                self.board = Board(self.click)
                self.status = (
                    ui.label("Laying the table …").classes("play-status").props("role=status aria-live=polite")
                )
                self.again = ui.link("Replay this game", "/replay")
                self.moves = ui.element("div").classes("row play-moves").props('role=group aria-label="Legal moves"')
                with ui.element("div").classes("row"):
                    self.typed = ui.input("Type a move").props("dense outlined").classes("play-typed")
                    self.typed.on("keydown.enter", self.type)
                    self.buttons = {
                        "hint": self._button("Hint", self.hint),
                        "undo": self._button("Take back", self.take_back),
                        "step": self._button("Step", self.step),
                        "auto": self._button("Play on", self.autoplay),
                        "new": self._button("New game", self.new_game),
                    }
            with ui.element("div").classes("stack"):
                with ui.element("section").classes("card").props('aria-label="Who plays"'):
                    self._build_seats(invitation)
                self.thoughts = Thoughts(self.go_on)
                with ui.element("section").classes("card").props('aria-label="Moves"'):
                    ui.label("Moves").classes("h2")
                    self.record = ui.html("", sanitize=False).classes("play-record numbers")

    def _build_seats(self, invitation: Invitation) -> None:
        ui.label("Who plays").classes("h2")
        self.players: list[Seatable] = []
        for seat in range(self.lobby.spec.seats):
            panel = SeatPanel(seat, self.reseat)
            if seat != invitation.seat:
                panel.reference, panel.settings = split_settings(self.lobby.full(invitation.against))
            self.seats.append(panel)
        with ui.element("div").classes("row"):
            self.buttons_seats = self._button("Switch seats", self.switch)
            self.name = ui.input("Your name on the ladder", value=self.person, placeholder="guest")
            self.name.props("dense outlined maxlength=32").classes("play-name").on("change", self._renamed)

    def _button(self, text: str, act: Callable[[], Awaitable[None]]) -> ui.button:
        return ui.button(text, on_click=act).props("outline dense no-caps")

    def _leave(self) -> None:
        self.gone = True

    def _renamed(self) -> None:
        self.person = str(self.name.value or "").strip()

    # ---- what people do

    @property
    def sitting(self) -> Sitting | None:
        return None if self.viewer is None else self.viewer.sitting

    async def start(self) -> None:
        """Find out who can play, and begin."""
        self.players = await in_thread(self.lobby.players)
        for panel in self.seats:
            panel.offer(self.players)
        await self.new_game()

    async def new_game(self) -> None:
        if self._refused():
            return
        seed = secrets.randbits(63) if self.seed is None else self.seed
        self.seed, self.playing = None, False
        self.again.set_visibility(False)
        self.thoughts.clear()
        await self._with_occupants(lambda occupants: self._lay(occupants, seed))

    async def reseat(self) -> None:
        """Others sit down, by the panels; the game goes on."""
        if self._refused():
            return
        sitting = self.sitting
        if sitting is None or sitting.over:
            await self.new_game()
            return
        await self._with_occupants(sitting.seat_down)

    async def switch(self) -> None:
        if self._refused():
            return
        chosen = [(panel.reference, panel.settings) for panel in self.seats]
        for panel, (reference, settings) in zip(self.seats, [chosen[-1], *chosen[:-1]], strict=True):
            panel.reference, panel.settings = reference, settings
            panel.offer(self.players)
        await self.reseat()

    async def click(self, place: int) -> None:
        if self._refused() or self.sitting is None:
            return
        if not self.sitting.waiting:
            self.say("The game is over." if self.sitting.over else "No person is to move now.")
            return
        clicked = follow(self.ways, self.chosen, place)
        if clicked is None:
            assert self.scene is not None
            self.say(why_not(self.scene, self.chosen, place))
        elif len(clicked.actions) == 1 and not clicked.chosen:
            await self.move(clicked.actions[0])
        else:
            self.chosen = clicked.chosen
            self.offered = tuple(
                each for each in clicked.actions if self.ways[each] == clicked.chosen or not self.chosen
            )
            self._draw()

    async def type(self) -> None:
        """The move that was typed, by name or as much of it as is clear."""
        sitting, typed = self.sitting, str(self.typed.value or "").strip()
        if not typed or self._refused() or sitting is None or not sitting.waiting:
            return
        seat = sitting.waiting[0]
        found = find_move(typed, sitting.move_names(seat))
        if isinstance(found, str):
            self.say(found)
            return
        self.typed.set_value("")
        await self.move(sitting.legal(seat)[found])

    async def move(self, action: int) -> None:
        sitting = self.sitting
        if self._refused() or sitting is None or not sitting.waiting:
            return
        try:
            sitting.choose(sitting.waiting[0], action)
        except GameError as error:
            self.say(str(error))
            return
        await self.go_on()

    async def take_back(self) -> None:
        if self._refused() or self.viewer is None:
            return
        if not self.viewer.sitting.can_undo:
            self.say("There is nothing to take back yet.")
            return
        self.playing = False
        await self._busily(self.viewer.undo)
        await self.go_on()

    async def hint(self) -> None:
        sitting = self.sitting
        if self._refused() or sitting is None:
            return
        if not sitting.waiting or sitting.adviser is None:
            self.say("No agent sits at the table to be asked." if sitting.waiting else "No person is to move now.")
            return
        seat = sitting.waiting[0]
        found = await self._busily(sitting.hint, seat)
        if found is None:
            return
        action, analysis = found
        self.hinted = action
        name = sitting.game.action_name(sitting.table.states, 0, seat, action)
        if analysis is not None:
            earned = float(sitting.table.returns[0, seat])
            self.thoughts.show_hint(sitting.table, sitting.names, Thought(seat, analysis, earned))
        self._draw()
        self.say(f"{sitting.names[sitting.adviser]} would play {name} in your place.")

    async def step(self) -> None:
        """One move of agents that are watched."""
        self.playing = False
        await self.go_on(1)

    async def autoplay(self) -> None:
        self.playing = not self.playing
        await self.go_on()

    async def uncover(self) -> None:
        """The person whom the board is covered for is there."""
        if self.viewer is not None and not self._refused():
            self.viewer.unveil()
            await self.look()

    # ---- how the game goes on

    async def go_on(self, steps: int = 0) -> None:
        """Until a person must choose; agents among themselves play `steps`, or on and on while `playing`."""
        viewer = self.viewer
        if viewer is None or self.busy:
            return
        sitting = viewer.sitting
        self.hinted = None
        await self.look()
        while not (self.gone or sitting.over or sitting.waiting) and (sitting.people or self.playing or steps > 0):
            await self._think()
            before = sitting.steps
            await self._busily(viewer.advance)
            if sitting.steps == before:
                break
            steps -= 1
            await self.look()
            if not sitting.people and self.playing:
                await asyncio.sleep(PAUSE)
            if viewer is not self.viewer:
                return
        self.playing &= not sitting.over
        await self._think()
        if sitting.over and sitting.failure is None:
            await self._keep(sitting)

    async def _keep(self, sitting: Sitting) -> None:
        """The game is over: it goes where it belongs, which is said."""
        kept = await self._busily(self.keep, sitting, self.game_seed)
        if kept is None:
            return
        self.say(f"{self.status.text} {kept.sentence}")
        if kept.match is not None and kept.folder == self.stored:
            self.again.props(f'href="/replay?match={kept.match}&game=0"')
            self.again.set_visibility(True)

    async def _think(self) -> None:
        sitting = self.sitting
        if sitting is None or not self.thoughts.wanted or self.gone:
            return
        if not sitting.over:
            await self._busily(sitting.think)
        self.thoughts.show(sitting.table, sitting.names, sitting.thoughts, sitting.steps)
        self._draw()

    async def _with_occupants(self, seat_them: Callable[[Sequence[Occupant]], None]) -> None:
        """Let those whom the panels name sit down, then go on; what cannot be is said, and changes nothing."""
        self.say("Loading …")

        def sit() -> bool:
            occupants = [
                Occupant(self.person or "guest")
                if panel.reference == PERSON
                else self.lobby.occupant(panel.reference, panel.settings)
                for panel in self.seats
            ]
            seat_them(occupants)
            return True

        if await self._busily(sit):
            await self.go_on()

    def _lay(self, occupants: Sequence[Occupant], seed: int) -> None:
        self.viewer = Viewer(Sitting(self.lobby.game(), occupants, int(mix(seed, 0))))
        self.game_seed = seed

    async def _busily(self, work: Callable[..., Result], *arguments: Any) -> Result | None:
        """What `work` returns, done in a thread; None, and the reason said, where it cannot be done."""
        self.busy = True
        try:
            return await in_thread(work, *arguments)
        except UserError as error:
            self.say(str(error))
            return None
        finally:
            self.busy = False

    def _refused(self) -> bool:
        if self.busy:
            self.say("One moment: it is thinking.")
        return self.busy

    # ---- what is shown

    async def look(self) -> None:
        """Take the board in through the eyes of whoever may see it now, and show it."""
        viewer = self.viewer
        if viewer is None or self.gone:
            return
        sitting = viewer.sitting
        viewer.settle()
        if viewer.curtain is None:
            self.scene, self.text = await in_thread(_seen, sitting, viewer.eyes)
            self.ways = ways_of(self.scene, sitting.legal(sitting.waiting[0]) if sitting.waiting else [])
        self.chosen, self.offered = (), ()
        self._draw()
        self.say(self._state(sitting))

    def _draw(self) -> None:
        viewer = self.viewer
        if viewer is None or self.gone:
            return
        sitting, seen = viewer.sitting, viewer.curtain is None
        waiting = seen and bool(sitting.waiting)
        marks = Marks(
            last=viewer.last,
            chosen=self.chosen,
            targets=targets(self.ways, self.chosen),
            heat=self.thoughts.heat(sitting.thoughts.get(sitting.steps)),
            hint=self.hinted,
        )
        title = f"{sitting.spec.name} after {sitting.steps} steps"
        text = self.text if seen else "The board is covered."
        self.board.show(View(self.scene if seen else None, text, title, marks, clickable=not sitting.over))
        self._draw_moves(viewer)
        watching = not sitting.people
        for name, shown in (("hint", not watching), ("undo", not watching), ("step", watching), ("auto", watching)):
            self.buttons[name].set_visibility(shown)
        self.buttons["auto"].set_text("Pause" if self.playing else "Play on")
        self.typed.set_visibility(waiting)
        self.record.set_content(_record(viewer))

    def _draw_moves(self, viewer: Viewer) -> None:
        """Moves to be named: those that share a way, else those that no click reaches."""
        sitting = viewer.sitting
        self.moves.clear()
        with self.moves:
            if viewer.curtain is not None:
                self._button(f"I am {sitting.names[viewer.curtain]}: show me the board", self.uncover)
            elif sitting.waiting:
                seat = sitting.waiting[0]
                unplaced = [action for action in sitting.legal(seat) if action not in self.ways]
                for action in self.offered or unplaced[:LISTED]:
                    name = sitting.game.action_name(sitting.table.states, 0, seat, action)
                    self._button(name, partial(self.move, action))

    def _state(self, sitting: Sitting) -> str:
        if sitting.failure is not None:
            return f"The game broke after {sitting.steps} steps and has no result: {sitting.failure}"
        if sitting.over:
            returns = sitting.table.returns[0]
            told = in_words(sitting.spec, returns, sitting.names, sitting.people, truncated=sitting.truncated)
            return " ".join(told)
        if not sitting.waiting:
            acting = " and ".join(sitting.names[seat] for seat in sitting.acting)
            return f"{acting} to move." if not sitting.people else f"{acting} is thinking …"
        name = sitting.names[sitting.waiting[0]]
        return "Your move." if name == "you" else f"{name} to move."

    def say(self, sentence: str) -> None:
        if not self.gone:
            self.status.set_text(sentence)


def _seen(sitting: Sitting, seat: int) -> tuple[Scene | None, str]:
    scene = scene_of(sitting.game, sitting.table.states, 0, seat)
    return scene, "" if scene is not None else sitting.game.text(sitting.table.states, 0, max(seat, 0))


def _record(viewer: Viewer) -> str:
    """The moves so far as a list, as far as they may be told."""
    names = viewer.sitting.names
    rows = [
        ", ".join(f"<b>{escape(names[seat])}</b> {escape(move)}" for seat, move in viewer.told(step).items())
        for step in viewer.sitting.line
    ]
    return f"<ol>{''.join(f'<li>{row}</li>' for row in rows)}</ol>"
