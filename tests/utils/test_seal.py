"""A checksum inside the file it is of."""

from __future__ import annotations

import json

import pytest

from kdlnet.utils.seal import SEAL, is_damaged, sealed


@pytest.mark.parametrize("nested", [False, True])
def test_every_changed_byte_is_noticed_but_one_in_the_name_of_the_seal(nested: bool) -> None:
    header = json.dumps({**SEAL, "names": ["scratch"]})
    content = (
        b"\x08" + (json.dumps({"kdlnet": header}) if nested else header).encode() + b"\xff\x00"
    )
    assert is_damaged(content)  # zeros are no checksum
    whole = sealed(content)
    assert not is_damaged(whole) and len(whole) == len(content) and whole != content
    unnoticed = []
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            if not is_damaged(bytes(changed)):
                unnoticed.append(position)
    name = whole.index(b"sha256")
    assert {name, name + 5} <= set(unnoticed) <= set(range(name, name + 14))


def test_a_file_without_a_seal_is_taken_as_it_is() -> None:
    assert not is_damaged(b'{"names": ["scratch"]}')
    with pytest.raises(ValueError, match="no place"):
        sealed(b"{}")
