"""Beside the board: who sits on a seat and how strong they play, and what is thought of the game."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from typing import Any

from nicegui import events, ui

from arena.lobby import Seatable
from arena.match import Table
from arena.sitting import Thought
from arena.words import SHOWN, spell, value_in_words
from games import GameSpec
from games.scene import seat_colour

_STEPS: dict[str, tuple[float, ...]] = {
    "simulations": (0, *(2**power for power in range(13))),
    "temperature": (0, 0.1, 0.25, 0.5, 1, 2),
    "epsilon": (0, 0.05, 0.1, 0.25, 0.5, 1),
}
"""What the sliders offer; before the first of them stands the player's own setting."""

_WIDE, _HIGH = 320, 96  # of the chart, in its own units


class SeatPanel:
    """One seat: a person or a player, with its settings."""

    def __init__(self, seat: int, changed: Callable[[], Awaitable[None]]) -> None:
        self.seat, self.reference = seat, ""
        self.settings: dict[str, Any] = {}
        self._changed = changed
        self._kinds: dict[str, Seatable] = {}
        with ui.element("div").classes("stack play-seat"):
            self._select = ui.select({}, label=f"Seat {seat}", on_change=self._chosen)
            self._select.props("dense outlined options-dense behavior=menu")
            self._sliders = ui.element("div").classes("stack")

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
        with self._sliders:
            for name in player.settings if player is not None else ():
                self._slider(name)

    def _slider(self, name: str) -> None:
        steps = _STEPS[name]
        now = self.settings.get(name)
        with ui.element("label").classes("play-slider"):
            said = ui.label(_setting(name, now)).classes("quiet")
            slider = ui.slider(min=0, max=len(steps), step=1, value=1 + steps.index(now) if now in steps else 0)
            slider.props(f'dense aria-label="{name} of seat {self.seat}"')

        def moved() -> None:
            place = int(slider.value or 0)
            self.settings.pop(name, None)
            if place:
                self.settings[name] = steps[place - 1]
            said.set_text(_setting(name, self.settings.get(name)))

        slider.on_value_change(moved)
        slider.on("change", self._changed)  # when it is let go


class Thoughts:
    """What is thought: the value of the position, the moves one by one, and how the value went."""

    def __init__(self, changed: Callable[[], Awaitable[None]]) -> None:
        with ui.element("section").classes("card").props('aria-label="What it thinks"'):
            self._switch = ui.switch("Show what it thinks", on_change=changed).props("dense")
            self._body = ui.html("", sanitize=False).classes("stack play-thoughts numbers")
            self._body.set_visibility(False)

    @property
    def wanted(self) -> bool:
        return bool(self._switch.value)

    def clear(self) -> None:
        self._body.set_content("")

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
            parts.append('<p class="quiet">Nobody at this table can say what they think of it.</p>')
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
    duel = spec.competitive and len(set(spec.teams)) == 2 and spec.payoff == "zero_sum"
    lines: dict[int, list[tuple[int, float]]] = {}
    for step, thought in sorted(thoughts.items()):
        first = spec.teams[thought.seat] == spec.teams[0]
        seat, value = (
            (0, thought.expected if first else -thought.expected) if duel else (thought.seat, thought.expected)
        )
        lines.setdefault(seat, []).append((step, value))
    lines = {seat: points for seat, points in lines.items() if len(points) > 1}
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
    whose = f"for {names[0]}" if duel else "for each seat"
    level = f'<line x1="0" x2="{_WIDE}" y1="{_HIGH / 2}" y2="{_HIGH / 2}"/>' if duel else ""
    return (
        f'<figure><figcaption class="quiet">Expected return {escape(whose)}, from {low:.3g} to {high:.3g}, over'
        f' {steps} steps</figcaption><svg class="value-chart" viewBox="0 -2 {_WIDE} {_HIGH + 4}"'
        f' preserveAspectRatio="none" role="img">{level}{"".join(drawn)}</svg></figure>'
    )


def _setting(name: str, value: float | None) -> str:
    return f"{name}: {'its own' if value is None else f'{value:g}'}"
