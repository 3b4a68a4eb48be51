"""The settings of a run, as its YAML file gives them.

Every field has a default except the game, who learns, and when it is over.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from agents.kinds import SUPPORTS, AgentConfig, refusal, scripted
from arena.tracking import TrackingSettings
from games import GameSpec
from games.names import did_you_mean
from leagues.gate import GateRule
from leagues.matchmaking import Mix
from leagues.rules import SnapshotRule

Share = Annotated[float, Field(ge=0, le=1)]
RESERVED = frozenset({*SUPPORTS, "best", "human"})
"""What no learner may be called, as it means something else where a player is asked for."""


def _name(name: str) -> str:
    """A run's folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError("may hold only letters, digits, '_', '-' and '.', up to 64, a letter or digit first")
    return name


def _learner(name: str) -> str:
    """A learner's name, which its snapshots (`main@3`) and their folders share."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError("may hold only letters, digits, '_' and '-', up to 64")
    if name in RESERVED:
        raise ValueError("is the name of another kind of player; call the learner something else")
    return name


def _scripted(name: str) -> str:
    """The name of a player that needs no weights."""
    scripted(name)
    return name


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)} stands there more than once")
    return names


Name = Annotated[str, AfterValidator(_name)]
LearnerName = Annotated[str, AfterValidator(_learner)]
ScriptedName = Annotated[str, AfterValidator(_scripted)]


def _whole(value: Any) -> Any:
    """`1e6` is a whole number too, though YAML reads it as a string."""
    if isinstance(value, (str, float)):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() else value
    return value


Whole = Annotated[PositiveInt, BeforeValidator(_whole)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnapshotSettings(Section):
    every: Whole | None = 500_000  # the learner's decisions after which it is frozen in any case
    win_rate: Share | None = None  # or as soon as it scores this against every snapshot of the league
    least: Annotated[int, BeforeValidator(_whole), Field(ge=0)] = 0  # but not before so many decisions
    games: PositiveInt = 20  # nor with fewer games than these against each

    def rule(self) -> SnapshotRule:
        return SnapshotRule(self.every, self.win_rate, self.least, self.games)

    @model_validator(mode="after")
    def _makes_sense(self) -> SnapshotSettings:
        self.rule()
        return self


class LearnerSettings(Section):
    agent: AgentConfig
    opponents: dict[str, float] = {"self_play": 1.0}  # the share of its games that each rule makes
    weighting: Literal["squared", "variance", "linear", "linear_capped"] = "squared"  # of pfsp
    opening: Annotated[int, Field(ge=0)] = 0  # its games begin with up to so many random plies, for variety
    snapshot: SnapshotSettings = SnapshotSettings()

    def mix(self) -> Mix:
        return Mix(self.opponents, self.weighting, self.opening)

    @model_validator(mode="after")
    def _makes_sense(self) -> LearnerSettings:
        self.mix()
        return self


class LeagueSettings(Section):
    learners: Annotated[dict[LearnerName, LearnerSettings], Field(min_length=1)]
    fixed: Annotated[tuple[ScriptedName, ...], AfterValidator(_once)] = ("random",)  # scripted members
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99  # of older games in the win rates of learners, for each newer one


class RolloutSettings(Section):
    workers: Annotated[int, Field(ge=0, le=1024)] = 1  # Ray actors; 0: in this process, without Ray, deterministic
    inference: Literal["local", "gpu"] = "local"  # of AlphaZero: in each actor, or in one actor that has a GPU, for all
    rows: PositiveInt = 256  # games that each keeps going
    matches: PositiveInt = 8  # drawn for one order; its games are dealt to them in turn
    piece: PositiveInt = 1024  # longer games are learned from in pieces of so many steps
    patience: PositiveFloat = 300.0  # seconds after which an actor that does not answer is replaced
    restarts: Annotated[int, Field(ge=0)] = 10  # of rollout actors that died, before the run ends

    @model_validator(mode="after")
    def _makes_sense(self) -> RolloutSettings:
        if self.inference == "gpu" and self.workers == 0:
            raise ValueError(
                "inference gpu has one actor evaluate for those that play, but workers is 0, so there are none; take"
                " workers of 1 or more, or inference local"
            )
        return self


class RatingSettings(Section):
    workers: Annotated[int, Field(ge=0, le=1024)] = 1  # Ray actors of their own, where rollouts have them
    every: PositiveInt = 10  # updates between rating matches
    games: PositiveInt = 40  # of one match; seats are swapped within each pair
    matches: PositiveInt = 1  # played each time
    final: Annotated[int, Field(ge=0)] = 40  # matches at the end, to settle the ladder
    opening: Annotated[int, Field(ge=0)] | None = None  # random plies first; null: 2 where that varies the games
    rows: PositiveInt = 64  # games played at once
    anchor: str = "random"  # whose rating is 0

    def opening_of(self, spec: GameSpec) -> int:
        if self.opening is not None:
            return self.opening
        return 2 if spec.competitive and not spec.simultaneous and not spec.stochastic and spec.longest >= 8 else 0


class BestSettings(Section):
    """The sequential test by which the best snapshot is found (`leagues.gate`), in the time of the raters."""

    enabled: bool = False  # of two players who compete; else `best` is the highest on the ladder
    elo0: float = 0.0  # a challenger no better than this is turned away
    elo1: float = 35.0  # one that is so much better is the best
    alpha: float = 0.05  # the chance that a challenger of elo0 gets through
    beta: float = 0.05  # the chance that one of elo1 does not
    games: PositiveInt = 40  # of one match; one is played each time that rating matches are due
    most: PositiveInt = 400  # games after which the best stays

    def rule(self) -> GateRule:
        return GateRule(self.elo0, self.elo1, self.alpha, self.beta, self.games, self.most)

    @model_validator(mode="after")
    def _makes_sense(self) -> BestSettings:
        self.rule()
        return self


class StopSettings(Section):
    decisions: Whole | None = None  # of all learners together
    minutes: PositiveFloat | None = None
    rating: float | None = None  # Elo of the newest snapshot, once its interval lies above

    @model_validator(mode="after")
    def _ends(self) -> StopSettings:
        if (self.decisions, self.minutes, self.rating) == (None, None, None):
            raise ValueError("give at least one of decisions, minutes and rating, or the run never ends")
        return self


class RayRoom(Section):
    """What one actor asks Ray for."""

    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0


class ClusterSettings(Section):
    address: str | None = None  # null: on this machine; auto: the cluster this machine belongs to; or ray://host:port
    rollout: RayRoom = RayRoom()
    learner: RayRoom = RayRoom()  # gpus is taken as 1 where `device` is a GPU, or a share with rollout.inference gpu
    inference: RayRoom = RayRoom()  # of rollout.inference gpu; gpus as those of a learner


class RunConfig(Section):
    game: str
    name: Name | None = None  # the run goes into runs/<name>; the file's name unless given
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of learners; auto: a GPU where there is one
    league: LeagueSettings
    stop: StopSettings  # whichever comes first
    rollout: RolloutSettings = RolloutSettings()
    rating: RatingSettings = RatingSettings()
    best: BestSettings = BestSettings()
    checkpoint: PositiveFloat = 1.0  # minutes between checkpoints; in-process runs also take one at every snapshot
    most_failed: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of games whose environment may break, before it ends
    tracking: TrackingSettings = TrackingSettings()
    cluster: ClusterSettings = ClusterSettings()


def unsupported(config: RunConfig, spec: GameSpec) -> list[str]:
    """What in `config` does not go with the game, as sentences."""
    problems = []
    for name, settings in config.league.learners.items():
        reason = refusal(spec, settings.agent)
        if reason:
            problems.append(
                f"league.learners.{name}.agent.kind: {settings.agent.kind} cannot play {spec.name}: {reason}"
            )
        if settings.agent.kind == "qmix" and config.rollout.piece < spec.longest:
            problems.append(
                f"rollout.piece: {name} learns from whole games, and those of {spec.name} have up to {spec.longest}"
                f" steps; take rollout.piece={spec.longest} or more, or shorter games."
            )
    fixed, anchor = config.league.fixed, config.rating.anchor
    for name in fixed:
        reason = SUPPORTS[name.partition(":")[0]](spec)
        if reason:
            problems.append(f"league.fixed: {name} cannot play {spec.name}: {reason}")
    learner, at, _ = anchor.partition("@")
    members = {"random", *fixed, *(f"{name}@1" for name in config.league.learners)}
    if anchor not in members and not (at and learner in config.league.learners):
        problems.append(f"rating.anchor: the league has no frozen member {anchor!r}.{did_you_mean(anchor, members)}")
    if config.rating.games % len(set(spec.teams)):
        problems.append(
            f"rating.games: {config.rating.games} games cannot be shared evenly among {len(set(spec.teams))} teams, who"
            f" all change places; take a multiple."
        )
    if config.best.enabled and not (spec.competitive and len(set(spec.teams)) == 2):
        problems.append(
            f"best.enabled: {spec.name} has no two sides that compete, so no snapshot can beat another; leave it false,"
            " and the best is the highest on the ladder."
        )
    return problems


def run_folder(config: RunConfig, source: Path) -> Path:
    """Where the run of the file `source` goes."""
    return Path("runs") / (config.name or source.stem)
