"""Classes and files called like markup, formulas and codes for terminals: text everywhere."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

from kdlnet.types import Preprocess

from ..support.weights_file import save_busy

if TYPE_CHECKING:
    from .conftest import Command

CLASSES = (
    "</script><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://x.example","y")',
    "@SUM(1+1)",
    "[red]x[/red] [/] {{7*7}} %s%n{0}",
    "$\\frac{x$",
    "../../up",
    "\u202eevil \x1b]0;title\x07",
    "x" * 300,
)
FILES = (
    "<img src=x onerror=alert(1)>",
    "=cmd|calc!A1",
    "-o",
    "@x",
    "\x1b]0;t\x07",
    "w\rx",
    "$a_$ %41#?&",
    "{{7*7}} [red]",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    save_busy(folder / "weights,2.pt", Preprocess((64, 64)), names=CLASSES)
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (folder / "set" / part / split).mkdir(parents=True)
        for n, name in enumerate(FILES):
            pixels = np.random.default_rng([n, split == "val"]).integers(0, 255, (64, 64), np.uint8)
            data = cv2.imencode(".png", cv2.GaussianBlur(pixels, (0, 0), 3))[1].tobytes()
            (folder / "set/images" / split / f"{name}.png").write_bytes(data)
            rows = [f"{n} 0.5 0.5 0.25 0.25\n", f"{(n + 1) % len(CLASSES)} 0.2 0.2 0.25 0.25\n"]
            (folder / "set/labels" / split / f"{name}.txt").write_text("".join(rows))
    values = {"train": "images/train", "val": "images/val", "names": list(CLASSES)}
    (folder / "set/data.yaml").write_text(yaml.safe_dump(values))
    return folder


LINES = {
    "predict": "predict {set}/images/train --weights {weights} --save images,txt,json,csv,crops",
    "val": "val {weights} --data {set}/data.yaml",
    "compare": "compare {weights} {weights} --data {set}/data.yaml",
    "check": "data check {set}/data.yaml",
    "show": "data show {set}/data.yaml",
    "coco": "data convert yolo {set} --to coco",
    "yolo": "data convert yolo {set}",
    "split": "data split {set}/data.yaml",
}


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
@pytest.mark.parametrize("name", LINES)
def test_nothing_of_them_reaches_the_terminal_as_a_code(
    name: str, kdlnet: Command, made: Path, tmp_path: Path
) -> None:
    line = LINES[name].format(set=made / "set", weights=made / "weights,2.pt")
    run = kdlnet(line, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    assert all(char.isprintable() for char in (run.out + run.err).replace("\n", ""))
    for word in ("</script>", "[red]"):
        assert word in run.out or name not in ("val", "coco", "yolo", "compare")
    if name == "val":
        figures = [row.split() for row in run.out.splitlines() if row.startswith("xxx")]
        assert len(figures[0]) > 4, "a long name leaves room for its figures"
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    for page in (tmp_path / "out").rglob("*.html"):
        assert not any("onerror" in names for _, names in elements(page))


def test_a_table_of_predictions_holds_no_formula(
    kdlnet: Command, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made / "set/images/train")
    line = f"predict *.png --weights {made / 'weights,2.pt'} --save csv,json,crops --score 0.1"
    run = kdlnet(line.replace("*", "./*"), "--out", tmp_path / "out")
    assert run.code == 0, run.err
    with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = json.loads((tmp_path / "out/predictions.json").read_text())["predictions"]
    boxes = [(one["name"], box["class"]) for one in found for box in one["boxes"]]
    assert len(rows) == len(boxes) > 0
    for row, (name, label) in zip(rows, boxes, strict=True):
        assert not row["name"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not row["class"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert Path(row["name"]) == Path(name)
        assert row["class"] == label or row["class"] == f"'{label}"
    assert {name for _, name in boxes} <= set(CLASSES), "JSON has the names as they are"
    assert all(len(path.name) < 130 for path in (tmp_path / "out/crops").iterdir())


class Tags(HTMLParser):
    """What a browser would make of a page, by kind of element."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def elements(page: Path) -> list[tuple[str, tuple[str, ...]]]:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    return tags.found


def test_a_page_has_the_elements_of_its_template_alone(
    kdlnet: Command, made: Path, tmp_path: Path
) -> None:
    plain = made / "plain"
    if not plain.exists():
        (plain / "images").mkdir(parents=True)
        cv2.imwrite(str(plain / "images/a.png"), np.zeros((64, 64), np.uint8))
        (plain / "data.yaml").write_text("train: images\nnames: [pit]\n")
    pages = []
    for source in (plain, made / "set"):
        out = tmp_path / source.name
        assert kdlnet(f"data show {source / 'data.yaml'}", "--out", out).code == 0
        pages.append(elements(out / "index.html"))
    assert pages[0] == pages[1]


def test_voc_refuses_what_xml_cannot_hold(kdlnet: Command, made: Path, tmp_path: Path) -> None:
    run = kdlnet(f"data convert yolo {made / 'set'} --to voc", "--out", tmp_path / "out")
    assert run.code == 1
    assert "holds a control character, which VOC cannot" in run.error
    assert not (tmp_path / "out").exists()
