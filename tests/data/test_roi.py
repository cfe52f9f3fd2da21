"""Labels of a region of interest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.labels import ImageLabels, Split
from kdlnet.data.roi import inside
from kdlnet.types import Preprocess

ROI = (30, 10, 130, 90)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """An image of 160 x 120 with four boxes, a good part, one too small and one broken."""
    boxes = np.array(
        [
            [40, 20, 60, 40],  # inside
            [20, 20, 50, 40],  # its middle, at 35, is
            [0, 20, 40, 40],  # its middle is at 20
            [120, 80, 140, 100],  # its middle is the corner, which is not inside
        ]
    ) / np.array([160, 120, 160, 120])
    outline = np.array([[0.25, 0.2], [0.3, 0.2], [0.3, 0.3]])
    marked = ImageLabels(boxes, np.array([0, 1, 0, 1]), [outline, None, None, None])
    none = ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))
    for name, size in (("a", (120, 160)), ("b", (120, 160)), ("c", (40, 160))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full(size, 90, np.uint8))
    (tmp_path / "d.png").write_bytes(b"\x89PNG")
    labels = [marked, none, marked, marked]
    return Split([tmp_path / f"{name}.png" for name in "abcd"], labels, [], [], ["before"])


def test_boxes_with_their_middle_inside_are_kept_and_cut(split: Split) -> None:
    found = inside(split, ROI)
    boxes = found.labels[0].boxes * (160, 120, 160, 120)
    np.testing.assert_allclose(boxes, [[40, 20, 60, 40], [30, 20, 50, 40]])
    assert found.labels[0].labels.tolist() == [0, 1]
    first, second = found.labels[0].outlines
    assert first is split.labels[0].outlines[0] and second is None
    assert len(found.labels[1].labels) == 0
    assert len(split.labels[0].labels) == 4  # the split itself is as it was


def test_how_many_are_left_out_is_told(split: Split) -> None:
    before, told = inside(split, ROI).warnings
    assert before == "before"
    assert told.startswith("2 of 4 boxes have their middle outside of the region of interest")
    assert inside(split, (0, 0, 160, 120)).warnings == ["before"]
    assert inside(split, None) is split
    counted = [len(found.labels) for found in inside(split, ROI).labels]
    assert counted == [2, 0, 0, 0]  # of images that are left out no box is counted


def test_images_that_have_not_all_of_it_are_named(split: Split) -> None:
    contract = Preprocess((64, 64), 1, roi=ROI)
    dataset = DetectionDataset(inside(split, ROI), contract)
    assert [path.name for path in dataset.paths] == ["a.png", "b.png"]
    small, broken = dataset.unreadable
    assert "c.png' has 160 x 40 pixels and not all of the region" in small
    assert "d.png" in broken
    truth, _ = dataset.truth(0)
    np.testing.assert_allclose(truth, [[40, 20, 60, 40], [30, 20, 50, 40]])
    # 100 columns of the image are 64 of the input.
    np.testing.assert_allclose(dataset.boxes[0, [0, 2]], [10 * 0.64, 30 * 0.64], rtol=1e-5)
