"""The norm of all networks: torch's parameters and numbers, what follows it, one batch over many processes."""

from __future__ import annotations

import socket

import pytest
import torch
from torch import distributed, multiprocessing, nn

from mm3d_core.norm import PointNorm, synchronize_norms


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_it_is_torchs_layer(options):
    ours, theirs = PointNorm(5, **options), nn.BatchNorm1d(5, **options)
    for seed in range(3):
        x = rand(40, 5, seed=seed)
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x[:2]), theirs(x[:2]))


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_addition_and_activation_follow(slope):
    x, residual = rand(6, 4, 5), rand(6, 4, 5, seed=1)
    plain = nn.BatchNorm1d(5)(x.flatten(0, 1)).view(x.shape)
    torch.testing.assert_close(PointNorm(5, slope)(x, residual), nn.functional.leaky_relu(plain + residual, slope))


def test_a_single_row_is_refused_in_training_only():
    norm = PointNorm(5)
    with pytest.raises(ValueError, match="single point"):
        norm(rand(1, 5))
    norm.eval()
    assert norm(rand(1, 5)).shape == (1, 5)


def _member(rank: int, port: int, results) -> None:
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = nn.Sequential(nn.Linear(5, 5), PointNorm(5, 0.0))
    network.load_state_dict(
        {name: torch.ones_like(value) for name, value in network.state_dict().items()} | {"0.weight": rand(5, 5)}
    )
    synchronize_norms(network)
    part = rand(30, 5, seed=4).split([11, 19])[rank].requires_grad_()
    out = network(part)
    (out.square().sum()).backward()
    weight_grad = network[0].weight.grad
    distributed.all_reduce(weight_grad)
    results[rank] = [out.detach(), part.grad, weight_grad, network[1].running_mean, network[1].running_var]
    distributed.destroy_process_group()


def test_two_processes_take_one_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(_member, (port, results), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
        first, second = results[0], results[1]
    network = nn.Sequential(nn.Linear(5, 5), PointNorm(5, 0.0))
    network.load_state_dict(
        {name: torch.ones_like(value) for name, value in network.state_dict().items()} | {"0.weight": rand(5, 5)}
    )
    whole = rand(30, 5, seed=4).requires_grad_()
    out = network(whole)
    out.square().sum().backward()
    torch.testing.assert_close(torch.cat([first[0], second[0]]), out)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), whole.grad)
    want = [network[0].weight.grad, network[1].running_mean, network[1].running_var]
    for found in (first, second):
        for ours, theirs in zip(found[2:], want, strict=True):
            torch.testing.assert_close(ours, theirs)
