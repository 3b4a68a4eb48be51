"""The text interface: a game played or watched in a terminal, with keyboard and mouse.

`run_screen` plays a `Sitting`; `arena.screen_replay` steps through stored games. Agents think in a thread, and all
else that touches the game happens there too, one thing at a time: the interface stays alive, and what is asked for
meanwhile is done next. In a pipe there is the prompt of `arena.play` instead; `arena.blocks.can_show` tells which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, OptionList

from arena.clicks import Way, follow, ways_of, why_not
from arena.panels import Board, Desk, Done, Help, Look, Shown, footer, in_thread
from arena.showing import Showing
from arena.sitting import Sitting
from arena.viewer import PACE
from arena.words import find_move
from games import GameError
from games.names import UserError

HELP = """\
Play      click a place, or a move in the list
          arrows move the cursor on the board, Enter plays there
          / or any letter that is no key below: type a move, Enter plays it
          Tab goes from the board to the list and back
          where a move takes two places, the first is chosen first

h  hint: what an agent would play here, and why
u  take back your last decision
a  analysis on and off: likely moves, values, best lines, heat on the board
s  switch seats
n  new game
space, p  one step, or autoplay, where you only watch
q  quit
"""


def run_screen(sitting: Sitting, again: Callable[[Sitting], Sitting] | None = None) -> Sitting:
    """Play `sitting` in the terminal until the people leave; the sitting that was last on the screen.

    `again` is given the one that ends when a new game is asked for, over or not, and returns the next; it is called in
    this thread, and may raise UserError. Who leaves while an agent thinks does not wait for it: the game is unfinished,
    and the thought ends with the program.
    """
    app = PlayApp(sitting, again)
    app.run()
    return app.showing.sitting


class PlayApp(App[None]):
    """A sitting on the screen."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "step", "Step", key_display="space"),
        Binding("p", "autoplay", "Autoplay"),
        Binding("h", "hint", "Hint"),
        Binding("u", "undo", "Take back"),
        Binding("a", "analysis", "Analysis"),
        Binding("s", "switch", "Switch"),
        Binding("n", "new", "New"),
        Binding("slash", "type", "Type", key_display="/"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("escape", "cancel", show=False),
    ]

    def __init__(self, sitting: Sitting, again: Callable[[Sitting], Sitting] | None = None, pace: float = PACE) -> None:
        super().__init__()
        self.showing, self.again, self.pace = Showing(sitting), again, pace
        self.analysing = not sitting.people
        self.autoplay = self.busy = self.leaving = False
        self.queued: Callable[[], None] | None = None
        self.width = 40  # of the analysis, in characters
        self.desk = Desk()
        self.chosen: Way = ()

    def compose(self) -> ComposeResult:
        yield self.desk
        yield footer()

    def on_mount(self) -> None:
        self.desk.board.focus()
        self.call_after_refresh(self._do, _nothing)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing here are not offered."""
        if action in ("step", "autoplay"):
            return self.watching
        if action in ("hint", "type"):
            return not self.watching
        return self.again is not None if action == "new" else True

    @property
    def watching(self) -> bool:
        return not self.showing.sitting.people

    # ---- what the keys and the mouse do

    def action_hint(self) -> None:
        self._do(self.showing.hint)

    def action_undo(self) -> None:
        self.autoplay = False
        self._do(self.showing.undo)

    def action_switch(self) -> None:
        self._do(self.showing.switch)

    def action_analysis(self) -> None:
        self.analysing = not self.analysing
        self._do(_nothing)

    def action_step(self) -> None:
        self._do(self._step)

    def action_autoplay(self) -> None:
        self.autoplay = not self.autoplay
        self._do(self._step if self.autoplay else _nothing)

    def action_new(self) -> None:
        assert self.again is not None
        if self.busy:
            self._wait(self.action_new)
            return
        try:
            self.showing = Showing(self.again(self.showing.sitting))
        except UserError as error:
            self.desk.say(str(error))
        else:
            self._do(lambda: "A new game.")

    def action_type(self) -> None:
        if self.desk.look.moves:
            self.desk.type()

    def action_help(self) -> None:
        self.push_screen(Help(HELP))

    async def action_quit(self) -> None:
        self.leaving = True
        self.exit()

    def action_cancel(self) -> None:
        self._choose_places(())
        self.desk.list_moves(self.desk.look.moves)
        self.desk.take_focus()

    def on_key(self, event: events.Key) -> None:
        """Any other letter begins a move."""
        bound = isinstance(self.focused, Input) or event.key in self.screen.active_bindings
        if event.character and event.character.isprintable() and self.desk.look.moves and not bound:
            self.desk.type(event.character)

    def on_board_entered(self, event: Board.Entered) -> None:
        look = self.desk.look
        if look.curtain:
            self._do(self._unveil)
        elif event.place is not None and look.scene is not None:
            self._enter(look, event.place)

    def on_desk_picked(self, event: Desk.Picked) -> None:
        self._play(event.action)

    def on_desk_typed(self, event: Desk.Typed) -> None:
        names = [name for _, name in self.desk.look.moves]
        found = find_move(event.text, names)
        if isinstance(found, int):
            self._play(self.desk.look.moves[found][0])
        elif len(self.desk.listed) == 1:
            self._play(self.desk.listed[0][0])
        else:
            self.desk.say(found)

    def on_resize(self) -> None:
        self.call_after_refresh(self._measure)

    def _enter(self, look: Look, place: int) -> None:
        """A place of the board was meant."""
        assert look.scene is not None
        if not look.moves:
            self.desk.say("The game is over." if look.over else "It is not your turn.")
            return
        names = dict(look.moves)
        clicked = follow(ways_of(look.scene, list(names)), self.chosen, place)
        if clicked is None:
            self.desk.say(why_not(look.scene, self.chosen, place))
        elif len(clicked.actions) == 1 and not clicked.chosen:
            self._play(clicked.actions[0])
        else:
            self._choose_places(clicked.chosen)
            self.desk.list_moves([(action, names[action]) for action in clicked.actions or names])
            if clicked.actions and not clicked.chosen:
                self.desk.say("Which of these? Pick it from the list.")
                self.desk.query_one(OptionList).focus()

    def _choose_places(self, chosen: Way) -> None:
        if chosen != self.chosen:
            self.chosen = chosen
            self.desk.show(self.desk.look, chosen)

    def _play(self, action: int) -> None:
        def choose() -> str:
            self.showing.choose(action)
            return ""

        self._do(choose)

    # ---- what is done in the thread, where alone the sitting is touched

    def _do(self, task: Callable[[], str]) -> None:
        """Do `task`, then whatever follows from it; at once, or when the thread is free."""
        if self.busy:
            self._wait(lambda: self._do(task))
        else:
            self.busy = True
            self._measure()
            in_thread(self, lambda: self._work(task))

    def _wait(self, call: Callable[[], None]) -> None:
        """Have `call` made when the thread is free, in place of whatever else was to be."""
        self.queued = call
        self.desk.say("One moment.")

    def _work(self, task: Callable[[], str]) -> None:
        try:
            self._carry_on(task())
        except (GameError, UserError) as error:
            self._tell(str(error))

    def _carry_on(self, sentence: str) -> None:
        """Let agents move until a person is asked; then show what there is, and what is thought of it."""
        showing, sitting = self.showing, self.showing.sitting
        showing.viewer.settle()
        while sitting.people and not (sitting.over or sitting.waiting or self.leaving):
            self._tell(sentence, "thinking …")
            sentence = showing.advance() or sentence
            showing.viewer.settle()
        self._tell(sentence)
        if self.analysing and showing.viewer.curtain is None and not (sitting.over or self.leaving):
            sitting.think()
            self._tell(sentence)

    def _tell(self, sentence: str, status: str = "") -> None:
        look = self.showing.look(self.width, status, analysis=self.analysing)
        told = " ".join(filter(None, (sentence, "" if look.curtain else self.showing.result())))
        self.post_message(Shown(look, told))

    def _step(self) -> str:
        if self.showing.sitting.over:
            return ""
        return self.showing.advance()

    def _unveil(self) -> str:
        self.showing.viewer.unveil()
        return ""

    # ---- what comes back from it

    def on_shown(self, event: Shown) -> None:
        before = self.desk.look
        if (event.look.moves, event.look.history) != (before.moves, before.history):
            self.chosen = ()
        self.desk.show(event.look, self.chosen)
        self.desk.say(event.sentence)

    def on_done(self, event: Done) -> None:
        self.busy = False
        if event.broke is not None:
            raise event.broke
        if self.queued is not None:
            call, self.queued = self.queued, None
            call()
        elif self.autoplay and self.desk.look.over:
            self.autoplay = False
        elif self.autoplay:
            self.set_timer(self.pace, self._next_step)

    def _next_step(self) -> None:
        if self.autoplay:
            self._do(self._step)

    def _measure(self) -> None:
        self.width = self.desk.side


def _nothing() -> str:
    return ""
