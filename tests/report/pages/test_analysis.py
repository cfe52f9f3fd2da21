"""Sections from the analysis: what is not defined says why, and no size is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdlnet.metrics.froc import FrocLine
from kdlnet.metrics.intervals import Interval
from kdlnet.metrics.pod import pod
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.analysis import _froc_line, sections
from kdlnet.report.pages.section import Section
from kdlnet.report.pages.size import size_section
from kdlnet.report.pages.suspects import suspect_rows
from kdlnet.report.pages.validation import validation_page

from .made import NAMES, made_images, made_subject


def of(images, names=NAMES) -> dict[str, Section]:
    result = made_subject(images, names).result
    return {section.id: section for section in sections(result.analysis, result.confusion)}


def test_sections_of_a_set(tmp_path):
    found = of(made_images(tmp_path, 60))
    assert list(found) == ["size", "trust", "alarms", "errors"]
    assert all(len(found[id].figures) == 1 for id in ("size", "trust", "alarms"))
    kinds, confusion = found["errors"].tables
    assert len(kinds.rows) == 6 and confusion.heat and len(confusion.rows) == 4
    (level,) = found["alarms"].tables
    assert [row[0] for row in level.rows] == ["0 %", "1 %", "5 %"]
    facts = dict(found["alarms"].facts)
    for name in ("Mean share found, ⅛ to 8 alarms", "Defective before good, by best score (AUROC)"):
        assert facts[name].endswith("%)")


def test_sections_of_nothing():
    found = of([], ("dent",))
    assert not any(section.figures for section in found.values())
    assert dict(found["size"].facts)["Found 9 times of 10"] == "not defined: no true box"
    auroc = dict(found["alarms"].facts)["Defective before good, by best score (AUROC)"]
    assert auroc == "not defined: no defective image"
    assert "no box with a score" in dict(found["trust"].facts)["Not defined"]
    assert len(found["errors"].tables) == 1  # one class has nothing to be confused with


@pytest.mark.parametrize(
    ("mm", "expected"),
    [(None, "larger than all here, above 100.0 px"), (0.5, "above 50.00 mm (100.0 px)")],
)
def test_a_size_beyond_the_set_is_not_told(mm, expected):
    sizes = np.geomspace(10, 100, 3000)
    rising = 1 / (1 + np.exp(1 - 0.5 * np.log(sizes)))  # 0.54 to 0.79; 0.9 at 600 px
    found = pod(sizes, np.random.default_rng(0).uniform(size=3000) < rising, mm)
    assert found.a90.px is not None and found.a90.px > 200
    section = size_section(found, {"dent": found, "pit": found}, "0.5")
    assert dict(section.facts)["Found 9 times of 10"].endswith(expected)
    assert section.tables[0].rows[0][4].startswith("> ")
    assert not any("outside" in note for note in section.notes)


def test_froc_is_drawn_in_steps():
    """One find before any false alarm and one after half an alarm a picture; never above these."""
    none = Interval(None, None, None, "")
    line = FrocLine(none, (0.5,) * 7, ((0.0, 0.25), (0.5, 0.75), (20.0, 1.0)), 4)
    drawn = _froc_line("dent", line, "s0")
    assert drawn.x == [1 / 16, 0.5, 0.5, 16]
    assert drawn.y == [0.25, 0.25, 0.75, 0.75]
    late = _froc_line("dent", replace(line, curve=((0.5, 0.75),)), "s0")
    assert late.y == [0.0, 0.0, 0.75, 0.75]
    assert _froc_line("dent", replace(line, curve=()), "s0").y == [0.0, 0.0]


def test_two_scores_that_differ_are_printed_apart(tmp_path):
    """The setting 0.496 and the best balance at 0.495862: a part may lie between."""
    images = made_images(tmp_path, 20)
    subject = made_subject(images, rule=VerdictRule.at(0.496))
    breakdown = replace(subject.result.analysis.breakdown, score=float(np.float32(0.495862)))
    analysis = replace(subject.result.analysis, breakdown=breakdown)
    page = validation_page(replace(subject, result=replace(subject.result, analysis=analysis)))
    assert "rejected from score 0.496 on" in page
    assert page.count("at score 0.4959") == 2 and "at score 0.496" not in page


def test_suspicious_labels_are_on_the_page(tmp_path):
    subject = made_subject(made_images(tmp_path, 60))
    rows = suspect_rows(subject)
    assert len(rows) == len(subject.result.analysis.suspects.boxes) > 5
    page = validation_page(subject)
    assert page.count('id="suspects"') == 1 and "looks like a defect, has no label" in page


def test_suspicious_labels_are_a_list_where_the_page_has_no_pictures(tmp_path):
    subject = made_subject(made_images(tmp_path, 60))
    page = validation_page(subject, pictures=False)
    labels = page.split('<section id="labels"')[1].split("</section>")[0]
    assert 'class="gallery"' not in labels and "the pictures need it" not in labels
    assert labels.count('<th scope="row">') == len(suspect_rows(subject))
    assert "<td>dent, score 0" in labels and "<small>looks like a defect, has no label" in labels
