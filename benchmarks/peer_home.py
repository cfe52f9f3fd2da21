"""A throw-away environment for the peers, and networks of both sides that nobody trained.

The peers run in processes of their own through their documented commands and Python interface:
none of their code is imported here, and nothing of them is downloaded but their packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlnet.inference.exporters import EXPORTERS
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess

PACKAGES = ("ultralytics", "libreyolo", "onnx", "onnxslim", "onnxruntime", "openvino")
YOLO = ("yolo26n", "yolo11n")
LIBRE = {"LibreYOLO9t": "t", "LibreDEIMv2pico": "pico"}
"""The smallest detectors of LibreYOLO that take any image size, and their sizes there: DEIMv2's N
fails at 224 (its 300 queries are more than the points of such an image)."""
SSD = "ssdlite320"

_MAKE = """
import json, os, sys
from ultralytics import YOLO
name, folder, sizes = json.loads(sys.argv[1])
if not os.path.exists(f"{folder}/{name}.pt"):
    YOLO(f"{name}.yaml").save(f"{folder}/{name}.pt")
for size in sizes:
    made = YOLO(f"{folder}/{name}.pt").export(format="onnx", imgsz=size, device="cpu")
    os.replace(made, f"{folder}/{name}-{size}.onnx")
    made = YOLO(f"{folder}/{name}.pt").export(format="openvino", imgsz=size, device="cpu")
    for suffix in (".bin", ".xml"):
        os.replace(f"{made}/{name}{suffix}", f"{folder}/{name}-{size}{suffix}")
"""
_MAKE_LIBRE = """
import json, os, sys
from libreyolo.models.deimv2.model import LibreDEIMv2
from libreyolo.models.yolo9.model import LibreYOLO9
name, size, folder, sizes = json.loads(sys.argv[1])
os.chdir(folder)
model = (LibreDEIMv2 if "DEIM" in name else LibreYOLO9)(None, size=size, device="cpu")
model.save(f"{name}.pt")
for size in sizes:
    made = model.export(format="onnx", imgsz=size, device="cpu", simplify=True)
    os.replace(made, f"{name}-{size}.onnx")
"""
_SSD = """
import sys
from pathlib import Path
import torch
from torchvision.io import ImageReadMode, decode_image, write_jpeg
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.utils import draw_bounding_boxes
source, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True)
model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
for path in sorted(source.iterdir()) if source.is_dir() else [source]:
    image = decode_image(str(path), ImageReadMode.RGB)
    with torch.inference_mode():
        found = model([image / 255])[0]
    boxes = found["boxes"][found["scores"] > 0.25]
    write_jpeg(draw_bounding_boxes(image, boxes), str(out / f"{path.stem}.jpg"))
"""


@dataclass(frozen=True)
class Home:
    """``folder`` has all files; ``python`` is the peers' interpreter, None without peers."""

    folder: Path
    python: str | None
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """The two YOLO_ variables keep the peer off the network and out of the home folder.

        Byte code is kept, as that of an installed package is.
        """
        return {
            "PYTHONDONTWRITEBYTECODE": "",
            "OMP_NUM_THREADS": str(self.threads),
            "YOLO_OFFLINE": "true",
            "YOLO_CONFIG_DIR": str(self.folder),
        }

    def run(self, command: Sequence[str]) -> None:
        """Raises RuntimeError with the end of what it said."""
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **self.environment}
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)[:200]}\n{(done.stdout + done.stderr)[-2000:]}")

    def yolo(self) -> str:
        """The peer's own command."""
        return str(Path(self.python or "").absolute().with_name("yolo"))

    def libre(self) -> str:
        """The command of the other one."""
        return str(Path(self.python or "").absolute().with_name("libreyolo"))

    def ssd(self, source: Path, out: str) -> list[str]:
        """torchvision has no command: the shortest program that does the same."""
        return [self.python or "", "-c", _SSD, str(source), out]


def make_environment(folder: Path) -> str:
    """A virtual environment with the peers, made once a folder; its interpreter."""
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = folder / scripts / "python"
    if not (folder / "installed").exists():
        print(f"installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "installed").touch()
    return str(python)


def make_peer_files(home: Home, sizes: Sequence[int]) -> None:
    """NAME.pt of each peer; beside it NAME-SIZE.onnx of each size and, of YOLO, NAME-SIZE.xml."""
    folder = str(home.folder)
    scripts = {name: (_MAKE, [name, folder, list(sizes)]) for name in YOLO}
    for name, size in LIBRE.items():
        scripts[name] = _MAKE_LIBRE, [name, size, folder, list(sizes)]
    for name, (script, order) in scripts.items():
        suffix = ".xml" if name in YOLO else ".onnx"
        made = [home.folder / f"{name}-{size}{suffix}" for size in sizes]
        if not all(file.exists() for file in (home.folder / f"{name}.pt", *made)):
            home.run([home.python or "", "-c", script, json.dumps(order)])


def make_own_files(home: Home, models: Sequence[str], sizes: Sequence[int]) -> None:
    """NAME-SIZE.pt, .onnx, .xml and -bf16.xml, 80 classes as the peers have, without the proof."""
    for name in models:
        for size in sizes:
            file = home.folder / f"{name}-{size}.pt"
            if file.with_name(f"{file.stem}-bf16.xml").exists():
                continue
            arguments = ModelArguments(80)
            detector = build_model(name, arguments, seed=0).eval()
            classes = tuple(f"class {number}" for number in range(80))
            weights = Weights(detector, name, arguments, classes, Preprocess((size, size)))
            save_weights(file, weights)
            weights.detector, weights.fused = fuse_model(detector), True
            for exporter in (EXPORTERS["onnx"], EXPORTERS["openvino"]):
                exporter.write(weights, file.with_suffix(exporter.kind.suffixes[0]), Layout())
            if bf16 := EXPORTERS["openvino"].bf16:
                bf16.write(weights, file.with_name(f"{file.stem}-bf16.xml"), Layout())
