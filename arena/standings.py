"""Where a run's players stand, who is the best, and the pictures of it.

Ratings come from rating games alone, and for people who look at a ladder (`people`) from people's games too. What a run
does and reports by its ladder leaves those out, so that it is the same whoever came by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from arena import files
from arena.config import BestSettings
from arena.ladder import Ladder, TeamRow, ladder, team_rows, to_dict, with_thinking
from arena.pictures import draw, heatmap
from arena.run import Run
from arena.tracking import Tracker
from games.core import GameSpec
from leagues.core import Purpose
from leagues.gate import Gate
from leagues.payoff import Payoff


def standings(run: Run, people: bool = False) -> Ladder:
    """The ladder of everybody who has played a rating game, with how long they think and who is the best.

    With `people`, of them and whom they met besides.
    """
    spec = run.game.spec
    rated = ((match, result) for _, match, result in run.ledger.results(purposes(people)))
    standing = ranked(list(team_rows(rated, run.ledger.teams, by_side(spec))), spec, run.config.rating.anchor)
    return replace(with_thinking(standing, run.ledger.thinking()), best=best(run))


def ranked(rows: Sequence[TeamRow], spec: GameSpec, anchor: str) -> Ladder:
    """The ladder of those who are in `rows` of the game, `anchor` at 0 Elo if it is one of them.

    `rows` are those of `leagues.payoff.Comparisons`, by side where `by_side` says so. It tells neither how long they
    think nor who is the best.
    """
    present = list(dict.fromkeys(name for names, _ in rows for name in names))
    return ladder(
        present,
        rows,
        anchor if anchor in present else None,
        spec.competitive,
        by_side=by_side(spec),
        seats=1 if len(set(spec.teams)) > 1 else spec.seats,
    )


def by_side(spec: GameSpec) -> bool:
    """Whether players are rated by what they returned on the same side, as sides differ."""
    return spec.roles and spec.competitive


def purposes(people: bool) -> tuple[Purpose, ...]:
    """What is rated: rating games, and with `people` theirs too."""
    return ("rate", "human") if people else ("rate",)


def best(run: Run) -> str | None:
    """The snapshot that is the best by gate matches; None where the run asks for none and has played none."""
    settings, spec = run.config.best, run.game.spec
    if len(set(spec.teams)) != 2:
        return None
    return best_of(Gate.of(run.ledger, settings.rule(), roles=spec.roles), settings)


def best_of(gate: Gate, settings: BestSettings) -> str | None:
    """Whom `gate` holds for the best; None where the run asks for none and none was found before."""
    return gate.best if settings.enabled or gate.verdicts else None


def leader(run: Run) -> str | None:
    """Whom `best` names: the best by gate matches, else the snapshot that ranks highest; None where there is none."""
    standing, members = standings(run), run.ledger.players()
    return standing.best or next((row.id for row in standing.rows if members[row.id].content), None)


def write_pictures(run: Run, standing: Ladder, people: bool = False) -> list[Path]:
    """`ladder.png`, `ladder.json`, and `payoff.png` where players meet; the paths of the pictures.

    `people` as it was for the `standing`.
    """
    if not standing.rows:
        return []
    folder = run.folder
    steps = {player.id: player.step for player in run.ledger.players().values() if player.parent}
    files.write(folder / "ladder.json", json.dumps(to_dict(standing, times=False), indent=1).encode())
    draw(standing, folder / "ladder.png", steps)
    if not standing.competitive:
        return [folder / "ladder.png"]
    names = [row.id for row in standing.rows]
    payoff = Payoff.of(run.ledger, purposes=purposes(people), decay=1.0, roles=run.game.spec.roles)
    heatmap(*payoff.matrix(names), names, folder / "payoff.png")
    return [folder / "ladder.png", folder / "payoff.png"]


def track(tracker: Tracker, standing: Ladder, pictures: list[Path], step: int) -> None:
    """The ladder as a table, and the pictures, to the trackers."""
    columns = ["player", "mean" if not standing.competitive else "elo", "low", "high", "games"]
    rows = [[row.id, row.rating, row.low, row.high, row.games] for row in standing.rows]
    tracker.table("ladder", columns, rows, step)
    times = {f"time/ms_per_move/{row.id}": row.thinking for row in standing.rows if row.thinking is not None}
    if times:
        tracker.log(step, times)
    for path in pictures:
        tracker.picture(path.stem, path, step)
