"""The local file against what was logged, and W&B offline against what its own log file really holds."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arena.tracking as tracking
from arena.tracking import Fan, JsonLines, Null, TrackingSettings, WandB, describe, open_tracker, read_lines

OFFLINE = TrackingSettings(wandb="offline")
CONFIG = {"seed": 3, "agent": {"kind": "ppo", "learning_rate": 0.001, "api_key": "hidden-one"}}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no home and no settings of whoever runs this."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "home" / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "home" / "staging"))


# ---- JSON lines ----------------------------------------------------------------------------------------------------


def test_a_line_is_one_sorted_object_and_is_there_at_once(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path)
    lines.log(256, {"z/loss": np.float32(0.5), "a/wins": np.int64(3), "b": 0.1})  # type: ignore[dict-item]
    assert lines.path == tmp_path / "metrics" / "metrics.jsonl"
    assert lines.path.read_text() == '{"a/wins": 3, "b": 0.1, "step": 256, "z/loss": 0.5}\n'
    assert lines.offset == len(lines.path.read_bytes())


def test_what_is_not_finite_parses_and_comes_back(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path)
    lines.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": float(np.float64("nan"))})
    lines.table("ladder", ["player", "elo"], [["inf", math.inf], ["main@1", np.float32(2.5)]], 1)
    lines.summary({"best": "main@1", "elo": np.float64("nan")})
    lines.picture("ladder", tmp_path / "pictures" / "ladder.png", 1)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for raw in lines.path.read_text().splitlines():
        json.loads(raw, parse_constant=refuse)
    first, table, summary, picture = read_lines(lines.path)
    assert math.isnan(first["a"])
    assert math.isnan(first["d"])
    assert (first["b"], first["c"], first["step"]) == (math.inf, -math.inf, 1)
    assert table == {
        "table": "ladder",
        "columns": ["player", "elo"],
        "rows": [["inf", "inf"], ["main@1", 2.5]],
        "step": 1,
    }
    assert summary == {"summary": {"best": "main@1", "elo": "nan"}}
    assert picture == {"picture": "ladder", "path": "pictures/ladder.png", "step": 1}


def test_a_reserved_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be called 'step'"):
        JsonLines(tmp_path).log(1, {"step": 1.0})


def test_a_resumed_run_leaves_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = JsonLines(tmp_path / "whole")
    for step in range(20):
        whole.log(step, {"loss": 1 / (step + 1)})

    broken = JsonLines(tmp_path / "broken")
    for step in range(10):
        broken.log(step, {"loss": 1 / (step + 1)})
    checkpoint = broken.offset
    for step in range(10, 15):
        broken.log(step, {"loss": -1.0})
    broken.close()

    resumed = JsonLines(tmp_path / "broken")
    resumed.cut(checkpoint)
    assert resumed.offset == checkpoint
    for step in range(10, 20):
        resumed.log(step, {"loss": 1 / (step + 1)})
    assert resumed.path.read_bytes() == whole.path.read_bytes()


def test_every_offset_keeps_exactly_the_whole_lines_before_it(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path)
    for step in range(4):
        lines.log(step, {"é": float(step)})
    written = lines.path.read_bytes()
    for offset in range(len(written), -1, -1):
        lines.cut(offset)
        assert lines.path.read_bytes() == written[: written.rfind(b"\n", 0, offset) + 1]


def test_a_line_torn_by_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    JsonLines(tmp_path).log(1, {"loss": 0.5})
    with (tmp_path / "metrics" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"loss": 0.2')
    assert [line["step"] for line in read_lines(tmp_path / "metrics" / "metrics.jsonl")] == [1]
    JsonLines(tmp_path).log(3, {"loss": 0.1})
    assert [line["step"] for line in read_lines(tmp_path / "metrics" / "metrics.jsonl")] == [1, 3]


def test_a_file_shorter_than_its_checkpoint_is_told_and_kept(tmp_path: Path) -> None:
    warned: list[str] = []
    lines = JsonLines(tmp_path, warned.append)
    lines.log(1, {"loss": 0.5})
    before = lines.path.read_bytes()
    lines.cut(1_000)
    assert lines.path.read_bytes() == before
    assert len(warned) == 1
    assert "1000" in warned[0]


def test_fan_hands_everything_to_all(tmp_path: Path) -> None:
    fan = Fan([JsonLines(tmp_path / "a"), Null(), JsonLines(tmp_path / "b")])
    fan.log(1, {"loss": 0.5})
    fan.table("t", ["x"], [[1]], 1)
    fan.picture("p", tmp_path / "p.png", 1)
    fan.summary({"best": 1})
    assert fan.offset == (tmp_path / "a/metrics/metrics.jsonl").stat().st_size > 0
    fan.close()
    left, right = ((tmp_path / x / "metrics/metrics.jsonl").read_text() for x in "ab")
    assert left.replace("/a/", "/b/") == right
    assert len(left.splitlines()) == 4


def test_opening_without_an_offset_keeps_everything(tmp_path: Path) -> None:
    settings = TrackingSettings(wandb="disabled")
    with_two = open_tracker(tmp_path, {}, settings)
    with_two.log(1, {"loss": 1.0})
    checkpoint = with_two.offset
    with_two.log(2, {"loss": 1.0})
    with_two.close()
    open_tracker(tmp_path, {}, settings).close()
    assert [line["step"] for line in read_lines(tmp_path / "metrics/metrics.jsonl")] == [1, 2]
    open_tracker(tmp_path, {}, settings, offset=checkpoint).close()
    assert [line["step"] for line in read_lines(tmp_path / "metrics/metrics.jsonl")] == [1]
    assert not (tmp_path / "wandb").exists()


# ---- Weights & Biases, offline for real ----------------------------------------------------------------------------


def _records(path: Path) -> Iterator[Any]:
    """The protobuf records of an offline run: LevelDB's log format, 32 KiB blocks after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, whole = 7, b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, piece = struct.unpack_from("<HB", content, position + 4)
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if piece in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made at import
            record.ParseFromString(whole)
            yield record
            whole = b""


