"""Figures and names as a page shows them."""

from __future__ import annotations

import numpy as np

from kdlnet.report.pages.words import common_folder, counted, figure, told_apart, visible


def test_counts_and_figures():
    assert [counted(n, "part") for n in (0, 1, 12345)] == ["no parts", "1 part", "12,345 parts"]
    assert counted(2, "box", "boxes") == "2 boxes"
    assert figure(0.66991) == "0.670"
    assert figure(float("inf")) == figure(None) == "–"


def test_what_has_no_picture_is_an_escape_and_long_names_are_cut():
    assert visible("a\x1b[31m\n") == r"a\x1b[31m\n"
    assert visible("\u202egnp.x") == r"\u202egnp.x"
    assert visible("\udcff.png") == r"\udcff.png"
    assert visible("Größe ✓ 疵点") == "Größe ✓ 疵点"
    long = visible("a" * 5000 + "z")
    assert len(long) < 200 and long.endswith("z") and "…" in long


def test_common_folder():
    assert common_folder(["/a/b/1.png", "/a/b/c/2.png"]) == "/a/b/"
    assert common_folder(["/a/b1/1.png", "/a/b2/2.png"]) == "/a/"
    assert common_folder(["1.png", "a/2.png"]) == common_folder([]) == ""


def test_scores_have_the_digits_that_tell_them_apart() -> None:
    assert told_apart(0.495862, [0.496, 0.7]) == "0.4959"
    assert told_apart(0.496, [0.495862]) == told_apart(0.49609, [0.7]) == "0.496"
    assert told_apart(float(np.float32(0.3)), [0.3], 4) == "0.3"  # equal as scores are
    near = float(np.nextafter(np.float32(0.3), np.float32(1)))
    assert told_apart(near, [0.3]) != told_apart(0.3, [near])
