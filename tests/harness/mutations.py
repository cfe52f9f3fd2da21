"""Damage to files: what disks, cables and exporters do to them, and what attackers would."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
TOKENS = (
    *(b"nan", b"inf", b"-1", b"0", b"1e309", b"99999999999999999999", b"-0.0", b"0x10", b"1_0"),
    *(b"", b"null", b"[]", b"{}", b'"', b"'", b"<", b"&a;", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(
        b"../../../etc/passwd",
        b"\n",
        b"\r",
        b": ",
        b"- ",
        b"!!python/object:os.system",
        b"\x1b]0;t\x07",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, 2**70, float("nan"), "", "1", "../../x", "\ud800", [], {}, [[]]),
    [1, "2", None],
    {"a": {"b": []}},
)


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def hole(data: bytes, rng: random.Random) -> bytes:
    """A span of zeros, as a power cut leaves it."""
    start = rng.randrange(len(data) + 1)
    size = rng.choice((1, 16, 512, len(data)))
    return data[:start] + bytes(min(size, len(data) - start)) + data[start + size :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    span = data[start : start + rng.choice((1, 16, 200))]
    return data[:start] + span * rng.choice((2, 50)) + data[start:]


def remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 16, 200)) :]


def insert(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.choice(TOKENS) + data[start:]


def replace_number(data: bytes, rng: random.Random) -> bytes:
    found = list(NUMBER.finditer(data[:20_000]))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(TOKENS) + data[one.end() :]


def change_json(data: bytes, rng: random.Random) -> bytes:
    """One value anywhere in a document replaced, removed or put under another key."""
    document = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = (
            node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        )
        for key in list(keys):
            places.append((node, key))
            walk(node[key])

    walk(document)
    parent, key = rng.choice(places)
    if rng.random() < 0.2:
        del parent[key]
    elif isinstance(parent, dict) and rng.random() < 0.2:
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = rng.choice(VALUES)
    return json.dumps(document).encode("utf-8", "surrogatepass")


Mutation = Callable[[bytes, random.Random], bytes]
ANY: tuple[Mutation, ...] = (flip_bits, cut, hole, repeat, remove, insert)
TEXT: tuple[Mutation, ...] = (*ANY, replace_number, replace_number, replace_number)
JSON: tuple[Mutation, ...] = (*TEXT, change_json, change_json, change_json)


def mutate(data: bytes, kinds: tuple[Mutation, ...], rng: random.Random) -> bytes:
    """``data`` after one to three kinds of damage; structured ones come first, while it parses."""
    first = rng.choice(kinds)
    data = first(data, rng)
    for _ in range(rng.choice((0, 0, 1, 2))):
        data = rng.choice(TEXT if kinds != ANY else ANY)(data, rng)
    return data
