"""Every command that README and docs print, by the first rule that fits it: run as printed, composed, or left, and why.

A command that no rule names is run, so a new one is covered, or fails. What is run happens at one desk: a folder with
smoke's scenes, scans of one's own and a run, in the order of the pages.
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from printed import FENCE, PAGES, ROOT, Printed, commands_of, run

from mm3d_benchmarks.commands import main as cli

RUN, SLOW, COMPOSED, WORDS, LEFT = "run", "slow", "composed", "words", "left"


@dataclass(frozen=True)
class Rule:
    """What is done with the commands that a pattern finds.

    Attributes:
        how: ``RUN``, in the fast suite; ``SLOW``, run too; ``COMPOSED``, with ``--dry-run``; ``WORDS``, parsed only;
            ``LEFT``, not even that.
        statuses: exit statuses that are right.
    """

    pattern: str
    how: str
    why: str
    statuses: tuple[int, ...] = (0,)


RULES = (
    Rule(r"<|\.\.\.|\||=FILE\b", LEFT, "a pattern with stand-ins"),
    Rule(r"^make ", LEFT, "installs, trains or tests for minutes; CI runs each"),
    Rule(r"^(git (clone|add)|\. |pre-commit|pip |uv |tensorboard|export )", LEFT, "other programs, the set-up itself"),
    Rule(r"^(MM3D_\w+=\S+ )*dvc ", LEFT, "the whole pipeline, or data on a remote"),
    Rule(r"--watch$", WORDS, "lives until Ctrl-C"),
    Rule(r"checkpoint\.tar|model_best\.pth|model\.safetensors", WORDS, "needs a checkpoint that others released"),
    Rule(r"^mm3d prepare .*raw=/data/", WORDS, "needs an official release"),
    Rule(r"^mm3d view .*scene=Area_5_office_1 .*--profile paper", WORDS, "a room of the official release"),
    Rule(r"^mm3d prepare dataset=s3dis .*--check", RUN, "smoke's scenes in the place of the official"),
    Rule(r"^mm3d info kind=finetune .*--memory", SLOW, "takes a step of a full network"),
    Rule(r"^mm3d run .*(--profile paper|dataset\.classes=)", COMPOSED, "hours of a GPU"),
    Rule(r"^mm3d sweep .*--where|^mm3d sweep table_07.*--profile paper", COMPOSED, "hours"),
    Rule(r"^mm3d sweep (--dry-run$|.*--dry-run)", RUN, ""),
    Rule(r"^mm3d sweep table_07$|^mm3d predict .*=KEY", SLOW, "trains"),
    Rule(r"=1c2d3e4f5a6b\b", WORDS, "a run by an invented name; the same words with KEY are run"),
    Rule(r"^mm3d run ", SLOW, "trains"),
    Rule(r"level=all|--kind (living|conference)", SLOW, "shown in the fast suite with less"),
    Rule(r"^mm3d view dataset=folder path=", WORDS, "shows what a run of the page has prepared"),
    Rule(r"^mm3d status --profile paper$", RUN, "status 1: nothing is asked for yet", (1,)),
    Rule(r"^mm3d report( table_07\w*)?$", RUN, "status 1 and what is missing, until the runs are done", (0, 1)),
    Rule(r"^mm3d doctor$", RUN, "status 1 where something is to be mended", (0, 1)),
    Rule(r"^python -m speed", LEFT, "measures for minutes"),
    Rule(r"^(python|\.venv/bin/python) ", LEFT, "needs what a slow command left, or is a test itself"),
)  # fmt: skip
PRINTED_KEY = r"\b(KEY|8f56298edfc2|434a6626aec2|3afdc1304a7d)\b"  # the latter are runs that made pictures of the docs
NAMED_RUN = ("status", "doctor")  # commands without settings that a sentence tells to type


@dataclass
class Desk:
    """A user's folder, and the key of an encoder in it."""

    folder: Path
    key: str

    def type(self, printed: Printed) -> None:
        """One command, ``KEY`` replaced by the run that it can use."""
        line = printed.line
        models = sorted((self.folder / "runs").glob("*/model.safetensors"))
        line = re.sub(PRINTED_KEY, models[0].parent.name if "predict" in line else self.key, line)
        run(line, self.folder, rule(printed).statuses)


