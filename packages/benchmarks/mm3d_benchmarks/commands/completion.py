"""``mm3d completion``: what may stand next on the command line, for bash, zsh and fish."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable

from mm3d_benchmarks.planning.compose import available
from mm3d_benchmarks.planning.request import GROUPS
from mm3d_benchmarks.planning.sweepfile import find_sweeps
from mm3d_benchmarks.store.spec import KINDS

_SHELLS = {
    "bash": """_mm3d() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(mm3d completion --words "$line" 2>/dev/null))
    case "${line##* }" in *=*) COMPREPLY=("${COMPREPLY[@]#*=}");; esac
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _mm3d mm3d
# put this into ~/.bashrc: eval "$(mm3d completion bash)"
""",
    "zsh": """#compdef mm3d
_mm3d() { compadd -Q -S '' -- ${(f)"$(mm3d completion --words "$LBUFFER" 2>/dev/null)"} || _files }
compdef _mm3d mm3d
# put this into ~/.zshrc, after compinit: eval "$(mm3d completion zsh)"
""",
    "fish": """complete -c mm3d -f -a '(mm3d completion --words (commandline -cp) 2>/dev/null)'
# put this into ~/.config/fish/config.fish: mm3d completion fish | source
""",
}


def completion(options: argparse.Namespace) -> int:
    """Print a shell's script, or the words that may stand at the end of a line."""
    if options.words is not None:
        print("\n".join(candidates(options.words)))
    else:
        print(_SHELLS[options.shell], end="")
    return 0


def candidates(line: str) -> list[str]:
    """What may stand at the end of a command line, whole words."""
    from mm3d_benchmarks.commands.main import make_parser

    try:
        words = shlex.split(line)
    except ValueError:
        return []
    last = "" if line[-1:].isspace() else words.pop()
    commands = _subparsers(make_parser())
    if len(words) < 2:
        return _beginning(commands, last)
    parser = commands.get(words[1])
    if parser is None:
        return []
    if last.startswith("-"):
        return _beginning(sorted(parser._option_string_actions), last)
    return _beginning(_values(words[1], words[-1], last, parser), last)


def _values(command: str, before: str, last: str, parser: argparse.ArgumentParser) -> Iterable[str]:
    listed = {"--profile": available("profile"), "--launcher": available("launcher"), "--kind": list(KINDS)}
    if before in listed:
        return listed[before]
    if command in ("run", "info"):
        key = last.partition("=")[0]
        if "=" not in last:
            return [f"{name}=" for name in ("kind", "seed", *GROUPS)]
        return [f"{key}={value}" for value in (KINDS if key == "kind" else available(key) if key in GROUPS else ())]
    if command in ("plan", "sweep", "status", "collect", "report"):
        return sorted(path.stem for path in find_sweeps([]))
    return _subparsers(parser)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _beginning(words: Iterable[str], last: str) -> list[str]:
    return [word for word in words if word.startswith(last)]
