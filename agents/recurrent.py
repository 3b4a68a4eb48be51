"""A gated recurrent unit over whole sequences (Cho et al. 2014, arXiv 1406.1078; gates as in cuDNN and torch).

    r = sigmoid(x_r + U_r h)    z = sigmoid(x_z + U_z h)    n = tanh(x_n + r (U_n h))    h' = (1 - z) n + z h

where x are the inputs' part of the gates, biases included. A row that is not active keeps its h, as it does when a
policy is not asked. Autograd through such a loop spends more time on bookkeeping than on arithmetic: on a CPU the loop
forward and the loop backward are one matrix product and one kernel a step, and the weights' gradient is one product at
the end. Elsewhere, torch's own operations do the same.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from games.kernels import lanes


class GRU(nn.Module):
    """One layer; parameters are named, shaped and drawn as those of `torch.nn.GRU(width, width)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * width, width))
        self.weight_hh = nn.Parameter(torch.empty(3 * width, width))
        self.bias_ih = nn.Parameter(torch.empty(3 * width))
        self.bias_hh = nn.Parameter(torch.empty(3 * width))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """One step: inputs [n, width] and what is remembered [n, width] to the new memory [n, width]."""
        gates = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        recurrent = nn.functional.linear(h, self.weight_hh, self.bias_hh)
        return _step(gates, recurrent, h)

    def forward(self, x: Tensor, active: Tensor) -> Tensor:
        """Sequences x [T, N, width] from empty memory to what is remembered after each step [T, N, width].

        active [T, N] bool: where it is False nothing is seen, and the memory stays.
        """
        if x.device.type == "cpu":
            gates = nn.functional.linear(x, self.weight_ih)
            return cast(Tensor, _Unroll.apply(gates, self.weight_hh, self.bias_ih, self.bias_hh, active))
        gates = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        h, out = torch.zeros_like(x[0]), []
        for gate, acts in zip(gates, active[:, :, None], strict=True):
            recurrent = nn.functional.linear(h, self.weight_hh, self.bias_hh)
            h = torch.where(acts, _step(gate, recurrent, h), h)
            out.append(h)
        return torch.stack(out)


def _step(gates: Tensor, recurrent: Tensor, h: Tensor) -> Tensor:
    x_r, x_z, x_n = gates.chunk(3, dim=-1)
    h_r, h_z, h_n = recurrent.chunk(3, dim=-1)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return n + z * (h - n)


class _Unroll(torch.autograd.Function):
    """The loop over time on a CPU, and back. Biases are added in it, as elsewhere each would be a pass over memory."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias_ih: Tensor, bias_hh: Tensor, active: Tensor) -> Tensor:
        steps, rows, width = gates.shape[0], gates.shape[1], gates.shape[2] // 3
        h = torch.zeros(steps + 1, rows, width)  # before the first step and after each
        kept = torch.empty(steps, rows, 3 * width)  # U h, in whose place come r and z, and U_n h with its bias
        n = torch.empty(steps, rows, width)
        transposed = weight.t().contiguous()
        bias = bias_ih + bias_hh
        bias[2 * width :] = bias_ih[2 * width :]
        biases = bias.numpy(), bias_hh.detach()[2 * width :].numpy()
        arrays = gates.detach().numpy(), active.numpy(), kept.numpy(), n.numpy(), h.numpy()
        for t in range(steps):
            torch.mm(h[t], transposed, out=kept[t])
            _forward(t, *biases, *arrays)
        ctx.save_for_backward(weight, active, kept, n, h)
        return h[1:]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        weight, active, kept, n, h = ctx.saved_tensors
        width = n.shape[2]
        to_gates, to_recurrent = torch.empty_like(kept), torch.empty_like(kept)
        through = torch.zeros_like(h[0])
        gradients = through.numpy(), grad_outputs[0].contiguous().numpy(), to_gates.numpy(), to_recurrent.numpy()
        arrays = active.numpy(), kept.numpy(), n.numpy(), h.numpy()
        for t in range(len(n) - 1, -1, -1):
            _backward(t, *arrays, *gradients)
            through.addmm_(to_recurrent[t], weight)
        flat = to_recurrent.view(-1, 3 * width)
        to_bias = to_gates.view(-1, 3 * width).sum(0)
        return to_gates, flat.t() @ h[:-1].reshape(-1, width), to_bias, flat.sum(0), None


_ONE, _HALF = np.float32(1), np.float32(0.5)
# Numerator and denominator of tanh(x) / x in x squared, and where it is flat: Eigen's rational approximation, exact to
# a few units in the last place. Unlike the library's tanh and exp, a compiler can do it for many numbers at once.
_FLAT = np.float32(7.90531110763549805)
_A1, _A3, _A5 = np.float32(4.89352455891786e-03), np.float32(6.37261928875436e-04), np.float32(1.48572235717979e-05)
_A7, _A9 = np.float32(5.12229709037114e-08), np.float32(-8.60467152213735e-11)
_A11, _A13 = np.float32(2.00018790482477e-13), np.float32(-2.76076847742355e-16)
_B0, _B2 = np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03)
_B4, _B6 = np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06)


@lanes
def _tanh(x: np.float32) -> np.float32:
    x = min(max(x, -_FLAT), _FLAT)
    s = x * x
    above = ((((((_A13 * s + _A11) * s + _A9) * s + _A7) * s + _A5) * s + _A3) * s + _A1) * x
    return above / (((_B6 * s + _B4) * s + _B2) * s + _B0)


# A loop of a few arrays is done for many numbers at once; in one of all of them the compiler cannot tell that none
# overlaps another, and does it number by number (four times slower).


@lanes
def _forward(
    t: int,
    bias: NDArray[np.float32],  # [3 width] of inputs, and but for n of what is remembered too
    bias_n: NDArray[np.float32],  # [width] of U_n h
    gates: NDArray[np.float32],  # [T, N, 3 width]
    active: NDArray[np.bool_],  # [T, N]
    kept: NDArray[np.float32],  # [T, N, 3 width]
    n: NDArray[np.float32],  # [T, N, width]
    h: NDArray[np.float32],  # [T + 1, N, width]
) -> None:
    width = n.shape[2]
    for i in range(n.shape[1]):
        before, after = h[t, i], h[t + 1, i]
        if not active[t, i]:
            for j in range(width):
                after[j] = before[j]
            continue
        x, both, part = gates[t, i, : 2 * width], kept[t, i, : 2 * width], kept[t, i, 2 * width :]
        for j in range(2 * width):
            both[j] = _HALF + _HALF * _tanh(_HALF * (x[j] + both[j] + bias[j]))
        for j in range(width):
            part[j] += bias_n[j]
        x, r, z, new = gates[t, i, 2 * width :], kept[t, i, :width], kept[t, i, width : 2 * width], n[t, i]
        for j in range(width):
            new[j] = _tanh(x[j] + bias[2 * width + j] + r[j] * part[j])
        for j in range(width):
            after[j] = new[j] + z[j] * (before[j] - new[j])


@lanes
def _backward(
    t: int,
    active: NDArray[np.bool_],
    kept: NDArray[np.float32],
    n: NDArray[np.float32],
    h: NDArray[np.float32],
    through: NDArray[np.float32],  # [N, width] of what comes after; when done, what passes the gates by
    grad: NDArray[np.float32],  # [T, N, width] of what is remembered after each step
    to_gates: NDArray[np.float32],  # [T, N, 3 width]
    to_recurrent: NDArray[np.float32],  # [T, N, 3 width]
) -> None:
    width = n.shape[2]
    for i in range(n.shape[1]):
        passing, out = through[i], grad[t, i]
        for j in range(width):
            passing[j] += out[j]
        if not active[t, i]:
            for j in range(3 * width):
                to_gates[t, i, j] = to_recurrent[t, i, j] = np.float32(0)
            continue
        before, r, z, part = h[t, i], kept[t, i, :width], kept[t, i, width : 2 * width], kept[t, i, 2 * width :]
        new, both = n[t, i], to_recurrent[t, i, : 2 * width]
        for_r, for_z, for_n = to_gates[t, i, :width], to_gates[t, i, width : 2 * width], to_gates[t, i, 2 * width :]
        for j in range(width):
            for_n[j] = passing[j] * (_ONE - z[j]) * (_ONE - new[j] * new[j])
        for j in range(width):
            for_z[j] = passing[j] * (before[j] - new[j]) * z[j] * (_ONE - z[j])
        for j in range(width):
            for_r[j] = for_n[j] * part[j] * r[j] * (_ONE - r[j])
        for j in range(width):
            passing[j] *= z[j]
        for j in range(2 * width):
            both[j] = to_gates[t, i, j]
        for j in range(width):
            to_recurrent[t, i, 2 * width + j] = for_n[j] * r[j]
