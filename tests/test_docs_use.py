"""docs/use_an_encoder.md: every command on it is one, every message that it explains is said somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from mm3d_benchmarks.commands.main import make_parser
from mm3d_benchmarks.launching.by_hand import requests_of
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.store.weights_card import KNOWN

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "use_an_encoder.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^mm3d .*$", PAGE.replace("\\\n", " "), re.MULTILINE)
SAID = "".join(
    (ROOT / "packages/benchmarks/mm3d_benchmarks" / file).read_text(encoding="utf-8")
    for file in ("planning/given_weights.py", "runs/given.py")
)


def test_the_page_shows_every_way() -> None:
    assert {command.split()[1] for command in COMMANDS} == {"features", "view", "generate", "run", "predict", "import"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_one(command: str) -> None:
    options = make_parser().parse_args(shlex.split(command)[1:])
    if options.command == "run":
        [(request, _)] = requests_of(options.overrides, options.conf, options.profile)
        assert compose(request)["kind"] in ("pretrain", "evaluate")


def test_messages_in_the_table_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| ((?:there is no such file|is |reads ).*?) \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for part in (part for row in rows for piece in row.split("...") for part in piece.split(", of")):
        words = part.strip(" ,")
        assert not words or words.split(" of ")[0] in SAID, words


def test_the_cards_lines_and_the_backbones_are_known() -> None:
    card = yaml.safe_load(re.findall(r"```yaml\n(file: .*?)```", PAGE, re.DOTALL)[0])
    assert set(card) - {"file", "sha256", "released"} <= set(KNOWN)
    table = PAGE[PAGE.index("| released by |") : PAGE.index("The encoder comes in whole")]
    named = {name for name in re.findall(r"`(\w+)`", table) if name != "backbone"}
    assert named
    assert named <= set(available("backbone"))
