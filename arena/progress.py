"""What a person sees while a run goes on: a table that renews itself in a terminal, a plain line now and then in a log.

    with open_progress() as progress:
        progress.update(Status(elapsed=12.0, decisions=40_960, total=1_000_000, rate=3_400.0))

Nothing here is kept: numbers for later go to `arena.tracking`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Clock = Callable[[], float]
Value = TypeVar("Value")

_SHOWN = 8  # rows of each table
_LINE = 5.0  # seconds between two plain lines
_FRAME = 0.2  # seconds between two pictures in a terminal


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run is."""

    elapsed: float  # seconds of this run, over all resumes
    decisions: int
    total: int | None = None  # decisions at which it stops; None where something else ends it
    rate: float = 0.0  # decisions a second, lately
    left: float | None = None  # seconds, see `time_left`; None where nobody can know
    wins: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # opponent -> (score in [0, 1], games)
    ladder: Sequence[tuple[str, float, float, float]] = ()  # (player, Elo, low, high), best first
    thinking: Mapping[str, float] = field(default_factory=dict)  # player of the ladder -> milliseconds a move
    best: str | None = None  # of the ladder, by gate matches
    metrics: Mapping[str, float] = field(default_factory=dict)  # loss, entropy, staleness, waits …


def time_left(rules: Iterable[tuple[float, float, float]]) -> float | None:
    """Seconds until the first stop rule is met, by `rules` of (now, limit, change of now a second).

    A rule that does not move towards its limit says nothing; None where none does.
    """
    times = [max(limit - now, 0) / rate for now, limit, rate in rules if rate > 0 and math.isfinite(limit)]
    return min(times, default=None)


class Progress(Protocol):
    """Shows how a run goes. Close it, or use it in a `with` block, so that the last status is seen."""

    def update(self, status: Status) -> None: ...

    def message(self, text: str) -> None:
        """Say something at once, and keep it."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_progress(console: Console | None = None, clock: Clock = time.monotonic, quiet: bool = False) -> Progress:
    """A renewed table where `console` (stdout unless given) is a terminal, plain lines where not, nothing if `quiet`.

    A command that prints JSON on stdout gives `Console(stderr=True)`.
    """
    if quiet:
        return Quiet()
    console = console or Console()
    return Screen(console, clock) if console.is_terminal else Lines(console, clock)


class Quiet:
    """Shows nothing."""

    def update(self, status: Status) -> None: ...

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Lines(Quiet):
    """A line every five seconds at most; the last status always gets one."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._printed = -math.inf
        self._waiting: Status | None = None

    def update(self, status: Status) -> None:
        self._waiting = status
        if self._clock() - self._printed >= _LINE:
            self._print()

    def message(self, text: str) -> None:
        _say(self._console, text)

    def close(self) -> None:
        self._print()

    def _print(self) -> None:
        if self._waiting is not None:
            _say(self._console, line(self._waiting))
            self._printed, self._waiting = self._clock(), None


class Screen(Quiet):
    """Tables that renew themselves at the bottom of the terminal; messages scroll by above them."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._drawn = -math.inf
        self._status: Status | None = None
        # Prints of others may scroll by above it too, but never from stdout into a console on stderr.
        own = console.file is sys.stdout
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=own, redirect_stderr=True)
        self._live.start()

    def update(self, status: Status) -> None:
        self._status = status
        if self._clock() - self._drawn >= _FRAME:
            self._draw()

    def message(self, text: str) -> None:
        _say(self._console, text)

    def close(self) -> None:
        self._draw()
        self._live.stop()

    def _draw(self) -> None:
        if self._status is not None:
            self._live.update(picture(self._status), refresh=True)
            self._drawn = self._clock()


def _say(console: Console, text: str) -> None:
    """One line as it is: no markup, no colours of rich's choice, not wrapped."""
    console.print(Text(text), soft_wrap=True)


# ---- a line --------------------------------------------------------------------------------------------------------


def line(status: Status) -> str:
    """The status in one line, for a log."""
    parts = [_head(status)]
    parts += ["vs " + ", ".join(f"{who} {_percent(score)} ({games:,})" for who, (score, games) in _first(status.wins))]
    parts += ["top " + ", ".join(f"{who} {_elo(elo, low, high)}" for who, elo, low, high in status.ladder[:3])]
    parts += [", ".join(f"{name} {_number(value)}" for name, value in _first(status.metrics))]
    return " | ".join(part for part in parts if part not in ("", "vs ", "top "))


def _head(status: Status) -> str:
    share = f" of {_count(status.total)} ({_percent(_share(status))})" if status.total else ""
    left = "" if status.left is None else f", {duration(status.left)} left"
    return f"{duration(status.elapsed)}  {_count(status.decisions)}{share} decisions, {_count(status.rate)}/s{left}"


def _share(status: Status) -> float:
    return min(status.decisions / status.total, 1.0) if status.total else 0.0


# ---- a picture -----------------------------------------------------------------------------------------------------


def picture(status: Status) -> Group:
    """The status as a bar and up to three tables side by side."""
    head = Table.grid(padding=(0, 2))
    cells = [Text(_head(status), style="bold", no_wrap=True, overflow="ellipsis")]
    if status.total:
        cells.insert(0, ProgressBar(total=1.0, completed=_share(status), width=20))  # type: ignore[arg-type]
    head.add_row(*cells)

    tables = []
    if status.wins:
        rows = [(who, _percent(score), f"{games:,}") for who, (score, games) in status.wins.items()]
        tables.append(_table(("against", "score", "games"), rows))
    if status.ladder:
        tables.append(_ladder(status))
    if status.metrics:
        tables.append(_table(("metric", "now"), [(name, _number(value)) for name, value in status.metrics.items()]))
    if not tables:
        return Group(head)
    beside = Table.grid(padding=(0, 4))
    beside.add_row(*tables)
    return Group(head, beside)


def _ladder(status: Status) -> Table:
    """The ladder, with milliseconds a move where they are known, and a star at the best."""
    names = ("ladder", "Elo", "interval", *(("ms/move",) if status.thinking else ()))
    rows = []
    for who, elo, low, high in status.ladder:
        row = [who + (" *" if who == status.best else ""), f"{elo:z.0f}", _interval(low, high)]
        took = status.thinking.get(who)
        rows.append([*row, "" if took is None else f"{took:.3g}"][: len(names)])
    return _table(names, rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for column, name in enumerate(names):
        table.add_column(name, justify="right" if column else "left", no_wrap=True, overflow="ellipsis")
    for row in rows[:_SHOWN]:
        table.add_row(*map(Text, row))
    if len(rows) > _SHOWN:
        table.add_row(Text(f"… {len(rows) - _SHOWN} more", style="dim"))
    return table


# ---- numbers as people read them -----------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`1:02:03`, `2:03`; days where there are any."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _count(number: float) -> str:
    """Three figures: 950, 1.23k, 45.6M."""
    if not math.isfinite(number):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "–"


def _elo(elo: float, low: float, high: float) -> str:
    return f"{elo:z.0f} {_interval(low, high)}"


def _interval(low: float, high: float) -> str:
    return f"[{low:z.0f}, {high:z.0f}]"


def _first(named: Mapping[str, Value]) -> list[tuple[str, Value]]:
    return list(named.items())[:_SHOWN]
