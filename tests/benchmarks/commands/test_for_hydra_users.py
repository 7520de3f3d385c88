"""What people who know Hydra type: handled, or answered in one line with what to use here; and tab completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands.completion import candidates
from mm3d_benchmarks.planning.compose import available, parse


def test_a_pattern_is_a_run_for_each_file_of_the_group() -> None:
    found = [request.choices["backbone"] for request, _ in parse(["backbone=glob(*)"])]
    assert found == available("backbone")
    some = [request.choices["backbone"] for request, _ in parse(["backbone=glob(*, exclude=vote*)"])]
    assert some == [name for name in found if not name.startswith("vote")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "seed=interval(0,3)"], "write seed=0,1,2 or seed=range(0,3)"),
        (["-m", "backbone=glob(vot)"], "matches none of"),
        (["-m", "seed=glob(*)"], "seed is none; list the values"),
        (["seed=1.5"], "seed=1.5: is no whole number"),
        (["seed=abc"], "seed=abc: is no whole number"),
        (["seed=null"], "seed=null: is no whole number"),
        (["-m", "seed=0,1.5"], "seed=1.5: is no whole number"),
        (["hydra/launcher=submitit_slurm"], "use --launcher slurm"),
        (["hydra.sweep.dir=x"], "use --store DIR"),
        (["hydra.verbose=true"], "mm3d run --help"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *words, "--dry-run"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--cfg", "job"], "--dry-run"), (["--config-dir", "x"], "--conf"), (["--config-name=x"], "mm3d sweep")],
)
def test_options_of_hydra_are_answered(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["run", *words])
    assert end.value.code != 0
    error = capsys.readouterr().err
    assert "; here it is " in error
    assert message in error.split("; here it is ")[1]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("mm3d ", ["sweep", "run", "store"]),
        ("mm3d sw", ["sweep"]),
        ("mm3d sweep ta", ["table_x"]),
        ("mm3d sweep --la", ["--launcher"]),
        ("mm3d sweep --launcher s", ["slurm"]),
        ("mm3d run back", ["backbone="]),
        ("mm3d run backbone=vote", ["backbone=votenet"]),
        ("mm3d run kind=pre", ["kind=pretrain"]),
        ("mm3d store g", ["gc"]),
        ("mm3d nothing ", []),
        ('mm3d run "open', []),
    ],
)
def test_what_may_stand_next(line: str, some: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/table_x.yaml").write_text("")
    found = candidates(line)
    assert set(some) <= set(found)
    assert bool(found) == bool(some)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "mm3d completion --words" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_bash_completes_what_was_begun() -> None:
    """As the shell calls it: of ``backbone=vote`` the part after the sign, which is where bash cuts a word."""
    ask = """eval "$(mm3d completion bash)"
    for COMP_LINE in "mm3d sw" "mm3d run backbone=vote"; do
        COMP_POINT=${#COMP_LINE}; COMPREPLY=(); _mm3d mm3d; echo "${COMPREPLY[@]}"
    done"""
    assert shell("bash", "--norc", "-c", ask).splitlines() == ["sweep", "votenet votenet_color votenet_color_height"]


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_what_was_begun() -> None:
    ask = "mm3d completion fish | source; complete -C 'mm3d sw'; complete -C 'mm3d run backbone=votenet_color_'"
    assert shell("fish", "--no-config", "-c", ask).split() == ["sweep", "backbone=votenet_color_height"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_takes_its_script() -> None:
    ask = """autoload -Uz compinit; compinit -u -D; eval "$(mm3d completion zsh)"
    function compadd { while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }
    LBUFFER="mm3d sw"; _mm3d; echo $_comps[mm3d]"""
    assert shell("zsh", "-f", "-c", ask).split() == ["sweep", "_mm3d"]


def shell(*command: str) -> str:
    """What a shell prints that finds ``mm3d``."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
