"""What runs a network's forward pass: torch, and where they are installed ONNX Runtime and OpenVINO.

A backend turns a loaded `PolicyValueNet` into a function of observations. Graphs are built of its layers directly, not
traced: it takes milliseconds, and a player's weights change every few seconds in training. All run on the caller's
thread alone (torch: on as many as the process allows it). Any number of rows may follow any other, and nothing is
compiled anew for each.

There is no `torch.compile` here: on a CPU it needs a C++ compiler where it runs, takes seconds for each new set of
weights (it is fast only with them frozen into the code), and was no faster than OpenVINO when it was done.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.networks import PolicyValueNet, Residual

Floats = NDArray[np.float32]
Forward = Callable[[Floats], tuple[Floats, Floats]]
"""Observations [n, *O], C-contiguous, n at least 1, to logits [n, A] and values [n, P]: fresh, C-contiguous arrays."""


@dataclass(frozen=True, slots=True)
class Backend:
    make: Callable[[PolicyValueNet, tuple[int, ...]], Forward]
    """From a loaded network, observations already normalised, and the shape `*O`. Raises ImportError."""
    packages: tuple[str, ...] = ()  # needed besides torch
    exact: bool = True  # float32 throughout


# ---- torch -----------------------------------------------------------------------------------------------------------


def _torch(net: PolicyValueNet, shape: tuple[int, ...]) -> Forward:
    del shape

    @torch.inference_mode()
    def forward(observation: Floats) -> tuple[Floats, Floats]:
        logits, value = net(_tensor(observation))
        return logits.numpy(), value.numpy()

    return forward


def _torch_bf16(net: PolicyValueNet, shape: tuple[int, ...]) -> Forward:
    """The trunk in bfloat16, channels last where it has any; the small heads stay in float32."""
    del shape
    trunk, layout = net.trunk.to(torch.bfloat16), torch.contiguous_format
    if _convolves(net):
        trunk, layout = trunk.to(memory_format=torch.channels_last), torch.channels_last

    @torch.inference_mode()
    def forward(observation: Floats) -> tuple[Floats, Floats]:
        features = trunk(_tensor(observation).to(torch.bfloat16, memory_format=layout)).float()
        return net.policy(features).numpy(), net.value(features).numpy()

    return forward


def on_device(net: PolicyValueNet, shape: tuple[int, ...], device: torch.device) -> Forward:
    """For a GPU, and so none of `BACKENDS`: like `_torch_bf16`, with one copy to the device and one back."""
    layout = torch.channels_last if _convolves(net) else torch.contiguous_format
    trunk = net.to(device).trunk.to(torch.bfloat16).to(memory_format=layout)
    actions, pinned = net.policy.out_features, device.type == "cuda"
    staged = torch.empty((0, *shape))

    @torch.inference_mode()
    def forward(observation: Floats) -> tuple[Floats, Floats]:
        nonlocal staged
        n = len(observation)
        if n > len(staged):
            staged = torch.empty((bucket(n), *shape), pin_memory=pinned)  # what is pinned is copied without a detour
        np.copyto(staged.numpy()[:n], observation)
        x = staged[:n].to(device, non_blocking=True)  # the copy back waits for it, so the next call may write there
        features = trunk(x.to(torch.bfloat16, memory_format=layout)).float()
        return _split(torch.cat([net.policy(features), net.value(features)], 1).cpu().numpy(), actions)

    return forward


def _convolves(net: PolicyValueNet) -> bool:
    return any(isinstance(layer, nn.Conv2d) for layer in net.trunk)


def _tensor(observation: Floats) -> torch.Tensor:
    return torch.from_numpy(observation if observation.flags.writeable else observation.copy())


# ---- graphs ----------------------------------------------------------------------------------------------------------


class _Ops(Protocol):
    """The operations of a graph that is being built; a node is whatever its library says."""

    def linear(self, x: Any, weight: Floats, bias: Floats) -> Any: ...
    def conv(self, x: Any, weight: Floats, bias: Floats, padding: int) -> Any: ...
    def relu(self, x: Any) -> Any: ...
    def add(self, x: Any, y: Any) -> Any: ...
    def flatten(self, x: Any, size: int) -> Any: ...


def _build(ops: _Ops, net: PolicyValueNet, x: Any) -> Any:
    """The network on node `x` [n, *O]: one node [n, A + P] of logits and values (one product is cheaper than two)."""
    layers = list(net.trunk)
    for at, layer in enumerate(layers):
        if isinstance(layer, nn.Flatten):
            x = ops.flatten(x, next(later.in_features for later in layers[at:] if isinstance(later, nn.Linear)))
        elif isinstance(layer, nn.Linear):
            x = ops.linear(x, *_arrays(layer))
        elif isinstance(layer, nn.Conv2d):
            x = ops.conv(x, *_arrays(layer), _padding(layer))
        elif isinstance(layer, nn.ReLU):
            x = ops.relu(x)
        elif isinstance(layer, Residual):
            inner = ops.relu(ops.conv(x, *_arrays(layer.first), _padding(layer.first)))
            x = ops.relu(ops.add(x, ops.conv(inner, *_arrays(layer.second), _padding(layer.second))))
        else:
            raise TypeError(f"A graph cannot be built of {type(layer).__name__}: teach `_build` in {__name__}.")
    heads = zip(_arrays(net.policy), _arrays(net.value), strict=True)
    return ops.linear(x, *(np.concatenate(pair) for pair in heads))


def _arrays(layer: nn.Linear | nn.Conv2d) -> tuple[Floats, Floats]:
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def _padding(layer: nn.Conv2d) -> int:
    assert isinstance(layer.padding[0], int)
    return layer.padding[0]


def _split(both: Floats, actions: int) -> tuple[Floats, Floats]:
    return both[:, :actions].copy(), both[:, actions:].copy()


# ---- ONNX Runtime ----------------------------------------------------------------------------------------------------


class _OnnxOps:
    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"node{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: Floats) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def linear(self, x: str, weight: Floats, bias: Floats) -> str:
        return self.node("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def conv(self, x: str, weight: Floats, bias: Floats, padding: int) -> str:
        return self.node("Conv", x, self.constant(weight), self.constant(bias), pads=[padding] * 4)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def add(self, x: str, y: str) -> str:
        return self.node("Add", y, x)

    def flatten(self, x: str, size: int) -> str:
        del size
        return self.node("Flatten", x)


def _onnxruntime(net: PolicyValueNet, shape: tuple[int, ...]) -> Forward:
    onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    importlib.import_module("onnx.numpy_helper")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    actions, outputs = net.policy.out_features, net.policy.out_features + net.value.out_features
    ops = _OnnxOps(onnx)
    answer = _build(ops, net, "observation")
    graph = helper.make_graph(
        ops.nodes,
        "network",
        [helper.make_tensor_value_info("observation", float32, ["n", *shape])],
        [helper.make_tensor_value_info(answer, float32, ["n", outputs])],
        ops.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def forward(observation: Floats) -> tuple[Floats, Floats]:
        (both,) = session.run([answer], {"observation": observation})
        return _split(both, actions)

    return forward


# ---- OpenVINO --------------------------------------------------------------------------------------------------------


class _OpenVinoOps:
    def __init__(self, opset: Any) -> None:
        self.opset = opset

    def constant(self, array: NDArray[Any]) -> Any:
        return self.opset.constant(np.ascontiguousarray(array))

    def linear(self, x: Any, weight: Floats, bias: Floats) -> Any:
        return self.add(self.opset.matmul(x, self.constant(weight), False, True), self.constant(bias[None]))

    def conv(self, x: Any, weight: Floats, bias: Floats, padding: int) -> Any:
        pads = [padding, padding]
        x = self.opset.convolution(x, self.constant(weight), [1, 1], pads, pads, [1, 1])
        return self.add(x, self.constant(bias[:, None, None]))

    def relu(self, x: Any) -> Any:
        return self.opset.relu(x)

    def add(self, x: Any, y: Any) -> Any:
        return self.opset.add(x, y)

    def flatten(self, x: Any, size: int) -> Any:
        return self.opset.reshape(x, self.constant(np.array([-1, size])), False)


@functools.cache
def _core() -> Any:
    """OpenVINO's one; making it takes longer than compiling a small network."""
    return importlib.import_module("openvino").Core()


