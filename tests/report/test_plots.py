"""Plots come out for every kind of result, the same bytes each time, whatever the class names."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdlnet.errors import KdlnetError
from kdlnet.metrics.confusion import confusion_matrix as count_confusions
from kdlnet.metrics.matching import match
from kdlnet.metrics.result import ImageResult
from kdlnet.report import confusion, figure, plots, training
from kdlnet.report.confusion import confusion_matrix
from kdlnet.report.plots import pr_curves, score_curves
from kdlnet.report.training import training_curves

from ..support.curves import curves

CSV = """epoch,loss,class,box,bins,ap,ap50,ap75,lr,seconds,images_per_second
0,3.5,1.5,1.5,0.5,,,,0.02,12.5,80
1,3.0,1.2,1.3,0.5,0.10,0.25,0.05,0.015,12.1,82
2,2.5,1.0,1.0,0.5,0.20,0.45,0.15,0.01,12.2,81
3,2.4,1.0,0.9,0.5,0.15,0.40,0.10,0.005,12.3,80
4,2.3,0.9"""


def results(classes, images=6, found=True):
    rng = np.random.default_rng(classes)
    made = []
    for _ in range(images):
        corner = rng.uniform(0, 100, (5, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (5, 2))], axis=1)
        labels = rng.integers(0, classes, 5)
        count = 5 if found else 0
        made.append(
            ImageResult(
                boxes[:count], rng.random(count), labels[:count], boxes[:4], labels[:4], (160, 160)
            )
        )
    return made


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """A third of the resolution: the same drawing in a fraction of the time."""
    monkeypatch.setattr(figure, "DPI", 50)


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, to look into them."""
    seen = []
    for module in (plots, confusion, training):
        original = module.save_figure

        def save(path, figure, original=original):
            seen.append(figure)
            original(path, figure)

        monkeypatch.setattr(module, "save_figure", save)
    return seen


def picture(path):
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 1
    return image


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("classes", [1, 6, 24])
def test_pr_curves_name_every_class_or_the_weakest(tmp_path, figures, classes):
    names = [f"class {i}" for i in range(classes)]
    made = curves(results(classes, images=max(6, classes)), names)
    pr_curves(tmp_path / "pr.png", made)
    picture(tmp_path / "pr.png")
    entries = legend(figures[0].axes[0])
    assert entries[-1] == f"{made.overall.ap:.3f}  mean of {classes}"
    known = sorted(c.ap for c in made.per_class)
    assert sorted(float(e[:5]) for e in entries[:-1]) == pytest.approx(
        known if classes <= 10 else known[:7], abs=6e-4
    )


def test_score_curves_mark_the_best_threshold(tmp_path, figures):
    made = curves(results(3), ["a", "b", "c"])
    score_curves(tmp_path / "score.png", made)
    picture(tmp_path / "score.png")
    left = figures[0].axes[0]
    assert f"score {made.overall.best.score:.3f}" in left.get_legend().get_title().get_text()
    marks = [line.get_xdata()[0] for line in left.get_lines() if line.get_linestyle() == ":"]
    assert marks == [made.overall.best.score]


def counted(made, classes):
    return count_confusions(made, [match(one) for one in made], classes)


@pytest.mark.parametrize("classes", [1, 6, 80])
def test_confusion_matrix_writes_each_count_once(tmp_path, figures, classes):
    matrix = counted(results(classes, images=classes + 3), classes)
    confusion_matrix(tmp_path / "confusion.png", matrix, [f"class {i}" for i in range(classes)])
    picture(tmp_path / "confusion.png")
    written = {
        (round(text.get_position()[1]), round(text.get_position()[0])): int(text.get_text())
        for text in figures[0].axes[0].texts
    }
    rows, columns = np.nonzero(matrix)
    assert written == {(r, c): matrix[r, c] for r, c in zip(rows, columns, strict=True)}
    assert max(figures[0].get_size_inches()) < 27  # 4000 pixels: opens in any viewer


def test_training_curves_skip_blanks_and_half_lines(tmp_path, figures):
    (tmp_path / "results.csv").write_text(CSV, encoding="utf-8")
    training_curves(tmp_path / "training.png", tmp_path / "results.csv")
    picture(tmp_path / "training.png")
    loss, accuracy = figures[0].axes[:2]
    assert legend(loss) == ["loss", "class", "box", "bins"]
    assert loss.get_lines()[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert accuracy.get_lines()[0].get_ydata().tolist() == [0.10, 0.20, 0.15]
    assert accuracy.get_legend().get_title().get_text() == "best ap 0.200, epoch 2"


@pytest.mark.parametrize("text", ["", CSV.splitlines()[0], "\n".join(CSV.splitlines()[:2])])
def test_training_curves_of_a_run_that_just_began(tmp_path, text):
    (tmp_path / "results.csv").write_text(text, encoding="utf-8")
    training_curves(tmp_path / "training.png", tmp_path / "results.csv")
    picture(tmp_path / "training.png")


def test_a_missing_csv_is_one_line(tmp_path):
    with pytest.raises(KdlnetError, match=r"cannot read '.*none\.csv': No such file"):
        training_curves(tmp_path / "training.png", tmp_path / "none.csv")


@pytest.mark.parametrize("found", [True, False])
def test_nothing_to_find_and_nothing_found(tmp_path, found):
    made = results(2, images=2, found=False) if found else []
    for plot in (pr_curves, score_curves):
        plot(tmp_path / "empty.png", curves(made, ["a", "b"]))
        picture(tmp_path / "empty.png")
    confusion_matrix(tmp_path / "empty.png", counted(made, 2), ["a", "b"])
    picture(tmp_path / "empty.png")


def test_class_names_are_data_not_markup(tmp_path, figures):
    names = ["$pit_{1}$", "Größe", "_hidden", "划痕\U0010fffd"]
    made = curves(results(4, images=12), names)
    pr_curves(tmp_path / "pr.png", made)  # a missing letter would be a warning: an error here
    confusion_matrix(tmp_path / "c.png", counted(results(4), 4), names)
    entries = legend(figures[0].axes[0])
    assert r"\$pit_{1}\$" in entries[0]
    assert len(entries) == 5


def test_same_input_same_bytes(tmp_path):
    made = curves(results(3), ["a", "b", "c"])
    for name in ("one.png", "two.png"):
        pr_curves(tmp_path / name, made)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
