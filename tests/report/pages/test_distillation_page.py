"""The page of a distillation: gain over the teacher, or over a baseline where there is one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kdlnet.metrics.flips import McNemar
from kdlnet.metrics.paired import Difference
from kdlnet.report.pages.distillation import Arm, Distilled, distillation_page

from .made import made_images
from .test_comparison_page import compared, other

RUN = Path("/somewhere/run")


def arm(role, ap, curve=((1, 0.1), (2, 0.2))):
    return Arm(role, Path(f"{role}/<b>best.pt"), ap, 0.5, "test <i>", 2, 90.0, curve)


def page(arms, comparison=None):
    return distillation_page(Distilled("set <i>", arms, [("Data", "x")], comparison), RUN)


def test_gain_over_the_teacher():
    text = page([arm("Teacher", 0.25), arm("Student", 0.31)])
    assert "+0.060 over its teacher" in text and "--baseline" in text
    assert "AP) on test &lt;i&gt; is 0.250 for the teacher" in text and "on val" not in text
    assert text.count("AP on test &lt;i&gt;; AP50 0.500") == 2
    assert "2 epochs, 1.5 minutes" in text and "<b>best" not in text
    assert text.count('class="line s') == 2


def test_of_several_teachers_the_best_counts():
    text = page([arm("Teacher 1", 0.25), arm("Teacher 2", 0.28), arm("Student", 0.31)])
    assert "+0.030 over the best of its teachers" in text
    assert "is 0.280 for the best of its teachers and 0.310 for the student" in text


def test_of_several_generations_the_last_student_stands_beside_the_first_teacher():
    """It learned from the student before it, over which it gained -0.020."""
    students = [arm("Student 1", 0.33), arm("Student 2", 0.31)]
    text = page([arm("Teacher", 0.25), *students])
    assert "+0.060 over the first teacher" in text and "over its teacher" not in text
    assert "is 0.250 for the first teacher and 0.310 for the last student" in text
    assert "+0.060 over the best of the first teachers" in page(
        [arm("Teacher 1", 0.25), arm("Teacher 2", 0.2), *students]
    )
    lost = [arm("Teacher", 0.25), students[0], arm("Student 2", None)]
    assert "Not known" in page(lost)


def test_what_is_not_known():
    bare = Arm("Teacher", Path("t.pt"), None, None, "", None, None)
    text = page([bare, arm("Student", 0.31, ())])
    assert "Not known" in text and "On the way" not in text
    assert page([]) and page([arm("Student", 0.2, ((1, 0.0),))])


def test_a_student_that_taught_itself_has_no_teacher_that_is_not_known():
    text = page([arm("Student", 0.31)])
    assert "Not known" not in text and "trained teacher" not in text
    assert "answers of the moving average of its own weights" in text
    assert "It taught itself" in text and "AP) on test &lt;i&gt; is 0.310. Whether" in text
    assert "of a trained teacher." in page([arm("Teacher", 0.25), arm("Student", 0.31)])
    assert "Not known" in page([arm("Student", None)])


def test_a_page_whose_folder_is_moved_still_names_its_weights():
    inside = replace(arm("Student", 0.3), weights=RUN / "student/weights/best.pt")
    given = replace(arm("Teacher", 0.3), weights=Path("/elsewhere/best.pt"))
    text = page([given, inside])
    assert ">student/weights/best.pt<" in text and ">/elsewhere/best.pt<" in text
    assert str(RUN) not in text


@pytest.mark.parametrize(
    ("epochs", "numbers"), [(1, "1"), (2, "1 2"), (3, "1 3"), (75, "37 75"), (100, "50 100")]
)
def test_the_axis_names_whole_epochs(epochs, numbers):
    text = page([arm("Student", 0.3, [(number, 0.3) for number in range(1, epochs + 1)])])
    ticks = re.findall(r'class="tick" x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d+)<', text)
    assert [number for _, number in ticks] == numbers.split()
    left, right = (float(re.search(rf'data-{side}="(\d+)"', text)[1]) for side in ("left", "right"))
    for place, number in ticks:
        at = left + (right - left) * int(number) / epochs
        assert float(place) == pytest.approx(at, abs=0.06)


@pytest.mark.parametrize(
    ("best", "numbers"),
    [
        (0.733, "0.00 0.20 0.40 0.60 0.80"),
        (0.99, "0.00 0.20 0.40 0.60 0.80 1.00"),
        (0.31, "0.00 0.10 0.20 0.30"),
        (0.0, "0.00 0.01 0.02 0.03 0.04 0.05"),
    ],
)
def test_the_axis_has_round_numbers_in_even_steps(best, numbers):
    text = page([arm("Student", best, ((1, 0.0), (2, best)))])
    assert re.findall(r'text-anchor="end">([\d.]+)<', text) == numbers.split()


@pytest.mark.parametrize(
    ("low", "high", "gain", "answer"),
    [
        (0.01, 0.05, 0.03, "A gain"),
        (-0.05, -0.01, -0.03, "A loss"),
        (-0.01, 0.03, 0.01, "No gain is shown"),
    ],
)
def test_against_a_baseline_the_interval_decides(tmp_path, low, high, gain, answer):
    images = made_images(tmp_path, 8)
    found = compared(images, other(images)).result
    found.differences["ap"] = Difference(0.2, 0.2 + gain, gain, low, high)
    text = page([arm("Teacher", 0.2), arm("Student", 0.2 + gain), arm("Baseline", 0.2)], found)
    assert f'<p class="answer">{answer}</p>' in text
    assert 'href="comparison/report.html"' in text


def test_a_gain_has_the_reservations_that_compare_has(tmp_path):
    """Verdicts that are shown to be worse, and one pair, which says nothing of other seeds."""
    images = made_images(tmp_path, 8)
    found = compared(images, other(images)).result
    found.differences["ap"] = Difference(0.2, 0.23, 0.03, 0.01, 0.05)
    arms = [arm("Teacher", 0.2), arm("Student", 0.23), arm("Baseline", 0.2)]
    assert "this is one seed" in page(arms, found)
    tests = {"defective": McNemar(17, 1, 0.0001), "good": McNemar(1, 2, 1.0)}
    worse = replace(found, flips=replace(found.flips, tests=tests))
    text = page(arms, worse)
    assert '<p class="answer">A gain in AP, but not in the verdicts</p>' in text
    assert 'data-tone="free"' in text and "B passes more defective parts (stopped by A al" in text
    several = compared(images, other(images), seeds=2).result
    several.differences["ap"] = found.differences["ap"]
    assert "this is one seed" not in page(arms, several)
    found.differences["ap"] = Difference(0.2, 0.23, 0.03, -1.0, 1.0)
    alone = replace(found, reason="it rests on one image or group")
    assert "Nothing can be told: it rests on one image or group." in page(arms, alone)
