"""The page of a validation, in Python and in a browser: same numbers at every threshold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.rates import measure
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.report.pages import evidence, validation
from kdlnet.report.pages.answer import Limits, ends, facts, live
from kdlnet.report.pages.comparison import comparison_page
from kdlnet.report.pages.counting import BoxCounts, count_boxes
from kdlnet.report.pages.distillation import Arm, Distilled, distillation_page
from kdlnet.report.pages.evidence import pool
from kdlnet.report.pages.validation import validation_page

from ..chromium import PROGRAM, browser
from .made import NAMES, made_images, made_subject
from .test_comparison_page import compared, other

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium installed")
LIMITS = Limits(0.4, 0.9)


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="set">(.*?)</script>', page, re.S)
    return json.loads(text)


def empty(name="a", size=(10, 10), truths=0):
    boxes = np.tile([1.0, 1, 8, 8], (truths, 1))
    return ImageResult(np.zeros((0, 4)), [], [], boxes, np.zeros(truths, int), size, name)


def test_everything_is_inside_and_names_are_text(tmp_path):
    page = validation_page(made_subject(made_images(tmp_path)))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert (
        "<b>crack" not in page
        and "<img src=x" not in page
        and "<i>" not in page.split("<style>")[0]
    )
    assert "\x1b" not in page and "\u202e" not in page
    assert r"row 3 of \x1b[31m&lt;a&gt; was dropped" in page
    data = data_of(page)
    assert data["names"] == list(NAMES)
    assert data["images"][0].startswith("<img src=x") and len(data["pictures"]["jpegs"]) > 20


def test_of_very_many_parts_escape_and_overkill_keep_their_intervals(tmp_path, monkeypatch):
    subject = made_subject(made_images(tmp_path, 40))
    overall = subject.result.verdicts.overall
    rows = overall.escape.of + 1 + overall.overkill.of + 1  # counts from 0 on
    monkeypatch.setattr(evidence, "_MOST_ROWS", rows)
    intervals = data_of(validation_page(subject))["intervals"]
    assert set(intervals) == {str(overall.escape.of), str(overall.overkill.of)}


def test_first_screen_is_there_without_a_script(tmp_path):
    images = made_images(tmp_path)
    subject = made_subject(images, limits=LIMITS)
    page = validation_page(subject).replace("&#39;", "'")
    for text in expected(subject, VerdictRule.at(0.5), LIMITS).values():
        assert f">{text}<" in page


def test_pictures_of_one_part_are_not_called_parts(tmp_path):
    images, alone = made_images(tmp_path, 30), "30 parts, one picture each: 20 defective, 10 good."
    subject = made_subject(images)
    assert alone in validation_page(subject)
    page = validation_page(replace(in_groups(subject), limits=Limits(1.0, 1.0)))
    assert ">Not proven<" in page and ">Yes<" not in page
    assert "30 pictures in 10 groups: 20 defective, 10 good." in page and alone not in page
    assert "the ranges given for it are too narrow" in page and "can prove" not in page


def in_groups(subject):
    """The ``subject`` with three pictures of each part."""
    groups = [number // 3 for number in range(len(subject.images))]
    analysis = analyse(subject.images, subject.names, subject.errors, groups)
    return replace(subject, result=replace(subject.result, analysis=analysis))


def test_tables_show_rates_with_the_digits_of_the_limits(tmp_path):
    images = made_images(tmp_path, 6)
    subject = made_subject(images, lots=["A"] * 6, limits=Limits(0.0005, 0.01))
    page = validation_page(subject)
    found = subject.result.verdicts
    for rates in (found.overall, *found.per_class.values(), *found.per_lot.values()):
        for rate, limit in ((rates.escape, 0.0005), (rates.overkill, 0.01)):
            if rate.of:
                low, value, high = ends(rate, limit)
                assert f"{value}<small>{low} to {high}</small>" in page
    escape = found.overall.escape
    assert f"{100 * escape.high:.2f} %</small>" in page.split('id="class-table"')[1]


def levels(page):
    """Of its headings outside of dialogs, which may be opened from anywhere."""
    text = re.sub(r"<dialog.*?</dialog>", "", page, flags=re.S)
    return [int(level) for level in re.findall(r"<h([1-6])", text)]


def test_headings_skip_no_level(tmp_path):
    """A screen reader goes from heading to heading and misses one that is not there."""
    images = made_images(tmp_path)
    arms = [Arm("Teacher", tmp_path / "t.pt", 0.3, 0.5, "val", 2, 90.0)]
    for page in (
        validation_page(made_subject(images)),
        comparison_page(compared(images, other(images))),
        distillation_page(Distilled("set", arms, [("Data", "x")]), tmp_path),
    ):
        found = levels(page)
        assert found[0] == 1 and found.count(1) == 1 and found.count(2) > 1
        assert all(after - before <= 1 for before, after in pairwise(found))


def test_figures_in_legends_stand_behind_names_of_any_writing(tmp_path):
    """Beside letters that run from right to left digits would go along with them."""
    names = ("\u062e\u062f\u0634", "dent")
    page = validation_page(made_subject(made_images(tmp_path, classes=2), names))
    assert re.search(rf"</i><bdi>{names[0]}</bdi> [01]\.\d{{3}}</li>", page)


def test_five_megabytes_for_any_set(tmp_path):
    names = [f"{n} " + "long" * 500 for n in range(200)]
    images = made_images(tmp_path, 400, classes=200)
    images = [
        ImageResult(
            i.boxes,
            i.scores,
            i.labels,
            i.truth_boxes,
            i.truth_labels,
            i.size,
            f"{'d' * 200}/" * 3 + i.name,
        )
        for i in images
    ]
    page = validation_page(made_subject(images, names))
    assert len(page.encode()) < 5e6
    assert len(data_of(page)["names"]) == 200


def test_thousands_of_boxes_keep_the_page_small(tmp_path):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 400, (20_000, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 90, (20_000, 2))], axis=1)
    crowd = ImageResult(
        boxes,
        rng.uniform(0.6, 1, 20_000),
        rng.integers(0, 3, 20_000),
        boxes[:5],
        [0, 1, 2, 0, 1],
        (500, 500),
        "a",
    )
    page = validation_page(made_subject([crowd] * 4))
    assert len(page.encode()) < 5e6
    assert data_of(page)["evidence"]["boxes"] is None


@pytest.mark.parametrize(
    "images",
    [[], [empty()], [empty(truths=2)], [empty(str(n)) for n in range(5)]],
    ids=["no image", "one good part", "no prediction", "all good, nothing found"],
)
def test_sets_that_can_say_little_make_a_page(images):
    page = validation_page(made_subject(images, ("dent",)))
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.S).lower().replace(
        "finance", ""
    )
    assert "That depends on your limits" in page


def test_without_pictures(tmp_path):
    page = validation_page(made_subject(made_images(tmp_path)), pictures=False)
    assert data_of(page)["pictures"] is None
    assert 'id="gallery"' not in page and 'id="slider"' in page


@pytest.mark.parametrize("pictures", [True, False])
def test_links_lead_somewhere_and_the_need_of_a_script_is_told(tmp_path, pictures):
    page = validation_page(made_subject(made_images(tmp_path), lots=["A", "B"] * 15), pictures)
    links = re.findall(r'href="#([^"]+)"', page)
    assert len(links) > 8 and all(f'id="{link}"' in page for link in links)
    assert ("pictures" in links) == pictures
    assert '<noscript><p class="caution small">JavaScript is off: limits' in page


def test_definitions_are_those_of_the_figures(tmp_path):
    """With a least area small labels make no part defective; boxes are matched at IoU 0.5."""
    images = made_images(tmp_path)
    rule = VerdictRule((ClassRule(0.5, min_area=150.0),))
    sized, plain = (validation_page(made_subject(images, rule=r)) for r in (rule, None))
    bad = measure(images, rule, NAMES).overall.escape.of
    assert bad < sum(len(image.truth_labels) > 0 for image in images)
    assert f"{bad} defective, {len(images) - bad} good." in sized
    for words in ("smaller or fewer than the setting asks for", "marked defect, small ones too,"):
        assert words in sized and words not in plain
    for page in (sized, plain):
        assert "half of its box" not in page and "IoU 0.5" in page
        assert "In truth between" not in page and "<dt>Expect … to …</dt>" in page


# ---- in a browser


def expected(subject, rule, limits, doubt=None):
    """What Python says at the thresholds of ``rule``, by id."""
    overall = measure(subject.images, rule, subject.names).overall
    rates = {"escape": overall.escape, "overkill": overall.overkill, "unsure": overall.unsure}
    counts = sum(
        count_boxes(pool(subject.images, 0.001), rule, len(subject.names)), BoxCounts(0, 0, 0)
    )
    texts = facts(rates, limits, doubt)
    texts["live"] = live(rates, counts.missed, counts.extra)
    return {**texts, "found-count": f"{counts.found:,}", "extra-count": f"{counts.extra:,}"}


def told(rate, limit):
    """A cell of the tables: the share and, below it, its interval."""
    low, value, high = ends(rate, limit)
    return f"{value}\n{low} to {high}"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    images = made_images(tmp_path_factory.mktemp("images"), 60)
    lots = ["A", "</script>"] * 30
    return made_subject(images, lots=lots, limits=LIMITS)


@pytest.fixture(scope="module")
def page(subject, tmp_path_factory):
    file = tmp_path_factory.mktemp("päge") / "report.html"
    file.write_text(validation_page(subject), encoding="utf-8")
    return file


def shown(chromium, ids):
    script = "Object.fromEntries({}.map((id) => [id, byId(id).textContent]))"
    return chromium.run(script.format(json.dumps(list(ids))))


def enter(chromium, id, value):
    """As if a person had put ``value`` into the field."""
    chromium.run(f"byId('{id}').value = '{value}'; byId('{id}').dispatchEvent(new Event('input'))")


def cells(chromium, table, row):
    script = (
        f"[...document.querySelectorAll('#{table} tbody tr')[{row}].cells].map((c) => c.innerText)"
    )
    return chromium.run(script)


@pytest.mark.slow
@needs_chromium
def test_the_slider_says_what_python_says(chromium, page, subject):
    chromium.open(page)
    before = expected(subject, VerdictRule.at(0.5), LIMITS)
    assert shown(chromium, before) == before
    chromium.run("byId('slider').focus()")
    assert chromium.run("byId('reset').disabled && byId('moved').hidden") is True
    answers = set()
    for step in range(24):
        chromium.press("ArrowLeft" if step < 9 else "ArrowRight")
        jump = (0.05, 0.3, 0.62, 0.77, 0.9, 0.999)[step % 6]
        enter(chromium, "slider", jump)
        at = chromium.run("ng[0]")
        assert at == pytest.approx(jump, abs=0.0011)
        wanted = expected(subject, VerdictRule.at(at), LIMITS)
        assert shown(chromium, wanted) == wanted
        answers.add(wanted["answer"])
    assert len(answers) > 1 and chromium.run("byId('moved').hidden") is False
    chromium.run("byId('reset').click()")
    assert shown(chromium, before) == before


@pytest.mark.slow
@needs_chromium
def test_a_score_at_the_threshold_reaches_it(chromium, page, subject):
    chromium.open(page)
    best = sorted({float(image.scores.max()) for image in subject.images if len(image.scores)})
    for score in best[::5]:
        chromium.run(f"byId('number').value = {score!r}")
        chromium.run("byId('number').dispatchEvent(new Event('change'))")
        wanted = expected(subject, VerdictRule.at(score), LIMITS)
        assert shown(chromium, wanted) == wanted


@pytest.mark.slow
@needs_chromium
def test_the_browser_reads_intervals_of_very_many_parts(chromium, tmp_path, monkeypatch, subject):
    of = 400_000
    tables = evidence.interval_tables([of, 60])
    monkeypatch.setattr(validation, "interval_tables", lambda sizes: tables)
    file = tmp_path / "report.html"
    file.write_text(validation_page(subject), encoding="utf-8")
    chromium.open(file)
    for count, parts in ((0, of), (2_011, of), (20_777, of), (399_990, of), (of, of), (7, 60)):
        found = chromium.run(f"rate({count}, {parts})")
        exact = Rate(count, parts)
        assert found["low"] == pytest.approx(exact.low, rel=1e-6)
        assert found["high"] == pytest.approx(exact.high, rel=1e-6)


@pytest.mark.slow
@needs_chromium
def test_keys_and_the_mouse_move_the_slider(chromium, page, subject):
    chromium.open(page)
    chromium.run("byId('slider').focus()")
    chromium.press("ArrowLeft")
    assert chromium.run("ng[0]") == pytest.approx(0.499, abs=1e-6)
    spot = chromium.run(
        "(({ x, y, width, height }) => [x + width * 0.8, y + height / 2])"
        "(byId('slider').getBoundingClientRect())"
    )
    mouse = {"x": spot[0], "y": spot[1], "button": "left", "clickCount": 1}
    chromium.call("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    chromium.call("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    chromium.settle()
    at = chromium.run("ng[0]")
    assert 0.75 < at < 0.85
    wanted = expected(subject, VerdictRule.at(at), LIMITS)
    assert shown(chromium, wanted) == wanted


@pytest.mark.slow
@needs_chromium
def test_the_steps_of_the_slider_are_thousandths(chromium, tmp_path, monkeypatch, subject):
    monkeypatch.setattr(evidence, "_floor", lambda scores, lowest: 0.10015)
    file = tmp_path / "report.html"
    file.write_text(validation_page(subject), encoding="utf-8")
    chromium.open(file)
    chromium.run("byId('slider').focus()")
    chromium.press("ArrowLeft")
    assert chromium.run("byId('number').value") == "0.499"
    chromium.press("Home")  # its left end
    assert chromium.run("ng[0]") == pytest.approx(0.10015)


@pytest.mark.slow
@needs_chromium
def test_one_class_alone_and_parts_for_a_person(chromium, page, subject):
    chromium.open(page)
    chromium.run("byId('scope').value = '1'; byId('scope').dispatchEvent(new Event('change'))")
    enter(chromium, "slider", 0.7)
    enter(chromium, "ask", 0.3)
    enter(chromium, "limit-escape", 0.05)
    limits = replace(LIMITS, escape=0.0005)
    rule = VerdictRule((ClassRule(0.5), ClassRule(0.7, unsure=0.3), ClassRule(0.5)))
    wanted = expected(subject, rule, limits)
    assert "left to a person" in wanted["live"]
    assert shown(chromium, wanted) == wanted
    assert chromium.run("byId('card-unsure').hidden") is False
    found = measure(subject.images, rule, subject.names, subject.lots)
    counts = count_boxes(pool(subject.images, 0.001), rule, 3)
    for row, (name, rates) in enumerate(found.per_class.items()):
        values = cells(chromium, "class-table", row)
        assert values[:2] == [name, str(rates.escape.of)]
        assert values[2:4] == [told(rates.escape, limits.escape), told(rates.overkill, 0.9)]
        assert values[4:7] == [
            str(counts[row].found),
            str(counts[row].missed),
            str(counts[row].extra),
        ]
    for row, (name, rates) in enumerate(found.per_lot.items()):
        values = cells(chromium, "lot-table", row)
        assert values[:2] == [name, str(rates.escape.of)]
        assert values[2] == told(rates.escape, limits.escape)
        assert values[4] == told(rates.overkill, limits.overkill)


@pytest.mark.slow
@needs_chromium
def test_limits_that_a_person_enters(chromium, page, subject):
    chromium.open(page)
    assert chromium.run("[byId('limit-escape').value, byId('limit-overkill').value]") == [
        "40",
        "90",
    ]
    entered = (
        ("1", ""),
        ("", ""),
        ("100", "100"),
        ("0.05", "2.25"),
        ("33.3333", "29"),
        ("23.33", "6.66"),
    )
    for escape, overkill in (*entered, ("-1", "200")):
        for name, value in (("escape", escape), ("overkill", overkill)):
            enter(chromium, f"limit-{name}", value)
        valid = [float(v) / 100 if v and 0 <= float(v) <= 100 else None for v in (escape, overkill)]
        wanted = expected(subject, VerdictRule.at(0.5), Limits(*valid))
        assert shown(chromium, wanted) == wanted


@pytest.mark.slow
@needs_chromium
def test_folds_that_chose_on_their_own_parts_promise_nothing(chromium, tmp_path, subject):
    records = [{"chosen_on": {"digest": digest}} for digest in "ab"]
    fitted = replace(subject, calibrations=records, digests="ab", limits=Limits(1.0, 1.0))
    file = tmp_path / "report.html"
    file.write_text(validation_page(fitted), encoding="utf-8")
    chromium.open(file)
    wanted = expected(subject, VerdictRule.at(0.5), Limits(1.0, 1.0), doubt="chose")
    assert wanted["answer"] == "Not proven" and shown(chromium, wanted) == wanted


@pytest.mark.slow
@needs_chromium
def test_pictures_of_one_part_prove_nothing(chromium, tmp_path, subject):
    limits = Limits(1.0, 1.0)
    file = tmp_path / "report.html"
    file.write_text(validation_page(replace(in_groups(subject), limits=limits)), encoding="utf-8")
    chromium.open(file)
    wanted = expected(subject, VerdictRule.at(0.5), limits, doubt="grouped")
    assert wanted["answer"] == "Not proven" and "several pictures show one part" in wanted["why"]
    assert shown(chromium, wanted) == wanted


@pytest.mark.slow
@needs_chromium
def test_gallery_follows_the_slider(chromium, page, subject):
    chromium.open(page)
    chromium.run("document.querySelector('[value=extra]').click()")
    for score in (0.5, 0.2, 0.8):
        chromium.run(f"move({score})")
        counts = sum(
            count_boxes(pool(subject.images, 0.001), VerdictRule.at(score), 3), BoxCounts(0, 0, 0)
        )
        assert chromium.run("byId('tab-extra').textContent") == f"False alarms ({counts.extra})"
        assert (
            chromium.run("byId('tab-missed').textContent") == f"Defects not found ({counts.missed})"
        )
        assert chromium.run("document.querySelectorAll('#gallery .shot').length") == min(
            36, counts.extra
        )
    chromium.run("move(0.2)")
    titles = chromium.run(
        "[...document.querySelectorAll('#gallery .shot b')].map((b) => b.textContent)"
    )
    titles = [float(title.split()[-1]) for title in titles]
    assert titles == sorted(titles, reverse=True)
    counts = sum(
        row.extra for row in count_boxes(pool(subject.images, 0.001), VerdictRule.at(0.2), 3)
    )
    assert chromium.run("byId('gallery-shown').textContent") == f"36 of {counts} are shown."
    chromium.run("document.querySelector('#gallery .shot').click()")
    assert chromium.run("byId('large').open && byId('place').textContent") == f"1 of {counts}"
    chromium.press("ArrowRight")
    assert chromium.run("byId('place').textContent").startswith("2 of")
    chromium.press("Escape")
    assert chromium.run("byId('large').open") is False
    assert chromium.run("document.activeElement === byId('gallery').children[1]") is True


@pytest.mark.slow
@needs_chromium
def test_nothing_is_fetched_and_nothing_fails(chromium, page, tmp_path):
    pages = [page]
    for number, images in enumerate([[], [empty()], [empty(truths=2)]]):
        file = tmp_path / f"{number}.html"
        file.write_text(validation_page(made_subject(images, ("dent",))), encoding="utf-8")
        pages.append(file)
    chromium.log.clear()
    for file in pages:
        chromium.open(file)
        if chromium.run("byId('slider') !== null"):
            chromium.run("move(0.1)")
        chromium.settle()
    requests = [entry["request"]["url"] for entry in chromium.events("Network.requestWillBeSent")]
    assert all(re.match("file:|data:|about:", url) for url in requests), requests[:3]
    assert not chromium.events("Log.entryAdded")
    assert not chromium.events("Runtime.exceptionThrown")


@pytest.mark.slow
@needs_chromium
def test_a_phone_never_scrolls_sideways(chromium, page):
    chromium.call(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=844,
        deviceScaleFactor=2,
        mobile=True,
    )
    try:
        chromium.open(page)
        assert chromium.run("document.documentElement.scrollWidth") == 390
        scale, size = "text.ownerSVGElement.getScreenCTM().a", "getComputedStyle(text).fontSize"
        texts = "[...document.querySelectorAll('.chart text')]"
        sizes = chromium.run(f"{texts}.map((text) => {scale} * parseFloat({size}))")
        assert len(sizes) > 20 and min(sizes) >= 10  # pixels, to be read at arm's length
    finally:
        chromium.call("Emulation.clearDeviceMetricsOverride")


def drawn(chromium, selector):
    """What is seen of the elements: their text, a field's value."""
    script = (
        f"[...document.querySelectorAll({json.dumps(selector)})].filter((n) => n.checkVisibility())"
        ".map((n) => n.value || n.innerText)"
    )
    return chromium.run(script)


