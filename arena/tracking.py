"""Where a run's numbers go: a local file of JSON lines always, Weights & Biases where it is wanted and reachable.

    tracker = open_tracker(folder, config, settings)
    tracker.log(step, {"main/loss": 0.31})
    tracker.table("ladder", ["player", "elo"], [["main@3", 112.0]], step)
    tracker.close()

The local file is the truth: it is complete whatever happens to the network, and a resumed run cuts it back to its
checkpoint. W&B lives in a thread of its own, so a slow or dead server never holds up a game: whatever goes wrong there
becomes one warning and silence.
"""

from __future__ import annotations

import json
import math
import os
import platform
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

Mode = Literal["auto", "online", "offline", "disabled"]
Rows = Sequence[Sequence[Any]]
Warn = Callable[[str], None]

RESERVED = frozenset({"step", "table", "columns", "rows", "picture", "path", "summary"})
"""Keys of a line that say what it is; no metric may be called so."""

PACKAGES = (
    "arena-league", "gymnasium", "numba", "numpy", "open-spiel", "pettingzoo", "pydantic", "ray", "torch", "wandb",
)  # fmt: skip
_SECRETS = ("api_key", "apikey", "password", "secret", "token")
_STARTS = 20.0  # seconds that the server has to answer at the start
_FINISH = 20.0  # seconds that wandb itself may spend on the last uploads; less than _CLOSE, so that it can say so
_CLOSE = 30.0  # seconds that `close` waits at most
_AHEAD = 10_000  # entries that may wait for W&B before it is given up


class TrackingSettings(BaseModel):
    """Where a run's numbers go besides its own folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wandb: Mode = "auto"  # auto: online where there is a key, else offline
    project: str = "arena-league"
    entity: str | None = None  # the W&B user or team; their default where None
    name: str | None = None  # the run's name on W&B; the folder's where None
    tags: tuple[str, ...] = ()


class Tracker(Protocol):
    """Receives what a run measures. `step` counts the run's decisions."""

    @property
    def offset(self) -> int:
        """Bytes of the local file so far, for a checkpoint; 0 where there is none."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers by name. Names with a slash (`main/loss`) are grouped by what stands before it."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None: ...

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image file (PNG) that was written already."""
        ...

    def summary(self, mapping: Mapping[str, Any]) -> None:
        """What the run comes to; later values replace earlier ones of the same name."""
        ...

    def close(self) -> None: ...


