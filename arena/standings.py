"""Where a run's players stand, from its rating games alone, and the pictures of it."""

from __future__ import annotations

import json
from pathlib import Path

from arena import files
from arena.ladder import Ladder, draw, heatmap, ladder, team_rows, to_dict
from arena.run import Run
from arena.tracking import Tracker
from leagues.payoff import Payoff


def standings(run: Run) -> Ladder:
    """The ladder of everybody who has played a rating game."""
    spec = run.game.spec
    rated = [(match, result) for _, match, result in run.ledger.results({"rate"})]
    rows = list(team_rows(rated, run.ledger.teams))
    present = list(dict.fromkeys(name for names, _ in rows for name in names))
    anchor = run.config.rating.anchor
    return ladder(present, rows, anchor if anchor in present else None, spec.competitive)


def write_pictures(run: Run, standing: Ladder) -> list[Path]:
    """`ladder.png`, `ladder.json`, and `payoff.png` where players meet; the paths of the pictures."""
    if not standing.rows:
        return []
    folder = run.folder
    steps = {player.id: player.step for player in run.ledger.players().values() if player.parent}
    files.write(folder / "ladder.json", json.dumps(to_dict(standing), indent=1).encode())
    draw(standing, folder / "ladder.png", steps)
    if not standing.competitive:
        return [folder / "ladder.png"]
    names = [row.id for row in standing.rows]
    scores, games = Payoff.of(run.ledger, purposes={"rate"}, decay=1.0).matrix(names)
    heatmap(scores, games, names, folder / "payoff.png")
    return [folder / "ladder.png", folder / "payoff.png"]


def track(tracker: Tracker, standing: Ladder, pictures: list[Path], step: int) -> None:
    """The ladder as a table, and the pictures, to the trackers."""
    columns = ["player", "mean" if not standing.competitive else "elo", "low", "high", "games"]
    rows = [[row.id, row.rating, row.low, row.high, row.games] for row in standing.rows]
    tracker.table("ladder", columns, rows, step)
    for path in pictures:
        tracker.picture(path.stem, path, step)
