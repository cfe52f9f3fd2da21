"""Charts: points where they belong, names that stay text."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from kdlnet.report.pages.svg import Line, chart, legend, log_axis, percent_axis, style, unit_axis

SPACE = "{http://www.w3.org/2000/svg}"


def drawn(*lines, x=None, **more):
    text = chart("a <title>", x or unit_axis("x & x"), percent_axis("y"), lines, **more)
    return ElementTree.fromstring(str(text).replace("<svg ", f'<svg xmlns="{SPACE[1:-1]}" ', 1))


def paths(svg, kind):
    return [p.get("d") for p in svg.iter(f"{SPACE}path") if kind in p.get("class").split()]


def test_corners_of_the_plot():
    svg = drawn(Line("diagonal", [0, 1], [0, 1], "s0"))
    left, right, top, bottom = (
        svg.get(f"data-{side}") for side in ("left", "right", "top", "bottom")
    )
    assert paths(svg, "line") == [f"M{left} {bottom}L{right} {top}"]
    assert svg.find(f"{SPACE}title").text == "a <title>"


def test_numbers_of_the_upright_axis_leave_room_for_its_title():
    texts = {node.text: node for node in drawn().iter(f"{SPACE}text")}
    title, number = texts["y"], texts["100 %"]
    baseline = float(re.match(r"translate\((\d+) ", title.get("transform"))[1])
    letters = 0.65 * 15 * len("100 %")  # wide ones, 15 units high where the chart is small
    assert float(number.get("x")) - letters > baseline + 3  # tails of g and p


def test_what_is_not_finite_breaks_the_line_and_equal_points_are_one():
    svg = drawn(Line("", [0, 0.5, 0.5, 0.7, 1, 1], [0, 0, 0, math.nan, 0, 1], "s1"))
    (path,) = paths(svg, "line")
    assert path.count("M") == 2 and path.count("L") == 2
    assert "nan" not in path


def test_a_point_that_no_line_leads_to_is_a_dot():
    svg = drawn(Line("", [0, 0.5, 0.7, 0.8], [1, math.nan, 0, 0.5], "s1"))
    (dot,) = svg.iter(f"{SPACE}circle")
    corner = float(svg.get("data-left")), float(svg.get("data-top"))
    assert (float(dot.get("cx")), float(dot.get("cy"))) == corner


def test_bands_dots_and_marks():
    line = Line("", [0, 1], [0.5, 0.5], "s0", low=[0, 0], high=[1, 1], dots=[0, 3])
    svg = drawn(line, marks=[(0.25, "a90"), (7.0, "outside")])
    (band,) = paths(svg, "band")
    assert band.count("L") == 3 and band.endswith("Z")
    (dot,) = svg.iter(f"{SPACE}circle")
    assert dot.get("cx") == svg.get("data-right") + ".0" or float(dot.get("cx")) == 428
    assert len(paths(svg, "mark")) == 1
    texts = [node.text for node in svg.iter(f"{SPACE}text")]
    assert "a90" in texts and "outside" not in texts and "x & x" in texts


def test_log_axis():
    axis = log_axis("px", 3, 700)
    assert [value for value, _ in axis.ticks] == [5, 10, 20, 50, 100, 200, 500]
    assert axis.place(3) == 0 and axis.place(700) == pytest.approx(1)
    assert axis.place(math.sqrt(3 * 700)) == pytest.approx(0.5)
    assert axis.place(0) == 0
    assert log_axis("px", 10, 10).place(10) == pytest.approx(0.5)
    assert len(log_axis("px", 1e-9, 1e9).ticks) <= 8


def test_an_empty_chart_and_names_are_text():
    assert paths(drawn(), "line") == []
    assert paths(drawn(Line("", [], [], "s0", low=[], high=[])), "line") == [""]
    assert "<b>" not in legend([Line("<b>bold", [], [], "s0"), Line("", [], [], "s1")])
    assert legend([Line("", [], [], "s1")]) == '<ul class="legend"></ul>'
    assert [style(index) for index in (0, 6, 7, 14)] == ["s0", "s6", "s0 dashed", "s0"]
