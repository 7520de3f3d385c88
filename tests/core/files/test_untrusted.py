"""JSON and YAML from anywhere: what is honest comes through unchanged, what is not is one kind of error."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mm3d_core.files.untrusted import YAML_LIMIT, parse_json, parse_yaml

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
SETTINGS = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(codec="ascii", exclude_categories=["C"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=30,
)


@given(JSON)
def test_any_json_comes_through_as_bytes_and_as_text(value):
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == value


@given(SETTINGS)
def test_any_settings_come_through(value):
    assert parse_yaml(yaml.safe_dump(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        parse_json(data)


@given(st.text(max_size=200))
def test_any_text_is_yaml_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_json_that_is_deep_or_swollen_is_refused(text):
    with pytest.raises(ValueError, match=r"deep|digits"):
        parse_json(text)


def test_an_alias_is_the_value_that_it_names():
    assert parse_yaml("a: &a [1, 2]\nb: *a") == {"a": [1, 2], "b": [1, 2]}
    assert parse_yaml("a: &a []\nb: [*a, *a]") == {"a": [], "b": [[], []]}


def test_aliases_of_aliases_are_looked_at_once():
    """Forty levels of ten aliases each: written out, more values than anybody could visit."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40)]
    found = parse_yaml("\n".join(["a0: &a0 [x]", *lines]))
    assert found["a39"][9] is found["a38"]


def test_an_alias_within_itself_is_named():
    with pytest.raises(ValueError, match="an alias within itself"):
        parse_yaml("a: &a {b: [*a]}")


@pytest.mark.parametrize(
    "text",
    [
        "&x [*x]",
        "[" * 50_000,
        "a: !!python/object/apply:os.mkdir [executed]",
        "a: !!set {b, c}",
        "a: !!binary x",
        "2001-99-99",
        "? [a]\n: b",
        "1:" * 3000 + "1",
        "x" * (YAML_LIMIT + 1),
    ],
)
def test_yaml_that_no_settings_are_made_of_is_refused(text):
    with pytest.raises(ValueError):
        parse_yaml(text)


def test_infinity_is_a_number_of_yaml():
    assert parse_yaml("a: .inf") == {"a": math.inf}


@pytest.mark.parametrize("loader", [yaml.FullLoader, yaml.UnsafeLoader, yaml.BaseLoader])
def test_a_loader_that_is_not_a_safe_one_is_refused(loader):
    with pytest.raises(TypeError, match="SafeLoader"):
        parse_yaml("a: 1", loader)
