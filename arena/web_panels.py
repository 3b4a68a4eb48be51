"""Around the board: who sits where and how strong they play, moves by name, and what is thought of the game."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from nicegui import events, ui

from arena.lobby import Seatable
from arena.match import Table
from arena.sitting import Sitting, Thought, course, duel
from arena.tables import Chosen
from arena.viewer import Viewer
from arena.words import SHOWN, in_words, spell, value_in_words
from games import GameSpec
from games.scene import Scene, seat_colour

_STEPS: dict[str, tuple[float, ...]] = {
    "simulations": (0, *(2**power for power in range(13))),
    "temperature": (0, 0.1, 0.25, 0.5, 1, 2),
    "epsilon": (0, 0.05, 0.1, 0.25, 0.5, 1),
}
"""What the sliders offer; before the first of them stands the player's own setting."""

LISTED = 80  # moves offered as buttons; more are found by typing

_REFOCUS = """setTimeout(() => {
  const next = document.querySelector(".play-uncover:not(.hidden), .play-moves button");
  if (document.activeElement === document.body) next?.focus();
}, 50)"""
"""After the button that had the focus has gone; the page has been drawn by then."""

_WIDE, _HIGH = 320, 96  # of the chart, in its own units

Act = Callable[[], Awaitable[None]]


class Seats:
    """Who plays: a panel for each seat, and what the person is called."""

    def __init__(
        self,
        chosen: Sequence[Chosen],
        person: str,
        changed: Act,
        switch: Act,
        renamed: Callable[[str], Awaitable[None]],
    ) -> None:
        self._players: Sequence[Seatable] = ()
        with ui.element("section").classes("card").props('aria-label="Who plays"'):
            ui.label("Who plays").classes("h2")
            self._panels = [SeatPanel(seat, who, changed) for seat, who in enumerate(chosen)]
            with ui.element("div").classes("row"):
                button = ui.button("Switch seats", on_click=switch).props("outline dense")
                button.set_visibility(len(chosen) > 1)
                name = ui.input("Your name on the ladder", value=person, placeholder="guest")
                name.props("maxlength=32").classes("play-name")
                name.on("change", lambda: renamed(str(name.value or "").strip()))

    @property
    def chosen(self) -> list[Chosen]:
        return [(panel.reference, dict(panel.settings)) for panel in self._panels]

    def offer(self, players: Sequence[Seatable]) -> None:
        """The players to choose from."""
        self._players = players
        for panel in self._panels:
            panel.offer(players)

    def move_on(self) -> None:
        """Everybody takes the next seat."""
        chosen = self.chosen
        for panel, (reference, settings) in zip(self._panels, [chosen[-1], *chosen[:-1]], strict=True):
            panel.reference, panel.settings = reference, settings
            panel.offer(self._players)

    def show(self, viewer: Viewer, scene: Scene | None) -> None:
        """Whose turn it is, the colours of the seats where the board has them, and what they have earned so far."""
        sitting: Sitting = viewer.sitting
        drawn = {getattr(shape, "fill", "") for shape in scene.shapes} if scene is not None else set()
        sides = scene.sides if scene is not None else ()
        returns = sitting.table.returns[0].tolist()
        moving = () if sitting.over else sitting.acting
        for seat, panel in enumerate(self._panels):
            colour = sides[seat] if sides else seat_colour(seat) if seat_colour(seat) in drawn else ""
            earned = returns[seat] if any(returns) and viewer.open(seat) else None
            panel.show(seat in moving, colour, earned)
            panel.call(sides[seat] if sides else "")


