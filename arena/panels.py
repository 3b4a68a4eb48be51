"""What a text interface is made of: the board, the list of moves beside it, and the panels around them.

Widgets only: they show a `Look` and say what was clicked. What that means is for `arena.screen` to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, ScrollableContainer, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from arena.blocks import Blocks, blocks
from arena.canvas import Marks
from arena.clicks import Way
from arena.words import numbered
from games.scene import COLOURS, Place, Scene

NARROWEST = 30  # columns of the panels beside the board
BARS = "▁▂▃▄▅▆▇█"
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


@dataclass(frozen=True, slots=True)
class Look:
    """All that the screen shows at one moment. Nothing in it changes, so any thread may make one."""

    title: str
    scene: Scene | None = None
    text: str = ""  # the board in words, where there is no scene or no room for it
    moves: tuple[tuple[int, str], ...] = ()  # what whoever is asked may play: actions and their names
    history: tuple[str, ...] = ()  # one for each step
    at: int | None = None  # steps of it that have been played, where that is not all of it
    last: tuple[tuple[float, float, float], ...] = ()
    hint: Way = ()
    shares: Mapping[Way, float] = field(default_factory=dict)  # of a policy
    analysis: tuple[str, ...] = ()
    over: bool = False
    curtain: str = ""  # shown instead of the board, until Enter


class Board(Widget, can_focus=True):
    """The board in blocks, else in words; a cursor on its places, and clicks on them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"step('{key}')", show=False) for key in DIRECTIONS),
        Binding("enter", "enter", show=False),
    ]
    DEFAULT_CSS = "Board { width: auto; height: auto; }"

    @dataclass
    class Entered(Message):
        """A place was clicked, or Enter pressed on it; None: Enter where there is no cursor."""

        place: int | None

    def __init__(self) -> None:
        super().__init__()
        self.scene: Scene | None = None
        self.blocks: Blocks | None = None
        self.words = Text()
        self.room = (0, 0)
        self.marks = Marks()
        self.cursor: str | None = None  # the name of a place

    def show(self, look: Look, marks: Marks, room: tuple[int, int]) -> None:
        """Draw what fits into `room`, columns and rows."""
        self.scene, self.marks, self.room = None if look.curtain else look.scene, marks, room
        self.words = Text(look.curtain or look.text, no_wrap=True)
        self._draw()

    def render(self) -> Text:
        return self.words if self.blocks is None else self.blocks.text

    def get_content_width(self, container: object, viewport: object) -> int:
        return (
            self.blocks.columns if self.blocks is not None else max(map(len, self.words.plain.split("\n")), default=1)
        )

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return self.blocks.rows if self.blocks is not None else self.words.plain.count("\n") + 1

    def on_click(self, event: events.Click) -> None:
        place = self.blocks.place_at(event.x, event.y) if self.blocks is not None else None
        if place is not None:
            self._put_cursor(None)
            self.post_message(self.Entered(place))
        elif self.blocks is None:
            self.post_message(self.Entered(None))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is no board to step on, arrows scroll."""
        return self.blocks is not None if action == "step" else True

    def action_enter(self) -> None:
        self.post_message(self.Entered(self._at()))

    def action_step(self, key: str) -> None:
        """Move the cursor to the next place in a direction; from the middle, where there was none."""
        if self.scene is None or self.blocks is None or not self.scene.places:
            return
        at, places = self._at(), self.scene.places
        if at is None:
            x, y = self.scene.width / 2, self.scene.height / 2
            at = min(
                range(len(places)),
                key=lambda index: sum(abs(a - b) for a, b in zip(_middle(places[index]), (x, y), strict=True)),
            )
        else:
            at = _next_place(places, at, DIRECTIONS[key])
        self._put_cursor(places[at].name)

    def _put_cursor(self, name: str | None) -> None:
        if name != self.cursor:
            self.cursor = name
            self._draw()

    def _at(self) -> int | None:
        places = self.scene.places if self.scene is not None and self.blocks is not None else ()
        return next((index for index, place in enumerate(places) if place.name == self.cursor), None)

    def _draw(self) -> None:
        self.blocks = None
        if self.scene is not None:
            marks = self.marks
            cursor = next((i for i, place in enumerate(self.scene.places) if place.name == self.cursor), None)
            shown = Marks(marks.last, marks.chosen, cursor, marks.hint, marks.heat)
            self.blocks = blocks(self.scene, *self.room, dark=self.app.current_theme.dark, marks=shown)
        self.refresh(layout=True)


class Desk(Widget):
    """The whole screen but its keys: a title, the board, and beside it analysis, moves and history; a line below."""

    DEFAULT_CSS = """
    Desk { layout: vertical; height: 1fr; }
    Desk #title { height: 1; text-style: bold; background: $panel; padding: 0 1; }
    Desk #middle { height: 1fr; }
    Desk #area { width: auto; height: 1fr; }
    Desk #side { width: 1fr; padding: 0 0 0 1; }
    Desk #analysis { height: auto; max-height: 60%; color: $text-muted; }
    Desk #filter { display: none; }
    Desk #moves { height: 1fr; min-height: 3; border: none; padding: 0; display: none; background: $surface; }
    Desk #history { height: auto; max-height: 30%; color: $text-muted; }
    Desk.-asked #filter, Desk.-asked #moves { display: block; }
    Desk #message { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
    """

    @dataclass
    class Picked(Message):
        """A move was picked from the list."""

        action: int

    @dataclass
    class Typed(Message):
        """A move was typed."""

        text: str

    def __init__(self) -> None:
        super().__init__()
        self.look = Look("")
        self.chosen: Way = ()
        self.listed: tuple[tuple[int, str], ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        with Horizontal(id="middle"):
            with ScrollableContainer(id="area", can_focus=False):
                yield Board()
            with Vertical(id="side"):
                yield Static(id="analysis", markup=False)
                yield Input(id="filter", compact=True, placeholder="/ to type a move")
                yield OptionList(id="moves", compact=True)
                yield Static(id="history", markup=False)
        yield Static(id="message", markup=False)

    @property
    def board(self) -> Board:
        return self.query_one(Board)

    @property
    def side(self) -> int:
        """Columns of the panels beside the board."""
        return max(self.query_one("#side").content_size.width, NARROWEST - 2)

    def show(self, look: Look, chosen: Way = ()) -> None:
        """Show `look`, with the first places of a move `chosen`."""
        anew = (look.moves, look.history) != (self.look.moves, self.look.history)
        self.look, self.chosen = look, chosen
        self.query_one("#title", Static).update(look.title)
        for part, lines in (("#analysis", look.analysis), ("#history", look.history)):
            self.query_one(part).display = bool(lines)
        self.query_one("#analysis", Static).update(Text("\n".join(look.analysis)))
        self.draw()
        if anew:
            self.list_moves(look.moves)
            self.take_focus()

    def say(self, sentence: str) -> None:
        self.query_one("#message", Static).update(Text(sentence))

    def draw(self) -> None:
        """Fit the board and the history into what room there is."""
        look, chosen = self.look, self.chosen
        heat: dict[int, float] = {}
        for way, share in look.shares.items():
            if way[: len(chosen)] == chosen and len(way) > len(chosen):
                heat[way[len(chosen)]] = heat.get(way[len(chosen)], 0.0) + share
        marks = Marks(look.last, chosen[0] if chosen else None, None, look.hint, heat)
        middle = self.query_one("#middle").size
        self.board.show(look, marks, (max(middle.width - NARROWEST, 1), max(middle.height, 1)))
        wide = max(middle.width - NARROWEST, 1)
        area = self.query_one("#area")
        area.styles.max_width, area.styles.background = wide, COLOURS["paper"][self.app.current_theme.dark]
        self.query_one("#history", Static).update(self._history())

    def list_moves(self, moves: Sequence[tuple[int, str]]) -> None:
        """Offer `moves`, those of the look or some of them, with nothing typed."""
        with self.prevent(Input.Changed):
            self.query_one("#filter", Input).value = ""
        self._list(moves)

    def take_focus(self) -> None:
        """Go to where a move is made best: the board, or the list where it does not show moves."""
        look = self.look
        placed = self.board.blocks is not None and look.scene is not None and look.scene.moves
        (self.query_one("#moves") if look.moves and not placed else self.board).focus()

    def _list(self, moves: Sequence[tuple[int, str]]) -> None:
        self.set_class(bool(self.look.moves), "-asked")
        self.listed = tuple(moves)
        names = [name for _, name in self.look.moves]
        numbers = {action: number for number, (action, _) in enumerate(self.look.moves, 1)}
        shown = [(f"{numbers[action]:>3} {name}" if numbered(names) else name, action) for action, name in moves]
        self.query_one("#moves", OptionList).set_options(
            Option(Text(name, no_wrap=True), id=str(action)) for name, action in shown
        )

    def type(self, letter: str = "") -> None:
        """Go to the line where moves are typed."""
        line = self.query_one("#filter", Input)
        line.focus()
        line.value += letter
        line.cursor_position = len(line.value)

    def on_resize(self) -> None:
        self.draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        typed = event.value.strip().casefold()
        self._list([move for move in self.look.moves if typed in move[1].casefold()])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self.post_message(self.Typed(event.value.strip()))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Picked(int(str(event.option.id))))

    def _history(self) -> Text:
        """As much of the end, or around where it stands, as a few lines hold."""
        look = self.look
        at = len(look.history) if look.at is None else look.at
        text = Text()
        room = self.side * max(self.query_one("#side").size.height // 4, 2)
        first = at
        while first > 0 and sum(len(move) + 5 for move in look.history[first - 1 : at]) < room:
            first -= 1
        if first > 0:
            text.append("… ")
        for number, move in enumerate(look.history[first:], first + 1):
            here = look.at is not None and number == at
            text.append(f"{number} {move}", "reverse" if here else "dim" if number > at else "")
            text.append("  ")
        return text


class Help(ModalScreen[None]):
    """The keys, until any of them is pressed."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help Static { width: auto; height: auto; max-width: 90%; padding: 1 2; background: $panel; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        yield Static(self.text, markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss()

    def on_click(self) -> None:
        self.dismiss()


