"""Leaks are planted in made-up surfaces: each must be found, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdlnet.curation.duplicates import (
    DuplicatePair,
    clusters,
    find_duplicates,
    find_pairs,
    fingerprint,
)
from kdlnet.events import Progress


def surface(seed, height=200, width=240):
    """A grey picture (H, W, 1) of blobs and stripes that no other seed shows."""
    rng = np.random.default_rng(seed)
    noise = [
        cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) * sigma
        for sigma in (1.5, 3, 8)
    ]
    image = 128 + 60 * sum(noise) / np.std(sum(noise)) / 2
    return np.clip(image, 0, 255).astype(np.uint8)[:, :, None]


def crop(image):
    """From a corner, 80 % of the area."""
    height, width = (round(side * 0.8**0.5) for side in image.shape[:2])
    return np.ascontiguousarray(image[-height:, :width])


def turn(image, degrees=5):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height))[:, :, None]


def relit(image, factor=1.25):
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def jpeg(image):
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)[:, :, None]


LEAKS = {
    "crop": crop,
    "turn": turn,
    "brighter": relit,
    "darker": lambda image: relit(image, 0.75),
    "jpeg": jpeg,
    "all": lambda image: jpeg(relit(crop(turn(image)), 0.75)),
    "quarter turn": lambda image: np.ascontiguousarray(np.rot90(image)),
    "smaller": lambda image: cv2.resize(image, None, fx=0.7, fy=0.7)[:, :, None],
}


@pytest.fixture(scope="module")
def prints():
    return [fingerprint(surface(seed)) for seed in range(12)]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found_and_nothing_else(prints, leak):
    found = find_pairs([*prints, fingerprint(LEAKS[leak](surface(7)))])
    assert [(pair.first, pair.second, pair.kind) for pair in found] == [(7, 12, "near")]
    assert found[0].score >= 18
    # The crop lies wholly in its source; a turned frame loses its corners.
    assert found[0].overlap > 0.85


def test_neighbouring_windows_share_what_they_overlap():
    """Two windows 200 wide, 100 apart: half of each is in the other."""
    wide = surface(3, 200, 300)
    left, right = (fingerprint(np.ascontiguousarray(wide[:, x : x + 200])) for x in (0, 100))
    (pair,) = find_pairs([left, right])
    assert pair.overlap == pytest.approx(0.5, abs=0.02)


def test_equal_pixels_are_exact_however_they_are_stored():
    grey = surface(1)
    colour = np.repeat(grey, 3, axis=2)
    deep = grey.astype(np.uint16)
    other = grey.copy()
    other[0, 0] ^= 1
    found = find_pairs([fingerprint(image) for image in (grey, colour, deep, other)])
    kinds = {(pair.first, pair.second): pair.kind for pair in found}
    assert kinds[0, 1] == "exact"
    assert kinds[0, 2] == kinds[0, 3] == "near"  # another depth, one pixel
    assert (1, 2) not in kinds, "the second copy stands for no more pairs"


def test_a_deep_image_and_its_8_bit_version_are_near():
    eight = surface(5)
    twelve = eight.astype(np.uint16) * 16
    (pair,) = find_pairs([fingerprint(eight), fingerprint(twelve)])
    assert pair.kind == "near" and pair.overlap == pytest.approx(1, abs=0.01)


def test_flat_tiny_and_missing_images_are_no_pairs():
    """Without anything to recognize only equal pixels count."""
    flat = np.full((64, 64, 1), 90, np.uint8)
    prints = [fingerprint(flat), None, fingerprint(flat + 1), fingerprint(flat[:1, :1])]
    assert find_pairs(prints) == []
    assert find_pairs([]) == []
    assert find_pairs([fingerprint(flat), fingerprint(flat)]) == [DuplicatePair(0, 1, "exact")]


def test_files_are_compared_and_unreadable_ones_passed_over(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    cv2.imwrite(str(paths[0]), surface(1))
    paths[1].write_bytes(b"no image")
    cv2.imwrite(str(paths[2]), relit(surface(1), 0.75))
    told = []
    (pair,) = find_duplicates(paths, told.append)
    assert (pair.first, pair.second, pair.kind) == (0, 2, "near")
    assert told == [Progress("compare images", done, 3) for done in (1, 2, 3)]


def test_clusters_are_what_pairs_connect():
    chain = [DuplicatePair(0, 3, "near"), DuplicatePair(3, 5, "exact"), DuplicatePair(1, 2, "near")]
    assert clusters(chain, 7) == [[0, 3, 5], [1, 2]]
    assert clusters([], 7) == []


def test_the_same_answer_in_every_run(prints):
    more = [*prints[:4], *(fingerprint(relit(surface(seed), 0.8)) for seed in range(2))]
    assert find_pairs(more) == find_pairs(more)


@pytest.mark.data
def test_real_surfaces_that_differ_are_not_alike(real_data):
    """Different boards, and steel of different classes: the nearest thing to unrelated pairs."""
    boards = [next((real_data / "PKU-Market-PCB/images/Spur").glob(f"{n:02}_*")) for n in (1, 4, 5)]
    steel = [
        real_data / f"NEU-DET/IMAGES/{name}_1.jpg"
        for name in ("crazing", "inclusion", "patches", "pitted_surface", "scratches")
    ]
    assert find_duplicates([*boards, *steel]) == []


@pytest.mark.data
def test_exposures_of_one_tile_are_one_group(real_data):
    names = [(1, 524), (2, 542), (3, 557), (4, 573), (5, 592), (6, 628)]
    tile = [real_data / f"magnetic-tile/MT_Uneven/Imgs/exp{e}_num_{n}.jpg" for e, n in names]
    others = [
        real_data / f"magnetic-tile/MT_Free/Imgs/exp{e}_num_{n}.jpg"
        for e, n in ((1, 1810), (2, 2627))
    ]
    assert clusters(find_duplicates([*tile, *others]), 8) == [[0, 1, 2, 3, 4, 5]]


def test_a_leak_is_not_crowded_out_by_the_many_of_its_scene():
    """Two stacks of one scene, each larger than what an image proposes, are one group."""
    base, cut = surface(1), crop(surface(1))
    lights = np.linspace(0.7, 1, 22)
    stacks = [relit(image, light) for image in (base, cut) for light in lights]
    pairs = find_pairs([fingerprint(image) for image in stacks])
    assert [len(group) for group in clusters(pairs, len(stacks))] == [44]