class Null:
    """Tracks nothing."""

    offset = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None: ...

    def picture(self, name: str, path: Path, step: int) -> None: ...

    def summary(self, mapping: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Fan:
    """Hands everything to all of its trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    @property
    def offset(self) -> int:
        return max((tracker.offset for tracker in self.trackers), default=0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(step, metrics)

    def table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        for tracker in self.trackers:
            tracker.table(name, columns, rows, step)

    def picture(self, name: str, path: Path, step: int) -> None:
        for tracker in self.trackers:
            tracker.picture(name, path, step)

    def summary(self, mapping: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.summary(mapping)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def open_tracker(
    folder: Path,
    config: Mapping[str, Any],
    settings: TrackingSettings,
    warn: Warn | None = None,
    offset: int | None = None,
) -> Fan:
    """The trackers of the run in `folder`: JSON lines, and W&B unless disabled.

    A resumed run gives the `offset` of its checkpoint: what the local file holds after it is cut off.
    `config` is the resolved configuration, shown on W&B without anything that is called like a secret.
    """
    warn = warn or _to_stderr
    lines = JsonLines(folder, warn)
    if offset is not None:
        lines.cut(offset)
    mode = _mode(settings.wandb)
    return Fan([lines] if mode == "disabled" else [lines, WandB(folder, config, settings, mode, warn)])


# ---- the local file ------------------------------------------------------------------------------------------------


class JsonLines:
    """`metrics/metrics.jsonl`: one JSON object a line, keys sorted, flushed at once.

    A line of metrics is flat, with its `step`; tables, pictures and summaries are lines of their own, told by the key
    `table`, `picture` or `summary`. JSON has no infinity and no NaN: they are written as the strings `inf`, `-inf` and
    `nan`, which `float` reads and `read_lines` turns back in metrics.
    """

    def __init__(self, folder: Path, warn: Warn | None = None) -> None:
        self.folder = folder
        self.path = folder / "metrics" / "metrics.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._warn = warn or _to_stderr
        self._file = self.path.open("ab")
        self.cut(self.offset)

    @property
    def offset(self) -> int:
        return self._file.tell()

    def cut(self, offset: int) -> None:
        """Keep the first `offset` bytes, less a line torn by a crash. Warns where the file is shorter than that."""
        size = self.path.stat().st_size
        if size < offset:
            self._warn(f"{self.path} ends at byte {size}, its checkpoint is at {offset}: what lay between is lost.")
        with self.path.open("rb") as written:
            kept = written.read(min(offset, size))
        self._file.truncate(kept.rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Raises ValueError where a metric's name is reserved."""
        if taken := RESERVED & metrics.keys():
            raise ValueError(f"A metric cannot be called {min(taken)!r}, which tells what a line is; rename it.")
        self._write({**metrics, "step": step})

    def table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        self._write({"table": name, "columns": list(columns), "rows": [list(row) for row in rows], "step": step})

    def picture(self, name: str, path: Path, step: int) -> None:
        shown = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        self._write({"picture": name, "path": shown.as_posix(), "step": step})

    def summary(self, mapping: Mapping[str, Any]) -> None:
        self._write({"summary": dict(mapping)})

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(_plain(line), sort_keys=True, allow_nan=False, ensure_ascii=False)
        self._file.write(text.encode() + b"\n")
        self._file.flush()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file, infinities and NaN of metrics as floats again. A torn last line is left out."""
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n"):
                line: dict[str, Any] = json.loads(raw)
                metrics = not line.keys() & (RESERVED - {"step"})
                yield {key: float(value) for key, value in line.items()} | {"step": line["step"]} if metrics else line


def _plain(value: Any) -> Any:
    """What `json` can write: NumPy scalars as numbers, non-finite numbers as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, str | int | float | None):
        value = value.item() if hasattr(value, "item") else str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# ---- Weights & Biases ----------------------------------------------------------------------------------------------


