"""Labels that a person corrected, in place of those that a dataset has for the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kdlnet.curation.formats.imported import ImportedImage, ImportResult
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError

_CORRECTED = "image with corrected labels"  # what ``converted`` says of such an image
_STRANGE = frozenset({"no image", "elsewhere", "only embedded"})


def lay_over(
    base: ImportResult, corrected: ImportResult, splits: Mapping[Path, str | None]
) -> ImportResult:
    """``base`` with the images of ``corrected`` in place of its own; ``splits`` are those of all.

    The classes stay those of ``base``. An image whose corrections cannot be used keeps the labels
    that it has there, which is told; files that speak of none of the images are left out.

    Raises DataError where nothing is corrected.
    """
    if not corrected.images:
        raise DataError(f"no correction can be used: {_unknown(corrected.left_out[0])}")
    strange = [_unknown(problem) for problem in corrected.left_out if problem.file not in splits]
    found = {image.path: image for image in base.images}
    kept = {problem.file: problem for problem in corrected.left_out if problem.file in found}
    mended = {image.path: _marked(image, splits) for image in corrected.images}
    found |= mended
    return replace(
        base,
        images=[found[path] for path in sorted(found)],
        left_out=[*(each for each in base.left_out if each.file not in mended), *strange],
        lost=(*base.lost, *corrected.lost),
        warnings=(*base.warnings, *corrected.warnings, *_lines(kept, len(mended))),
    )


def _marked(image: ImportedImage, splits: Mapping[Path, str | None]) -> ImportedImage:
    return replace(image, split=splits[image.path], converted=(*image.converted, _CORRECTED))


def _unknown(problem: LabelProblem) -> LabelProblem:
    return replace(problem, reason="not in the dataset") if problem.reason in _STRANGE else problem


def _lines(kept: Mapping[Path, LabelProblem], corrected: int) -> Iterator[str]:
    if kept:
        first = next(iter(kept.values()))
        yield (
            f"{len(kept)} of {corrected + len(kept)} images keep their old labels, since not all "
            f"of the corrections can be used, first {first.file.name!r}: {first.value}"
        )
