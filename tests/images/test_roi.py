"""A region of interest is seen as if it were the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdlnet.errors import ConfigError, DataError
from kdlnet.images.contract import Seeing, adjusted
from kdlnet.images.drift import changed
from kdlnet.images.frame import Frame
from kdlnet.images.letterbox import letterbox
from kdlnet.images.roi import fitting, least_size, looked_at, tiles_of
from kdlnet.images.tiles import tile_grid
from kdlnet.metrics.drift import Change
from kdlnet.types import DetectionArrays, Preprocess, Tiling
from kdlnet.utils.parse import parse_roi

ROI = (30, 10, 130, 90)
WHOLE = Preprocess((64, 64), 1)
SEEN = replace(WHOLE, roi=ROI)
IMAGE = np.random.default_rng(0).integers(0, 255, (120, 160, 1)).astype(np.uint8)
CROP = IMAGE[10:90, 30:130]


def test_the_network_sees_what_it_would_see_of_the_crop() -> None:
    seen, geometry = letterbox(IMAGE, SEEN)
    cut, of_cut = letterbox(CROP, WHOLE)
    np.testing.assert_array_equal(seen, cut)
    assert geometry.original_size == (120, 160)
    boxes = np.array([[5.0, 5.0, 20.0, 30.0], [40.0, 20.0, 60.0, 50.0]])
    back, crop = geometry.to_original(boxes), of_cut.to_original(boxes)
    np.testing.assert_allclose(back, crop + np.array([30, 10, 30, 10]))
    np.testing.assert_allclose(geometry.to_input(back), of_cut.to_input(crop))


def test_drift_changes_what_is_seen_of_it_as_of_the_crop() -> None:
    (seen, geometry), (cut, of_cut) = letterbox(IMAGE, SEEN), letterbox(CROP, WHOLE)
    dark = Change("dark", light=0.5)
    one = changed(seen[None], SEEN, [(geometry, None)], dark)
    two = changed(cut[None], WHOLE, [(of_cut, None)], dark)
    np.testing.assert_array_equal(one, two)
    assert (one != seen).any()


def test_boxes_end_at_the_border_of_the_region_and_those_in_the_padding_are_none() -> None:
    _, geometry = letterbox(IMAGE, SEEN)  # 100 x 80 of 64 x 64: padding above and below
    wide = np.array([[-9.0, 20, 80, 40], [10, 0, 30, 5]])
    found = geometry.detections(DetectionArrays(wide, np.ones(2), np.zeros(2, np.int64)))
    assert found.boxes.shape == (1, 4) and found.boxes[0, [0, 2]].tolist() == [30, 130]


def test_tiles_lie_inside_of_the_region() -> None:
    tiled = replace(SEEN, tiling=Tiling((48, 48), 0.2))
    own = tile_grid((80, 100), tiled.tiling)
    assert tiles_of((120, 160), tiled) == [
        (x1 + 30, y1 + 10, x2 + 30, y2 + 10) for x1, y1, x2, y2 in own
    ]
    for here, there in zip(tiles_of((120, 160), tiled), own, strict=True):
        contract = replace(WHOLE, tiling=tiled.tiling)
        one, two = letterbox(IMAGE, tiled, here)[0], letterbox(CROP, contract, there)[0]
        np.testing.assert_array_equal(one, two)
    assert tiles_of((120, 160), SEEN) == [None] == tiles_of((120, 160), WHOLE)


@pytest.mark.parametrize("size", [(89, 160), (120, 129), (20, 20)])
def test_an_image_without_all_of_the_region_is_refused(size: tuple[int, int]) -> None:
    words = rf"'a.png' has {size[1]} x {size[0]} pixels and not all of .* 30,10,130,90"
    with pytest.raises(DataError, match=words):
        looked_at(size, ROI, "'a.png'")
    with pytest.raises(DataError, match="not all of the region"):
        letterbox(np.zeros((*size, 1), np.uint8), SEEN)
    assert looked_at(size, None) == (0, 0, size[1], size[0])


def test_the_region_may_end_where_the_image_does() -> None:
    assert looked_at((90, 130), ROI) == ROI
    assert letterbox(IMAGE[:90, :130], SEEN)[0].shape == (64, 64, 1)


def test_frames_without_all_of_it_are_told_and_of_a_live_source_end_it() -> None:
    small = np.zeros((50, 50, 1), np.uint8)
    frames = [Frame("a", "a", IMAGE, 0), Frame("b", "b", small, 1, 2.5), Frame("c", "c", IMAGE, 2)]
    told: list[tuple[str, str, int, float | None]] = []
    kept = fitting(frames, ROI, lambda error, *place: told.append((str(error), *place)), False)
    assert [frame.name for frame in kept] == ["a", "c"]
    ((why, *place),) = told
    assert why.startswith("'b' has 50 x 50 pixels") and place == ["b", 1, 2.5]
    with pytest.raises(DataError, match="'b' has 50 x 50 pixels"):
        list(fitting(frames, ROI, lambda *problem: None, True))


def test_made_up_images_have_all_of_it() -> None:
    assert least_size(WHOLE) == (64, 64)
    assert least_size(SEEN) == (90, 130)
    assert least_size(replace(SEEN, image_size=(192, 64))) == (192, 130)


def test_it_is_stored_and_old_readers_refuse_the_file() -> None:
    assert Preprocess.from_dict(SEEN.to_dict()) == SEEN
    assert SEEN.to_dict()["roi"] == [30, 10, 130, 90] and SEEN.format == 2
    assert "roi" not in WHOLE.to_dict() and WHOLE.format == 1
    with pytest.raises(ValueError, match="region"):
        Preprocess.from_dict(WHOLE.to_dict() | {"roi": [30, 10, 30, 90]})


def test_a_person_replaces_it_and_takes_it_off() -> None:
    assert adjusted(WHOLE, Seeing(roi=ROI)) == SEEN
    assert adjusted(SEEN, Seeing()) == SEEN
    assert adjusted(SEEN, Seeing(roi="off")) == WHOLE


@pytest.mark.parametrize(
    "value", ["30,10,130,90", " 30, 10 ,130,90", [30, 10, 130, 90], ROI, np.array(ROI)]
)
def test_corners_are_read(value: object) -> None:
    assert parse_roi(value) == ROI


@pytest.mark.parametrize("value", ["off", False])
def test_off_is_read(value: object) -> None:
    assert parse_roi(value) == "off"


@pytest.mark.parametrize(
    "value",
    ["", "1,2,3", "30,10,130,90,1", "a,b,c,d", "30,10,61,90", "130,10,30,90", "-1,0,50,50",
     "0.5,0,50,50", [0, 0, 50.5, 50], 5, True, "30 10 130 90",
     [float("inf"), 0, 50, 50]],
)  # fmt: skip
def test_what_is_no_region_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(ConfigError, match="give X1,Y1,X2,Y2, its corners in whole pixels"):
        parse_roi(value)
