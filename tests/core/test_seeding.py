"""Seeds depend on names, not on order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from mm3d_core.seeding import derive, generator, numpy_generator, seed_everything


def test_the_same_names_give_the_same_seed_in_another_process():
    code = "from mm3d_core.seeding import derive; print(derive(7, 'sample', 3))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(other) == derive(7, "sample", 3)


def test_a_number_and_its_text_and_shifted_keys_give_different_seeds():
    assert len({derive(1, 2), derive("1", 2), derive(12), derive("1\x1f2"), derive(1, 2, 0)}) == 5


def test_a_generator_does_not_feel_what_was_drawn_before():
    first = torch.rand(3, generator=generator(1, "a"))
    generator(1, "b").initial_seed()
    torch.rand(100)
    torch.testing.assert_close(torch.rand(3, generator=generator(1, "a")), first, rtol=0, atol=0)


def test_numpy_generators_differ_by_purpose():
    assert numpy_generator(0, "order", 0).integers(1 << 60) != numpy_generator(0, "order", 1).integers(1 << 60)


def test_all_global_generators_are_set():
    seed_everything(3, "step", 5)
    first = (torch.rand(1).item(), np.random.random())
    seed_everything(3, "step", 5)
    assert (torch.rand(1).item(), np.random.random()) == first
