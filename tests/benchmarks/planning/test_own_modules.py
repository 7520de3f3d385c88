"""Code of a user's own, anywhere on the Python path, is in the key of the runs that reach it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mm3d_benchmarks.planning import fingerprint as fingerprints
from mm3d_benchmarks.planning import import_paths
from mm3d_benchmarks.planning.fingerprint import closure, fingerprint
from mm3d_benchmarks.planning.import_paths import parameters_of
from mm3d_core.errors import UserError

CODE = {
    "my_height.py": """
        from my_parts.heads import Head
        import torch

        class Height(torch.nn.Module):
            def __init__(self, encoder, weight=1.0):
                self.head = Head()
        """,
    "my_parts/heads.py": "from . import tables\nclass Head: factor = 2\n",  # a folder without __init__.py
    "my_parts/tables.py": "TABLE = [1, 2]\n",
    "elsewhere.py": "x = 1\n",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Edits the user's files and returns the fingerprint of a pre-training that uses them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in CODE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(line.removeprefix(" " * 8) for line in text.splitlines()) + "\n")

    def edit(name: str = "", old: str = "", new: str = "", target: str = "my_height.Height") -> str:
        if name:
            text = (tmp_path / name).read_text()
            assert old in text
            (tmp_path / name).write_text(text.replace(old, new))
        forget()
        return fingerprint("pretrain", {"pretrain": {"method": {"_target_": target}}})

    return edit


def forget() -> None:
    """What was read of source files, as a new process would not know it."""
    importlib.invalidate_caches()
    for module in (fingerprints, import_paths):
        for value in list(vars(module).values()):
            getattr(value, "cache_clear", lambda: None)()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("my_height.py", "weight=1.0", "weight=2.0"),
        ("my_parts/heads.py", "factor = 2", "factor = 3"),
        ("my_parts/tables.py", "[1, 2]", "[1, 3]"),
    ],
)
def test_an_edit_of_what_a_run_reaches_moves_its_key(own: Callable[..., str], name: str, old: str, new: str) -> None:
    before = own()
    assert own(name, old, new) != before
    assert own(name, new, old) == before


def test_a_comment_or_a_file_that_is_not_reached_moves_nothing(own: Callable[..., str]) -> None:
    before = own()
    assert own("my_height.py", "import torch", "import torch  # the library") == before
    assert own("elsewhere.py", "x = 1", "x = 2") == before


def test_libraries_are_not_read(own: Callable[..., str]) -> None:
    own()
    found = closure(["my_height", "torch", "yaml", "json"])
    assert {"my_height", "my_parts.heads", "my_parts.tables"} <= set(found)
    assert not {name for name in found if name.split(".")[0] in ("torch", "yaml", "json", "numpy")}


def test_the_constructor_of_an_own_class_is_the_schema(own: Callable[..., str]) -> None:
    own()
    assert parameters_of("my_height.Height") == {"encoder", "weight"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("my_heigth.Height", "there is no module my_heigth"),
        ("my_height.Hieght", "my_height.py defines no Hieght"),
        ("my_parts.haeds.Head", "there is no such module"),
    ],
)
def test_what_is_not_there_is_named_before_anything_runs(own: Callable[..., str], target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        own(target=target)


def test_a_file_that_does_not_parse_is_named_with_its_line(own: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"heads.py:\d: does not parse"):
        own("my_parts/heads.py", "class Head:", "class Head")


def test_names_bound_under_a_condition_or_by_a_star_are_found(own: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "my_star.py").write_text("from my_height import *\n")
    (tmp_path / "my_choice.py").write_text("try:\n    from my_height import Height\nexcept ImportError:\n    pass\n")
    assert own(target="my_choice.Height") != own(target="my_choice.Height", name="my_height.py", old="1.0", new="3.0")
    own(target="my_star.Height")
    assert "my_height" not in sys.modules, "planning must not import what it reads"
