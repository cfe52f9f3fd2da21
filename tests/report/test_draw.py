"""Where lines and labels lie, that boxes stay free, and that kinds differ in more than colour."""

from __future__ import annotations

import itertools
import string

import numpy as np
import pytest

from kdlnet.metrics.matching import match
from kdlnet.metrics.result import ImageResult
from kdlnet.report import canvas
from kdlnet.report.canvas import DASHED, DOTTED, Mark, draw_marks, line_width, text_size
from kdlnet.report.colors import FALSE, MISSED, TRUE, palette, text_color
from kdlnet.report.draw import draw_detections, draw_match
from kdlnet.report.text import font_for, render, shorten

NAMES = ("scratch", "pitted_surface", "Größe")


def grey(height, width, value=120):
    return np.full((height, width, 1), value, dtype=np.uint8)


def painted(picture, color):
    return (picture == color).all(axis=2)


def test_a_line_runs_around_its_box_and_leaves_the_defect_free():
    picture = draw_marks(to_rgb(grey(400, 400)), [Mark((100, 150, 140, 180), "", (255, 0, 0))])
    width = line_width(picture)
    assert (picture[150:180, 100 + 1 : 140 - 1] == 120)[1:-1].all()  # one pixel of rim at most
    red = painted(picture, (255, 0, 0))
    assert red.sum() == (40 + 2 * width) * (30 + 2 * width) - 40 * 30  # closed on all sides
    ys, xs = np.nonzero(red)
    assert (xs.min(), xs.max() + 1) == (100 - width, 140 + width)
    assert (ys.min(), ys.max() + 1) == (150 - width, 180 + width)


def to_rgb(image):
    return np.repeat(image, 3, axis=2)


def test_small_images_are_enlarged_and_the_box_goes_along():
    picture = draw_detections(
        grey(200, 200), [[50, 60, 90, 100]], [0], None, NAMES, colors=[(255, 0, 0)] * 3
    )
    assert picture.shape == (400, 400, 3)
    red = painted(picture, (255, 0, 0))
    ys, xs = np.nonzero(red[:, :100])
    assert xs.min() == 2 * 50 - line_width(picture)
    assert ys.max() + 1 == 2 * 100 + line_width(picture)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (64, 900), (1, 1), (1400, 2600)])
@pytest.mark.parametrize("place", ["corner", "all", "far corner", "outside"])
def test_boxes_at_the_edges_never_break_the_picture(height, width, place):
    box = {
        "corner": (0, 0, width * 0.1, height * 0.1),
        "all": (0, 0, width, height),
        "far corner": (width * 0.95, height * 0.95, width, height),
        "outside": (-50, -50, width + 50, height + 50),
    }[place]
    picture = draw_detections(grey(height, width), [box], [1], [0.87], NAMES)
    color = painted(picture, palette(3)[1])
    assert color.any(axis=1).sum() > 2
    assert color.sum() > 40  # line and label are there


@pytest.fixture
def places(monkeypatch):
    """Where labels were drawn, the least important first."""
    found = []
    original = canvas._label

    def spy(picture, place, mark, size):
        found.append(place)
        original(picture, place, mark, size)

    monkeypatch.setattr(canvas, "_label", spy)
    return found


def test_labels_stay_inside_and_apart(places):
    # Three boxes on top of each other, and one that touches each corner of the picture.
    boxes = [[150, 150, 300, 300]] * 3 + [[0, 0, 30, 30], [370, 0, 400, 30], [0, 370, 30, 400]]
    draw_detections(grey(400, 400), boxes, [0] * 6, np.linspace(0.9, 0.4, 6), NAMES)
    assert len(places) == 6
    for i, (x0, y0, x1, y1) in enumerate(places):
        assert 0 <= x0 < x1 <= 400
        assert 0 <= y0 < y1 <= 400
        assert all(canvas._overlap(places[i], other) == 0 for other in places[:i])


def test_of_many_small_defects_no_label_hides_another(places):
    # A cell of 40 pixels holds a box of 6, in a frame of 10, and no word of any class.
    corners = [(x, y) for y in range(60, 440, 40) for x in range(60, 440, 40)]
    boxes = [[x, y, x + 6, y + 6] for x, y in corners]
    picture = draw_detections(grey(480, 480), boxes, [1] * 100, np.linspace(0.9, 0.1, 100), NAMES)
    color = painted(picture, palette(3)[1])
    assert all(not color[y : y + 6, x : x + 6].all() for x, y in corners)
    assert 1 <= len(places) < 100
    assert not any(canvas._overlap(*pair) for pair in itertools.combinations(places, 2))


