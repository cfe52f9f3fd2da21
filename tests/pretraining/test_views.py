from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.errors import DataError
from kdlnet.pretraining.views import Cut, Views, cut_view

CUT = Cut(size=32, sides=(0.5, 1.0), grey=0.0)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        random = np.random.default_rng(number)
        cv2.imwrite(str(path), random.integers(0, 256, (40, 60, 3), np.uint8))
    return paths


def test_a_view_is_a_square_inside_the_image() -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))[:, :, None]
    view = cut_view(ramp, Cut(50, (0.5, 0.5), 0.0), np.random.default_rng(0))
    assert view.shape == (50, 50, 3)
    # A square of 50 pixels at size 50 is not scaled: neighbours still differ by one.
    assert (np.diff(view[..., 0].astype(int), axis=1) == 1).all()


def test_deep_images_go_through_the_window() -> None:
    image = np.full((40, 40, 1), 2048, np.uint16)
    view = cut_view(image, Cut(32, (1.0, 1.0), 0.0, window=(0, 4096)), np.random.default_rng(0))
    assert (view == 128).all()  # half of the window: 127.5, rounded to even


def test_grey_views_have_three_equal_channels(images: list[Path]) -> None:
    grey = Views(images, 4, Cut(32, (0.5, 1.0), grey=1.0), seed=0)[5]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 1] == grey[..., 2]).all()
    colour = Views(images, 4, CUT, seed=0)[5]
    assert (colour[..., 0] != colour[..., 1]).any()


def test_views_depend_on_seed_and_index_alone(images: list[Path]) -> None:
    first, second = Views(images, 4, CUT, seed=1), Views(images, 4, CUT, seed=1)
    second[11]  # another order of asking
    assert (first[6] == second[6]).all()
    assert (first[6] != first[7]).any()
    assert (first[6] != Views(images, 4, CUT, seed=2)[6]).any()


def test_an_unreadable_image_is_named_and_black(images: list[Path]) -> None:
    images[1].write_bytes(b"no image")
    views = Views(images, 2, CUT, seed=0)
    assert not views[2].any()
    assert not views[3].any()
    assert len(views.unreadable) == 1
    assert str(images[1]) in views.unreadable[1]


def test_unreadable_images_are_in_no_list(images: list[Path]) -> None:
    """The last of three would be kept back."""
    images[2].write_bytes(b"no image")
    views = Views(images, 2, CUT, seed=0)
    assert (views.to_learn().tolist(), views.held_out().tolist()) == ([0, 1, 2, 3], [4, 5])
    assert not views[4].any()
    assert (views.to_learn().tolist(), views.held_out().tolist()) == ([0, 1], [2, 3])
    assert views.usable().tolist() == [0, 1, 2, 3]
    images[0].write_bytes(b"no image")
    assert not views[0].any()
    with pytest.raises(DataError, match="1 of 3 images can be read: "):
        views.to_learn()


@pytest.mark.parametrize(("count", "kept_back"), [(1, 1), (50, 1), (100, 2), (120, 2)])
def test_every_fiftieth_image_is_kept_back(count: int, kept_back: int) -> None:
    views = Views([Path(str(n)) for n in range(count)], 3, CUT, seed=0)
    held, rest = views.held_out(), views.to_learn()
    assert len(held) == 3 * kept_back
    assert sorted([*held, *rest]) == list(range(3 * count))
    assert not {row // 3 for row in held} & {row // 3 for row in rest}
