"""Launching a run: from a YAML file to a ladder and the next commands to type."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.kinds import play_settings, remark
from arena import checkpoints, ladder, strict
from arena.backend import Backend, InProcess
from arena.config import RunConfig, run_folder
from arena.files import Arrays
from arena.interrupts import Interrupts
from arena.ladder import Ladder
from arena.process import settle
from arena.progress import Progress, open_progress
from arena.run import Run, create, reopen
from arena.tracking import open_tracker
from arena.train import Training

Saved = tuple[dict[str, Any], dict[str, Arrays], list[str]]


def launch(source: Path, overrides: Sequence[str], resume: bool, console: Console, quiet: bool = False) -> int:
    """Run the league of the file `source`, or go on with it; returns the exit code.

    To go on, `source` may also be the run's folder. Raises UserError for whatever is wrong that can be known before.
    """
    settle()
    again = source.is_dir()
    config = strict.read(RunConfig, source / "config.yaml" if again else source, overrides)
    folder = source if again else run_folder(config, source)
    with ExitStack() as stack:
        run = stack.enter_context(reopen(folder, config) if resume else create(folder, config, str(source)))
        saved = checkpoints.load(run.resume_folder) if resume else None
        interrupts = stack.enter_context(Interrupts())
        progress = stack.enter_context(open_progress(console, quiet=quiet))
        reason, standing = _train(run, saved, progress, interrupts)
    console.print(f"Stopped by {reason}. Everything is in {folder}/: ledger, players, metrics, pictures.")
    if standing.rows:
        console.print(ladder.text(standing))
    console.print(next_commands(folder, run, standing), highlight=False)
    for line in evaluations(run, standing):
        console.print(line, highlight=False, soft_wrap=True)
    return interrupts.exit_code


def _train(run: Run, saved: Saved | None, progress: Progress, interrupts: Interrupts) -> tuple[str, Ladder]:
    """From the first order to the ladder: why it stopped, and the ladder."""
    record, arrays, wrong = saved or ({}, {}, [])
    for sentence in wrong:
        progress.message(f"{sentence} The checkpoint before it is used.")
    tracker = open_tracker(
        run.folder,
        run.config.model_dump(mode="json"),
        run.config.tracking,
        warn=progress.message,
        offset=record.get("offset", 0),
    )
    with closing(tracker), closing(_backend(run, progress)) as backend:
        training = Training(run, backend, tracker, progress, interrupts)
        for name, settings in run.config.league.learners.items():
            if said := remark(run.game.spec, settings.agent):
                progress.message(f"{name}: {said}")
        if saved:
            training.resume(record, arrays)
        else:
            training.begin()
        reason = training.loop()
        standing = training.finish()
        tracker.summary({"decisions": training.decisions, "games": training.games, "stopped_by": reason})
    return reason, standing


def _backend(run: Run, progress: Progress) -> Backend:
    device = pick_device(run.config.device)
    if run.config.rollout.workers == 0:
        return InProcess(run.config, run.game, device, run.store.load)
    from arena.cluster import RayBackend

    return RayBackend(run.config, device, progress.message)


def pick_device(wanted: str) -> str:
    """`auto` is a GPU where torch sees one."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def next_commands(folder: Path, run: Run, standing: Ladder) -> str:
    """What one would type next, as it can be typed here."""
    learner, game, stop = next(iter(run.config.league.learners)), shlex.quote(run.config.game), run.config.stop
    lines = [f"web {folder}", f"ladder {folder}", f"play {game} --against {folder}:{learner}"]
    scripted = [row.id for row in standing.rows if row.id in run.config.league.fixed]
    if scripted:
        lines.append(f"match {folder}:{learner} {scripted[0]} --games 400")
    limits = {"minutes": stop.minutes, "decisions": stop.decisions, "rating": stop.rating}
    further = [f"stop.{name}={2 * limit:g}" for name, limit in limits.items() if limit is not None]
    lines.append(f"launch {folder} --resume {' '.join(further)}")
    arena = "uv run arena" if "UV" in os.environ else "arena"  # uv says so to what it runs, which is on no path
    return "Next:\n" + "\n".join(f"  {arena} {line}" for line in lines)


def evaluations(run: Run, standing: Ladder) -> list[str]:
    """What each learner's newest snapshot returned in rating games, where there is no opponent to be rated against."""
    lines = []
    for name, settings in run.config.league.learners.items():
        own = [row for row in standing.rows if row.id.startswith(f"{name}@") and row.games]
        if standing.competitive or not own:
            continue
        row = max(own, key=lambda row: int(row.id.rpartition("@")[2]))
        how = "Greedy evaluation" if set(play_settings(settings.agent).values()) == {0.0} else "Evaluation"
        line = f"{how} return of {row.id}: {row.rating:.2f} ({row.low:.2f} to {row.high:.2f}, {row.games} games)"
        if standing.seats > 1:
            line += f" a seat, {row.rating * standing.seats:.2f} summed over {standing.seats} seats"
        lines.append(line)
    return lines
