"""Annotation formats by name. An importer reads a folder and returns records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdlnet.data.formats.masks import import_masks
from kdlnet.data.formats.record import ImportOptions, ImportResult
from kdlnet.data.formats.voc import import_voc
from kdlnet.data.formats.yolo import import_yolo

Importer = Callable[[Path, ImportOptions], ImportResult]

IMPORTERS: dict[str, Importer] = {"voc": import_voc, "masks": import_masks, "yolo": import_yolo}
