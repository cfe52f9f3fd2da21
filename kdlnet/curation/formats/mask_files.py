"""Which mask belongs to which image, by name and folder. What they leave open is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdlnet.curation.formats.pairing import KEYS, mirrors, namesakes
from kdlnet.data.other_tools import IMAGE_FOLDERS
from kdlnet.images.folder import images_below
from kdlnet.utils.text import plain

MASK_FOLDERS = frozenset(
    "mask masks ground_truth groundtruth gt segmentationclass annotations label labels".split()  # noqa: SIM905
)
_SPLITS = frozenset({"train", "val", "test"})
CONTAINERS = MASK_FOLDERS | _SPLITS | IMAGE_FOLDERS
_ENDINGS = ("_mask", "_gt", "_label", "-mask")
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})

_Fits = Callable[[Path, Path], bool]


@dataclass
class MaskFiles:
    """``images`` in order, the mask of each that has one, and masks ``alone``, without an image.

    ``unclear`` are images and masks of which several fit each other.
    """

    images: list[Path]
    mask_of: dict[Path, Path] = field(default_factory=dict)
    unclear: set[Path] = field(default_factory=set)
    alone: list[Path] = field(default_factory=list)

    @property
    def unclear_masks(self) -> list[Path]:
        return sorted(self.unclear - set(self.images))


def find_masks(source: Path, root: Path, *, lossy: bool = False) -> MaskFiles:
    """The images below ``root`` and the masks below ``source``, which may be the same folder.

    ``lossy`` counts masks in JPEG, too, where folder or name say what they are: they mark, but
    their values are blurred.
    """
    return _together(source, lossy) if root == source else _apart(source, root, lossy)


def folders_below(source: Path, file: Path) -> tuple[str, ...]:
    """The names of the folders between ``source`` and ``file``."""
    return file.relative_to(source).parent.parts


def _together(source: Path, lossy: bool) -> MaskFiles:
    def fits(image: Path, file: Path) -> bool:
        if file.parent == image.parent:
            lossless_beside_lossy = not _is_lossless(image)
            return file != image and (_bare(file) != file.stem or lossless_beside_lossy)
        theirs, ours = (_plain_folders(source, path) for path in (file, image))
        return bool(theirs & MASK_FOLDERS) and _same_class(ours, theirs)

    files = list(images_below(source))
    marked = {
        file
        for file in files
        if (lossy or _is_lossless(file))
        and (_bare(file) != file.stem or _plain_folders(source, file) & MASK_FOLDERS)
    }
    found = MaskFiles([file for file in files if file not in marked])
    candidates = [file for file in files if file in marked or _is_lossless(file)]
    _pair(found, candidates, fits, (source, source))
    masks = set(found.mask_of.values())
    found.images = [image for image in found.images if image not in masks]
    found.alone = sorted(marked - masks - found.unclear)
    return found


def _apart(source: Path, root: Path, lossy: bool) -> MaskFiles:
    """Where one of the folders lies in the other, its files are none of the other's."""

    def fits(image: Path, file: Path) -> bool:
        return _same_class(_plain_folders(root, image), _plain_folders(source, file))

    inner = root.is_relative_to(source)
    images = [file for file in images_below(root) if inner or not file.is_relative_to(source)]
    files = (file for file in images_below(source) if not (inner and file.is_relative_to(root)))
    found = MaskFiles(images)
    _pair(found, [file for file in files if lossy or _is_lossless(file)], fits, (root, source))
    return found


def _pair(found: MaskFiles, files: list[Path], fits: _Fits, roots: tuple[Path, Path]) -> None:
    """Gives images their masks, one each.

    Mirrored folders (``images/a``, ``masks/a``) come before others, and equal names before those
    that differ in case or Unicode form.
    """
    near = mirrors({file.parent for file in files}, roots)
    for places in (near, lambda folder: (None,)):
        for key in KEYS:
            taken = {*found.mask_of, *found.mask_of.values(), *found.unclear}
            images, free = ([f for f in some if f not in taken] for some in (found.images, files))
            alike = namesakes(images, free, key, places, _bare)
            wanted = {image: [mask for mask in same if fits(image, mask)] for image, same in alike}
            _settle(found, wanted)


def _settle(found: MaskFiles, wanted: Mapping[Path, list[Path]]) -> None:
    """Pairs an image and a mask that have only each other; the rest is unclear."""
    claims = Counter(mask for masks in wanted.values() for mask in masks)
    for image, masks in wanted.items():
        if len(masks) == 1 and claims[masks[0]] == 1:
            found.mask_of[image] = masks[0]
        elif masks:
            found.unclear.update((image, *masks))


def _same_class(ours: set[str], theirs: set[str]) -> bool:
    """Every class folder may hold its own 001.png: the folders that name the class must agree.

    So must the split, where both name one.
    """
    splits = ours & _SPLITS, theirs & _SPLITS
    apart = all(splits) and splits[0].isdisjoint(splits[1])
    return theirs - CONTAINERS == ours - CONTAINERS and not apart


def _plain_folders(source: Path, file: Path) -> set[str]:
    return {plain(folder) for folder in folders_below(source, file)}


def _is_lossless(file: Path) -> bool:
    return file.suffix.lower() in _LOSSLESS


def _bare(file: Path) -> str:
    """The stem without an ending such as ``_mask``."""
    for ending in _ENDINGS:
        if file.stem.lower().endswith(ending):
            return file.stem[: -len(ending)]
    return file.stem
