from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from agents.networks import NetworkConfig, PolicyValueNet, RunningNorm, load_arrays, to_arrays
from games import GameSpec


def spec_of(*observation: int) -> GameSpec:
    return GameSpec("made_up", seats=2, actions=5, observation=observation, longest=10)


def convolutions(net: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d) for layer in net.modules())


@pytest.mark.parametrize(
    ("observation", "blocks"),
    [((2, 6, 7), 4), ((3, 3, 3), 4), ((84,), 0), ((6, 7), 0), ((2, 2, 7), 0), ((1, 4, 1), 0), ((2, 3, 3, 3), 0)],
)
def test_the_kind_follows_from_the_shape(observation: tuple[int, ...], blocks: int) -> None:
    net = PolicyValueNet(spec_of(*observation), NetworkConfig())
    assert convolutions(net) == (2 * blocks + 2 if blocks else 0)
    logits, value = net(torch.zeros(3, *observation))
    assert (logits.shape, value.shape) == ((3, 5), (3,))


def test_the_config_overrules_the_shape() -> None:
    assert convolutions(PolicyValueNet(spec_of(2, 6, 7), NetworkConfig(kind="mlp"))) == 0
    assert convolutions(PolicyValueNet(spec_of(2, 2, 2), NetworkConfig(kind="conv", blocks=1))) == 4
    with pytest.raises(ValueError, match=r"made_up gives \(84,\)\. Use mlp\."):
        PolicyValueNet(spec_of(84), NetworkConfig(kind="conv"))


def test_sizes_are_those_of_the_config() -> None:
    net = PolicyValueNet(spec_of(4), NetworkConfig(width=16, layers=3))
    linear = [tuple(layer.weight.shape) for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(16, 4), (16, 16), (16, 16), (5, 16), (1, 16)]


def test_a_conv_network_sees_where_things_are() -> None:
    """A trunk that pooled the board away would give the same for a disc here and there."""
    torch.manual_seed(0)
    net = PolicyValueNet(spec_of(1, 4, 4), NetworkConfig(channels=4, blocks=1, width=16))
    net.initialise()
    _, value = net(torch.eye(16).reshape(16, 1, 4, 4))
    assert len(set(value.detach().numpy().round(6).tolist())) == 16


def test_fresh_heads_are_nearly_even_and_hidden_layers_orthogonal() -> None:
    torch.manual_seed(0)
    net = PolicyValueNet(spec_of(32), NetworkConfig(width=32))
    net.initialise()
    logits, _ = net(torch.randn(64, 32))
    assert logits.abs().max() < 0.1
    hidden = dict(net.named_parameters())["trunk.1.weight"]
    torch.testing.assert_close(hidden @ hidden.T, 2 * torch.eye(32))  # gain sqrt 2, squared
    assert all(layer.bias.eq(0).all() for layer in net.modules() if isinstance(layer, nn.Linear))


def test_running_statistics_are_those_of_all_that_was_seen() -> None:
    rng = np.random.default_rng(0)
    norm, seen = RunningNorm((3,)), []
    for size in (1, 7, 200, 5):
        batch = rng.normal([1000, 0, -3], [0.1, 1, 50], (size, 3)).astype(np.float32)
        norm.learn(torch.from_numpy(batch))
        seen.append(batch)
    everything = np.concatenate(seen).astype(np.float64)
    np.testing.assert_allclose(norm.mean, everything.mean(0), rtol=1e-4)
    np.testing.assert_allclose(norm.variance, everything.var(0), rtol=1e-3)
    assert float(norm.count) == 213


def test_normalised_values_have_no_mean_unit_variance_and_no_outliers() -> None:
    x = torch.randn(1000, 2) * torch.tensor([5.0, 0.2]) + torch.tensor([-40.0, 3.0])
    norm = RunningNorm((2,))
    norm.learn(x)
    torch.testing.assert_close(norm(x).mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm(x).var(0, unbiased=False), torch.ones(2), atol=1e-3, rtol=0)
    assert norm(torch.tensor([[1e6, -1e6]])).tolist() == [[10, -10]]
    assert torch.isfinite(norm(torch.zeros(1, 2))).all()


def test_a_constant_feature_divides_by_no_zero() -> None:
    norm = RunningNorm((1,))
    norm.learn(torch.full((10, 1), 3.0))
    assert norm(torch.tensor([[3.0]])).tolist() == [[0]]


def test_old_statistics_fade_where_that_is_asked_for() -> None:
    fading, keeping = RunningNorm(()), RunningNorm(())
    for norm, slowest in ((fading, 0.1), (keeping, 0.0)):
        norm.learn(torch.zeros(10_000))
        for _ in range(60):
            norm.learn(torch.full((10,), 8.0), slowest)
    assert float(fading.mean) == pytest.approx(8, abs=0.05)  # 8 (1 - 0.9^60)
    assert float(keeping.mean) == pytest.approx(8 * 600 / 10_600, rel=1e-3)


def test_a_batch_that_is_not_finite_is_left_out() -> None:
    norm = RunningNorm((2,))
    norm.learn(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    before = to_arrays(norm)
    norm.learn(torch.tensor([[1.0, np.nan], [3.0, 6.0]]))
    norm.learn(torch.tensor([[np.inf, 2.0]]))
    assert {name: a.tolist() for name, a in to_arrays(norm).items()} == {n: a.tolist() for n, a in before.items()}


@pytest.mark.parametrize("normalise", [False, True])
def test_arrays_bring_a_network_over(normalise: bool) -> None:
    torch.manual_seed(0)
    one, other = (PolicyValueNet(spec_of(2, 3, 3), NetworkConfig(channels=4, blocks=1), normalise) for _ in range(2))
    x = torch.randn(6, 2, 3, 3)
    if one.normalise is not None:
        one.normalise.learn(3 * x + 1)
    arrays = to_arrays(one)
    load_arrays(other, arrays)
    assert torch.equal(one(x)[0], other(x)[0])
    assert torch.equal(one(x)[1], other(x)[1])


def test_arrays_are_copies_both_ways() -> None:
    net = PolicyValueNet(spec_of(4), NetworkConfig(width=8))
    arrays = to_arrays(net)
    before = arrays["policy.weight"].copy()
    with torch.no_grad():
        net.policy.weight.add_(1)
    assert (arrays["policy.weight"] == before).all()
    load_arrays(net, arrays)
    arrays["policy.weight"] += 1
    assert (net.policy.weight.detach().numpy() == before).all()


def test_read_only_arrays_can_be_loaded() -> None:
    net = PolicyValueNet(spec_of(4), NetworkConfig(width=8))
    arrays = to_arrays(net)
    for array in arrays.values():
        array.flags.writeable = False
    load_arrays(net, arrays)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    net = PolicyValueNet(spec_of(4), NetworkConfig(width=8))
    arrays = to_arrays(net)
    wider = arrays | {"policy.weight": np.zeros((5, 9), np.float32)}
    with pytest.raises(ValueError, match=r"'policy.weight' has shape \(5, 9\), but \(5, 8\) is needed"):
        load_arrays(net, wider)
    with pytest.raises(ValueError, match=r"'value.bias' is missing from them"):
        load_arrays(net, {name: array for name, array in arrays.items() if name != "value.bias"})
    with pytest.raises(ValueError, match=r"'extra' is not expected in them"):
        load_arrays(net, arrays | {"extra": np.zeros(1)})


@pytest.mark.parametrize("wrong", [{"kind": "transformer"}, {"width": 0}, {"layers": -1}, {"depth": 3}])
def test_a_config_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        NetworkConfig.model_validate(wrong)
