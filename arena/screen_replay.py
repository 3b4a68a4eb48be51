"""The text interface over a stored game: stepped through in a terminal, with what a player thinks of each position."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType

from agents.core import Policy
from arena.panels import Desk, Done, Help, Look, Shown, footer, in_thread
from arena.showing import Positions, position
from arena.sitting import Thought, acting_seats, thought
from arena.viewer import PACE

REPLAY_HELP = """\
left, right  one step back, one step on
Home, End    the beginning, the end
p            play by itself
a            analysis on and off
q            quit
"""


def run_replay(stored: Positions, policy: Policy | None = None, note: str = "") -> None:
    """Step through a stored game; `policy` says what it thinks of positions, `note` is shown at first."""
    ReplayApp(stored, policy, note).run()


class ReplayApp(App[None]):
    """A stored game on the screen."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go(-1)", "Back", priority=True),
        Binding("right", "go(1)", "On", priority=True),
        Binding("home", "go(-100000)", "Start", priority=True),
        Binding("end", "go(100000)", "End", priority=True),
        Binding("p", "autoplay", "Autoplay"),
        Binding("a", "analysis", "Analysis"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, stored: Positions, policy: Policy | None = None, note: str = "", pace: float = PACE) -> None:
        super().__init__()
        self.stored, self.policy, self.note, self.pace = stored, policy, note, pace
        self.steps = len(stored.moves_in_words())
        self.step = 0  # where one wants to be; the thread follows
        self.analysing = policy is not None
        self.thoughts: dict[int, Thought | None] = {}  # by step
        self.autoplay = self.busy = False
        self.asked = (0, False)  # what the thread was asked for last: step, with analysis
        self.desk = Desk()
        self.width = 40

    def compose(self) -> ComposeResult:
        yield self.desk
        yield footer()

    def on_mount(self) -> None:
        self.call_after_refresh(self._go)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.policy is not None if action == "analysis" else True

    def action_go(self, steps: int) -> None:
        self.autoplay = False
        self.step = min(max(self.step + steps, 0), self.steps)
        self._go()

    def action_analysis(self) -> None:
        self.analysing = not self.analysing
        self._go()

    def action_autoplay(self) -> None:
        self.autoplay = not self.autoplay
        self._next_step()

    def action_help(self) -> None:
        self.push_screen(Help(REPLAY_HELP))

    def _go(self) -> None:
        if not self.busy:
            self.busy = True
            self.width = self.desk.side
            self.asked = (self.step, self.analysing)
            in_thread(self, lambda: self._look(*self.asked))

    def _look(self, step: int, analysing: bool) -> None:
        self.post_message(Shown(self._position(step, analysing), self.note))
        if analysing and step not in self.thoughts and self.policy is not None:
            table = self.stored.table(step)
            self.thoughts[step] = next((thought(table, self.policy, seat) for seat in acting_seats(table)), None)
            self.post_message(Shown(self._position(step, analysing), self.note))

    def _position(self, step: int, analysing: bool) -> Look:
        told = {number: each for number, each in self.thoughts.items() if each is not None}
        return position(self.stored, step, told if analysing else {}, self.width)

    def on_shown(self, event: Shown) -> None:
        self.desk.show(event.look)
        self.desk.say(event.sentence)

    def on_done(self, event: Done) -> None:
        self.busy = False
        if event.broke is not None:
            raise event.broke
        if self.asked != (self.step, self.analysing):
            self._go()
        elif self.autoplay:
            self.set_timer(self.pace, self._next_step)

    def _next_step(self) -> None:
        if self.autoplay and self.step < self.steps:
            self.step += 1
            self._go()
        else:
            self.autoplay = False
