"""The teacher follows without learning; its features are found where the student's points are."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, scan

from mm3d_core.methods.distillation import Teacher, correspond
from mm3d_core.points import PointBatch


def test_the_teacher_starts_as_a_copy_and_receives_no_gradient():
    student = TinyEncoder()
    teacher = Teacher(student)
    for own, its in zip(teacher.parameters(), student.parameters(), strict=True):
        assert own is not its
        assert torch.equal(own, its)
        assert not own.requires_grad
    assert all(not level.feat.requires_grad for level in teacher(scan(40)))


def test_the_teacher_moves_one_hundredth_of_the_way():
    student = TinyEncoder()
    teacher = Teacher(student, momentum=0.99)
    before = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    teacher.update(student)
    for own, was in zip(teacher.parameters(), before, strict=True):
        torch.testing.assert_close(own, was + 0.01)


def test_normalization_statistics_are_the_teachers_own_unless_asked_otherwise():
    student = TinyEncoder()
    own, averaged = Teacher(student), Teacher(student, average_buffers=True, mode="eval")
    student(scan(40))
    for teacher in (own, averaged):
        teacher.update(student)
    its, averages = dict(student.named_buffers()), dict(averaged.network.named_buffers())
    assert dict(own.network.named_buffers())["far.1.running_mean"].abs().sum() == 0
    torch.testing.assert_close(averages["far.1.running_mean"], 0.01 * its["far.1.running_mean"])
    assert averages["far.1.num_batches_tracked"] == 1


def test_the_teacher_normalizes_by_the_batch_unless_it_is_held_in_evaluation_mode():
    assert Teacher(TinyEncoder()).network.training
    held = Teacher(TinyEncoder(), mode="eval")
    assert not held.train().network.training


def test_features_of_a_shared_point_are_copied_and_others_interpolated():
    teacher = PointBatch.single(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 4, 0]]), torch.tensor([[1.0], [3.0], [50.0]]))
    student = PointBatch.single(torch.tensor([[1.0, 0, 0], [0.5, 0, 0]]), torch.zeros(2, 1))
    feat, matched = correspond(student, teacher)
    weights = torch.tensor([2.0, 2.0, 1 / (16.25**0.5)])
    expected = (weights * torch.tensor([1.0, 3.0, 50.0])).sum() / weights.sum()
    torch.testing.assert_close(feat, torch.stack([torch.tensor([3.0]), expected.view(1)]), rtol=1e-5, atol=1e-5)
    assert matched.all()


def test_nearest_and_exact_correspondence_take_features_as_they_are():
    teacher = PointBatch.single(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[1.0], [3.0]]))
    student = PointBatch.single(torch.tensor([[1.0, 0, 0], [0.2, 0, 0]]), torch.zeros(2, 1))
    feat, matched = correspond(student, teacher, "nearest")
    assert (feat.flatten().tolist(), matched.tolist()) == ([3.0, 1.0], [True, True])
    assert correspond(student, teacher, "exact")[1].tolist() == [True, False]


def test_correspondence_stays_within_the_scene():
    near, far = torch.zeros(1, 3), torch.full((1, 3), 5.0)
    teacher = PointBatch.join([PointBatch.single(far, torch.ones(1, 1)), PointBatch.single(near, torch.zeros(1, 1))])
    student = PointBatch.join([PointBatch.single(near, torch.zeros(1, 1)), PointBatch.single(far, torch.zeros(1, 1))])
    for mode in ("interpolate", "nearest"):
        assert correspond(student, teacher, mode)[0].flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("options", [{"momentum": 1.5}, {"mode": "frozen"}])
def test_bad_options_of_the_teacher_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Teacher(TinyEncoder(), **options)
