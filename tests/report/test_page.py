"""The page of a dataset: all of it is in the file, and it does what it shows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kdlnet.curation.findings import Finding
from kdlnet.report.page import PagePicture, dataset_page
from kdlnet.report.thumbnail import thumbnail

from .chromium import PROGRAM, browser

NAMES = ["dent", "</script><b>crack"]  # class names are data, not markup
LEAK = Finding(check="leak", severity="error", message="as in val", split="train")
SMALL = Finding(check="small", severity="warning", message="3 px & less", split="train")


def picture(name, split, boxes=(), findings=(), size=(100, 200)):
    grey = np.full((*size, 1), 90, np.uint8)
    return PagePicture(name, split, size, thumbnail(grey, 120), "", list(boxes), list(findings))


def pictures():
    dent, crack = (0, 10.0, 20.0, 60.0, 70.0), (1, 150.0, 0.0, 200.0, 100.0)
    return [
        picture("a/1.png", "train", [dent], [LEAK]),
        picture("a/2.png", "train", [dent, crack], [SMALL, LEAK]),
        picture("a/good <i>.png", "train"),
        picture("b/4.png", "val", [crack]),
        PagePicture("b/lost.png", "val", (1, 1), b"", "", [], [LEAK]),
    ]


def blocks(page):
    return dict(re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page))


def test_everything_is_inside():
    page = dataset_page("set", NAMES, pictures(), [LEAK], "a note")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "<title>set</title>" in page
    assert "<b>crack" not in page
    assert "<i>" not in page


def test_data():
    found = blocks(dataset_page("set", NAMES, pictures(), [LEAK, SMALL]))
    data = json.loads(found["data"])
    assert data["names"] == NAMES
    assert data["splits"] == ["train", "val"]
    assert data["checks"] == ["leak", "small"]
    assert data["images"][0]["boxes"] == [[0, 10.0, 20.0, 60.0, 70.0]]
    assert data["images"][1]["findings"][0] == ["small", "warning", "3 px & less"]
    assert data["general"][1] == ["small", "warning", "3 px & less (train)"]
    thumbnails = json.loads(found["thumbnails"])
    assert [bool(one) for one in thumbnails] == [True, True, True, True, False]


def test_cells_have_the_shape_of_the_usual_image():
    wide = [picture("a", "train", size=(10, 90)), picture("b", "train", size=(100, 150))]
    page = dataset_page("set", NAMES, [*wide, picture("c", "train", size=(50, 100))])
    assert "--aspect: 1.8;" in page  # 9, 1.5 and 2, kept between 0.6 and 1.8
    assert "--aspect: 1.5;" in dataset_page("set", NAMES, wide[1:])


def test_an_empty_page_is_a_page():
    assert "--aspect: 1.0;" in dataset_page("set", NAMES, [])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("möbel page") / "index.html"
    file.write_text(dataset_page("set", NAMES, pictures(), [SMALL], "a note"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def shown(chromium):
    """Names of the cards in their order."""
    chromium.settle()
    return chromium.run("[...document.querySelectorAll('.card .text')].map((n) => n.textContent)")


def choose(chromium, text):
    script = "[...document.querySelectorAll('.choice')].find((c) => c.textContent.startsWith({}))"
    chromium.run(f"{script.format(json.dumps(text))}.querySelector('input').click()")


ALL = ["1.png", "2.png", "good <i>.png", "4.png", "lost.png"]

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium installed")


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([], ALL),
        (["val"], ALL[3:]),
        (["train", "val"], ALL),
        (["dent"], ALL[:2]),
        (["good parts"], ["good <i>.png"]),
        (["</script>", "train"], ["2.png"]),
        (["small"], ["2.png"]),
        (["any finding", "val"], ["lost.png"]),
        (["leak", "dent", "train"], ALL[:2]),
    ],
)
def test_filters(chromium, page, chosen, names):
    chromium.open(page)
    for text in chosen:
        choose(chromium, text)
    assert shown(chromium) == names
    found = f"{len(names)} of 5 images" if len(names) < 5 else "5 images"
    assert chromium.run("byId('count').textContent").startswith(found)
    chromium.open(page, chromium.run("location.hash"))  # a view can be linked
    assert shown(chromium) == names


@pytest.mark.slow
@needs_chromium
def test_search_order_and_counts(chromium, page):
    chromium.open(page, "#order=boxes")
    assert shown(chromium)[0] == "2.png"
    chromium.open(page, "#order=large&name=.PNG&split=train&split=nonsense")
    assert shown(chromium) == ["2.png", "1.png", "good <i>.png"]
    figures = chromium.run("[...document.querySelectorAll('.figure')].map((n) => n.textContent)")
    # Splits are counted as if none were chosen, classes and findings among the chosen ones.
    assert figures[:2] == ["3", "2"]
    assert figures[2:8] == ["2", "1", "1", "2", "2", "1"]
    chromium.open(page, "#name=nothing")
    assert shown(chromium) == []
    assert chromium.run("byId('nothing').hidden") is False
    chromium.run("byId('clear').click()")
    assert shown(chromium) == ALL


@pytest.mark.slow
@needs_chromium
def test_boxes_lie_on_the_picture(chromium, page):
    """Box (10, 20)-(60, 70) of an image of 200 x 100: 5 to 30 % across, 20 to 70 % down."""
    chromium.open(page, "#image=a/1.png")
    chromium.settle()
    at = "(() => {{ const r = document.querySelector({!r}).getBoundingClientRect();"
    at += "return [r.x, r.y, r.width, r.height]; }})()"
    x, y, width, height = chromium.run(at.format(".frame img"))
    box = chromium.run(at.format(".frame rect.line"))
    assert width == pytest.approx(2 * height, rel=0.01)
    expected = [x + 0.05 * width, y + 0.2 * height, 0.25 * width, 0.5 * height]
    assert box == pytest.approx(expected, abs=3)
    chromium.press("b")
    assert chromium.run("getComputedStyle(document.querySelector('.frame svg')).display") == "none"
    chromium.press("b")
    chromium.press("z")
    assert chromium.run(at.format(".frame img"))[2] == pytest.approx(3 * width, rel=0.01)


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("x1", "x2"), [(0, 8), (192, 200)])
def test_names_of_boxes_at_the_border_stay_on_the_picture(chromium, tmp_path, x1, x2):
    image = picture("a.png", "train", [(0, x1, 40.0, x2, 70.0)])
    (tmp_path / "index.html").write_text(dataset_page("set", ["spurious copper"], [image]))
    chromium.open(tmp_path / "index.html", "#image=a.png")
    chromium.settle()
    ends = "(() => {{ const r = document.querySelector({!r}).getBoundingClientRect();"
    ends += "return [r.left, r.right]; }})()"
    left, right = chromium.run(ends.format(".frame"))
    tag = chromium.run(ends.format(".tag"))
    assert left - 1 <= tag[0] < tag[1] <= right + 1


@pytest.mark.slow
@needs_chromium
def test_keys_turn_the_chosen_pages(chromium, page):
    chromium.open(page, "#class=dent&image=a/1.png")
    assert chromium.run("byId('place').textContent") == "1 of 2"
    assert "as in val" in chromium.run("byId('found').textContent")
    chromium.press("ArrowRight")
    assert chromium.run("byId('name').textContent") == "a/2.png"
    chromium.press("ArrowRight")  # the last one stays
    assert chromium.run("byId('place').textContent") == "2 of 2"
    chromium.press("ArrowLeft")
    assert chromium.run("byId('name').textContent") == "a/1.png"
    chromium.press("Escape")
    assert chromium.run("byId('large').open") is False
    chromium.open(page, "#image=b/lost.png")
    assert "cannot be read" in chromium.run("document.querySelector('.frame').textContent")


@pytest.mark.slow
@needs_chromium
def test_only_near_pictures_are_decoded_and_nothing_is_fetched(chromium, tmp_path):
    many = [picture(f"{n:04}.png", "train", [(0, 1.0, 1.0, 9.0, 9.0)]) for n in range(1500)]
    file = tmp_path / "index.html"
    file.write_text(dataset_page("set", NAMES, many), encoding="utf-8")
    chromium.log.clear()
    chromium.open(file)
    chromium.settle()
    count = "document.querySelectorAll('.card img').length"
    assert 0 < chromium.run(count) < 200
    chromium.run("document.querySelector('main').scrollTo(0, 1e6)")
    chromium.settle()
    assert 0 < chromium.run(count) < 300
    assert chromium.run("cards.at(-1).querySelectorAll('img, rect').length") == 3
    requests = [entry["request"]["url"] for entry in chromium.events("Network.requestWillBeSent")]
    assert all(re.match("file:|data:|about:", url) for url in requests), requests[:3]
    assert not chromium.events("Log.entryAdded")
    assert not chromium.events("Runtime.exceptionThrown")


@pytest.mark.slow
@needs_chromium
def test_paper_has_every_picture_or_the_one_that_is_open(chromium, tmp_path):
    many = [picture(f"{n:04}.png", "train", [(0, 1.0, 1.0, 9.0, 9.0)]) for n in range(400)]
    file = tmp_path / "index.html"
    file.write_text(dataset_page("set", NAMES, many), encoding="utf-8")
    chromium.open(file, "#class=dent")
    chromium.run("nextTheme(); nextTheme()")
    # Counted as it is printed: on the screen those that nobody sees are emptied again at any time.
    count = "printed = document.querySelectorAll('.card img').length"
    chromium.run(f"addEventListener('beforeprint', () => {{ {count}; }})")
    chromium.call("Page.printToPDF")
    assert chromium.run("printed") == 400
    chromium.call("Emulation.setEmulatedMedia", media="print")
    try:
        ink = "getComputedStyle(document.body).color"
        assert chromium.run("document.documentElement.dataset.theme") == "dark"
        assert chromium.run(ink) == "rgb(29, 33, 38)"
        seen = "['grid', 'search', 'large'].map((id) => byId(id).checkVisibility())"
        assert chromium.run(seen) == [True, False, False]
        chromium.run("cards[3].click()")
        assert chromium.run(seen) == [False, False, True]
        whole = "({ scrollHeight, clientHeight }) => scrollHeight <= clientHeight"
        assert chromium.run(f"({whole})(document.querySelector('dialog section'))") is True
        paper = {"width": 500, "height": 300, "deviceScaleFactor": 1, "mobile": False}
        chromium.call("Emulation.setDeviceMetricsOverride", **paper)
        across, high = chromium.run(
            "(({ width, height }) => [width, height])"
            "(document.querySelector('.frame').getBoundingClientRect())"
        )
        height, width = many[3].size
        assert across <= 500 and across / high == pytest.approx(width / height, rel=0.01)
        assert chromium.run(f"({whole})(document.querySelector('dialog section'))") is True
    finally:
        chromium.call("Emulation.clearDeviceMetricsOverride")
        chromium.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
@needs_chromium
def test_where_the_set_is_at_hand_its_own_file_is_shown(chromium, tmp_path):
    (tmp_path / "a b#1.jpg").write_bytes(thumbnail(np.zeros((400, 800, 1), np.uint8), 800))
    small = thumbnail(np.zeros((400, 800, 1), np.uint8), 100)
    addresses = {"here": "a%20b%231.jpg", "gone": "gone.jpg"}
    images = [
        PagePicture(name, "train", (400, 800), small, address, [])
        for name, address in addresses.items()
    ]
    file = tmp_path / "index.html"
    file.write_text(dataset_page("set", NAMES, images), encoding="utf-8")
    look = "r(document.querySelector('.frame img').naturalWidth)"
    width = f"new Promise((r) => setTimeout(() => {look}, 500))"
    chromium.open(file, "#image=here")
    assert chromium.run(width) == 800
    shutil.copy(file, tmp_path / "copy.html")
    chromium.open(Path(tmp_path / "copy.html"), "#image=gone")
    assert chromium.run(width) == 100
