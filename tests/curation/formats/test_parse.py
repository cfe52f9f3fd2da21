"""Annotation files in encodings that are not theirs."""

from __future__ import annotations

import json

import pytest

from kdlnet.curation.formats.parse import read_json, read_xml

TEXT = "\u88c2\u7eb9"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_in_its_own_encodings(tmp_path, encoding):
    file = tmp_path / "a.json"
    file.write_bytes(json.dumps([TEXT], ensure_ascii=False).encode(encoding))
    assert read_json(file) == [TEXT]


def test_another_encoding_is_told_as_such_with_its_line(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(f'[\n"{TEXT}"]'.encode("gbk"))
    with pytest.raises(ValueError, match=r"^it is not UTF-8 \(byte 0x\w\w in line 2\): save it as"):
        read_json(file)
    file = tmp_path / "a.xml"
    file.write_bytes(f"<a>\n{TEXT}</a>".encode("gbk"))
    with pytest.raises(ValueError, match=r"^it is not UTF-8 \(byte 0x\w\w in line 2\): save it as"):
        read_xml(file)
    file.write_bytes(f'<?xml version="1.0" encoding="utf-8"?><a>{TEXT}</a>'.encode("gbk"))
    with pytest.raises(ValueError, match=r"^it is not utf-8, as it declares: save it as UTF-8"):
        read_xml(file)
    file.write_bytes(f'<?xml version="1.0" encoding="gbk"?><a>{TEXT}</a>'.encode("gbk"))
    assert read_xml(file).text == TEXT


def test_json_that_is_too_deep_or_none(tmp_path):
    file = tmp_path / "a.json"
    for text in ("[" * 100_000, "{", ""):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"lists inside|Expecting"):
            read_json(file)
