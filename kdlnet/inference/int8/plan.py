"""What a person asked of 8 bits, checked before anything is read, then done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import ConfigError
from kdlnet.events import Listener
from kdlnet.inference.exporters import Exporter
from kdlnet.inference.int8.calibration import SPLIT, calibration_images, check_count
from kdlnet.inference.int8.drop import Drop, allowed_drop
from kdlnet.inference.int8.openvino_int8 import require_nncf
from kdlnet.inference.int8.quantize import INT8, write_int8
from kdlnet.inference.layouts import Layout
from kdlnet.inference.proof import Tolerance
from kdlnet.inference.weights import Weights
from kdlnet.utils.given import Name

CALIBRATION = 300
"""Images that ranges are taken from, when there are as many."""


@dataclass(frozen=True)
class Int8Plan:
    """A ``format`` in 8 bits, calibrated on ``images`` of ``data``, that loses what is allowed."""

    format: str
    data: Name
    data_root: Path | None
    images: int
    allowed: Drop

    @classmethod
    def of(
        cls,
        wanted: bool,
        format: str,
        layout: Layout,
        data: Name | None,
        data_root: Path | None,
        images: int | None,
        max_drop: Mapping[str, float] | None,
    ) -> Int8Plan | None:
        """None if 8 bits are not ``wanted``. Raises KdlnetError for what cannot be done."""
        if not wanted:
            if images is not None or max_drop is not None:
                raise ConfigError("--calibration and --max-drop: they belong to --int8")
            return None
        if layout.outputs == "detections":
            raise ConfigError("--int8 and --nms: give one of them")
        if layout.dynamic:
            raise ConfigError(
                "--int8 and --dynamic: ranges are taken at one size; give one of them"
            )
        if format not in INT8:
            raise ConfigError(f"--int8: not for {format}; formats with it: {', '.join(INT8)}")
        if data is None:
            raise ConfigError("--int8 is calibrated and judged on images: give --data")
        images = CALIBRATION if images is None else images
        check_count(images)
        plan = cls(format, data, data_root, images, allowed_drop(max_drop or {}))
        if format == "openvino":
            require_nncf()
        return plan

    def write(
        self,
        exporter: Exporter,
        weights: Weights,
        fused: Weights,
        layout: Layout,
        dataset: DetectionDataset,
        path: Path,
        device: str,
        on_event: Listener,
    ) -> Exporter:
        """Writes the files of ``path``; what they are proved with, and what was put back."""
        info = find_dataset(self.data, self.data_root)
        images = calibration_images(weights, info, self.images, layout.batch or 1, on_event)
        writer = INT8[self.format](fused, layout)
        held = write_int8(
            writer,
            path,
            weights,
            fused,
            dataset,
            images,
            self.allowed,
            device=device,
            runtime=exporter.kind.runtime,
            on_event=on_event,
        )
        facts = {
            "weight_bits": writer.weight_bits,
            "calibration": {"data": self.data, "split": SPLIT, "images": len(images.paths)},
            "max_drop": asdict(self.allowed),
            **held.to_dict(),
        }
        judged = Tolerance(None, None, None, self.allowed.flips, self.allowed.ap)
        return replace(
            exporter, tolerance=judged, facts=exporter.facts | {"int8": facts}, half=None
        )
