"""Settings that nobody gave are chosen from the dataset; what was given stays."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.config import TrainConfig, build_config
from kdlnet.data import listing, survey
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.tiling import plan_tiles
from kdlnet.errors import DataError
from kdlnet.events import Message, ignore
from kdlnet.images.folder import LeftOut, images_below
from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.parts import prepare_run
from kdlnet.training.places import run_splits
from kdlnet.training.suited import suited
from kdlnet.types import Preprocess, Tiling
from kdlnet.verbs.check import check_dataset


def _set(folder: Path, images: int, size: tuple[int, int], box: int, good: int = 0) -> Path:
    """A dataset of black images (H, W) with a box of ``box`` pixels each but on ``good`` ones."""
    height, width = size
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    png = cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()
    for i in range(images):
        (folder / "images" / f"{i}.png").write_bytes(png)
        row = "" if i < good else f"0 0.5 0.5 {box / width} {box / height}\n"
        (folder / "labels" / f"{i}.txt").write_text(row)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [pit]\n")
    return folder / "data.yaml"


def _chosen(data: Path, init: Path | None = None, **given: object) -> tuple[TrainConfig, str]:
    told: list[str] = []

    def hear(event: object) -> None:
        assert isinstance(event, Message)
        told.append(event.text)

    config = build_config({"data": {"name": str(data)}, "device": "cpu", **given})
    return suited(config, run_splits(config), init, hear), "\n".join(told)


def test_a_set_without_a_split_to_measure_on_is_refused_before_anything_is_chosen(tmp_path: Path):
    data = _set(tmp_path, 4, (64, 64), 9)
    data.write_text("train: images\nnames: [pit]\n")
    with pytest.raises(DataError, match="unknown split 'val'"):
        run_splits(build_config({"data": {"name": str(data)}}))


def test_each_split_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders may be large and far away; tiles and good parts made training look most often."""
    data = _set(tmp_path, 4, (1200, 1600), 8, good=1)
    (tmp_path / "val").symlink_to(tmp_path / "images")
    data.write_text("train: images\nval: val\nnames: [pit]\n")
    listed: list[str] = []

    def counted(folder: Path, left: LeftOut) -> Iterator[Path]:
        listed.append(folder.name)
        return images_below(folder, left)

    monkeypatch.setattr(listing, "images_below", counted)
    given = {"model": {"name": "lightnet-n", "start": "none"}, "batch": 2}
    config = build_config({"data": {"name": str(data)}, "device": "cpu", **given})
    found = run_splits(config)
    config = suited(config, found, None, ignore)
    assert config.tile.size is not None
    prepare_run(config, None, None, ignore, found)
    assert listed == ["images", "val"]


@pytest.mark.parametrize(
    ("size", "box", "image_size", "tile"),
    [
        ((200, 200), 30, (192, 192), None),  # as large as it is
        ((200, 200), 100, (128, 128), None),  # large defects: less will do, but not nothing
        ((1000, 1000), 100, (320, 320), None),
        ((400, 1000), 100, (128, 320), None),  # wide images: a wide input
        ((480, 640), 10, (480, 640), None),  # small defects in an image that fits: all of it
        ((630, 640), 10, (640, 640), None),
        ((450, 1000), 100, (160, 320), None),  # 128 would show them smaller
        ((1200, 1600), 20, (320, 320), (320, 320)),
        ((2400, 3200), 40, (320, 320), (640, 640)),
        ((1200, 1600), 8, (320, 320), (128, 128)),
    ],
)
def test_size_and_tiles_follow_images_and_boxes(
    tmp_path: Path,
    size: tuple[int, int],
    box: int,
    image_size: tuple[int, int],
    tile: tuple[int, int] | None,
) -> None:
    config, told = _chosen(_set(tmp_path / "set", 3, size, box))
    assert (config.image_size, config.tile.size) == (image_size, tile)
    assert f"images {size[1]} pixels wide and {size[0]} high" in told
    assert f"of {box} pixels or more" in told


