"""Every reader on damaged files: a result or one line for people, soon, and nothing written beside.

The seed and number of a case stand in the failure; ``case(reader, number)`` makes its bytes again.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest
import yaml

from kdlnet.config import load_config
from kdlnet.data.catalog import find_dataset
from kdlnet.data.labels import read_labels
from kdlnet.data.listing import list_images
from kdlnet.errors import KdlnetError
from kdlnet.images.read import image_size, read_image
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.verbs.convert import convert
from kdlnet.verbs.export import export

from ..support.layouts import save_image, save_mask, save_xml
from ..support.weights_file import make_weights
from . import mutations
from .mutations import ANY, JSON, TEXT, Mutation

SECONDS = 20
"""A reader that takes longer on a file of some kilobytes hangs; the machine may be loaded."""
MEGABYTES = 1500
"""Growth of the whole process over all cases of one reader."""
QUICK, MANY = 12, 700


@dataclass(frozen=True)
class Reader:
    """``prepare(folder)`` makes a sound input and names the file to damage; ``read`` uses it."""

    prepare: Callable[[Path], Path]
    read: Callable[[Path, Path], object]
    kinds: tuple[Mutation, ...]


def _picture(suffix: str) -> Callable[[Path], Path]:
    def prepare(folder: Path) -> Path:
        image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
        file = folder / f"a{suffix}"
        file.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
        return file

    return prepare


def _look(file: Path, out: Path) -> object:
    with contextlib.suppress(KdlnetError):
        image_size(file)
    return read_image(file)


def _importer(format: str) -> Callable[[Path, Path], object]:
    def read(file: Path, out: Path) -> object:
        source = file.parents[1] if format in ("yolo", "masks") else file.parent
        return convert(format, source, out / "made")

    return read


def _voc(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    return save_xml(folder / "a.xml", [("dent", 1, 1, 60, 40), ("crack", 11, 21, 20, 30)])


def _coco(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    annotation = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 6, 10, 20], "iscrowd": 0}
    outline = {**annotation, "id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 7, "name": "dent"}, {"id": 3, "name": "crack"}],
        "annotations": [annotation, outline],
    }
    file = folder / "ann.json"
    file.write_text(json.dumps(content))
    return file


def _labelme(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    shapes = [
        {"label": "pit", "shape_type": "rectangle", "points": [[1, 2], [30, 20]]},
        {"label": "pit", "shape_type": "polygon", "points": [[1, 2], [30, 20], [4, 30]]},
        {"label": "dent", "shape_type": "circle", "points": [[20, 20], [25, 20]], "group_id": 1},
    ]
    values = {"version": "5", "imagePath": "a.jpg", "imageHeight": 40, "imageWidth": 60}
    file = folder / "a.json"
    file.write_text(json.dumps({**values, "shapes": shapes}))
    return file


def _cvat(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    shapes = (
        '<box label="dent" xtl="5.5" ytl="6" xbr="25" ybr="30" rotation="90.0"></box>'
        '<polygon label="pit" points="5.0,6.0;10.5,6.0;7.0,30.0"/>'
        '<ellipse label="pit" cx="30" cy="20" rx="10" ry="5"/>'
        '<mask label="pit" rle="3, 1" left="4" top="5" width="10" height="8"/>'
    )
    image = f'<image id="0" name="a.jpg" width="60" height="40">{shapes}</image>'
    file = folder / "annotations.xml"
    file.write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    return file


def _csv(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    save_image(folder / "b.jpg")
    file = folder / "labels.csv"
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    boxes = ('"a.jpg",60,40,"pit, deep",5,6,25,30', "a.jpg,60,40,dent,1,1,9.5,9")
    file.write_text("\n".join((head, *boxes, "b.jpg,60,40,,,,,")))
    return file


def _masks(folder: Path) -> Path:
    save_image(folder / "set/a.jpg")
    save_mask(folder / "set/a.png", (3, 3, 20, 20))
    return folder / "set/a.png"


def _yolo(folder: Path) -> Path:
    save_image(folder / "images/a.jpg")
    (folder / "data.yaml").write_text("train: images\nnames: [pit, dent]\n")
    (folder / "labels").mkdir()
    file = folder / "labels/a.txt"
    file.write_text("0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.3 0.2 0.3 0.5\n")
    return file


def _dataset_file(folder: Path) -> Path:
    _yolo(folder)
    return folder / "data.yaml"


def _dataset(file: Path, out: Path) -> object:
    return list_images(find_dataset(str(file)), "train")


def _config(folder: Path) -> Path:
    file = folder / "config.yaml"
    values = {"model": {"name": "lightnet-n"}, "data": {"name": "x"}, "image_size": [64, 96]}
    file.write_text(yaml.safe_dump({**values, "epochs": 3, "optim": {"lr": 0.01}}))
    return file


def _weights(suffix: str) -> Callable[[Path], Path]:
    def prepare(folder: Path) -> Path:
        file = make_weights(folder / "made.pt")
        if suffix == ".onnx":
            export(file, out=folder / "made.onnx")
        elif suffix != ".pt":
            save_weights(folder / f"made{suffix}", load_weights(file))
        return folder / f"made{suffix}"

    return prepare


READERS = {
    **{
        f"image{s}": Reader(_picture(s), _look, ANY)
        for s in (".png", ".jpg", ".bmp", ".tif", ".webp")
    },
    "labels": Reader(_yolo, lambda file, out: read_labels(file, 2), TEXT),
    "data.yaml": Reader(_dataset_file, _dataset, TEXT),
    "config": Reader(_config, lambda file, out: load_config(file), TEXT),
    "yolo": Reader(_yolo, _importer("yolo"), TEXT),
    "voc": Reader(_voc, _importer("voc"), TEXT),
    "coco": Reader(_coco, _importer("coco"), JSON),
    "labelme": Reader(_labelme, _importer("labelme"), JSON),
    "cvat": Reader(_cvat, _importer("cvat"), TEXT),
    "csv": Reader(_csv, _importer("csv"), TEXT),
    "masks": Reader(_masks, _importer("masks"), ANY),
    "weights.pt": Reader(_weights(".pt"), lambda file, out: load_weights(file), ANY),
    "weights.safetensors": Reader(
        _weights(".safetensors"), lambda file, out: load_weights(file), ANY
    ),
    "onnx": Reader(_weights(".onnx"), lambda file, out: open_runtime(file), ANY),
}
HEAVY = {"weights.pt", "weights.safetensors", "onnx"}  # megabytes a file: a tenth of the cases


def case(sound: bytes, kinds: tuple[Mutation, ...], name: str, number: int) -> bytes:
    """Damage ``number`` of the reader ``name``, always the same."""
    return mutations.mutate(sound, kinds, random.Random(zlib.crc32(f"{name} {number}".encode())))


class Hangs(Exception):
    """A reader took longer than SECONDS."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _try(name: str, folder: Path, count: int) -> list[str]:
    reader = READERS[name]
    (folder / "source").mkdir()
    (folder / "out").mkdir()
    file = reader.prepare(folder / "source")
    sound, faults, before = file.read_bytes(), [], _peak()
    reader.read(file, folder / "out")  # what is not damaged is read
    for number in range(count):
        file.write_bytes(case(sound, reader.kinds, name, number))
        tree = _tree(folder / "source")
        try:
            with _limited():
                reader.read(file, folder / "out" / str(number))
        except KdlnetError as error:
            if "\n" in str(error) or not str(error):
                faults.append(f"{name} {number}: not one line: {error!r}")
        except Exception as error:
            faults.append(f"{name} {number}: {type(error).__name__}: {str(error)[:200]}")
        if _tree(folder / "source") != tree:
            faults.append(f"{name} {number}: the source was changed")
    if set(folder.iterdir()) != {folder / "source", folder / "out"}:
        faults.append(f"{name}: something was written beside the output")
    if _peak() - before > MEGABYTES:
        faults.append(f"{name}: {_peak() - before} MB more than before")
    return faults


def _made(name: str) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in READERS if name not in HEAVY])
def test_damaged_files_end_in_one_line(name: str, tmp_path: Path) -> None:
    assert _try(name, tmp_path, QUICK) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(READERS))
def test_many_damaged_files_end_in_one_line(name: str, tmp_path: Path) -> None:
    _made(name)
    assert _try(name, tmp_path, MANY // 10 if name in HEAVY else MANY) == []


def test_a_reader_that_breaks_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: a traceback, several lines, a changed source and a hang are faults."""

    def broken(file: Path, out: Path) -> object:
        text = file.read_bytes()
        if text == sound:
            return None
        (file.parent / "new").touch()
        raise (KdlnetError("two\nlines") if len(text) % 2 else ValueError("bad"))

    (tmp_path / "sound").mkdir()
    sound = _yolo(tmp_path / "sound").read_bytes()
    monkeypatch.setitem(READERS, "broken", Reader(_yolo, broken, TEXT))
    (tmp_path / "work").mkdir()
    faults = " ".join(_try("broken", tmp_path / "work", 20))
    for part in ("not one line", "ValueError: bad", "the source was changed"):
        assert part in faults