def test_the_label_of_the_best_score_is_drawn_in_any_crowd(places):
    corners = [(x, y) for y in range(60, 440, 12) for x in range(60, 440, 12)]
    boxes = [[x, y, x + 6, y + 6] for x, y in corners]
    scores = np.full(len(boxes), 0.5)
    scores[len(boxes) // 2] = 0.9  # in the midst of them
    draw_detections(grey(480, 480), boxes, [1] * len(boxes), scores, NAMES)
    x, y = corners[len(boxes) // 2]
    assert any(x0 - 20 < x < x1 + 20 and y0 - 20 < y < y1 + 20 for x0, y0, x1, y1 in places[-1:])


def test_a_label_inside_a_large_box_is_drawn(places):
    draw_detections(grey(400, 400), [[0, 0, 400, 400], [200, 200, 206, 206]], [0, 1], None, NAMES)
    assert len(places) == 2


def test_input_is_never_changed_and_deep_images_use_the_window():
    image = np.full((300, 400, 1), 2000, dtype=np.uint16)
    before = image.copy()
    picture = draw_detections(image, np.zeros((0, 4)), [], [], NAMES, window=(0.0, 4000.0))
    np.testing.assert_array_equal(image, before)
    assert picture.shape == (600, 800, 3)
    assert (picture == 128).all()


def test_match_shows_three_kinds_by_colour_line_and_word(monkeypatch):
    texts = {}
    original = canvas._label

    def spy(picture, place, mark, size):
        texts[mark.color] = (mark.text, mark.style)
        original(picture, place, mark, size)

    monkeypatch.setattr(canvas, "_label", spy)
    result = ImageResult(
        boxes=[[20, 40, 60, 80], [120, 40, 160, 80]],
        scores=[0.9, 0.8],
        labels=[0, 1],
        truth_boxes=[[20, 40, 60, 80], [60, 130, 140, 180]],
        truth_labels=[0, 2],
        size=(200, 200),
    )
    picture = draw_match(grey(200, 200), result, match(result), NAMES)
    assert picture.shape[1] == 400
    assert picture.shape[0] > 400 + text_size(picture)  # the legend lies below the image
    assert texts[TRUE] == ("scratch 0.90", canvas.SOLID)
    assert texts[FALSE] == ("false pitted_surface 0.80", DASHED)
    assert texts[MISSED] == ("missed Größe", DOTTED)
    legend = picture[400:]
    assert all(painted(legend, color).any() for color in (TRUE, FALSE, MISSED))
    # Along the left side of each box: a solid line has no gap, the others have.
    assert painted(picture, TRUE)[80:160, 2 * 20 - 1].all()
    for color, x, rows in ((FALSE, 2 * 120 - 1, slice(80, 160)), (MISSED, 119, slice(260, 360))):
        side = painted(picture, color)[rows, x]
        assert side.any()
        assert not side.all()


def test_lines_and_text_grow_with_the_picture():
    small, large = np.zeros((400, 400, 3), np.uint8), np.zeros((2000, 3000, 3), np.uint8)
    assert (line_width(small), text_size(small)) == (2, 13)
    assert line_width(large) == 5
    assert 30 <= text_size(large) <= 40


def test_palette_is_distinct_and_stable():
    assert len(set(palette(80))) == 80
    assert palette(80)[:5] == palette(5)
    assert palette(0) == []
    assert text_color((240, 228, 66)) == (0, 0, 0)
    assert text_color((214, 39, 40)) == (255, 255, 255)


def test_text_is_rendered_cut_and_never_missing():
    assert render("Größe", 20).shape[1] > render("Gr", 20).shape[1]
    assert render("", 13).shape[1] == 1
    assert render("g", 20).shape[0] == render("A", 20).shape[0]
    assert render("scratch", 20).max() == 255
    assert shorten("pitted_surface", 14, 1000) == "pitted_surface"
    short = shorten("pitted_surface", 14, 60)
    assert short.endswith("…")
    assert render(short, 14).shape[1] <= 60
    assert font_for("a\U0010fffd")[1] == "a?"  # a letter that no font has


@pytest.mark.parametrize("size", [13, 20, 35])
def test_a_text_may_begin_with_any_letter(size):
    """The ink of T, J, Y, j and _ begins before the place where the letter is put."""
    for letter in [*string.ascii_letters, *string.punctuation, "ע"]:
        first, behind = (render(text, size).sum(dtype=int) for text in (letter, f"  {letter}"))
        assert first == pytest.approx(behind, rel=0.02), letter


@pytest.mark.parametrize(("height", "width"), [(3000, 2), (2, 3000), (1, 1), (9, 1200)])
def test_many_labels_on_a_strip_of_a_few_pixels(height, width):
    boxes = [[0, start, width, start + 0.2 * height] for start in np.linspace(0, 0.7 * height, 12)]
    labels, scores = [0, 1, 2] * 4, np.linspace(0.9, 0.1, 12)
    plain = grey(height, width)
    drawn = draw_detections(plain, np.array(boxes), labels, scores, NAMES)
    assert (drawn.max(axis=2) != drawn.min(axis=2)).any()  # colour on grey: something is there