@pytest.mark.slow
@needs_chromium
def test_paper_says_which_setting_and_which_pictures(chromium, page):
    chromium.open(page)
    chromium.run("document.querySelector('[value=extra]').click(); move(0.2)")
    chromium.call("Emulation.setEmulatedMedia", media="print")
    try:
        (tab,) = drawn(chromium, "#tabs label")
        assert tab.startswith("False alarms (")
        assert drawn(chromium, "#panel input") == ["0.2"] and drawn(chromium, "#live")
        assert drawn(chromium, "#gallery-shown")[0].startswith("36 of ")
        assert not drawn(chromium, "button.button") and not drawn(chromium, "nav")
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
@needs_chromium
def test_paper_has_every_column(chromium, tmp_path):
    names = [f"kind_of_defect_{number}" for number in range(24)]
    file = tmp_path / "report.html"
    file.write_text(validation_page(made_subject(made_images(tmp_path, 60, 24), names)))
    chromium.open(file)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    size = {"width": 688, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # of A4
    chromium.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert chromium.run("document.querySelectorAll('.heat th').length") > 48
        assert chromium.run("document.documentElement.scrollWidth") == 688
        wide = (
            "[...document.querySelectorAll('.scroll')].filter((n) => n.scrollWidth > n.clientWidth)"
        )
        assert chromium.run(f"{wide}.length") == 0
    finally:
        chromium.call("Emulation.clearDeviceMetricsOverride")
        chromium.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
@needs_chromium
def test_without_a_script_nothing_that_needs_one_is_shown(chromium, page):
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.call("Page.navigate", url=page.as_uri())
        for _ in range(200):
            if drawn(chromium, "footer"):
                break
            chromium.call("Page.getLayoutMetrics")
        assert drawn(chromium, "#pictures noscript") == ["JavaScript is off: the pictures need it."]
        assert not drawn(chromium, "input, #panel, #tabs, button") and drawn(
            chromium, "#cards, .card"
        )
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)