class SeatPanel:
    """One seat: a person or a player, with its settings."""

    def __init__(self, seat: int, chosen: Chosen, changed: Act) -> None:
        self.seat = seat
        self.reference, self.settings = chosen[0], dict(chosen[1])
        self._changed = changed
        self._kinds: dict[str, Seatable] = {}
        self._side = ""
        with ui.element("div").classes("play-seat"):
            self._token = ui.html("", sanitize=False)
            self._select = ui.select({}, label=f"Seat {seat}", on_change=self._chosen).props("behavior=menu")
            self._earned = ui.label().classes("quiet numbers")
            self._sliders = ui.element("div").classes("stack play-sliders")
        self.show(False, "", None)

    def show(self, moves: bool, colour: str, earned: float | None) -> None:
        """Whether the seat is to move, its colour on the board (a role), and its return so far."""
        style = f' style="background: var(--scene-{colour})"' if colour else ""
        said = ' role="img" aria-label="to move"' if moves else ""
        self._token.set_content(f'<span class="play-token{" play-moving" if moves else ""}"{style}{said}></span>')
        self._earned.set_text("" if earned is None else f"{earned:z.3g}")
        self._earned.set_visibility(earned is not None)

    def call(self, side: str) -> None:
        """What people know the seat by, besides its number."""
        if side != self._side:
            self._side = side
            self._select.props(f'label="Seat {self.seat}{f", {side}" if side else ""}"')

    def offer(self, players: Sequence[Seatable]) -> None:
        """The players to choose from, and who is chosen, by `reference` and `settings`."""
        self._kinds = {player.reference: player for player in players}
        names = {"": "a person", **{player.reference: player.name for player in players}}
        names.setdefault(self.reference, self.reference)
        self._select.set_options(names, value=self.reference)
        self._draw_sliders()

    async def _chosen(self, event: events.ValueChangeEventArguments[Any]) -> None:
        if event.value is None or event.value == self.reference:
            return
        self.reference, self.settings = str(event.value), {}
        self._draw_sliders()
        await self._changed()

    def _draw_sliders(self) -> None:
        self._sliders.clear()
        player = self._kinds.get(self.reference)
        names = player.settings if player is not None else ()
        self._sliders.set_visibility(bool(names))
        with self._sliders:
            for name in names:
                self._slider(name)

    def _slider(self, name: str) -> None:
        steps = _STEPS[name]
        now = self.settings.get(name)
        with ui.element("label").classes("play-slider"):
            said = ui.label(_setting(name, now)).classes("quiet")
            place = 0 if now is None else 1 + min(range(len(steps)), key=lambda at: abs(steps[at] - float(now)))
            slider = ui.slider(min=0, max=len(steps), step=1, value=place)
            slider.props(f'dense aria-label="{name} of seat {self.seat}"')

        def moved() -> None:
            place = int(slider.value or 0)
            self.settings.pop(name, None)
            if place:
                self.settings[name] = steps[place - 1]
            said.set_text(_setting(name, self.settings.get(name)))

        slider.on_value_change(moved)
        slider.on("change", self._changed)  # when it is let go


class Controls:
    """Below the board: a move typed, help, and how a game that is watched goes on."""

    def __init__(self, filtered: Callable[[], None], typed: Act, buttons: Mapping[str, Act]) -> None:
        """`buttons` are called as they are shown; `filtered` is called while a move is typed."""
        with ui.element("div").classes("row"):
            self._typed = ui.input("Type a move", on_change=filtered).classes("play-typed")
            self._typed.props("autocomplete=off").on("keydown.enter", typed)
            self._buttons = {
                text: ui.button(text, on_click=act).props("outline dense") for text, act in buttons.items()
            }

    @property
    def typed(self) -> str:
        return str(self._typed.value or "").strip()

    def clear(self) -> None:
        self._typed.set_value("")

    def show(self, viewer: Viewer, *, playing: bool) -> None:
        """What can be done at a table now; `playing` where agents play on and on."""
        sitting = viewer.sitting
        watched = not sitting.people
        for text, button in self._buttons.items():
            needed = {"Hint": bool(sitting.waiting) and sitting.adviser is not None, "Take back": not watched}
            needed |= {"Step": watched, "Play on": watched}
            button.set_visibility(needed.get(text, True))
        self._buttons["Play on"].set_text("Pause" if playing else "Play on")
        self._typed.set_visibility(viewer.curtain is None and not (watched or sitting.over))