@pytest.mark.parametrize(
    ("size", "box"),
    [((480, 640), 57), ((200, 200), 30), ((1000, 400), 100), ((2400, 3200), 40), ((480, 640), 10)],
)
def test_data_check_advises_what_is_chosen(tmp_path: Path, size: tuple[int, int], box: int) -> None:
    data = _set(tmp_path / "set", 3, size, box, good=1)
    (tmp_path / "set/test").mkdir()  # which no training looks at
    (tmp_path / "set/test/large.png").write_bytes((tmp_path / "set/images/0.png").read_bytes())
    (tmp_path / "set/test/large.txt").write_text("0 0.5 0.5 0.9 0.9\n")
    data.write_text("train: images\nval: images\ntest: test\nnames: [pit]\n")
    config, told = _chosen(data)
    (advice,) = check_dataset(str(data), only=["advice"]).findings
    height, width = config.image_size
    side = "" if config.tile.size is None else f"--tile {config.tile.size[0]} "
    assert f"chosen  {advice.message}; --image-size, --tile" in told.splitlines()
    fix, _, more = advice.fix.partition("; ")
    assert fix == f"train chooses it: {side}--image-size {height}x{width}"
    assert more == "such small boxes ask for a -p2 model" * (box == 10)


@pytest.mark.parametrize(("rare", "image_size"), [(20, (320, 416)), (19, (96, 128))])
def test_the_boxes_of_a_rare_class_keep_20_pixels(
    tmp_path: Path, rare: int, image_size: tuple[int, int]
) -> None:
    """One box in 13, too few for the pooled ones to tell of; fewer than 20 are chance."""
    data = _set(tmp_path / "set", 24, (480, 640), 160)
    for number, file in enumerate(sorted((tmp_path / "set" / "labels").iterdir())):
        large = "".join(f"0 0.5 {0.4 + i / 100} {160 / 640} {160 / 480}\n" for i in range(10))
        file.write_text(large + f"1 0.2 0.2 {30 / 640} {30 / 480}\n" * (number < rare))
    data.write_text("train: images\nval: images\nnames: [cell, speck]\n")
    config, told = _chosen(data)
    assert config.image_size == image_size
    assert ("of 160 pixels or more, of the smallest class 30; --image" in told) == (rare == 20)
    assert "of 160 pixels or more" in told


def test_the_input_has_the_shape_of_the_images_where_nearly_all_have_it(tmp_path: Path) -> None:
    data = _set(tmp_path / "set", 20, (480, 640), 100)
    black = np.zeros((640, 480), np.uint8)
    assert _chosen(data)[0].image_size == (160, 192)
    cv2.imwrite(str(tmp_path / "set/images/0.png"), black)
    assert _chosen(data)[0].image_size == (160, 192)
    cv2.imwrite(str(tmp_path / "set/images/1.png"), black)  # one in ten stands upright
    assert _chosen(data)[0].image_size == (192, 192)


def test_images_that_are_turned_on_their_side_get_a_square_input(tmp_path: Path) -> None:
    data = _set(tmp_path / "set", 3, (400, 1000), 100)
    assert _chosen(data, augment={"quarter_turns": 1.0})[0].image_size == (320, 320)
    assert _chosen(data, augment={"degrees": 90.0})[0].image_size == (320, 320)
    assert _chosen(data, augment={"degrees": 10.0})[0].image_size == (128, 320)


@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(200, 16, 300), (100, 8, 300), (9, 4, 300)]
)
def test_small_sets_get_small_batches(tmp_path: Path, images: int, batch: int, epochs: int) -> None:
    config, _ = _chosen(_set(tmp_path / "set", images, (64, 64), 20))
    assert (config.batch, config.epochs, config.val_every) == (batch, epochs, 5)


def test_defects_are_copied_where_many_parts_are_good(tmp_path: Path) -> None:
    assert _chosen(_set(tmp_path / "few", 8, (64, 64), 20, good=1))[0].augment.copy_paste == 0
    config, told = _chosen(_set(tmp_path / "many", 8, (64, 64), 20, good=2))
    assert config.augment.copy_paste == 0.5 and "25% are good parts" in told


