"""Pictures: the worst first, the right piece of the image, and never more than the budget."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kdlnet.metrics.rates import tabulate_parts
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages import pictures as module
from kdlnet.report.pages.evidence import pool
from kdlnet.report.pages.pictures import Cut, around, draw, wanted, whole

from .made import made_images


def asked_of(images):
    rule = VerdictRule.at(0.5)
    parts, boxes = tabulate_parts(images, rule, 3), pool(images, 0.001)
    best = parts.scores.max(axis=1).astype(float)
    sizes = [image.size for image in images]
    return wanted(sizes, best, parts.defective, boxes), parts, boxes, best


def test_around():
    box = np.array([1000.0, 500, 1020, 540])
    assert around(3, (2000, 3000), box) == Cut(3, (958, 468, 104, 104))
    assert around(0, (2000, 3000), np.array([0.0, 1990, 4, 2000])) == Cut(0, (0, 1936, 64, 64))
    assert around(0, (80, 90), box) == whole(0, (80, 90))  # small enough to be shown as it is
    assert around(0, (90, 5000), box) == Cut(0, (958, 0, 104, 90))


def test_the_worst_come_first_and_every_list_has_its_turn(tmp_path):
    images = made_images(tmp_path, 30)
    asked, parts, boxes, best = asked_of(images)
    keys = list(asked)
    assert [kind for kind, _ in keys[:4]] == ["part", "part", "truth", "box"]
    assert best[keys[0][1]] == best[parts.defective].min()
    assert best[keys[1][1]] == best[~parts.defective].max()
    assert boxes.finder[keys[2][1]] == boxes.finder.min()
    false = boxes.score[boxes.found < 0]
    assert boxes.score[keys[3][1]] == false.max()


def test_few_images_are_read(tmp_path, monkeypatch):
    images = made_images(tmp_path, 30)
    monkeypatch.setattr(module, "_MOST_IMAGES", 4)
    assert len({cut.image for cut in asked_of(images)[0].values()}) == 4
    monkeypatch.setattr(module, "_MOST_PIXELS", 1)
    assert len({cut.image for cut in asked_of(images)[0].values()}) == 1


def test_drawn(tmp_path):
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[100:120, 200:220] = 255
    file = tmp_path / "a.png"
    file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    asked = {
        ("part", 0): Cut(0, (0, 0, 400, 300)),
        ("box", 5): Cut(0, (200, 100, 20, 20)),
        ("truth", 1): Cut(1, (0, 0, 9, 9)),
    }
    found = draw(asked, [file, Path("gone.png")], 1e6)
    assert found.of == {("part", 0): 0, ("box", 5): 1}
    small, piece = (
        cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_GRAYSCALE) for j in found.jpegs
    )
    assert small.shape == (192, 256) and piece.shape == (20, 20)
    assert piece.min() > 250 and small[70, 134] > 200 and small[0, 0] < 5
    assert found.to_dict()["regions"][1] == [0, 200, 100, 20, 20]


def test_budget(tmp_path):
    images = made_images(tmp_path, 30)
    asked = asked_of(images)[0]
    paths = [Path(image.name) for image in images]
    everything = draw(asked, paths, 1e9)
    assert set(everything.of) == set(asked)
    for budget in (0, 30_000, 100_000):
        found = draw(asked, paths, budget)
        written = sum(len(j) for j in found.to_dict()["jpegs"])
        assert written <= budget
        if budget == 100_000:
            assert 0 < len(found.jpegs) < len(everything.jpegs)
            assert written > 0.8 * budget
