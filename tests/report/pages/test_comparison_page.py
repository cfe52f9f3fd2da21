"""The page of a comparison: what Python found, and pictures of the parts that change."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.metrics.comparison import Comparison
from kdlnet.metrics.flips import McNemar, find_flips
from kdlnet.metrics.paired import Difference, paired_intervals
from kdlnet.metrics.rates import tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.shift import score_shift
from kdlnet.metrics.table import tabulate
from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.report.flips import draw_flips
from kdlnet.report.pages.comparison import comparison_page
from kdlnet.report.pages.flips import Compared, Side, flip_rows

from ..chromium import PROGRAM, browser
from .made import NAMES, made_images

RULE = VerdictRule.at(0.5)


def other(images, seed=1):
    """The same images as another detector sees them."""
    rng = np.random.default_rng(seed)
    return [
        replace(
            image, scores=np.clip(image.scores * rng.uniform(0.5, 1.2, len(image.scores)), 0, 1)
        )
        for image in images
    ]


def compared(a, b, names=NAMES, seeds=1, rule=RULE):
    sides = [Side(found, [rule.verdict(image) for image in found], rule) for found in (a, b)]
    pairs = [(sides[0], sides[1])] * seeds
    tables = [tuple(tabulate(side.results, len(names)) for side in pair) for pair in pairs]
    images = [f"images/{Path(image.name).name}" for image in a]
    truths = tabulate_parts(a, rule, len(names)).defective.tolist()
    gains = paired_intervals(tables, names, None, 100, 0)
    result = Comparison(
        folder=Path("x"),
        a=[Path("a <i>.pt")] * seeds,
        b=[Path("b.pt")] * seeds,
        data="set",
        split="test",
        images=len(a),
        groups=len(a),
        rounds=100,
        differences=gains.overall,
        per_class=gains.per_class,
        flips=find_flips([(p[0].verdicts, p[1].verdicts) for p in pairs], truths, images),
        shifts=[score_shift(p[0].results, p[1].results, rule, names, None, 50) for p in pairs],
    )
    return Compared(result, pairs, images, truths, names)


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="set">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_the_better_one_that_lets_more_pass_is_told_with_a_but(tmp_path):
    images = made_images(tmp_path, 6)
    subject = compared(images, other(images))
    better = {"ap": Difference(0.3, 0.4, 0.1, 0.05, 0.15)}
    test = McNemar(17, 1, 0.0001)
    flips = replace(subject.result.flips, tests={"defective": test, "good": McNemar(1, 2, 1.0)})
    result = replace(subject.result, differences=better, flips=flips)
    words = (
        "at its own setting B passes more defective parts (stopped by A alone 17, by B alone 1, "
    )
    assert result.reservation.startswith(words)
    assert result.verdict.startswith("B is better: AP +") and f"; but {words}" in result.verdict
    learned = [{"weights": "b.pt", "learned_images": 7}, {"weights": "x", "learned_images": 9}]
    page = comparison_page(replace(subject, result=replace(result, figures=learned)))
    assert "B is better, but not as it is set" in page and 'data-tone="free"' in page
    assert "B has learned from 7 pictures of these" in page and "A has learned" not in page


def test_verdicts_that_are_shown_to_differ_are_told_where_ap_is_not(tmp_path):
    images = made_images(tmp_path, 6)
    subject = compared(images, other(images))
    equal = {"ap": Difference(0.3, 0.3, 0.0, -0.05, 0.05)}
    tests = {"defective": McNemar(11, 0, 0.001), "good": McNemar(9, 0, 0.004)}
    flips = replace(subject.result.flips, tests=tests)
    result = replace(subject.result, differences=equal, flips=flips)
    words = "at its own setting B passes more defective parts (stopped by A alone 11, by B alone 0"
    assert result.verdict.startswith("no gain shown: AP +0.000")
    assert f"; but {words}" in result.verdict
    assert "and at its own setting A rejects more good parts" in result.verdict
    page = comparison_page(replace(subject, result=result))
    assert "No difference in AP, but in the verdicts" in page and words in page


def test_several_seeds_have_no_interval_of_their_added_counts(tmp_path):
    images = made_images(tmp_path, 40)
    subject = compared(images, other(images))
    once = comparison_page(subject)
    thrice = comparison_page(replace(subject, pairs=subject.pairs * 3))
    assert once.count('<p class="range">') == 4 and '<p class="range">' not in thrice


def test_figures_and_flips_are_those_of_the_comparison(tmp_path):
    images = made_images(tmp_path, 40)
    subject = compared(images, other(images))
    page = comparison_page(subject)
    ap = subject.result.differences["ap"]
    assert f"{ap.difference:+.3f}" in page and (" is better<" in page) == ap.shown
    data = data_of(page)
    flips = subject.result.flips.images
    assert len(data["flips"]) == len(flips) > 3
    assert [flip["title"].split(":")[0] for flip in data["flips"]] == sorted(
        "defective" if flip.defective else "good" for flip in flips
    )
    row = subject.images.index(sorted(flips, key=lambda flip: not flip.defective)[0].image)
    texts = [box["text"] for box in data["flips"][0]["boxes"]]
    for letter, side in zip("AB", subject.pairs[0], strict=True):
        count = int((side.results[row].scores >= 0.5).sum())
        assert sum(text.startswith(f"{letter}: ") for text in texts) == count
    assert len(data["pictures"]["flip"]) == len(flips)
    passed = sum(
        v == "OK" and len(i.truth_labels) > 0
        for v, i in zip(subject.pairs[0][1].verdicts, images, strict=True)
    )
    of = sum(len(i.truth_labels) > 0 for i in images)
    assert f"{passed} of {of}" in page


def test_one_good_part_of_thousands_is_no_share_of_zero(tmp_path):
    nothing = np.zeros((0, 4)), [], []
    images = [
        ImageResult(*nothing, *nothing[:2], (64, 64), name=f"{number}.png")
        for number in range(3000)
    ]
    false = replace(images[0], boxes=[[1.0, 1, 9, 9]], scores=[0.9], labels=[0])
    page = comparison_page(compared(images, [false, *images[1:]], ("dent",)))
    assert '<p class="value">0.00 %</p>' in page and '<p class="value">0.03 %</p>' in page


def test_the_cards_count_as_defective_what_the_table_does(tmp_path):
    images = made_images(tmp_path, 40)
    rule = VerdictRule((ClassRule(0.5, min_area=150.0),))
    subject = compared(images, other(images), rule=rule)
    page = comparison_page(subject)
    counts = subject.result.flips.counts
    labelled = sum(len(image.truth_labels) > 0 for image in images)
    of = sum(counts["defective"].values())
    assert 0 < of < labelled
    for count, kind in ((of, "OK"), (40 - of, "NG")):
        verdicts = [side.verdicts for side in subject.pairs[0]]
        bad = kind == "OK"
        for side in verdicts:
            hits = sum(v == kind for v, d in zip(side, subject.defective, strict=True) if d == bad)
            assert f'<p class="count">{hits} of {count}</p>' in page


def test_hostile_names_stay_text_and_nothing_is_loaded(tmp_path):
    images = made_images(tmp_path, 30)
    page = comparison_page(compared(images, other(images)))
    assert "<b>crack" not in page and "<i>" not in page.split("</style>")[1]
    assert "<img src=x" not in page and "\x1b" not in page and "\u202e" not in page
    assert "default-src 'none'" in page and "<noscript>" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_same_twice_and_several_seeds(tmp_path):
    images = made_images(tmp_path, 12)
    page = comparison_page(compared(images, images))
    assert "No difference is shown" in page and "They agree on every one." in page
    assert 'id="flip-grid"' not in page
    page = comparison_page(compared(images, other(images), seeds=2))
    assert "2 seeds each" in page and "several pairs" in page and "pair 2, " in page
    assert "defective parts, 2 pairs added up" in page and "good parts, 2 pairs added up" in page


def test_one_class_and_no_good_part(tmp_path):
    images = made_images(tmp_path, 6, good=0, classes=1)
    page = comparison_page(compared(images, other(images), ("dent",)))
    assert page.count("not known") == 1 and "This set has no such part." in page


def test_each_kind_shows_its_scores_and_none_where_b_finds_too_few(tmp_path):
    images = made_images(tmp_path, 40)
    rule = VerdictRule(tuple(ClassRule(0.1 + 0.2 * label) for label in range(len(NAMES))))
    page = comparison_page(compared(images, other(images), rule=rule))
    kinds = page.split("As many with B from")[1].split("</table>")[0]
    assert kinds.count('<th scope="row">') == len(NAMES) and ">0.1<" in kinds
    blind = [replace(i, boxes=np.zeros((0, 4)), scores=[], labels=[]) for i in images[:20]]
    subject = compared(images, blind + images[20:])
    (shift,) = subject.result.shifts
    assert shift.found_b is None and shift.never
    row = comparison_page(subject).split("B where it finds as many")[1].split("</tr>")[0]
    assert shift.never in row and row.count("–") == 3


def test_five_megabytes(tmp_path):
    images = made_images(tmp_path, 30)
    big = [
        ImageResult(
            np.tile(i.boxes, (40, 1)), np.tile(i.scores, 40), np.tile(i.labels, 40),
            i.truth_boxes, i.truth_labels, i.size, i.name,
        )
        for i in images
    ]  # fmt: skip
    assert len(comparison_page(compared(big * 15, other(big) * 15)).encode()) < 5e6


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium installed")
def test_flips_open_large(tmp_path):
    images = made_images(tmp_path / "images", 40)
    file = tmp_path / "report.html"
    file.write_text(comparison_page(compared(images, other(images))), encoding="utf-8")
    with browser(tmp_path / "profile") as chromium:
        chromium.open(file)
        count = chromium.run("byId('flip-grid').children.length")
        assert count == len(data_of(file.read_text(encoding="utf-8"))["flips"])
        chromium.run("byId('flip-grid').children[1].click()")
        assert chromium.run("byId('place').textContent") == f"2 of {count}"
        chromium.press("ArrowLeft")
        assert "A says" in chromium.run("byId('large-title').textContent")
        lines = chromium.run("document.querySelectorAll('#large-frame rect.line').length")
        assert lines == chromium.run("byId('large-boxes').children.length") > 0
        chromium.press("Escape")
        assert not chromium.events("Runtime.exceptionThrown")
        assert not chromium.events("Log.entryAdded")


def test_boxes_too_small_to_count_are_not_drawn(tmp_path: Path, monkeypatch) -> None:
    """B is the same but for a large box; the small one of both makes no part NG."""
    small, large = [5.0, 5, 9, 9], [10.0, 10, 40, 40]
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.full((64, 64), 90, np.uint8))
    nothing = np.zeros((0, 4)), np.zeros(0, int), (64, 64)
    a = ImageResult([small], [0.9], [0], *nothing, name=str(file))
    b = ImageResult([small, large], [0.9, 0.8], [0, 0], *nothing, name=str(file))
    rule = VerdictRule((ClassRule(0.5, min_area=100),))
    subject = compared([a], [b], ("dent",), rule=rule)
    (row,) = flip_rows(subject, subject.result.flips.images, [0])
    assert [box["text"] for box in row["boxes"]] == ["B: dent, score 0.800"]
    drawn = []
    monkeypatch.setattr(
        "kdlnet.report.flips.draw_match",
        lambda image, result, *_, **__: (
            drawn.append(result.boxes.tolist()) or np.zeros((64, 64, 3), np.uint8)
        ),
    )
    draw_flips(tmp_path, subject.result.flips.images, lambda _: ((a, rule), (b, rule)), ("dent",))
    assert drawn == [[], [large]]


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium installed")
def test_on_a_phone_figures_stay_in_one_line_and_wide_tables_show_that_they_go_on(tmp_path):
    images = made_images(tmp_path / "images", 8)
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(comparison_page(compared(other(images), images)), encoding="utf-8")
    with browser(tmp_path / "profile") as chromium:
        phone = {"width": 400, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        chromium.call("Emulation.setDeviceMetricsOverride", **phone)
        chromium.open(page)
        figures = "[...document.querySelectorAll('.versus .value')]"
        chromium.run(f"{figures}.forEach((p) => (p.textContent = '100.0 %'))")
        lines = "(p) => Math.round(p.offsetHeight / parseFloat(getComputedStyle(p).lineHeight))"
        assert chromium.run(f"{figures}.map({lines})") == [1] * 4
        assert chromium.run(f"{figures}.every((p) => p.scrollWidth <= p.clientWidth)")

        def edges(left: int) -> list[bool]:
            """Whether the left and the right edge of the first table are darker than its middle."""
            chromium.run(f"document.querySelector('.scroll').scrollLeft = {left}")
            chromium.settle()
            chromium.screenshot(shot)
            x, y, width = chromium.run(
                "(({ x, y, width }) => [x, y, width])"
                "(document.querySelector('.scroll').getBoundingClientRect())"
            )
            grey = cv2.imread(str(shot), cv2.IMREAD_GRAYSCALE)[round(y) + 2]
            row = [int(grey[round(at)]) for at in (x + 1, x + width / 2, x + width - 2)]
            return [row[0] < row[1] - 20, row[2] < row[1] - 20]

        chromium.run(
            "document.documentElement.style.scrollBehavior = 'auto',"
            "document.querySelector('.scroll table').style.width = '900px',"
            "document.querySelector('.scroll').scrollIntoView({ block: 'center' })"
        )
        assert [edges(0), edges(200), edges(9999)] == [[False, True], [True, True], [True, False]]
        chromium.run("document.querySelector('.scroll table').style.width = '100px'")
        assert edges(0) == [False, False]
