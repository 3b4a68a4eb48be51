"""The recurrent unit against torch's own, and against a plain loop under autograd: values, gradients and masks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from agents.recurrent import GRU

CLOSE = {"rtol": 1e-4, "atol": 2e-6}
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def unit(width: int, seed: int = 0) -> GRU:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GRU(width)


def drawn(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mask(steps: int, rows: int, share: float = 0.6, seed: int = 2) -> Tensor:
    return torch.rand(steps, rows, generator=torch.Generator().manual_seed(seed)) < share


def loop(gru: GRU, x: Tensor, active: Tensor) -> Tensor:
    """What `forward` promises, step by step, with autograd's own gradient."""
    h, out = torch.zeros_like(x[0]), []
    for seen, acts in zip(x, active, strict=True):
        h = torch.where(acts[:, None], gru.step(seen, h), h)
        out.append(h)
    return torch.stack(out)


def gradients(gru: GRU, x: Tensor, out: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Of (out * weight).sum(), by parameter and by input."""
    found = torch.autograd.grad((out * weight).sum(), [x, *(getattr(gru, name) for name in NAMES)])
    return dict(zip(("x", *NAMES), found, strict=True))


def agree(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """To float32's rounding of sums over all steps and rows: compared by the largest entry of each."""
    for name, gradient in one.items():
        atol = 3e-6 * float(other[name].abs().max()) + 1e-7
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(("steps", "rows", "width"), [(1, 1, 1), (7, 5, 3), (25, 33, 64)])
def test_values_and_gradients_are_those_of_torch(steps: int, rows: int, width: int) -> None:
    gru, theirs = unit(width), nn.GRU(width, width)
    theirs.load_state_dict({f"{name}_l0": getattr(gru, name).detach() for name in NAMES})
    x, weight = drawn(steps, rows, width).requires_grad_(), drawn(steps, rows, width, seed=3)
    out, expected = gru(x, torch.ones(steps, rows, dtype=torch.bool)), theirs(x)[0]
    torch.testing.assert_close(out, expected, **CLOSE)
    other = torch.autograd.grad((expected * weight).sum(), [x, *(getattr(theirs, f"{name}_l0") for name in NAMES)])
    agree(gradients(gru, x, out, weight), dict(zip(("x", *NAMES), other, strict=True)))


def test_parameters_are_drawn_as_torchs() -> None:
    gru = unit(16, seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        theirs = nn.GRU(16, 16)
    for name in NAMES:
        assert torch.equal(getattr(gru, name), getattr(theirs, f"{name}_l0")), name


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_masked_sequences_are_those_of_the_plain_loop(share: float) -> None:
    gru, x, active = unit(12), drawn(15, 20, 12).requires_grad_(), mask(15, 20, share)
    weight = drawn(15, 20, 12, seed=4)
    out, expected = gru(x, active), loop(gru, x, active)
    torch.testing.assert_close(out, expected, **CLOSE)
    agree(gradients(gru, x, out, weight), gradients(gru, x, expected, weight))


def test_only_some_outputs_may_matter_to_a_loss() -> None:
    """A gradient that is no plain block of memory, and zero in most places."""
    gru, x, active = unit(8), drawn(9, 6, 8).requires_grad_(), mask(9, 6)
    found = gradients(gru, x, gru(x, active)[3:7].sum(2, keepdim=True).expand(4, 6, 8), drawn(4, 6, 1))
    other = gradients(gru, x, loop(gru, x, active)[3:7].sum(2, keepdim=True).expand(4, 6, 8), drawn(4, 6, 1))
    agree(found, other)
    assert not found["x"][7:].any()


def test_who_does_not_act_keeps_its_memory_and_gets_no_gradient() -> None:
    gru, x, active = unit(10), drawn(12, 16, 10).requires_grad_(), mask(12, 16)
    out = gru(x, active)
    before = torch.cat([torch.zeros(1, 16, 10), out[:-1]])
    assert torch.equal(out[~active], before[~active])
    assert (out != before).any(2)[active].all()
    to_x = gradients(gru, x, out, torch.ones_like(out))["x"]
    assert not to_x[~active].any()
    assert to_x[active].any(1).all()
    other = torch.where(active[:, :, None], x, drawn(12, 16, 10, seed=9, scale=50.0))
    assert torch.equal(gru(other, active), out)


def test_step_after_step_is_forward() -> None:
    gru, x = unit(24), drawn(30, 4, 24)
    h, out = torch.zeros(4, 24), []
    with torch.no_grad():
        for seen in x:
            h = gru.step(seen, h)
            out.append(h)
        torch.testing.assert_close(gru(x, torch.ones(30, 4, dtype=torch.bool)), torch.stack(out), **CLOSE)


def test_forwards_do_not_share_what_they_remember() -> None:
    """As when the learning network, another and the first again unroll before any of it is gone back through."""
    one, two = unit(9, seed=1), unit(9, seed=2)
    x, y = drawn(8, 5, 9, seed=3).requires_grad_(), drawn(8, 5, 9, seed=4).requires_grad_()
    active, weight = mask(8, 5), drawn(8, 5, 9, seed=5)
    alone = gradients(one, x, one(x, active), weight)
    first = one(x, active)
    kept = first.detach().clone()
    with torch.no_grad():
        two(y, ~active)
    last = one(y, ~active)
    theirs = two(x, active)
    assert torch.equal(first, kept)
    for name, gradient in gradients(two, x, theirs, weight).items():
        assert not torch.equal(gradient, alone[name])
    gradients(one, y, last, weight)
    for name, gradient in gradients(one, x, first, weight).items():
        assert torch.equal(gradient, alone[name]), name


def test_a_graph_can_be_gone_back_through_twice() -> None:
    gru, x, active = unit(6), drawn(5, 4, 6).requires_grad_(), mask(5, 4)
    out = gru(x, active)
    once, again = (torch.autograd.grad(out.sum(), gru.weight_hh, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("size", [100.0, 1e4])
@pytest.mark.parametrize("heavy", [False, True])
def test_extreme_inputs_stay_finite(size: float, heavy: bool) -> None:
    gru = unit(8)
    if heavy:
        with torch.no_grad():
            for parameter in gru.parameters():
                parameter *= 100
    x = size * drawn(40, 10, 8).sign()
    x.requires_grad_()
    active, weight = mask(40, 10, 0.8), drawn(40, 10, 8, seed=6)
    out, expected = gru(x, active), loop(gru, x, active)
    assert float(out.detach().abs().max()) <= 1 + 1e-6
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    found = gradients(gru, x, out, weight)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found.values())


def test_a_row_does_not_depend_on_the_others() -> None:
    gru, x, active, weight = unit(32), drawn(11, 64, 32), mask(11, 64), drawn(11, 64, 32, seed=8)
    together = x.clone().requires_grad_()
    out = gru(together, active)
    to_x = gradients(gru, together, out, weight)["x"]
    for row in (0, 17, 63):
        alone = x[:, row : row + 1].clone().requires_grad_()
        own = gru(alone, active[:, row : row + 1].clone())
        torch.testing.assert_close(own[:, 0], out[:, row], **CLOSE)
        one = gradients(gru, alone, own, weight[:, row : row + 1])["x"]
        torch.testing.assert_close(one[:, 0], to_x[:, row], **CLOSE)
