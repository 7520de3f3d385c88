"""Batch norm over rows: as torch's in float64, exact in float32, the same bits for any number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointops import batch_norm
from pointops.norm import batch_norm_reference

SIZES = [(2, 3), (17, 5), (300, 3), (5000, 32), (2049, 24), (4100, 259), (100, 512)]
SLOPES = [1.0, 0.0, 0.2]


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def given(rows: int, channels: int) -> list[Tensor]:
    """Input, weight, bias, residual."""
    return [
        rand(rows, channels) * 3 + 5,
        rand(channels, seed=1).abs() + 0.5,
        rand(channels, seed=2),
        rand(rows, channels, seed=3),
    ]


def torch_form(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, slope: float, added: bool) -> Tensor:
    z = F.batch_norm(x, None, None, weight, bias, True)
    return F.leaky_relu(z + residual if added else z, slope)


def our_form(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, slope: float, added: bool) -> Tensor:
    return batch_norm(x, None, None, weight, bias, True, residual=residual if added else None, negative_slope=slope)


def results(form, parts: list[Tensor], slope: float, added: bool) -> list[Tensor]:
    """The output and the gradients of all that took part."""
    leaves = [part.clone().requires_grad_() for part in parts]
    out = form(*leaves, slope, added)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out.dtype)
    return [out, *torch.autograd.grad(out, leaves if added else leaves[:3], grad)]


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("size", SIZES)
def test_float32_agrees_with_float64(kernels, threads, size, slope, added):
    parts = given(*size)
    truth = results(torch_form, [part.double() for part in parts], slope, added)
    tolerance = 1e-6 if size[0] > 2 else 0.2  # the gradient of two rows is a difference of nearly equal numbers
    for name, ours, want in zip(
        ("out", "x", "weight", "bias", "residual"), results(our_form, parts, slope, added), truth
    ):
        assert (ours - want).norm() <= tolerance * want.norm() + 1e-6, name


@pytest.mark.parametrize("size", [(640_000, 3), (320_000, 32)])
def test_many_rows_lose_nothing(size):
    parts = given(*size)
    truth = results(torch_form, [part.double() for part in parts], 0.0, False)
    for ours, want in zip(results(our_form, parts, 0.0, False), truth, strict=True):
        assert (ours - want).norm() <= 1e-6 * want.norm()


def test_a_channel_far_from_zero_keeps_its_variance():
    x = rand(5000, 3) + torch.tensor([0.0, 1e3, -1e4])
    x[0] = 1e5  # a first row that says nothing about the others
    out = batch_norm(x, None, None, training=True)
    want = F.batch_norm(x.double(), None, None, training=True)
    assert (out - want).norm() < 1e-4 * want.norm()


def test_any_number_of_threads_and_every_build_give_the_same_bytes(kernels, monkeypatch):
    from pointops import _native

    parts, found = given(20_000, 13), []
    for count in (1, 2, 5):
        monkeypatch.setattr(_native, "threads", lambda count=count: count)
        found.append(results(our_form, parts, 0.0, True))
    monkeypatch.setattr(_native, "library", lambda: _native._open(_native._built()["baseline"]))
    found.append(results(our_form, parts, 0.0, True))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("training", [False, True])
def test_gradcheck(training, slope):
    x, weight, bias, residual = (part.double().requires_grad_() for part in given(7, 4))
    running = None if training else rand(4).double(), None if training else rand(4, seed=5).double().abs() + 0.1

    def run(x, weight, bias, residual):
        return batch_norm(x, *running, weight, bias, training, residual=residual, negative_slope=slope)

    assert torch.autograd.gradcheck(run, (x, weight, bias, residual))
    assert torch.autograd.gradcheck(lambda x: batch_norm(x, *running, None, None, training), (x,))
    torch.testing.assert_close(
        run(x, weight, bias, residual),
        batch_norm_reference(x, *running, weight, bias, training, residual=residual, negative_slope=slope),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_running_statistics_are_those_of_torch(dtype):
    theirs = nn.BatchNorm1d(6, momentum=0.3)
    ours = rand(6), rand(6).abs()
    theirs.load_state_dict({"running_mean": ours[0], "running_var": ours[1]}, strict=False)
    for seed in range(3):
        x = (rand(50, 6, seed=seed) * 2 + 1).to(dtype)
        out = batch_norm(x, *ours, training=True, momentum=0.3)
        assert out.dtype == dtype
        torch.testing.assert_close(
            out.double(), theirs(x.float()).double(), atol=2e-2 if out.itemsize == 2 else 1e-5, rtol=0.02
        )
        for mine, name in zip(ours, ("running_mean", "running_var"), strict=True):
            torch.testing.assert_close(mine, getattr(theirs, name))
    theirs.eval()
    x = rand(1, 6)
    torch.testing.assert_close(batch_norm(x, *ours), theirs(x))
    torch.testing.assert_close(batch_norm(x[:0], *ours), x[:0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_keep_their_type_and_sum_in_float32(dtype):
    x, weight, bias, residual = given(3000, 8)
    half = [x.to(dtype), weight, bias, residual.to(dtype)]
    found = results(our_form, half, 0.0, True)
    assert [part.dtype for part in found] == [dtype, dtype, torch.float32, torch.float32, dtype]
    truth = results(torch_form, [part.double() for part in half], 0.0, True)
    for ours, want in zip(found, truth, strict=True):
        assert (ours.double() - want).norm() < 2e-2 * want.norm()


@pytest.mark.short
@pytest.mark.slow
def test_it_compiles_into_one_graph():
    x, weight, bias, residual = given(50, 8)

    def run(x, residual):
        return batch_norm(x, None, None, weight, bias, True, residual=residual, negative_slope=0.0).square().sum()

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    x.requires_grad_()
    grads = [torch.autograd.grad(step(x, residual), x) for step in (run, compiled)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.rand(4, 3, 2)}, "input must be"),
        ({"input": torch.zeros(4, 3, dtype=torch.int64)}, "input must be a floating-point"),
        ({"input": torch.rand(1, 3)}, "at least two rows"),
        ({"weight": torch.rand(4)}, "weight must be"),
        ({"bias": [1.0] * 3}, "bias must be a floating-point"),
        ({"residual": torch.rand(4, 2)}, "residual must be"),
        ({"running_mean": torch.rand(3)}, "running_mean and running_var"),
        ({"training": False}, "running_mean must be a tensor"),
        ({"negative_slope": 1.5}, "negative_slope"),
        ({"eps": float("nan")}, "eps"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    arguments = {"input": torch.rand(4, 3), "running_mean": None, "running_var": None, "training": True, **change}
    with pytest.raises(ValueError, match=message):
        batch_norm(**arguments)