def test_tiles_are_turned_by_quarters_and_whole_images_are_not(tmp_path: Path) -> None:
    boards = _set(tmp_path / "boards", 8, (1200, 1600), 20, good=2)
    config, told = _chosen(boards)
    assert config.augment.quarter_turns == 1 and "turned by quarters" in told
    assert config.augment.copy_paste == 0.5
    kept = _chosen(boards, augment={"quarter_turns": 0.0})[0]
    assert kept.augment.quarter_turns == 0 and kept.tile.size is not None
    given = _chosen(boards, tile={"size": 320}, image_size=320)[0]
    assert given.augment.quarter_turns == 1
    wide = _chosen(boards, tile={"size": [320, 640]}, image_size=[320, 640])[0]
    assert wide.augment.quarter_turns == 0
    assert _chosen(_set(tmp_path / "parts", 8, (64, 64), 20))[0].augment.quarter_turns == 0


def test_most_tiles_that_are_seen_show_a_defect_and_half_of_whole_images(tmp_path: Path) -> None:
    boards = _set(tmp_path / "boards", 8, (1200, 1600), 20)
    config, told = _chosen(boards)
    assert config.sampling.defects == 0.85 and "85% of what is seen shows a defect" in told
    kept = _chosen(boards, sampling={"defects": 0.5})[0]
    assert kept.sampling.defects == 0.5 and kept.tile.size is not None
    assert _chosen(boards, sampling={"rare": 0.0})[0].sampling.model_dump() == {
        "defects": 0.85,
        "rare": 0.0,
    }
    assert _chosen(_set(tmp_path / "parts", 8, (64, 64), 20))[0].sampling.defects == 0.5


def test_what_was_given_stays_and_is_not_talked_about(tmp_path: Path) -> None:
    given = {
        "model": {"name": "lightnet"},
        "image_size": 64,
        "epochs": 3,
        "batch": 2,
        "val_every": 1,
        "augment": {"copy_paste": 0.0},
    }
    config, told = _chosen(_set(tmp_path / "set", 8, (64, 64), 20, good=4), **given)
    assert told == ""
    assert (config.model.name, config.image_size, config.epochs) == ("lightnet", (64, 64), 3)
    assert (config.batch, config.val_every, config.augment.copy_paste) == (2, 1, 0.0)


def test_a_size_that_was_given_is_the_size_of_whole_images(tmp_path: Path) -> None:
    data = _set(tmp_path / "set", 3, (1200, 1600), 20)
    assert _chosen(data, image_size=640)[0].tile.size is None
    assert _chosen(data, tile={"size": 800})[0].image_size == (640, 640)


def test_many_tiles_of_val_are_measured_rarely(tmp_path: Path) -> None:
    """Of 8 tiles an epoch: 4 images in 4 x 20 x 30 would be 300 times the work."""
    config, told = _chosen(_set(tmp_path / "few", 4, (2000, 3000), 8))
    assert (config.tile.size, config.epochs, config.val_every) == ((128, 128), 300, 30)
    assert "every 30 epochs: it has about 2400 tiles; --set val_every=5" in told
    _, told = _chosen(tmp_path / "few/data.yaml", tile={"overlap": 0.5})
    assert "it has about 5704 tiles" in told  # steps of 64: 4 x 31 x 46
    some = _chosen(_set(tmp_path / "some", 8, (1200, 1600), 20))[0]
    assert some.val_every == 15  # 8 x 30 tiles of val, half as dear, for 15 x 32 samples: a quarter
    near = {"tile": {"size": 1600}, "image_size": 640}
    assert _chosen(_set(tmp_path / "near", 4, (2000, 3000), 8), **near)[0].val_every == 5


def test_tiles_that_were_given_are_the_samples_that_count(tmp_path: Path) -> None:
    """Of 100 images with a box: about 100 tiles with one and as many without.

    30 tiles of 320 cover 1200 x 1600 pixels; the box in the middle is seen by two of them.
    """
    config, told = _chosen(_set(tmp_path / "set", 100, (1200, 1600), 20), tile={"size": 320})
    assert config.batch == 16 and "epochs of about 400 samples" in told