class WandB:
    """The run on Weights & Biases: metrics, configuration, tables, pictures, and the machine's load, which is its own.

    Every call goes through one thread, in order. An exception there ends W&B for this run with one warning. Where the
    server cannot be reached at the start the run is kept offline, to be sent later by `wandb sync`. Its id stays in the
    run's folder, so that a resumed run goes on as the same W&B run. Metrics are drawn over their own `step`, which may
    go back to a checkpoint; W&B's would refuse that.
    """

    offset = 0

    def __init__(
        self, folder: Path, config: Mapping[str, Any], settings: TrackingSettings, mode: Mode, warn: Warn | None = None
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._config = {**without_secrets(config), "machine": describe()}
        self._warn = warn or _to_stderr
        self._orders: queue.Queue[Callable[[Any, Any], None] | None] = queue.Queue(_AHEAD)
        self._quiet = False
        self._thread = threading.Thread(target=self._serve, args=(mode,), name="wandb", daemon=True)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        line = {**metrics, "step": step}
        self._order(lambda wandb, run: run.log(line))

    def table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        names, data = list(columns), [list(row) for row in rows]
        self._order(lambda wandb, run: run.log({name: wandb.Table(columns=names, data=data), "step": step}))

    def picture(self, name: str, path: Path, step: int) -> None:
        self._order(lambda wandb, run: run.log({name: wandb.Image(str(path)), "step": step}))

    def summary(self, mapping: Mapping[str, Any]) -> None:
        values = dict(mapping)
        self._order(lambda wandb, run: run.summary.update(values))

    def close(self) -> None:
        """Wait for the last uploads, 30 seconds at most."""
        self._order(None)
        self._thread.join(_CLOSE)
        if self._thread.is_alive():
            self._give_up(f"still sending after {_CLOSE:.0f} seconds. {self._later()}")

    def _order(self, order: Callable[[Any, Any], None] | None) -> None:
        if self._quiet:
            return
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            self._give_up(f"{_AHEAD} entries are waiting to be taken")

    def _give_up(self, why: str) -> None:
        if not self._quiet:
            self._quiet = True
            self._warn(f"W&B goes quiet: {why}. The run goes on; {self.folder / 'metrics'} has everything.")

    def _serve(self, mode: Mode) -> None:
        """The thread: everything that touches wandb happens here."""
        try:
            # Read at import. Its messages would tear the progress display; its own error reports hold up the exit by
            # 20 seconds where the server does not answer.
            os.environ.setdefault("WANDB_SILENT", "true")
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
            import wandb

            run = self._start(wandb, mode)
            while (order := self._orders.get()) is not None and not self._quiet:
                order(wandb, run)
            run.finish()
        except Exception as error:
            self._give_up(_told(error))

    def _start(self, wandb: Any, mode: Mode) -> Any:
        if mode in ("auto", "online"):
            found = _has_key(wandb)
            if mode == "online" and not found:  # wandb would ask for one, and wait
                self._warn(f"W&B has no API key, so the run is kept offline. {self._later()}")
            mode = "online" if found else "offline"
        try:
            run = self._init(wandb, mode)
        except Exception as error:
            if mode != "online":
                raise
            self._warn(f"W&B cannot be reached ({_told(error)}), so the run is kept offline. {self._later()}")
            wandb.teardown()  # else its id counts as in use
            run = self._init(wandb, "offline")
        run.define_metric("*", step_metric="step")
        return run

    def _later(self) -> str:
        return f"Send it later with `wandb sync {self.folder / 'wandb'}/offline-run-*`."

    def _init(self, wandb: Any, mode: Mode) -> Any:
        quiet = wandb.Settings(
            silent=True, console="off", init_timeout=_STARTS, finish_timeout=_FINISH, disable_code=True, save_code=False
        )
        return wandb.init(
            dir=str(self.folder),
            project=self._settings.project,
            entity=self._settings.entity,
            name=self._settings.name or self.folder.resolve().name,
            tags=self._settings.tags,
            config=self._config,
            mode=mode,
            id=_kept_id(self.folder / "wandb" / "id"),
            resume="allow" if mode == "online" else None,
            reinit="create_new",  # leaves a run alone that the user may have open
            settings=quiet,
        )


def _mode(wanted: Mode) -> Mode:
    """`wanted`, or for `auto` what wandb's own variable WANDB_MODE says."""
    said = os.environ.get("WANDB_MODE", "")
    modes: dict[str, Mode] = {"online": "online", "offline": "offline", "disabled": "disabled"}
    return modes.get(said, wanted) if wanted == "auto" else wanted


def _has_key(wandb: Any) -> bool:
    """Whether there is an API key, in the environment, in wandb's settings or in ~/.netrc.

    `wandb.login(prompt=False)` would tell too, but asks the server about it.
    """
    from wandb.sdk.lib import wbauth

    known = wandb.setup().settings
    return bool(os.environ.get("WANDB_API_KEY") or known.api_key or wbauth.read_netrc_auth(host=known.base_url))


def _kept_id(path: Path) -> str:
    """The id written at `path`, a new one at first."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12] + "\n")
    return path.read_text().strip()


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without entries called like a secret (api_key, password, token …), also in the sections inside."""
    return {
        key: without_secrets(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if not any(word in str(key).lower() for word in _SECRETS)
    }


def _told(error: Exception) -> str:
    """The error on one line, without the key."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    key = os.environ.get("WANDB_API_KEY")
    return " ".join((text.replace(key, "***") if key else text).split())[:300]


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


# ---- what made these numbers ---------------------------------------------------------------------------------------


def describe() -> dict[str, Any]:
    """The git commit (None outside a checkout, `-dirty` where files differ from it), the machine and the versions."""
    return {
        "commit": _commit(Path(__file__).resolve().parent.parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> str | None:
    # An installed copy may lie inside somebody else's checkout: only one that starts at `root` is ours.
    if _git(root, "rev-parse", "--show-toplevel") != str(root):
        return None
    return _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(root: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # never in the way of a commit that is being made
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
