"""Images that are there twice: the same pixels, or the same scene cropped, turned or relit.

Exact duplicates have equal decoded pixels. Near duplicates are found in two steps. Local features
(SIFT: Lowe, IJCV 60, 2004, with the square root of Arandjelovic and Zisserman, CVPR 2012) are
counted as visual words, weighted by how rare they are (Sivic and Zisserman, ICCV 2003): that
proposes for every image the few that may be the same. A proposal counts once enough features agree
on one shift, turn and scale between the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kdlnet.curation.copies import digest_of, equal_pairs, read_each
from kdlnet.events import Listener, ignore
from kdlnet.images.read import ImageArray, to_channels

_SIDE = 320  # longer side of the pictures that are compared, pixels
_FEATURES = 250
_BLUR = 1.0  # pixels: finer texture does not survive a turn and a JPEG
_WORDS = 4096
_CANDIDATES = 20
# Unrelated steel, tiles and boards agreed on fewer than 6 features; leaks that were cropped,
# turned, relit and compressed at once on 20 and more, all but one in a hundred.
_LEAST_AGREEING = 18
_LEAST_CONTRAST = 0.005  # of SIFT, below its usual 0.04: faint textures are the trade here
_LEAST_COSINE = 0.8
_TOLERANCE = 3.0  # pixels of the compared pictures
_SCALES = (0.5, 2.0)
_BLOCK = 4096  # descriptors
_CELLS = 2**23  # similarities that are in memory at once
_WORKERS = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two positions of a list of images, ``first < second``, that show the same.

    ``overlap`` is the share of the smaller picture that the other one shows, too; ``score`` counts
    the local features that agree. They are 1 and 0 where ``kind`` is exact.
    """

    first: int
    second: int
    kind: Literal["exact", "near"]
    overlap: float = 1.0
    score: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of an image to find it again: 35 KB.

    ``digest`` is that of all its pixels. Of the picture at comparison ``size`` (H, W) there are
    ``points`` (n, 2) as (x, y), their ``angles`` (n,) in degrees and ``descriptors`` (n, 128) of
    length 255.
    """

    digest: bytes
    size: tuple[int, int]
    points: Floats
    angles: Floats
    descriptors: NDArray[np.uint8]


def find_duplicates(paths: Sequence[Path], on_event: Listener = ignore) -> list[DuplicatePair]:
    """Pairs of positions in ``paths`` that show the same, as :func:`find_pairs`.

    Every image is decoded once; those that cannot be read are in no pair. ``on_event`` is told
    how many were read.
    """
    return find_pairs(read_each(paths, fingerprint, on_event))


def find_copies(paths: Sequence[Path], on_event: Listener = ignore) -> list[DuplicatePair]:
    """The exact ones among :func:`find_duplicates`, for a small part of its work."""
    return _exact(read_each(paths, digest_of, on_event))


def clusters(pairs: Sequence[DuplicatePair], count: int) -> list[list[int]]:
    """Groups of positions that pairs connect, two or more each, in rising order.

    ``count`` is the number of images. Images that are in no pair are in no group.
    """
    if not pairs:
        return []
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(count, count))
    _, group_of = connected_components(graph, directed=False)
    members = defaultdict(list)
    for position, group in enumerate(group_of.tolist()):
        members[group].append(position)
    return sorted(group for group in members.values() if len(group) > 1)


def fingerprint(image: ImageArray) -> Fingerprint:
    """The fingerprint of ``image`` (H, W, C), uint8 or uint16."""
    grey = to_channels(image, 1)[:, :, 0]
    scale = min(1.0, _SIDE / max(grey.shape))
    if scale < 1:
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=_LEAST_CONTRAST)
    detected: Any = sift.detectAndCompute(_stretched(grey), None)
    keys, found = detected
    if found is None:
        found = np.zeros((0, 128), np.float32)
    keys, found = keys[:_FEATURES], found[:_FEATURES]
    root = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1)) * 255
    return Fingerprint(
        digest=digest_of(image),
        size=(grey.shape[0], grey.shape[1]),
        points=np.array([key.pt for key in keys], np.float32).reshape(-1, 2),
        angles=np.array([key.angle for key in keys], np.float32),
        descriptors=np.rint(root).astype(np.uint8),
    )


def find_pairs(prints: Sequence[Fingerprint | None]) -> list[DuplicatePair]:
    """All exact pairs with the first of their kind, and near pairs among those first ones.

    ``None`` stands for an image that could not be read. Of images with more than some twenty near
    duplicates not every pair is compared; :func:`clusters` connects them all the same.
    """
    pairs = _exact([None if one is None else one.digest for one in prints])
    copies = {pair.second for pair in pairs}
    chosen = {i: one for i, one in enumerate(prints) if one is not None and i not in copies}
    pairs += _near([*chosen], [*chosen.values()])
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _exact(digests: Sequence[bytes | None]) -> list[DuplicatePair]:
    return [DuplicatePair(first, second, "exact") for first, second in equal_pairs(digests)]


def _near(positions: Sequence[int], chosen: Sequence[Fingerprint]) -> Iterator[DuplicatePair]:
    """Pairs among the ``chosen``, no two of which are equal, by their ``positions`` in the list."""
    words = _word_vectors(chosen)
    alone = np.arange(len(chosen))
    near = _confirmed(chosen, _candidates(words, alone, alone))
    # The many images of one scene propose one another: those look once more beyond their group.
    groups = clusters(near, len(chosen))
    group_of = alone.copy()
    for group in groups:
        group_of[group] = group[0]
    crowded = [member for group in groups if len(group) > _CANDIDATES for member in group]
    near += _confirmed(chosen, _candidates(words, group_of, np.array(crowded, np.intp)))
    for pair in near:
        yield replace(pair, first=positions[pair.first], second=positions[pair.second])


def _stretched(grey: ImageArray) -> NDArray[np.uint8]:
    """``grey`` (H, W), its darkest and brightest hundredth put at 0 and 255: light cancels out."""
    low, high = np.percentile(grey, (1, 99))
    stretched = (grey.astype(np.float32) - low) * (255 / max(high - low, 1))
    blurred = cv2.GaussianBlur(np.clip(stretched, 0, 255), (0, 0), _BLUR)
    return np.asarray(blurred.round(), np.uint8)


def _candidates(
    words: Floats, group_of: NDArray[np.intp], rows: NDArray[np.intp]
) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j: for each image in ``rows`` the most similar ones by their words.

    Images with the same number in ``group_of`` are not proposed to each other.
    """
    wanted: set[tuple[int, int]] = set()
    step = max(1, _CELLS // max(1, len(words)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        similarity = words[block] @ words.T
        similarity[group_of[block][:, None] == group_of[None, :]] = -1
        nearest = min(_CANDIDATES, len(words))
        best = np.argpartition(-similarity, nearest - 1, axis=1)[:, :nearest]
        for row, line, others in zip(block.tolist(), similarity, best.tolist(), strict=True):
            wanted.update((min(row, j), max(row, j)) for j in others if line[j] > 0)
    return sorted(wanted)


def _confirmed(
    prints: Sequence[Fingerprint], wanted: Sequence[tuple[int, int]]
) -> list[DuplicatePair]:
    """Those of the proposed pairs that show the same scene."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        found = list(pool.map(lambda pair: _compare(prints[pair[0]], prints[pair[1]]), wanted))
    return [
        DuplicatePair(*pair, "near", *agreed)
        for pair, agreed in zip(wanted, found, strict=True)
        if agreed is not None
    ]


def _word_vectors(prints: Sequence[Fingerprint]) -> Floats:
    """(images, words): how often each visual word is seen, rare words count more; unit length."""
    descriptors = np.concatenate(
        [np.zeros((0, 128), np.uint8), *(one.descriptors for one in prints)]
    )
    owners = np.repeat(np.arange(len(prints)), [len(print_.points) for print_ in prints])
    # The vocabulary is a sample of what is there: no training, and the same one in every run.
    order = np.random.default_rng(0).permutation(len(descriptors))[:_WORDS]
    vocabulary = descriptors[order].astype(np.float32)
    starts = range(0, len(descriptors), _BLOCK)

    def nearest(start: int) -> NDArray[np.intp]:
        cosine: Floats = descriptors[start : start + _BLOCK].astype(np.float32) @ vocabulary.T
        words: NDArray[np.intp] = cosine.argmax(axis=1)
        return words

    counts = np.zeros((len(prints), max(1, len(vocabulary))), np.float32)
    with ThreadPoolExecutor(_WORKERS) as pool:
        for start, word in zip(starts, pool.map(nearest, starts), strict=True):
            np.add.at(counts, (owners[start : start + _BLOCK], word), 1)
    # Above 0 for words that all have, too: a set may hold nothing but one scene.
    rarity = np.log1p(len(prints) / np.maximum((counts > 0).sum(axis=0), 1))
    vectors: Floats = np.sqrt(counts) * rarity.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors


def _compare(a: Fingerprint, b: Fingerprint) -> tuple[float, int] | None:
    """Shared share of the smaller picture and agreeing features; None for different scenes."""
    if min(len(a.points), len(b.points)) < _LEAST_AGREEING:
        return None
    of_a, of_b = _one_turn(a, b, *_mutual(a, b))
    if len(of_a) < _LEAST_AGREEING:
        return None
    source, target, how = a.points[of_a], b.points[of_b], cv2.RANSAC
    found: Any = cv2.estimateAffinePartial2D(source, target, None, how, _TOLERANCE, maxIters=500)
    matrix, agreeing = found
    if matrix is None or not _SCALES[0] <= np.hypot(*matrix[:, 0]) <= _SCALES[1]:
        return None
    # SIFT may give one point several orientations: each place counts once.
    places = np.unique(source[agreeing[:, 0] > 0].round(), axis=0)
    if len(places) < _LEAST_AGREEING:
        return None
    return _overlap(matrix, a.size, b.size), len(places)


def _mutual(a: Fingerprint, b: Fingerprint) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of features that are each other's nearest, and near enough."""
    cosine = a.descriptors.astype(np.float32) @ b.descriptors.astype(np.float32).T / 255**2
    forth, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
    of_a = np.arange(len(forth))
    of_a = of_a[(back[forth] == of_a) & (cosine[of_a, forth] > _LEAST_COSINE)]
    return of_a, forth[of_a]


def _one_turn(
    a: Fingerprint, b: Fingerprint, of_a: NDArray[np.intp], of_b: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Those matches whose own orientations agree on a turn, to some 30 degrees either side."""
    turn = (b.angles[of_b] - a.angles[of_a]) % 360
    share = np.bincount((turn / 30).astype(np.int64) % 12, minlength=12)
    wide = share + np.roll(share, -1)
    centre = (int(wide.argmax()) + 1) * 30
    kept = np.abs((turn - centre + 180) % 360 - 180) <= 45
    return of_a[kept], of_b[kept]


def _overlap(matrix: NDArray[np.float64], a: tuple[int, int], b: tuple[int, int]) -> float:
    """Shared share of the smaller of two pictures; ``matrix`` (2, 3) takes points of a to b."""
    corners_a = cv2.transform(_corners(a)[None], matrix)[0].astype(np.float32)
    area_a = float(cv2.contourArea(corners_a))
    shared, _ = cv2.intersectConvexConvex(corners_a, _corners(b))
    return round(min(1.0, shared / max(min(area_a, float(b[0] * b[1])), 1.0)), 3)


def _corners(size: tuple[int, int]) -> Floats:
    height, width = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
