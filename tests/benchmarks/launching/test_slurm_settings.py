"""What people write into their machine file is read as they mean it, or refused in one line that names the setting."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mm3d_benchmarks.launching.slurm_settings import parameters
from mm3d_benchmarks.planning.compose import CONF
from mm3d_core.errors import UserError

OWN = yaml.safe_load((CONF / "launcher" / "slurm.yaml").read_text())


def read(**changes: Any) -> dict[str, Any]:
    return parameters({**OWN, **changes})


@pytest.mark.parametrize(
    ("value", "asked", "processes"),
    [
        (0, None, 1),
        (2, "2", 2),
        ("2", "2", 2),
        ("a100:2", "a100:2", 2),
        ("nvidia_h100.80gb:1", "nvidia_h100.80gb:1", 1),
    ],
)
def test_each_gpu_has_a_process(value: Any, asked: str | None, processes: int) -> None:
    found = read(gpus=value)
    assert (found.get("gpus_per_node"), found["ntasks_per_node"]) == (asked, processes)


@pytest.mark.parametrize(
    ("value", "minutes"),
    [(90, 90), (1.5, 2), ("1440", 1440), ("24h", 1440), ("1.5h", 90), ("90m", 90), ("2d", 2880), ("1-00:00:00", 1440),
     ("36:00:00", 2160), ("00:30:00", 30), ("2-12:00", 3600), ("00:00:30", 1)],
)  # fmt: skip
def test_times_are_read_as_slurm_and_people_write_them(value: Any, minutes: int) -> None:
    assert read(minutes=value)["time"] == minutes


@pytest.mark.parametrize(
    ("value", "memory"),
    [
        (None, None),
        (64, "64GB"),
        (0.5, "512MB"),
        ("64G", "64GB"),
        ("500M", "500MB"),
        ("1.5G", "1536MB"),
        ("1T", "1024GB"),
    ],
)
def test_memory_may_be_less_than_a_gigabyte(value: Any, memory: str | None) -> None:
    assert read(memory_gb=value).get("mem") == memory


def test_one_line_of_setup_is_one_line() -> None:
    assert read(setup="module load cuda")["setup"][-1] == "module load cuda"
    assert read(setup="a\nb")["setup"][-2:] == ["a", "b"]
    assert read(setup=["a", "b"])["setup"][-2:] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("gpus", (None, -1, 1.5, "a100", "a100:", "two", True, [1])),
        ("minutes", (None, 0, -5, "soon", "1:00", True, float("inf"), [60])),
        ("memory_gb", (0, -1, "much", "5", True, [1])),
        ("setup", (None, 3, [1], {"a": 1})),
        ("additional", (None, "gres=gpu", ["a"])),
        ("nodes", (None, 0, "many", 1.5)),
        ("cpus", (None, 0, "all")),
        ("threads", (None, 0)),
        ("max_parallel", (None, 0, "all")),
        ("signal_seconds", (None, 0, "soon")),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(UserError, match=f"launcher.{name}=") as error:
            read(**{name: value})
        assert "\n" not in str(error.value)
        assert "None" not in str(error.value), "people write null"


def test_the_examples_in_the_comments_are_read_as_printed() -> None:
    text = (CONF / "launcher" / "slurm.yaml").read_text()
    assert '["module load cuda"]' in text
    assert '{nice: 100, comment: "pre-training"}' in text
    example = yaml.safe_load('{setup: ["module load cuda"], additional: {nice: 100, comment: "pre-training"}}')
    found = read(**example)
    assert found["setup"][-1] == "module load cuda"
    assert found["additional_parameters"] == {"nice": 100, "comment": "pre-training"}
