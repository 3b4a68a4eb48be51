"""What is wrong with a configuration is said in one line for each problem; what is right comes back as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from arena.strict import ConfigError, dump, parse, read

Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ppo(Frozen):
    kind: Literal["ppo"]
    learning_rate: float = Field(default=3e-4, gt=0)
    epochs: int = Field(default=4, ge=1)


class Dqn(Frozen):
    kind: Literal["dqn"]
    epsilon: Share = 0.1


Agent = Annotated[Ppo | Dqn, Field(discriminator="kind")]


class Opponents(Frozen):
    self_play: Share = 0.5
    history: Share = 0.5
    rule: Literal["uniform", "hard", "variance"] = "uniform"


class Learner(Frozen):
    opponents: Opponents = Opponents()
    agent: Agent = Ppo(kind="ppo")


class League(Frozen):
    learners: dict[str, Learner] = {}
    weights: dict[str, Share] = {}


class Run(Frozen):
    game: str
    steps: int = Field(default=1000, gt=0)
    seed: int = 0
    workers: int | Literal["auto"] = "auto"
    name: str | None = None
    layers: tuple[int, ...] = (64, 64)
    agents: list[Agent] = []
    grid: list[list[Share]] = []
    extra: Opponents | None = None
    league: League = League()
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits(self) -> Run:
        if self.seed == 13:
            raise ValueError("seed 13 is never lucky")
        return self


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c4.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """What `read` complains about, without the folder."""
    with pytest.raises(ConfigError) as caught:
        read(Run, written(tmp_path, text), overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_good_file_is_read(tmp_path: Path) -> None:
    run = read(
        Run,
        written(
            tmp_path,
            "game: connect_four\nsteps: 1e6\nlayers: [128, 64]\nagents: [{kind: dqn, epsilon: 5e-2}]\n"
            "league:\n  learners:\n    main: {agent: {kind: ppo, learning_rate: 1e-3}}\n",
        ),
    )
    assert run.steps == 1_000_000
    assert run.layers == (128, 64)
    assert run.agents == [Dqn(kind="dqn", epsilon=0.05)]
    assert run.league.learners["main"].agent == Ppo(kind="ppo", learning_rate=0.001)


MISTAKES = [
    (
        "league:\n  learners:\n    main:\n      opponents:\n        slef_play: 0.5",
        "c4.yaml:6: league.learners.main.opponents.slef_play = 0.5: there is no such setting."
        " Did you mean 'self_play'?",
    ),
    ("stpes: 5", "c4.yaml:2: stpes = 5: there is no such setting. Did you mean 'steps'?"),
    ("steps: -5", "c4.yaml:2: steps = -5: should be greater than 0."),
    ("steps: many", "c4.yaml:2: steps = 'many': should be a whole number."),
    ("steps: 1.5", "c4.yaml:2: steps = 1.5: should be a whole number."),
    ("name: 5", "c4.yaml:2: name = 5: should be text (in quotes where it looks like a number)."),
    (
        "workers: atuo",
        "c4.yaml:2: workers = 'atuo': should be a whole number. Or: should be 'auto'. Did you mean 'auto'?",
    ),
    ("layers: [64, x]", "c4.yaml:2: layers.1 = 'x': should be a whole number."),
    ("grid:\n- [0.5, 1]\n- [0.1, 2]", "c4.yaml:4: grid.1.1 = 2: should be less than or equal to 1."),
    (
        "league: {weights: {main: 0.5, old: 1.5}}",
        "c4.yaml:2: league.weights.old = 1.5: should be less than or equal to 1.",
    ),
    (
        "league: {learners: {main: {opponents: {rule: hrad}}}}",
        "c4.yaml:2: league.learners.main.opponents.rule = 'hrad': should be 'uniform', 'hard' or 'variance'."
        " Did you mean 'hard'?",
    ),
    (
        "agents:\n- kind: ppo\n- kind: pppo",
        "c4.yaml:4: agents.1.kind = 'pppo': is no known kind. Did you mean 'ppo'?",
    ),
    (
        "agents:\n- kind: dqn\n  learning_rate: 1",
        "c4.yaml:4: agents.0.learning_rate = 1: there is no such setting. Known: epsilon, kind.",
    ),
    (
        "agents:\n- {kind: ppo, epocs: 1}",
        "c4.yaml:3: agents.0.epocs = 1: there is no such setting. Did you mean 'epochs'?",
    ),
    ("agents: [{epsilon: 1}]", "c4.yaml:2: agents.0: has no 'kind', which tells what it is. Known: dqn, ppo."),
    (
        "league: {learners: {main: {agent: {kind: ppo, learning_rate: 0}}}}",
        "c4.yaml:2: league.learners.main.agent.learning_rate = 0: should be greater than 0.",
    ),
    (
        "league: {learners: {main: {agent: {kind: quantum}}}}",
        "c4.yaml:2: league.learners.main.agent.kind = 'quantum': is no known kind. Known: dqn, ppo.",
    ),
    ("agents: [3]", "c4.yaml:2: agents.0 = 3: should be a section of `name: value`."),
    ("league: 3", "c4.yaml:2: league = 3: should be a section of `name: value`."),
    ("league: {learners: [1]}", "c4.yaml:2: league.learners = [1]: should be a section of `name: value`."),
    (
        "league: {weights: {1: 0.5}}",
        "c4.yaml:2: league.weights.1 = 1: should be text (in quotes where it looks like a number).",
    ),
    ("extra: {histroy: 1}", "c4.yaml:2: extra.histroy = 1: there is no such setting. Did you mean 'history'?"),
    ("seed: 13", "c4.yaml:1: the whole: seed 13 is never lucky."),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_way_out(text: str, line: str, tmp_path: Path) -> None:
    assert problems(tmp_path, f"game: go\n{text}\n") == [line]


def test_everything_is_reported_at_once(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        "steps: 0\nlayers: [a]\nleague: {learners: {main: {opponents: {histroy: 2, history: 2}}}}\n",
        "seed",
        "sede=3",
        "workers.x=1",
        "layers.7=1",
        "league.learners.new.opponents.self_play=-1",
    )
    assert said == [
        "c4.yaml, override 'seed': should read key.sub=value.",
        "c4.yaml, override 'layers.7=1': layers is a list of 1; '7' is no place in it.",
        "c4.yaml:1: game: is missing and has no default.",
        "c4.yaml:1: steps = 0: should be greater than 0.",
        "c4.yaml, override 'workers.x=1': workers = {'x': 1}: should be a whole number. Or: should be 'auto'.",
        "c4.yaml:2: layers.0 = 'a': should be a whole number.",
        "c4.yaml:3: league.learners.main.opponents.history = 2: should be less than or equal to 1.",
        "c4.yaml:3: league.learners.main.opponents.histroy = 2: there is no such setting. Did you mean 'history'?",
        "c4.yaml, override 'league.learners.new.opponents.self_play=-1': league.learners.new.opponents.self_play = -1:"
        " should be greater than or equal to 0.",
        "c4.yaml, override 'sede=3': sede = 3: there is no such setting. Did you mean 'seed'?",
    ]


# ---- overrides -----------------------------------------------------------------------------------------------------


def test_overrides_come_last_and_make_the_sections_they_need(tmp_path: Path) -> None:
    path = written(tmp_path, "game: go\nsteps: 5\nleague:\nagents: [{kind: ppo}]\n")
    run = read(
        Run,
        path,
        [
            "steps=1e3",
            "league.learners.main.opponents.self_play=0.25",
            "agents.0.learning_rate=1e-2",
            "layers=[8, 8, 8]",
            "name=a = b",
            "extra={history: 1}",
            "settings.deep.er=yes",
            "steps=2e3",
        ],
    )
    assert run.steps == 2000
    assert run.league.learners["main"].opponents.self_play == 0.25
    assert run.agents == [Ppo(kind="ppo", learning_rate=0.01)]
    assert run.layers == (8, 8, 8)
    assert run.name == "a = b"
    assert run.extra == Opponents(history=1)
    assert run.settings == {"deep": {"er": True}}


def test_an_override_empties_and_leaves_the_callers_mapping_alone() -> None:
    mapping = {"game": "go", "name": "old", "settings": {"a": {"b": 1}}}
    run = parse(Run, mapping, ["name=", "settings.a.b=2"])
    assert run.name is None
    assert run.settings == {"a": {"b": 2}}
    assert mapping == {"game": "go", "name": "old", "settings": {"a": {"b": 1}}}


def test_an_override_reaches_one_of_two_sections_that_share_an_anchor(tmp_path: Path) -> None:
    path = written(tmp_path, "game: go\nsettings: {a: &x {v: 1}, b: *x}\n")
    assert read(Run, path, ["settings.a.v=2"]).settings == {"a": {"v": 2}, "b": {"v": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("=3", "should read key.sub=value."),
        ("a..b=3", "should read key.sub=value."),
        ("game.x=3", "game is 'go', which has no 'x' inside."),
        ("steps=[1", ":1:3: is not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'."),
        (
            "steps=!!python/name:os.system",
            ":1:1: the tag !!python/name:os.system is refused; only plain values are read.",
        ),
        ("steps=0", "steps = 0: should be greater than 0."),
        (
            "league.lerners.a.b=0",
            "league.lerners = {'a': {'b': 0}}: there is no such setting. Did you mean 'learners'?",
        ),
    ],
)
def test_an_override_that_cannot_be(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Run, {"game": "go"}, [override], "here")
    assert str(caught.value).removeprefix(f"here, override {override!r}").removeprefix(": ") == said


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("game: go\nsteps: a: b\n", "c4.yaml:2:9: is not YAML: mapping values are not allowed here."),
        (
            "game: [go\n",
            "c4.yaml:2:1: is not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream",
        ),
        ("game: go\n---\ngame: go\n", "c4.yaml:2:1: is not YAML: expected a single document in the stream, but found"),
        ("- game\n- go\n", "c4.yaml: holds ['game', 'go'], but should be a section of `name: value`."),
        ("go\n", "c4.yaml: holds 'go', but should be a section of `name: value`."),
        (
            "game: !!python/object/apply:os.system [ls]\n",
            "c4.yaml:1:7: the tag !!python/object/apply:os.system is refused",
        ),
        ("game: !go x\n", "c4.yaml:1:7: the tag !!!go is refused"),
        ("game: go\nsteps: 1\nsteps: 2\n", "c4.yaml:3: steps: stands twice; keep one."),
        ("game: go\nleague:\n  weights:\n    a: 1\n    a: 0\n", "c4.yaml:5: league.weights.a: stands twice; keep one."),
        ("game: go\n? [a]\n: 1\n", "c4.yaml:2:3: found unhashable key."),
        ("game: \x00\n", "c4.yaml: is not YAML: unacceptable character #x0000"),
        ("game: " + "[" * 5000, "c4.yaml: is nested too deeply."),
        ("game: &x [*x]\n", "c4.yaml:1: game = [[[...]]]: should be text"),
        ("", "c4.yaml:1: game: is missing and has no default."),
    ],
)
def test_a_file_that_cannot_be(text: str, said: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, text)
    assert line.startswith(said)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, "game: go")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=r"cc4\.yaml: there is no such file\. Did you mean 'c4\.yaml'\?$"):
        read(Run, tmp_path / "cc4.yaml")
    with pytest.raises(ConfigError, match=r"x\.yaml: there is no such file\.$"):
        read(Run, tmp_path / "nowhere" / "x.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(Run, tmp_path)


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c4.yaml").write_bytes(b"game: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read(Run, tmp_path / "c4.yaml")


def test_nothing_runs_while_a_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, f"game: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(ConfigError, match="refused"):
        read(Run, path)
    assert not (tmp_path / "made").exists()


def test_what_is_dumped_reads_back_equal_and_shows_every_value(tmp_path: Path) -> None:
    run = parse(
        Run,
        {
            "game": "connect_four?rows=5",
            "name": "1e5",
            "layers": [1, 2],
            "agents": [{"kind": "dqn", "epsilon": 1e-5}, {"kind": "ppo"}],
            "grid": [[0.1, 1], []],
            "extra": {"history": 0.3},
            "league": {"learners": {"yes": {}, "007": {}, "main@3": {}}},
            "settings": {
                "date": "2026-01-01",
                "no": ["on", "~", "", " a ", "é", "a: b", "1e-3", "0x1F"],
                "inf": math.inf,
            },
        },
    )
    path = tmp_path / "deep" / "config.yaml"
    dump(run, path, "commit 1234\nmade by hand")
    assert read(Run, path) == run
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# commit 1234\n# made by hand\ngame: connect_four?rows=5\n")
    assert "learning_rate: 0.0003" in text
    assert "workers: auto" in text
    assert [p.name for p in path.parent.iterdir()] == ["config.yaml"]
    again = tmp_path / "again.yaml"
    dump(read(Run, path), again, "commit 1234\nmade by hand")
    assert again.read_text(encoding="utf-8") == text
