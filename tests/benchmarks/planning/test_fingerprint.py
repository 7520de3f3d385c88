"""The code fingerprint: what counts, what does not, and how far it reaches."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mm3d_benchmarks.planning import fingerprint as fingerprints
from mm3d_benchmarks.planning import import_paths as targets
from mm3d_benchmarks.planning import reach
from mm3d_benchmarks.planning.fingerprint import closure, fingerprint, tree_hash
from mm3d_core.errors import UserError

CODE = '''
"""Text."""
def loss(x):
    """Text."""
    return x * 2  # comment
'''


def hash_of(code: str) -> str:
    return tree_hash(ast.parse(code))


def test_comments_docstrings_and_formatting_do_not_count() -> None:
    assert hash_of(CODE) == hash_of("def loss( x ):\n  return (x*2)\n")


@pytest.mark.parametrize(
    "other", ["def loss(x): return x * 3", "def loss(x, y=1): return x * 2", "def loss(y): return y * 2"]
)
def test_code_counts(other: str) -> None:
    assert hash_of(CODE) != hash_of(other)


def test_a_string_that_is_no_docstring_counts() -> None:
    assert hash_of("x = 'a'") != hash_of("x = 'b'")


def test_the_closure_reaches_through_imports_and_leaves_bookkeeping_out() -> None:
    found = closure(["mm3d_benchmarks.runs.pretrain"])
    assert {"mm3d_core.training.fit", "pointops.plan", "mm3d_benchmarks.loading.loading"} <= set(found)
    assert not {name for name in found if name.startswith(("mm3d_benchmarks.store", "mm3d_core.files", "mm3d_backb"))}


def test_a_name_is_followed_through_the_face_of_its_package() -> None:
    assert reach.owner_of("pointops", "knn_query") == ("pointops.knn", "knn_query")
    assert reach.owner_of("pointops", "grouping") == ("pointops.grouping", "grouping")  # the function, not the module
    assert reach.owner_of("pointops", "_native") == ("pointops._native", "")
    found = closure(["mm3d_backbones.votenet"])
    assert "pointops.ball_query" in found
    assert not {"pointops", "pointops.window_attention", "pointops.vector_attention"} & set(found)


def test_a_name_that_a_face_takes_from_elsewhere_moves_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(face: str) -> str:
        files = {"__init__": face, "a": "def f(): return 1", "b": "def f(): return 2", "c": "from pointops import f, g"}
        for name, code in files.items():
            (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setattr(targets, "_places", lambda package: (tmp_path,) if package == "pointops" else ())
        for function in (targets.load_module, reach.reach_of, fingerprints._of_roots):
            function.cache_clear()
        return fingerprints._of_roots(frozenset(["pointops.c"]))

    first = of("from pointops.a import f\nfrom pointops.b import f as g\n")
    assert of("from pointops.b import f as g\nfrom pointops.a import f\n") == first
    assert of("from pointops.b import f\nfrom pointops.a import f as g\n") != first
    targets.load_module.cache_clear()


def test_a_network_that_is_not_built_does_not_count() -> None:
    config = {"backbone": {"encoder": {"_target_": "mm3d_backbones.point_transformer.PointTransformer"}}}
    found = closure(["mm3d_benchmarks.runs.finetune", "mm3d_backbones.point_transformer"])
    assert "mm3d_backbones.point_transformer" in found
    assert "mm3d_backbones.h3dnet" not in found
    assert fingerprint("finetune", config) != fingerprint("finetune", {})


def test_a_target_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match=r"encoder\._target_=mm3d_backbones.votnet.VoteNet"):
        fingerprint("finetune", {"encoder": {"_target_": "mm3d_backbones.votnet.VoteNet"}})


def test_an_edited_module_moves_only_the_fingerprints_that_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in {"__init__": "", "a": "from mm3d_core import b\n", "b": "x = 1\n", "c": "y = 1\n"}.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setattr(targets, "_places", lambda package: (tmp_path,) if package == "mm3d_core" else ())

    def fresh(root: str) -> str:
        for function in (targets.load_module, reach.reach_of, fingerprints._of_roots):
            function.cache_clear()
        return fingerprints._of_roots(frozenset([root]))

    before = fresh("mm3d_core.a"), fresh("mm3d_core.c")
    (tmp_path / "b.py").write_text('"""Now with a text."""\nx = 1\n')
    assert (fresh("mm3d_core.a"), fresh("mm3d_core.c")) == before
    (tmp_path / "b.py").write_text("x = 2\n")
    after = fresh("mm3d_core.a"), fresh("mm3d_core.c")
    fresh("mm3d_core.c")
    targets.load_module.cache_clear()
    assert after[0] != before[0]
    assert after[1] == before[1]