def _read_offline(folder: Path) -> tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Run id, configuration, rows of history and summary as the newest offline run holds them."""
    import wandb

    wandb.teardown()  # `finish` returns before its process has written the last records
    path = max((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    name, config, history, summary = "", {}, [], {}
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.run_id
            config.update({item.key: json.loads(item.value_json) for item in record.run.config.update})
        elif kind == "history":
            row: dict[str, Any] = {}
            for item in record.history.item:
                *outer, last = item.nested_key or [item.key]
                section = row
                for name_of in outer:
                    section = section.setdefault(name_of, {})
                section[last] = json.loads(item.value_json)
            history.append(row)
        elif kind == "summary":
            summary.update(
                {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
            )
    return name, config, history, summary


def test_without_a_key_auto_is_offline_and_everything_arrives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from matplotlib.figure import Figure

    warned: list[str] = []
    Figure(figsize=(1, 1)).savefig(tmp_path / "ladder.png")
    tracker = open_tracker(tmp_path, CONFIG, TrackingSettings(), warned.append)
    for step in range(300):
        tracker.log(step * 256, {"main/loss": 1 / (step + 1), "main/entropy": 2.0})
    tracker.table("ladder", ["player", "elo"], [["main@2", 120.5], ["random", -300.0]], 76_800)
    tracker.picture("curve", tmp_path / "ladder.png", 76_800)
    tracker.summary({"best": "main@2"})
    tracker.close()

    assert warned == []
    assert capfd.readouterr() == ("", "")
    name, config, history, summary = _read_offline(tmp_path)
    assert name == (tmp_path / "wandb" / "id").read_text().strip()
    assert config["seed"] == 3
    assert config["agent"] == {"kind": "ppo", "learning_rate": 0.001}
    assert config["machine"]["packages"]["numpy"] == np.__version__
    losses = [(row["step"], row["main/loss"], row["main/entropy"]) for row in history if "main/loss" in row]
    assert losses == [(step * 256, 1 / (step + 1), 2.0) for step in range(300)]
    table = next(row["ladder"] for row in history if "ladder" in row)
    stored = next((tmp_path / "wandb").glob(f"offline-run-*/files/{table['path']}"))
    assert json.loads(stored.read_text()) == {
        "columns": ["player", "elo"],
        "data": [["main@2", 120.5], ["random", -300.0]],
    }
    picture = next(row["curve"] for row in history if "curve" in row)
    (stored,) = (tmp_path / "wandb").glob(f"offline-run-*/files/{picture['path']}")
    assert stored.read_bytes() == (tmp_path / "ladder.png").read_bytes()
    assert summary["best"] == "main@2"
    assert len(list(read_lines(tmp_path / "metrics/metrics.jsonl"))) == 303
    assert not any((tmp_path / "elsewhere").rglob("*.wandb"))


def test_a_resumed_run_is_the_same_run_on_wandb_and_its_steps_may_go_back(tmp_path: Path) -> None:
    names = []
    for steps in ([1, 2, 3], [2, 3, 4]):
        tracker = WandB(tmp_path, {}, OFFLINE, "offline")
        for step in steps:
            tracker.log(step, {"loss": float(step)})
        tracker.close()
        name, _, history, _ = _read_offline(tmp_path)
        names.append(name)
    assert names[0] == names[1] != ""
    assert [row["step"] for row in history] == [2, 3, 4]


def test_the_key_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "0123456789abcdef" * 2 + "deadbeef"
    monkeypatch.setenv("WANDB_API_KEY", key)
    tracker = WandB(tmp_path, CONFIG, OFFLINE, "offline")
    tracker.log(1, {"loss": 0.5})
    tracker.close()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)
    for path in written:
        assert key.encode() not in path.read_bytes(), path
        assert b"hidden-one" not in path.read_bytes(), path


# ---- Weights & Biases, broken --------------------------------------------------------------------------------------


class Breaks:
    """Stands for wandb's run: raises at its third `log`."""

    def __init__(self) -> None:
        self.logged = 0

    def define_metric(self, *names: str, **settings: str) -> None: ...

    def log(self, line: dict[str, float]) -> None:
        self.logged += 1
        if self.logged == 3:
            raise OSError("broken pipe")

    def finish(self) -> None:
        raise AssertionError("a broken run is not finished")