def bucket(rows: int) -> int:
    """`rows` rounded up to one of eight sizes for each doubling: at most an eighth more."""
    step = 1 << max((rows - 1).bit_length() - 4, 0)
    return -(-rows // step) * step


class _OpenVino:
    """One model for any number of rows, asked in few sizes, since it prepares a millisecond for each that is new."""

    def __init__(self, net: PolicyValueNet, shape: tuple[int, ...], precision: str) -> None:
        self._library = library = importlib.import_module("openvino")
        opset = importlib.import_module("openvino.opset13")
        x = opset.parameter([-1, *shape], np.float32)
        model = library.Model([opset.result(_build(_OpenVinoOps(opset), net, x))], [x])
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,  # the caller's
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # processes side by side would be pinned to one core
        }
        self._model = _core().compile_model(model, "CPU", settings)
        self._actions = net.policy.out_features
        self._most = 64 if _convolves(net) else 1024  # rows at once: activations that stay in the core's cache
        self._observation = np.zeros((0, *shape), np.float32)
        self._answer = np.zeros((0, self._actions + net.value.out_features), np.float32)
        self._requests: dict[int, Any] = {}  # bucket -> its request, bound to the first rows of these two

    def __call__(self, observation: Floats) -> tuple[Floats, Floats]:
        n = len(observation)
        if n <= self._most:
            return _split(self._infer(observation), self._actions)
        parts = (observation[at : at + self._most] for at in range(0, n, self._most))
        return _split(np.concatenate([self._infer(part).copy() for part in parts]), self._actions)

    def _infer(self, observation: Floats) -> Floats:
        """Logits and values [n, A + P] of n rows, until the next call."""
        n = len(observation)
        size = bucket(n)
        request = self._requests[size] if size in self._requests else self._bind(size)
        self._observation[:n] = observation
        request.infer(share_outputs=True)
        return self._answer[:n]

    def _bind(self, size: int) -> Any:
        if size > len(self._observation):
            self._requests.clear()  # they are bound to arrays that are too small
            self._observation = np.zeros((size, *self._observation.shape[1:]), np.float32)
            self._answer = np.zeros((size, self._answer.shape[1]), np.float32)
        request, tensor = self._model.create_infer_request(), self._library.Tensor
        request.set_input_tensor(tensor(self._observation[:size], shared_memory=True))
        request.set_output_tensor(tensor(self._answer[:size], shared_memory=True))
        self._requests[size] = request
        return request


BACKENDS: dict[str, Backend] = {
    "torch": Backend(_torch),
    "torch_bf16": Backend(_torch_bf16, exact=False),
    "onnxruntime": Backend(_onnxruntime, ("onnx", "onnxruntime")),
    "openvino": Backend(lambda net, shape: _OpenVino(net, shape, "bf16"), ("openvino",), exact=False),
    "openvino_f32": Backend(lambda net, shape: _OpenVino(net, shape, "f32"), ("openvino",)),
}
"""The backends by name."""
