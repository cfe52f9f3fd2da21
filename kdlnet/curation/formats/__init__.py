"""Annotation formats by name. An importer reads a folder and returns images with their boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdlnet.curation.formats.coco import import_coco
from kdlnet.curation.formats.cvat import import_cvat
from kdlnet.curation.formats.imported import ImportOptions, ImportResult
from kdlnet.curation.formats.labelme import import_labelme
from kdlnet.curation.formats.masks import import_masks
from kdlnet.curation.formats.tables import import_csv
from kdlnet.curation.formats.voc import import_voc
from kdlnet.curation.formats.yolo import import_yolo
from kdlnet.data.tables import TABLE_SUFFIXES

Importer = Callable[[Path, ImportOptions], ImportResult]

IMPORTERS: dict[str, Importer] = {
    "voc": import_voc,
    "coco": import_coco,
    "labelme": import_labelme,
    "cvat": import_cvat,
    "csv": import_csv,
    "masks": import_masks,
    "yolo": import_yolo,
}

# Those whose source may be a file: the one that holds all annotations, or the data.yaml.
ONE_FILE = frozenset({"coco", "cvat", "csv", "yolo"})

# Suffixes of the annotation files that each format reads.
READS: dict[str, frozenset[str]] = {
    "voc": frozenset({".xml"}),
    "coco": frozenset({".json"}),
    "labelme": frozenset({".json"}),
    "cvat": frozenset({".xml"}),
    "csv": frozenset(TABLE_SUFFIXES),
    "masks": frozenset(),
    "yolo": frozenset({".txt", ".yaml", ".yml"}),
}

# The formats that read each field of ImportOptions.
OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "origin": ("voc",),
    "images": tuple(IMPORTERS),
    "names": ("yolo",),
    "good": ("masks",),
    "class_from": ("masks",),
    "class_name": ("masks", "csv"),
    "columns": ("csv",),
    "values": ("masks",),
    "min_area": ("masks", "csv"),
    "among": ("labelme",),
    "labelled": ("yolo",),
    "unchecked": ("labelme",),
}
