"""Parts that parsers of several subcommands share. Imports nothing but the parser."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def command(commands, name: str, function: str, text: str, epilog: str = "") -> argparse.ArgumentParser:
    """A subcommand's parser; ``function`` is ``module:function`` of this folder."""
    parser = commands.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=name, function=function, parser=parser)
    return parser


def profile(parser: argparse.ArgumentParser) -> None:
    """``--profile``."""
    parser.add_argument(
        "--profile",
        default=os.environ.get("MM3D_PROFILE", "smoke"),
        help="smoke, study, mini or paper (default: %(default)s)",
    )


def store_place(parser: argparse.ArgumentParser) -> None:
    """``--store``."""
    place = Path(os.environ.get("MM3D_STORE", "runs"))
    parser.add_argument("--store", type=Path, default=place, help="run store (default: %(default)s)")


def flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """An option without a value."""
    parser.add_argument(name, action="store_true", help=text)


def sweep_names(parser: argparse.ArgumentParser) -> None:
    """The sweeps that a command is about."""
    text = "files, or beginnings of names in sweeps/ (default: all)"
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=text)


def group_folders(parser: argparse.ArgumentParser) -> None:
    """``--conf``."""
    text = "further folder with group files (repeatable)"
    parser.add_argument("--conf", type=Path, action="append", default=[], metavar="DIR", help=text)