def test_the_samples_that_are_told_are_about_those_that_are_seen(tmp_path: Path) -> None:
    """Defects anywhere, as of images of which many are good parts."""
    data = _set(tmp_path / "set", 60, (460, 1130), 12, good=30)
    random = np.random.default_rng(0)
    for i in range(30, 60):
        x, y = random.uniform(0.02, 0.98, 2)
        row = f"0 {x} {y} {12 / 1130} {12 / 460}\n"
        (tmp_path / "set" / "labels" / f"{i}.txt").write_text(row)
    config, told = _chosen(data)
    assert config.tile.size == (192, 192)
    (about,) = re.findall(r"epochs of about (\d+) samples", told)
    tiling = Tiling((192, 192), config.tile.overlap)
    contract = Preprocess((320, 320), 1, tiling=tiling)
    seen = DetectionDataset(run_splits(config)[0], contract, background=config.tile.background)
    assert int(about) == pytest.approx(len(seen), rel=0.2)


def test_defects_too_rare_to_be_among_the_images_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_HEADERS", 3)
    data = _set(tmp_path / "set", 8, (200, 200), 30, good=8)
    (tmp_path / "set" / "labels" / "5.txt").write_text("0 0.5 0.5 0.15 0.15\n")
    config, told = _chosen(data)
    assert (config.model.name, config.image_size) == ("lightnet-n", (192, 192))
    assert "of 30 pixels or more" in told and "88% are good parts" in told


def test_a_budget_of_time_needs_no_epochs(tmp_path: Path) -> None:
    _, told = _chosen(_set(tmp_path / "set", 3, (64, 64), 20), time=60.0)
    assert "epochs" not in told


def test_a_set_without_boxes_is_left_to_the_training_to_refuse(tmp_path: Path) -> None:
    config, told = _chosen(_set(tmp_path / "set", 3, (64, 64), 20, good=3))
    assert told == "" and config.image_size == (640, 640)


def test_the_model_is_that_of_the_weights_it_starts_from(tmp_path: Path) -> None:
    data, init = _set(tmp_path / "set", 3, (64, 64), 20), Path("lightnet-n-neu-det")
    config, told = _chosen(data, init)
    assert config.model.name == "lightnet-n" and "the model of 'lightnet-n-neu-det'" in told
    arguments = ModelArguments(1, block="repvgg")
    detector = build_model("lightnet-n", arguments, seed=0)
    weights = Weights(detector, "lightnet-n", arguments, ("pit",), Preprocess((64, 64)))
    save_weights(tmp_path / "plain.pt", weights)
    config, _ = _chosen(data, tmp_path / "plain.pt")
    assert (config.model.name, config.model.block) == ("lightnet-n", "repvgg")
    config, told = _chosen(data, init, model={"name": "lightnet"})
    assert config.model.name == "lightnet" and "--model" not in told


@pytest.mark.parametrize(
    ("box", "rows", "tile", "batch", "epochs"),
    [
        (12, 20, {}, 8, 300),  # twenty that share a tile are no twenty samples
        (600, 1, {}, 16, 300),  # longer than a tile: a target in many
        (12, 1, {"background": 0.0}, 8, 300),
        (12, 1, {"background": 3.0}, 16, 300),
        (12, 1, {"overlap": 0.0}, 8, 300),
        (12, 1, {"overlap": 0.9}, 16, 300),
    ],
)
def test_what_is_told_of_the_samples_are_those_that_are_seen(
    tmp_path: Path, box: int, rows: int, tile: dict[str, float], batch: int, epochs: int
) -> None:
    data = _set(tmp_path / "set", 30, (1200, 1600), box)
    for file in (tmp_path / "set" / "labels").iterdir():
        at = (f"{0.4 + i / 1000} 0.4" for i in range(rows))
        file.write_text("".join(f"0 {xy} {box / 1600} {box / 1200}\n" for xy in at))
    config, told = _chosen(data, tile={"size": 192, **tile})
    plan = config.tile
    assert plan.size is not None
    contract = Preprocess(config.image_size, tiling=Tiling(plan.size, plan.overlap))
    seen = plan_tiles(run_splits(config)[0], contract, plan.min_visible, plan.background)
    assert f"{epochs} epochs of about {sum(map(len, seen))} samples" in told
    assert (config.batch, config.epochs) == (batch, epochs)