def _raises(**settings: Any) -> None:
    raise RuntimeError("no room for key-of-forty-characters-or-so")


@pytest.mark.parametrize("init", [_raises, lambda **settings: Breaks()])
def test_a_wandb_that_raises_is_one_warning_and_the_run_goes_on(
    init: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_API_KEY", "key-of-forty-characters-or-so")
    warned: list[str] = []
    tracker = open_tracker(tmp_path, CONFIG, OFFLINE, warned.append)
    for step in range(50):
        tracker.log(step, {"loss": 1.0})
    tracker.close()
    assert len(warned) == 1
    assert "goes quiet" in warned[0]
    assert "key-of-forty" not in warned[0]
    assert [line["step"] for line in read_lines(tmp_path / "metrics/metrics.jsonl")] == list(range(50))


def test_a_server_that_is_away_leaves_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    real, modes = wandb.init, []

    def away(**settings: Any) -> Any:
        modes.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return real(**settings)

    monkeypatch.setattr(wandb, "init", away)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    warned: list[str] = []
    tracker = open_tracker(tmp_path, CONFIG, TrackingSettings(), warned.append)
    tracker.log(7, {"loss": 0.5})
    tracker.close()
    assert modes == ["online", "offline"]
    assert len(warned) == 1
    assert "no route to host" in warned[0]
    assert "wandb sync" in warned[0]
    assert [row["loss"] for row in _read_offline(tmp_path)[2]] == [0.5]


def test_a_wandb_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    import wandb

    free = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **settings: free.wait())
    monkeypatch.setattr(tracking, "_AHEAD", 10)
    monkeypatch.setattr(tracking, "_CLOSE", 0.01)
    warned: list[str] = []
    tracker = open_tracker(tmp_path, CONFIG, OFFLINE, warned.append)
    for step in range(50):
        tracker.log(step, {"loss": 1.0})
    tracker.close()
    assert len(warned) == 1
    assert "10 entries" in warned[0]
    assert len(list(read_lines(tmp_path / "metrics/metrics.jsonl"))) == 50
    free.set()


@pytest.mark.parametrize(
    ("wanted", "variable", "mode"),
    [("auto", "disabled", "disabled"), ("auto", "", "auto"), ("online", "offline", "online"), ("auto", "odd", "auto")],
)
def test_the_configuration_wins_over_the_variable(
    wanted: tracking.Mode, variable: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    assert tracking._mode(wanted) == mode


def test_where_a_key_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    modes: list[str] = []

    def note(**settings: Any) -> None:
        modes.append(settings["mode"])

    monkeypatch.setattr(wandb, "init", note)

    def mode_of(wanted: tracking.Mode) -> str:
        wandb.teardown()  # it remembers the key it has found
        tracker = WandB(tmp_path, {}, OFFLINE, wanted, lambda message: None)
        tracker.close()
        return modes[-1]

    assert mode_of("auto") == "offline"
    assert mode_of("online") == "offline"
    kept = tmp_path / "kept"
    monkeypatch.setenv("NETRC", str(kept))
    kept.write_text("machine example.org login user password x\n")
    assert mode_of("auto") == "offline"
    kept.write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    assert mode_of("auto") == "online"
    monkeypatch.delenv("NETRC")
    assert mode_of("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert mode_of("auto") == "online"
    assert mode_of("offline") == "offline"


# ---- the machine ---------------------------------------------------------------------------------------------------


def test_describe_names_the_commit_and_the_versions() -> None:
    root = Path(tracking.__file__).parent.parent
    facts = describe()
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    if asked.returncode == 0 and (root / ".git").exists():
        assert facts["commit"].removesuffix("-dirty") == asked.stdout.strip()
    json.dumps(facts)


def test_no_commit_of_somebody_elses_checkout(tmp_path: Path) -> None:
    assert tracking._commit(tmp_path) is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert tracking._commit(inside) is None


def test_importing_this_imports_no_wandb() -> None:
    code = "import sys, arena.tracking; print(sorted({'wandb', 'torch', 'ray', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
