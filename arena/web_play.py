"""The page where people play: a board, what is thought of it, who sits where, and what was played.

Each tab has a table of its own, which is kept for a while under an id in the tab's address: so a tab that is loaded
again comes back to its game. Agents think in threads, so a slow one never holds up another table; while they do, the
table's own controls only say so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nicegui import ui

from arena import people
from arena.clicks import Way, follow, ways_of, why_not
from arena.lobby import Lobby
from arena.seating import Invitation, Keep
from arena.sitting import Occupant, Sitting, Thought
from arena.svg import Marks
from arena.tables import Chosen, Laid, Tables
from arena.viewer import PACE, Viewer
from arena.web_board import Board, View, aims
from arena.web_panels import Controls, Offers, Seats, Thoughts, record, state
from arena.web_threads import Result, in_thread
from arena.words import find_move
from games import GameError
from games.keys import mix
from games.names import UserError, split_settings
from games.scene import Scene

PERSON = ""  # in place of a player's reference


TABLES = Tables()


class PlayPage:
    """One tab."""

    def __init__(self, lobby: Lobby, invitation: Invitation, keep: Keep, stored: Path) -> None:
        """`stored` is the folder whose games the page of replays shows."""
        self.lobby, self.keep, self.stored = lobby, keep, stored
        table = ui.context.client.request.query_params.get("table", "")
        self.laid = TABLES.find(table) or _lay_for(invitation, lobby)
        self.table = TABLES.keep(self.laid, table if TABLES.find(table) else "")
        self.scene: Scene | None = None
        self.text = ""  # the board in words, where there is no scene
        self.seen: tuple[Viewer, int] | None = None  # the game that is shown, after so many steps
        self.ways: Mapping[int, Way] = {}  # of the moves that may be clicked
        self.chosen: Way = ()  # clicked so far, of a move that takes more
        self.hinted: int | None = None
        self.offered: tuple[int, ...] = ()  # moves that one way on the board stands for, to be named
        self.round = 0  # which call of `go_on` is the latest
        self.pondering = False  # it is thought about a decision that is a person's
        self.playing = self.gone = False
        self._build()

    # ---- what is on the page

    def _build(self) -> None:
        ui.context.client.on_delete(self._leave)
        with ui.element("div").classes("split play"):
            with ui.element("div").classes("stack"):
                ui.label(self.lobby.spec.name).classes("h1")
                self.board = Board(self.click)
                self.status = ui.label("Laying the table …").props("role=status aria-live=polite")
                self.status.classes("play-status")
                self.again = ui.link("Replay this game", "/replay")
                self.again.set_visibility(False)
                self.offers = Offers(self.move, self.uncover)
                acts = {"Hint": self.hint, "Take back": self.take_back, "Step": self.step, "Play on": self.autoplay}
                self.controls = Controls(self._offer, self.type, acts | {"New game": self.new_game})
            with ui.element("div").classes("stack"):
                self.seats = Seats(self.laid.chosen, self.laid.person, self.reseat, self.switch, self.rename)
                self.thoughts = Thoughts(self.go_on, "Nobody at this table can say what they think of it.")
                with ui.element("section").classes("card").props('aria-label="Moves"'):
                    ui.label("Moves").classes("h2")
                    self.record = ui.html("", sanitize=False).classes("play-record play-latest numbers")

    def _leave(self) -> None:
        self.gone = True

    # ---- what people do

    @property
    def sitting(self) -> Sitting | None:
        return None if self.laid.viewer is None else self.laid.viewer.sitting

    async def start(self) -> None:
        """Find out who can play, and begin, or go on where the table was left."""
        ui.run_javascript(
            "const here = new URL(location);"
            f" here.searchParams.set('table', '{self.table}'); history.replaceState(history.state, '', here)"
        )
        self.seats.offer(await in_thread(self.lobby.players))
        async with self.laid.turn:  # an agent may still be thinking for a tab that has gone
            left = self.laid.viewer
        await (self._begin(self.laid.seed) if left is None else self.go_on())

    async def rename(self, name: str) -> None:
        """The person has another name from now on, in this game too."""
        try:
            await in_thread(people.check_name, name, self.lobby.folders[0] if self.lobby.folders else None)
        except UserError as error:
            self.say(str(error))
            return
        self.laid.person = name
        if self.sitting is not None:
            for seat in self.sitting.people:
                self.sitting.occupants[seat] = self._person()
            self._draw()

    async def new_game(self) -> None:
        if await self._ready():
            await self._begin()

    async def reseat(self) -> None:
        """Others sit down, by the panels; the game goes on."""
        if not await self._ready():
            return
        sitting = self.sitting
        if sitting is None or sitting.over:
            await self._begin()
        else:
            await self._with_occupants(sitting.seat_down)

    async def switch(self) -> None:
        if await self._ready():
            self.seats.move_on()
            await self.reseat()

    async def click(self, place: int) -> None:
        if await self._whose() is None or self.sitting is None:
            return
        clicked = follow(self.ways, self.chosen, place)
        if clicked is None:
            assert self.scene is not None
            self.say(why_not(self.scene, self.chosen, place))
        elif len(clicked.actions) == 1 and not clicked.chosen:
            await self.move(clicked.actions[0])
        else:
            self.chosen = clicked.chosen
            self.offered = tuple(act for act in clicked.actions if self.ways[act] == clicked.chosen or not self.chosen)
            self._draw()
            self.say("That can be several moves: choose by name." if self.offered else state(self.sitting))

    async def type(self) -> None:
        """The move that was typed, by name or as much of it as is clear."""
        typed, seat = self.controls.typed, await self._whose()
        if not typed or seat is None or self.sitting is None:
            return
        found = find_move(typed, self.sitting.move_names(seat))
        if isinstance(found, str):
            self.say(found)
            return
        action = self.sitting.legal(seat)[found]
        self.controls.clear()
        await self.move(action)

    async def move(self, action: int) -> None:
        seat = await self._whose()
        if seat is None or self.sitting is None:
            return
        try:
            self.sitting.choose(seat, action)
        except GameError as error:
            self.say(str(error))
            return
        self.controls.clear()
        await self.go_on()

    async def take_back(self) -> None:
        if not await self._ready() or self.laid.viewer is None:
            return
        if not self.laid.viewer.sitting.can_undo:
            self.say("There is nothing to take back yet.")
            return
        self.playing = False
        await self._busily(self.laid.undo)
        await self.go_on()

    async def hint(self) -> None:
        seat, sitting = await self._whose(), self.sitting
        if seat is None or sitting is None:
            return
        if sitting.adviser is None:
            self.say("No agent sits at the table to be asked.")
            return
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
        if await self._ready():
            await self.go_on(1)

    async def autoplay(self) -> None:
        if self.playing or await self._ready():
            self.playing = not self.playing
            self._draw()
            await self.go_on()

    async def uncover(self) -> None:
        """The person whom the board is covered for is there."""
        if await self._ready() and self.laid.viewer is not None:
            self.laid.viewer.unveil()
            await self.look()

    # ---- how the game goes on

    async def go_on(self, steps: int = 0) -> None:
        """Until a person must choose; agents among themselves play `steps`, or on and on while `playing`."""
        viewer = self.laid.viewer
        if viewer is None or self.laid.turn.locked():
            return
        TABLES.keep(self.laid, self.table)
        self.round += 1
        this, sitting, self.hinted = self.round, viewer.sitting, None
        if not self.thoughts.wanted:
            self.thoughts.clear()  # of a hint, which is another person's where two share the screen
        if sitting.waiting or not sitting.chosen:  # what a person chose is drawn once it is played
            await self.look()
        while not (self.gone or sitting.over or sitting.waiting) and (sitting.people or self.playing or steps > 0):
            await self._think()
            before = sitting.steps
            await self._busily(self.laid.play_on, before)
            if sitting.steps == before:
                break
            steps -= 1
            await self.look()
            if not sitting.people and self.playing:
                await asyncio.sleep(PACE)
            if viewer is not self.laid.viewer or this != self.round:
                return
        self.playing &= not sitting.over
        await self._think()
        if sitting.over and sitting.failure is None:
            await self._keep()

    async def _keep(self) -> None:
        """The game is over: it goes where it belongs, which is said."""
        kept = await self._busily(self.laid.record, self.keep)
        if kept is None or self.sitting is None:
            return
        self.say(f"{state(self.sitting)} {kept.sentence}")
        if kept.match is not None and kept.folder == self.stored:
            self.again.props(f'href="/replay?match={kept.match}&game=0"')
            self.again.set_visibility(True)

    async def _think(self) -> None:
        viewer = self.laid.viewer
        if viewer is None or not self.thoughts.wanted or self.gone:
            return
        sitting = viewer.sitting
        if not sitting.over:
            self.pondering = bool(sitting.waiting)
            await self._busily(sitting.think)
            self.pondering = False
        self.thoughts.show(sitting.table, sitting.names, viewer.thoughts, sitting.steps)
        self._draw()

    async def _begin(self, seed: int | None = None) -> None:
        """A new game, from `seed` or one that is drawn."""
        drawn = secrets.randbits(63) if seed is None else seed
        self.playing = False
        self.thoughts.clear()
        await self._with_occupants(
            lambda occupants: self.laid.begin(Sitting(self.lobby.game(), occupants, int(mix(drawn, 0))), drawn)
        )

    async def _with_occupants(self, seat_them: Callable[[Sequence[Occupant]], None]) -> None:
        """Let those whom the panels name sit down, then go on; what cannot be is said, and changes nothing."""
        self.say("Loading …")
        chosen = self.seats.chosen

        def sit() -> bool:
            seat_them([self._person() if name == PERSON else self.lobby.occupant(name, more) for name, more in chosen])
            self.laid.chosen = chosen
            return True

        if await self._busily(sit):
            await self.go_on()

    def _person(self) -> Occupant:
        return Occupant(self.laid.person or people.GUEST)

    async def _busily(self, work: Callable[..., Result], *arguments: Any) -> Result | None:
        """What `work` returns, done in a thread; None, and the reason said, where it cannot be done."""
        async with self.laid.turn:
            try:
                return await in_thread(work, *arguments)
            except UserError as error:
                self.say(str(error))
                return None

    async def _ready(self) -> bool:
        """Whether something can be done now. Why not is said; what another tab has done meanwhile is shown first."""
        viewer = self.laid.viewer
        if self.pondering:
            async with self.laid.turn:  # what the person does is next
                pass
        if self.laid.turn.locked():
            self.say("One moment: it is thinking.")
            return False
        if viewer is not None and self.seen != (viewer, viewer.sitting.steps):
            await self.go_on()
            return False
        return True

    async def _whose(self) -> int | None:
        """The seat whose person may choose now; None, and the reason said, where there is none."""
        if not await self._ready() or self.laid.viewer is None:
            return None
        sitting, curtain = self.laid.viewer.sitting, self.laid.viewer.curtain
        if curtain is not None:
            self.say(f"The board is covered until {sitting.names[curtain]} is there.")
            return None
        if not sitting.waiting:
            self.say("The game is over." if sitting.over else "No person is to move now.")
            return None
        return sitting.waiting[0]

    # ---- what is shown

    async def look(self) -> None:
        """Take the board in through the eyes of whoever may see it now, and show it."""
        viewer = self.laid.viewer
        if viewer is None or self.gone:
            return
        sitting = viewer.sitting
        viewer.settle()
        self.seen = viewer, sitting.steps
        if viewer.curtain is None:
            found = await self._busily(viewer.look)
            if found is None:
                return
            self.scene, self.text = found
            self.ways = ways_of(self.scene, sitting.legal(sitting.waiting[0]) if sitting.waiting else [])
        self.chosen, self.offered = (), ()
        self.again.set_visibility(False)
        self._draw()
        self.say(state(sitting))

    def _draw(self) -> None:
        viewer = self.laid.viewer
        if viewer is None or self.gone:
            return
        sitting, seen = viewer.sitting, viewer.curtain is None
        marks = Marks(
            last=viewer.last,
            chosen=self.chosen,
            targets=aims(self.scene, self.ways, self.chosen),
            heat=self.thoughts.heat(viewer.thoughts.get(sitting.steps)),
            hint=self.hinted,
        )
        title = f"{sitting.spec.name} after {sitting.steps} steps"
        scene, text = (self.scene, self.text) if seen else (None, "The board is covered.")
        self.board.show(View(scene, text, title, marks, clickable=bool(sitting.people) and not sitting.over))
        self._offer()
        self.seats.show(viewer, self.scene)
        self.controls.show(viewer, playing=self.playing)
        self.record.set_content(record(viewer))

    def _offer(self) -> None:
        """Moves to be named: those that share a way, else those that no click reaches, or that are being typed."""
        viewer = self.laid.viewer
        if viewer is None or self.gone:
            return
        waiting = viewer.sitting.waiting if viewer.curtain is None else []
        unplaced = [act for seat in waiting[:1] for act in viewer.sitting.legal(seat) if act not in self.ways]
        self.offers.show(viewer, self.offered or unplaced, self.controls.typed)

    def say(self, sentence: str) -> None:
        if not self.gone:
            self.status.set_text(sentence)


def _lay_for(invitation: Invitation, lobby: Lobby) -> Laid:
    """A table as it is laid for somebody."""
    other: Chosen = split_settings(lobby.full(invitation.against))
    seats = range(lobby.spec.seats)
    return Laid(
        [(PERSON, {}) if seat == invitation.seat else other for seat in seats], invitation.person, invitation.seed
    )
