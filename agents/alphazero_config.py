"""The settings of AlphaZero: how it searches, and how it learns from what the search found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from agents.inference import resolve
from agents.networks import NetworkConfig
from agents.schedules import Schedule, Scheduled

Share = Annotated[float, Field(ge=0, le=1)]


class SearchConfig(BaseModel):
    """A search of one decision. Constants of PUCT are AlphaZero's, those of Gumbel the paper's for board games."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["gumbel", "puct"] = "gumbel"
    simulations: PositiveInt = 64  # of a decision; a player asked for with `?simulations=0` is its network alone
    cheap: Share = 0.0  # of training decisions that get a cheap search and teach no policy (playout-cap randomisation)
    cheap_simulations: PositiveInt = 16
    sampled_moves: NonNegativeInt = 30  # a training game's first moves vary: drawn by visits, or by Gumbel noise
    reuse: bool = True  # what was found below the moves that were played
    determinise: bool = False  # in games of imperfect information, search in worlds that the seat cannot tell apart
    # gumbel
    considered: PositiveInt = 16  # actions at the root, at most
    c_visit: NonNegativeFloat = 50.0
    c_scale: PositiveFloat = 0.1  # of values in [-1, 1]; 1.0, the paper's, is too sharp for young networks here
    rescale: bool = False  # values to the range that a node's actions show, as mctx does
    # puct
    c_init: PositiveFloat = 1.25
    c_base: PositiveFloat = 19652.0
    fpu: NonNegativeFloat = 0.2  # an untried action is worth its node less this times the root of the tried prior
    noise: Share = 0.25  # of the root's prior, in training
    noise_total: PositiveFloat = 10.83  # Dirichlet alpha, shared among the legal actions (KataGo)


class ReplayConfig(BaseModel):
    """Which decisions are learned from: a window over the newest that grows with a power of all (KataGo)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: PositiveInt = 50_000  # c: decisions; the window while there are no more
    exponent: Annotated[float, Field(gt=0, le=1)] = 0.75  # a
    growth: Annotated[float, Field(gt=0, le=1)] = 0.4  # b
    most: PositiveInt = 2_000_000  # for memory's sake
    uses: PositiveFloat = 4.0  # of each decision on average: what an update learns from, for each that is new
    most_uses: Annotated[int, Field(ge=1, le=255)] = 8  # of one decision; where equal to `uses`, only new ones are left
    surprise: Share = 0.0  # of the sampling weight that goes by how far the search moved the policy (KataGo: 0.5)

    @model_validator(mode="after")
    def _enough_uses(self) -> Self:
        if self.most_uses < self.uses:
            raise ValueError(
                f"most_uses must be at least uses: no decision is used {self.uses:g} times on average where each is"
                f" used at most {self.most_uses} times. Raise most_uses or lower uses."
            )
        return self


def _known(backend: str) -> str:
    """A backend that there is, though perhaps not on this machine."""
    resolve(backend, fallback=True)
    return backend


class AlphaZeroConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["alphazero"] = "alphazero"
    network: NetworkConfig = NetworkConfig()
    search: SearchConfig = SearchConfig()
    inference: Annotated[str, AfterValidator(_known)] = "auto"  # agents.inference.BACKENDS; auto: the fastest here
    cache: NonNegativeInt = 0  # positions whose evaluation is kept, in a rollout
    batch: PositiveInt = 8192  # new decisions to an update, at least: whole games are taken
    minibatch: PositiveInt = 1024  # decisions to a gradient step
    replay: ReplayConfig = ReplayConfig()
    optimiser: Literal["adamw", "sgd"] = "adamw"  # sgd: with momentum 0.9
    learning_rate: Scheduled = Schedule(start=1e-3, end=1e-3, over=1)
    weight_decay: NonNegativeFloat = (
        1e-4  # decoupled with adamw; with sgd the gradient of an L2 penalty, as AlphaZero's
    )
    precision: Literal["float32", "bfloat16"] = "float32"  # of matrix products and convolutions when learning
    max_grad_norm: PositiveFloat = 5.0
    value_weight: PositiveFloat = 1.0
    search_value: Share = 0.0  # of the value to learn, that which the search found; the rest is how the game ended
    symmetry: bool = True  # learn from a random one of the game's symmetries each time
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99  # of the weights that play, for each gradient step; 0 for none
    normalise_observations: bool = False  # for observations that are not already about one
    temperature: NonNegativeFloat = 0.0  # of its snapshots' play; 0: what the search holds best
    most_skipped: PositiveInt = 100  # gradient steps in a row that are not finite before the learner gives up