def sparkline(values: Sequence[float], low: float, high: float, room: int) -> str:
    """The last `room` values as bars, from `low` to `high`."""
    span = max(high - low, 1e-9)
    return "".join(BARS[round(min(max((value - low) / span, 0), 1) * (len(BARS) - 1))] for value in values[-room:])


def footer() -> Footer:
    return Footer(compact=True, show_command_palette=False)


def _next_place(places: Sequence[Place], at: int, direction: tuple[int, int]) -> int:
    """The place that a step from `places[at]` leads to: the nearest, where straight ahead counts most; else itself."""
    x, y = _middle(places[at])
    best, cost = at, float("inf")
    for index, place in enumerate(places):
        other_x, other_y = _middle(place)
        along = (other_x - x) * direction[0] + (other_y - y) * direction[1]
        aside = abs((other_x - x) * direction[1]) + abs((other_y - y) * direction[0])
        if along > 1e-6 and aside <= 2 * along and along + 2 * aside < cost:
            best, cost = index, along + 2 * aside
    return best


def _middle(place: Place) -> tuple[float, float]:
    x, y, width, height = place.box
    return x + width / 2, y + height / 2


class Shown(Message):
    """The thread has something to show."""

    def __init__(self, look: Look, sentence: str) -> None:
        super().__init__()
        self.look, self.sentence = look, sentence


class Done(Message):
    """The thread is free."""

    def __init__(self, broke: Exception | None = None) -> None:
        super().__init__()
        self.broke = broke


def in_thread(app: App[None], work: Callable[[], None]) -> None:
    """Do `work` beside the interface, then post `Done`. Nobody waits for the thread at the end of the program."""

    def run() -> None:
        try:
            work()
        except Exception as error:  # whatever it is ends the program, as it would have done in its own thread
            app.post_message(Done(error))
        else:
            app.post_message(Done())

    Thread(target=run, name="game", daemon=True).start()
