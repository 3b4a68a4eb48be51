"""Names that people type: finding the one they meant, reading `name?key=value`, and the error to raise else."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """What was asked for cannot be done as asked. The message is a sentence that says why, and the way out."""

    exit_code = 2  # of a program that it ends


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or a list of what there is where nothing is near. Starts with a space."""
    options = sorted(set(known))
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    if not options:
        return ""
    shown = ", ".join(options[:12]) + (", …" if len(options) > 12 else "")
    return f" Known: {shown}."


def split_settings(reference: str) -> tuple[str, dict[str, Any]]:
    """`go?board_size=9&komi=7.5` -> (`go`, {board_size: 9, komi: 7.5}).

    Values are Python literals or `true`/`false`; anything else is a string. Raises ValueError where a part has no `=`.
    """
    name, _, query = reference.partition("?")
    settings: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(f"{reference!r}: {part!r} after the question mark should read key=value.")
        settings[key] = _literal(value)
    return name, settings


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
