"""A foreign distribution that installs the same module is named at import, with the remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pointops import _foreign


def installed(folder: Path, name: str, module: str, top_level: bool = True, kind: str = "dist-info") -> None:
    """The traces of a distribution in a folder of packages."""
    info = folder / f"{name}-1.2.{kind}"
    info.mkdir(parents=True)
    (info / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
    )
    if top_level:
        (info / "top_level.txt").write_text(f"{module}\n{module}_cuda\n")
    else:
        (info / "RECORD").write_text(f"{module}/__init__.py,sha256=x,1\n{name}-1.2.dist-info/RECORD,,\n")


@pytest.mark.parametrize(("top_level", "kind"), [(True, "dist-info"), (True, "egg-info"), (False, "dist-info")])
def test_a_foreign_owner_is_found(tmp_path, monkeypatch, top_level, kind):
    assert _foreign.foreign_distributions() == []
    monkeypatch.syspath_prepend(tmp_path)
    installed(tmp_path, "harmless", "points", top_level, kind)
    assert _foreign.foreign_distributions() == []
    installed(tmp_path, "Pointops", "pointops", top_level, kind)
    assert _foreign.foreign_distributions() == [("Pointops", "1.2")]


def test_a_second_installation_of_our_own_is_none(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    installed(tmp_path, "mm3d_pointops", "pointops")
    assert _foreign.foreign_distributions() == []


def test_the_import_says_so_with_the_remedy(tmp_path):
    installed(tmp_path, "pointops", "pointops")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import pointops"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "pointops 1.2 also installs the module pointops" in said
    assert "pip uninstall -y pointops mm3d-pointops" in said
    assert sum("also installs" in line for line in said.splitlines()) == 1
