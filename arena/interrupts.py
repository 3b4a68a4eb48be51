"""Ctrl-C and SIGTERM: the first asks the run to finish its update and save, the second stops it at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

EXIT = {"SIGINT": 130, "SIGTERM": 143}
"""The exit code by which a shell knows what ended a program."""


class Interrupts:
    """While entered, signals are noted in `signal` instead of ending the process; the second one raises SystemExit."""

    def __init__(self) -> None:
        self.signal = ""  # the name of the first signal that came
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        return EXIT.get(self.signal, 0)

    def __enter__(self) -> Interrupts:
        for name in EXIT:
            number = getattr(signal, name)
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.signal:
            raise SystemExit(EXIT[name])
        self.signal = name
