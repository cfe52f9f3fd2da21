"""A list that grows in a JSON document: byte for byte what json.dumps writes, at any time whole."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from kdlnet.utils.json_list import JsonList, json_with_list

VALUES = {"names": ["Kratzer", "]\n}"], "empty": [], "score": 0.25}
ITEMS: list[Any] = [{"name": "a\nb", "boxes": []}, {"boxes": [{"box": [1.5, 2]}]}, {}, 3]


@pytest.mark.parametrize("count", range(5))
def test_the_text_is_that_of_dumps(tmp_path: Path, count: int) -> None:
    expected = json.dumps({**VALUES, "items": ITEMS[:count]}, indent=2)
    assert "".join(json_with_list(VALUES, "items", iter(ITEMS[:count]))) == expected
    with JsonList(tmp_path / "x.json", VALUES, "items") as document:
        for n, item in enumerate(ITEMS[:count]):
            assert len(json.loads((tmp_path / "x.json").read_text())["items"]) == n
            document.add(item)
        assert (tmp_path / "x.json").read_text() == expected + "\n"  # before it is closed


def test_a_full_disk_leaves_the_items_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JsonList(tmp_path / "x.json", VALUES, "items") as document:
        document.add(ITEMS[0])
        before = (tmp_path / "x.json").read_text()
        write = document._write

        def full(text: str) -> None:
            write(text[:9])
            monkeypatch.setattr(document, "_write", write)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(document, "_write", full)
        with pytest.raises(OSError, match="No space"):
            document.add(ITEMS[1])
        assert (tmp_path / "x.json").read_text() == before
        document.add(ITEMS[2])
    found = json.loads((tmp_path / "x.json").read_text())["items"]
    assert found == [ITEMS[0], ITEMS[2]]