class Offers:
    """Moves to be played by their names. Those that stay, stay as they are: so the keyboard's focus is not lost."""

    def __init__(self, play: Callable[[int], Awaitable[None]], uncover: Act) -> None:
        self._play, self._uncover = play, uncover
        self._shown: list[tuple[int, str]] = []
        self._pressed = False  # a button that goes now takes the focus along
        self._covered = ui.button(on_click=self._unveil).props("outline dense").classes("play-uncover")
        self._row = ui.element("div").classes("row play-moves").props('role=group aria-label="Legal moves"')
        self._more = ui.label().classes("quiet")
        self._covered.set_visibility(False)
        self._more.set_visibility(False)

    def show(self, viewer: Viewer, first: Collection[int], typed: str) -> None:
        """Offer the legal moves in `first`, or those that hold what is `typed`; or to lift the curtain.

        While agents think, the moves stay as they are.
        """
        sitting, curtain = viewer.sitting, viewer.curtain
        self._covered.set_visibility(curtain is not None)
        if curtain is not None:
            self._covered.set_text(f"I am {sitting.names[curtain]}: show me the board")
        if curtain is not None or sitting.over or not sitting.people:
            self._offer([])
        elif sitting.waiting:
            seat = sitting.waiting[0]
            named = zip(sitting.legal(seat), sitting.move_names(seat), strict=True)
            typed = typed.casefold()
            moves = [(act, name) for act, name in named if (typed in name.casefold() if typed else act in first)]
            self._offer(moves, "" if moves or not typed else "No legal move has that in its name.")

    def _offer(self, moves: Sequence[tuple[int, str]], said: str = "") -> None:
        left = len(moves) - LISTED
        self._more.set_text(f"and {left} more: type a part of the name to find them" if left > 0 else said)
        self._more.set_visibility(left > 0 or bool(said))
        if moves[:LISTED] != self._shown:
            self._shown = list(moves[:LISTED])
            self._row.clear()
            with self._row:
                for action, name in self._shown:
                    ui.button(name, on_click=partial(self._press, action)).props("outline dense")
        if self._pressed:
            self._pressed = False
            ui.run_javascript(_REFOCUS)

    async def _unveil(self) -> None:
        self._pressed = True
        await self._uncover()

    async def _press(self, action: int) -> None:
        self._pressed = True
        await self._play(action)


class Thoughts:
    """What is thought: the value of the position, the moves one by one, and how the value went."""

    def __init__(self, changed: Act, nobody: str) -> None:
        """`nobody` is said where there is nothing to show."""
        self._nobody = nobody
        with ui.element("section").classes("card").props('aria-label="What it thinks"'):
            self._switch = ui.switch("Show what it thinks", on_change=changed).props("dense")
            self._body = ui.html("", sanitize=False).classes("stack play-thoughts numbers")
            self._body.set_visibility(False)

    @property
    def wanted(self) -> bool:
        return bool(self._switch.value)

    def clear(self) -> None:
        """Show nothing until there is something new."""
        self._show("")

    def heat(self, thought: Thought | None) -> dict[int, float]:
        """How likely each action is played now, as far as it is shown."""
        return thought.shares() if thought is not None and self.wanted else {}

    def show(self, table: Table, names: Sequence[str], thoughts: Mapping[int, Thought], steps: int) -> None:
        """The decision due at `table`, if it was thought of, and the course of a game of `steps` so far."""
        thought = thoughts.get(int(table.steps[0]))
        parts = []
        if thought is not None:
            parts.append(decision(table, names, thought))
        elif not table.over[0]:
            parts.append(f'<p class="quiet">{escape(self._nobody)}</p>')
        self._show("".join([*parts, chart(table.game.spec, thoughts, steps, names)]))

    def show_hint(self, table: Table, names: Sequence[str], thought: Thought) -> None:
        self._show(decision(table, names, thought))

    def _show(self, content: str) -> None:
        self._body.set_visibility(bool(content))
        self._body.set_content(content)


