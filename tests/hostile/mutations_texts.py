"""Text, JSON and YAML: words, values, nesting, aliases, tags that make objects, names that are paths."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import yaml
from hostile.damage import TOKENS, VALUES, Mutation


def text(data: bytes, random: Random) -> Mutation:
    """Words replaced, doubled or dropped."""
    words = list(re.finditer(rb"[^\s,]+", data))
    out = data
    for found in sorted(random.sample(words, min(len(words), random.randint(1, 3))), key=lambda f: -f.start()):
        out = out[: found.start()] + random.choice(TOKENS) + out[found.end() :]
    if random.random() < 0.05:
        out = random.choice((b"1\n", b"\n", b"\r", b"x ", b"\x00\n")) * 300_000
    return Mutation(out)


def js(data: bytes, random: Random) -> Mutation:
    """Values replaced by others, nesting, numbers that are none."""
    choice = random.randrange(10)
    if choice == 0:
        depth = random.choice((500, 100_000))
        return Mutation(b"[" * depth + b"]" * depth)
    if choice == 1:
        return Mutation(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    value = _changed(json.loads(data.split(b"\n")[0]) if data.count(b"\n{") else json.loads(data), random)
    out = json.dumps(value, default=str).encode()
    if choice == 3:
        out = re.sub(rb"-?\d+\.?\d*", random.choice((b"NaN", b"Infinity", b"1e999", b"9" * 4400)), out, count=1)
    return Mutation(out)


def yml(data: bytes, random: Random) -> Mutation:
    """Values replaced, aliases that repeat or hold themselves, tags that would make objects."""
    choice = random.randrange(9)
    lines = data.decode()
    if choice == 0:
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 4))
        return Mutation((laughs + lines).encode())
    if choice == 1:
        tag = random.choice(("apply:os.mkdir [executed]", "new:os.mkdir [executed]", "name:os.system ''", "tuple [1]"))
        return Mutation((lines + f"\nx: !!python/object/{tag}\n").encode())
    if choice == 2:
        return Mutation((lines + random.choice(("\nx: &x [*x]\n", "\n&r r: *r\n", "\n<<: *nothing\n"))).encode())
    if choice == 3:
        depth = random.choice((50, 900, 50_000))
        return Mutation((lines + "\nx: " + "[" * depth + "]" * depth).encode())
    if choice == 4:
        values = ("2001-99-99", "1:" * 5000 + "1", "0b2", "0o9", "!!binary x", "!!int x", "!!float ..", "!!set {a, b}")
        return Mutation(re.sub(r": [\w.]+", f": {random.choice(values)}", lines, count=1).encode())
    value = _changed(yaml.safe_load(lines), random)
    return Mutation(yaml.safe_dump(_plain(value), allow_unicode=True).encode("utf-8", "surrogatepass"))


def _changed(value: Any, random: Random) -> Any:
    """A copy in which one to three values or keys are others."""
    value = json.loads(json.dumps(value, default=str))
    for _ in range(random.randint(1, 3)):
        places = [(value, key) for key in _keys(value)]
        for holder, key in places:
            places += [(holder[key], inner) for inner in _keys(holder[key])][:200]
            if len(places) > 5000:
                break
        if not places:
            break
        holder, key = random.choice(places)
        choice = random.randrange(4)
        if choice == 0 and isinstance(holder, dict):
            del holder[key]
        elif choice == 1 and isinstance(holder, dict):
            holder[random.choice(("x", "..", "", "\x00", "ü", "a/b", "../../escaped"))] = holder.pop(key)
        elif choice == 2 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[key] = json.loads(json.dumps(random.choice(VALUES)))
    return value


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    """Integers that YAML can write: Python refuses to print the largest."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return 2**200 if isinstance(value, int) and abs(value) > 2**200 else value
