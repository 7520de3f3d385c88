"""Space-filling curves: every cell has its own place, neighbors on Hilbert's curve touch, and curves nest."""

from __future__ import annotations

import pytest
import torch

from pointops.serialization import ORDERS, curve_code, serialization_depth


def cube(depth: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(1 << depth)] * 3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_every_cell_of_a_cube_has_its_own_place(order, depth):
    assert curve_code(cube(depth), depth, order).sort().values.equal(torch.arange(8**depth))


@pytest.mark.parametrize("order", ["hilbert", "hilbert-trans"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_cells_that_follow_each_other_on_hilberts_curve_touch(order, depth):
    cells = cube(depth)
    walk = cells[curve_code(cells, depth, order).argsort()]
    assert walk[0].tolist() == [0, 0, 0]
    assert bool(((walk[1:] - walk[:-1]).abs().sum(1) == 1).all())


@pytest.mark.parametrize("order", ORDERS)
def test_a_cell_twice_as_large_has_the_code_without_its_last_three_bits(order):
    cells = torch.randint(0, 1 << 16, (500, 3), generator=torch.Generator().manual_seed(0))
    assert curve_code(cells >> 1, 15, order).equal(curve_code(cells, 16, order) >> 3)


def test_z_order_takes_the_bits_of_x_y_and_z_in_turn():
    assert curve_code(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0]]), 2, "z").tolist() == [4, 2, 1, 32]
    top = torch.tensor([[65535, 65535, 65535]])
    assert curve_code(top, 16, "z").tolist() == [2**48 - 1]


def test_hilberts_curve_is_that_of_the_bitwise_description():
    """Skilling's walk through a list of bits, as the public numpy-hilbert-curve states it."""

    def described(cell: list[int], bits: int) -> int:
        axes = [[value >> (bits - 1 - bit) & 1 for bit in range(bits)] for value in cell]
        for bit in range(bits):
            for axis in range(3):
                for lower in range(bit + 1, bits):
                    if axes[axis][bit]:
                        axes[0][lower] ^= 1
                    else:
                        axes[0][lower], axes[axis][lower] = axes[axis][lower], axes[0][lower]
        code = parity = 0
        for bit in range(bits):
            for axis in range(3):
                parity ^= axes[axis][bit]
                code = 2 * code + parity
        return code

    cells = torch.randint(0, 1 << 11, (100, 3), generator=torch.Generator().manual_seed(0))
    assert curve_code(cells, 11, "hilbert").tolist() == [described(cell, 11) for cell in cells.tolist()]


@pytest.mark.parametrize("order", ORDERS)
def test_every_cell_may_have_a_depth_of_its_own(order):
    depth = torch.tensor([3, 4, 5, 16]).repeat_interleave(512)
    code = curve_code(cube(3).repeat(4, 1), depth, order)
    assert code.equal(torch.cat([curve_code(cube(3), bits, order) for bits in (3, 4, 5, 16)]))


@pytest.mark.parametrize("order", ["z", "hilbert"])
def test_a_transposed_order_exchanges_x_and_y(order):
    cells = cube(3)
    assert curve_code(cells, 3, f"{order}-trans").equal(curve_code(cells[:, [1, 0, 2]], 3, order))


def test_the_depth_counts_the_bits_of_the_number_of_cells():
    assert [serialization_depth(largest) for largest in (0, 1, 2, 3, 65534)] == [1, 2, 2, 3, 16]


def test_bad_input_is_refused():
    cells = torch.tensor([[0, 0, 8]])
    with pytest.raises(ValueError, match="order must be one of z, z-trans"):
        curve_code(cells, 4, "peano")
    with pytest.raises(ValueError, match=r"2\^depth - 1 \(depth 3\)"):
        curve_code(cells, 3, "z")
    with pytest.raises(ValueError, match="16 bits"):
        curve_code(cells, 17, "z")
    with pytest.raises(ValueError, match="integers"):
        curve_code(cells.float(), 4, "z")