def decision(table: Table, names: Sequence[str], thought: Thought) -> str:
    """A decision as HTML: what it is worth, and a table of its options, the best first."""
    game, seat, analysis, shares = table.game, thought.seat, thought.analysis, thought.shares()
    told = value_in_words(game.spec, analysis.value, names[seat], earned=thought.earned)
    searched = any(option.visits for option in analysis.options)
    valued = any(option.value is not None for option in analysis.options)
    lines = [spell(game, table.states, 0, option.line)[1:7] for option in analysis.options[:SHOWN]]
    columns = {"move": "", "share": "", "visits": "number", "prior": "number", "value": "number", "then": "quiet"}
    wanted = {"visits": searched, "prior": searched, "value": valued, "then": any(lines)}
    columns = {name: kind for name, kind in columns.items() if wanted.get(name, True)}
    rows = []
    for option, line in zip(analysis.options, lines, strict=False):
        share = shares[option.action]
        cells = {
            "move": escape(game.action_name(table.states, 0, seat, option.action)),
            "share": f'<span class="share" style="--share: {share:.3f}">{share:.0%}</span>',
            "visits": str(option.visits),
            "prior": f"{option.prior:.1%}",
            "value": "" if option.value is None else f"{option.value:z.2f}",
            "then": escape(" ".join(line)),
        }
        rows.append(f"<tr>{''.join(f'<td class={kind!r}>{cells[name]}</td>' for name, kind in columns.items())}</tr>")
    more = len(analysis.options) - SHOWN
    rest = f'<p class="quiet">and {more} more</p>' if more > 0 else ""
    head = "".join(f'<th class="{kind}">{name}</th>' for name, kind in columns.items())
    shown = f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<p>{escape(told)}</p><div class="scroll-x">{shown}</div>{rest}'


def chart(spec: GameSpec, thoughts: Mapping[int, Thought], steps: int, names: Sequence[str]) -> str:
    """How the value went, as SVG: one line for two sides of a zero-sum game, else one for each seat.

    Empty before there are two points of a line.
    """
    two = duel(spec)
    seats = [0] if two else sorted({thought.seat for thought in thoughts.values()})
    own = {
        seat: thoughts if two else {at: each for at, each in thoughts.items() if each.seat == seat} for seat in seats
    }
    lines = {seat: points for seat in seats if len(points := course(spec, own[seat], seat)) > 1}
    if not lines:
        return ""
    values = [value for points in lines.values() for _, value in points]
    low, high = (-1.0, 1.0) if spec.bounds == (-1.0, 1.0) else (min(values), max(values))
    high = high if high > low else low + 1
    drawn = []
    for seat, points in lines.items():
        path = " ".join(
            f"{_WIDE * step / max(steps, 1):.1f},{_HIGH * (high - value) / (high - low):.1f}" for step, value in points
        )
        drawn.append(f'<polyline points="{path}" style="stroke: var(--scene-{seat_colour(seat)})"/>')
    whose = f"for {names[0]}" if two else "for each seat"
    level = f'<line x1="0" x2="{_WIDE}" y1="{_HIGH / 2}" y2="{_HIGH / 2}"/>' if two else ""
    return (
        f'<figure><figcaption class="quiet">Expected return {escape(whose)}, from {low:.3g} to {high:.3g}, over'
        f' {steps} steps</figcaption><svg class="value-chart" viewBox="0 -2 {_WIDE} {_HIGH + 4}"'
        f' preserveAspectRatio="none" role="img">{level}{"".join(drawn)}</svg></figure>'
    )


def _setting(name: str, value: float | None) -> str:
    return f"{name}: {'its own' if value is None else f'{value:g}'}"


def record(viewer: Viewer) -> str:
    """The moves so far as a list, as far as they may be told."""
    names = viewer.sitting.names
    rows = [
        ", ".join(f"<b>{escape(names[seat])}</b> {escape(move)}" for seat, move in viewer.told(step).items())
        for step in viewer.sitting.line
    ]
    return f"<ol>{''.join(f'<li>{row}</li>' for row in rows)}</ol>"


def state(sitting: Sitting) -> str:
    """How the game stands, as a sentence or two."""
    if sitting.failure is not None:
        return f"The game broke after {sitting.steps} steps and has no result: {sitting.failure}"
    if sitting.over:
        returns = sitting.table.returns[0]
        return " ".join(in_words(sitting.spec, returns, sitting.names, sitting.people, truncated=sitting.truncated))
    if not sitting.waiting:
        acting = " and ".join(sitting.names[seat] for seat in sitting.acting)
        return f"{acting} to move." if not sitting.people else f"{acting} is thinking …"
    name = sitting.names[sitting.waiting[0]]
    return "Your move." if name == "you" else f"{name} to move."
