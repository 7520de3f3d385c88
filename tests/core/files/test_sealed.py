"""Sealed JSON: what was sealed comes back, what was changed does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mm3d_core.files.sealed import CHECKSUM, read_sealed, seal, unseal, write_sealed

VALUE = st.dictionaries(
    st.text(max_size=5),
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.text(max_size=3)),
)


@given(VALUE)
def test_what_was_sealed_comes_back_through_json(value):
    assume(CHECKSUM not in value)
    assert unseal(json.loads(json.dumps(seal(value)))) == value


@given(VALUE, st.text(max_size=5), st.integers())
def test_a_change_is_noticed(value, name, number):
    assume(CHECKSUM not in (*value, name) and value.get(name) != number)
    with pytest.raises(ValueError, match="checksum"):
        unseal({**seal(value), name: number})


def test_keys_that_json_turns_into_text_do_not_break_the_seal():
    assert unseal(json.loads(json.dumps(seal({"counts": {10: 1, 9: 2}})))) == {"counts": {"10": 1, "9": 2}}


def test_files_are_written_and_read_and_damage_reads_as_none(tmp_path: Path):
    path = tmp_path / "a.json"
    write_sealed(path, {"mIoU": 12.5})
    assert read_sealed(path) == {"mIoU": 12.5}
    path.write_text(path.read_text().replace("12.5", "72.5"))
    assert read_sealed(path) is None
    assert read_sealed(tmp_path / "nothing.json") is None


def test_an_object_without_a_checksum_is_taken_only_where_that_is_allowed():
    assert unseal({"a": 1}, required=False) == {"a": 1}
    with pytest.raises(ValueError, match="checksum"):
        unseal({"a": 1})
    with pytest.raises(ValueError, match="object"):
        unseal([1])