def rule(printed: Printed) -> Rule:
    """The first rule that fits; a command that is only mentioned in a sentence is parsed."""
    settings = shlex.split(printed.line)[1:]
    mention = not printed.fenced and settings and not any("=" in word or "_" in word for word in settings)
    if mention and settings[0] not in NAMED_RUN and printed.line.startswith("mm3d "):
        return Rule("", LEFT, "mentioned in a sentence")
    return next((r for r in RULES if re.search(r.pattern, printed.line)), Rule("", RUN, "takes seconds"))


EVERY = [
    printed for page in PAGES if not page.stem.startswith("add_") for printed in commands_of(page)
]  # those: test_docs
FOUND = {how: [printed for printed in EVERY if rule(printed).how == how] for how in (RUN, SLOW, COMPOSED, WORDS, LEFT)}


typed: set[str] = set()  # what stands on several pages is typed once


@pytest.fixture(scope="module")
def desk(smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Smoke's S3DIS scenes, also in the place of the official ones, scans of one's own, an encoder of two steps."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(smoke_data, folder / "data")
    (folder / "data/paper").mkdir()
    (folder / "data/paper/prepared").symlink_to("../smoke/prepared")
    run("mm3d generate --room my_scans/office.ply --kind office --seed 0", folder)
    shutil.copy(folder / "my_scans/office.ply", folder / "room.ply")
    short = "recipe.pretrain.steps=2 pretrain=point_mae --launcher debug"
    said = run(f"mm3d run kind=pretrain dataset=s3dis {short}", folder)
    [key] = re.findall(r"^pretrain: runs/(\w+)", said, re.MULTILINE)
    shutil.copy(folder / "runs" / key / "encoder.safetensors", folder)
    return Desk(folder, key)


@pytest.mark.parametrize("page", sorted({printed.page for printed in FOUND[RUN]}))
def test_commands_of_a_page_run_as_printed(page: str, desk: Desk) -> None:
    for printed in FOUND[RUN]:
        if printed.page == page and printed.line not in typed:
            typed.add(printed.line)
            desk.type(printed)


@pytest.mark.slow
@pytest.mark.parametrize("printed", FOUND[SLOW], ids=lambda printed: f"{printed.page}: {printed.line[:60]}")
def test_a_command_that_takes_minutes_runs_as_printed(printed: Printed, desk: Desk) -> None:
    for name in re.findall(r"dataset=(scannet|sunrgbd)\b", printed.line):
        run(f"mm3d generate --dataset {name}", desk.folder)
        run(f"mm3d prepare dataset={name}", desk.folder)
    desk.type(printed)


@pytest.mark.parametrize("printed", FOUND[COMPOSED], ids=lambda printed: f"{printed.page}: {printed.line[:60]}")
def test_a_command_that_takes_hours_asks_for_something_that_exists(printed: Printed, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main([*shlex.split(printed.line)[1:], "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("printed", FOUND[WORDS], ids=lambda printed: f"{printed.page}: {printed.line[:60]}")
def test_a_command_that_needs_more_than_a_desk_has_is_one(printed: Printed) -> None:
    assert cli.make_parser().parse_args(shlex.split(printed.line)[1:]).command


def test_what_is_left_names_programs_that_are_there() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", text, re.MULTILINE))
    for printed in FOUND[LEFT]:
        words = shlex.split(printed.line)
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w} <= targets, printed
        elif words[1:2] == ["-m"] and words[2].startswith("speed"):
            assert find_spec(words[2]), printed
        elif words[0] == "mm3d" and re.fullmatch(r"[a-z]+", words[1]):
            with pytest.raises(SystemExit) as ended:
                cli.main([words[1], "--help"])
            assert ended.value.code == 0, printed


def test_every_rule_is_needed() -> None:
    unused = [r.pattern for r in RULES if not any(rule(printed) is r for printed in EVERY)]
    assert unused == []


@pytest.mark.parametrize("name", ["README.md", pytest.param("docs/use_an_encoder.md", marks=pytest.mark.slow)])
def test_the_first_lines_of_python_run_as_printed(name: str, desk: Desk) -> None:
    [first, *_] = [block["text"] for block in FENCE.finditer((ROOT / name).read_text()) if block["head"] == "python"]
    (desk.folder / "first.py").write_text(re.sub(PRINTED_KEY, desk.key, first))
    run("python first.py", desk.folder)
