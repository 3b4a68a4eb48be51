"""The settings of a QMIX learner; VDN and independent Q-learning are `mixer: vdn` and `mixer: iql`.

Defaults are those of PyMARL (Samvelyan et al. 2019, arXiv 1902.04043; github.com/oxwhirl/pymarl) or, where marked, of
PyMARL2 (Hu et al. 2021, arXiv 2102.03479; github.com/hijkzzz/pymarl2), whose authors found them better.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from agents.schedules import Schedule, Scheduled

Share = Annotated[float, Field(ge=0, le=1)]


class QMIXConfig(BaseModel):
    """A team step is one step in which any member of the team acts; an episode is one team's part of one game."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["qmix"] = "qmix"
    mixer: Literal["qmix", "vdn", "iql"] = "qmix"  # monotonic network; sum; none: each member learns alone
    width: PositiveInt = 64  # of the members' recurrent network
    embedding: PositiveInt = 32  # hidden units of the mixer
    hyper: PositiveInt = 64  # hidden units of the networks that make the mixer's weights
    state: Literal["auto", "game", "observations"] = "auto"  # what the mixer sees; auto: the game's state if it has one
    batch: PositiveInt = 1024  # decisions between two rounds of learning, at least: whole games are taken
    updates: PositiveFloat = 1.0  # gradient steps for each episode collected
    episodes: PositiveInt = 32  # to a gradient step; learning begins when there are so many
    replay: PositiveInt = 5000  # episodes kept
    learning_rate: Scheduled = Schedule(start=1e-3, end=1e-3, over=1)  # of Adam (PyMARL2), over team steps
    epsilon: Scheduled = Schedule(start=1.0, end=0.05, over=50_000)  # share of random actions, over team steps
    gamma: Share = 0.99  # discount for each team step
    lam: Share = 0.6  # of TD(lambda) (PyMARL2); 0 is the one-step target
    # What a game that is cut is worth where it is: what would follow (PyMARL), or nothing more, as the return that is
    # reported ends there too (EPyMARL). The mixer's values can grow without end by the first (Pan et al. 2021,
    # arXiv 2103.11883, saw it on simple_tag too).
    time_limit: Literal["bootstrap", "end"] = "bootstrap"
    double: bool = True  # the next action is chosen by the network that learns, and judged by the target network
    target_every: PositiveInt | None = 200  # gradient steps after which the target network is renewed
    tau: Annotated[float, Field(gt=0, le=1)] | None = None  # or how far it moves with each (EPyMARL: 0.01)
    team_reward: Literal["mean", "sum"] = "mean"  # of what the team's seats are paid, dead or alive
    normalise_observations: bool = False  # and states; for those that are not already about one
    standardise_rewards: bool = False  # to mean 0 and variance 1, as they come (EPyMARL: true)
    max_grad_norm: PositiveFloat = 10.0
    play_epsilon: Share = 0.0  # of its snapshots' play
    most_skipped: PositiveInt = 100  # gradient steps in a row that are not finite before the learner gives up

    @model_validator(mode="after")
    def _makes_sense(self) -> QMIXConfig:
        if (self.target_every is None) == (self.tau is None):
            raise ValueError("give either target_every or tau, and null for the other: one rule renews the target")
        if self.replay < self.episodes:
            raise ValueError(f"replay keeps {self.replay} episodes, fewer than the {self.episodes} of a gradient step")
        return self
