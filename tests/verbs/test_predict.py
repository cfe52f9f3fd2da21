"""Predictions as files: what is written, what is kept after an error, what is refused."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.events import Message, Progress
from kdlnet.images.frame import Frame
from kdlnet.inference import writer as writer_module
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.writer import crop, yolo_rows
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.utils.output import Place
from kdlnet.verbs.predict import predict_files

from ..support.blob_network import grey, make_predictor
from ..support.videos import changed
from ..support.weights_file import NAMES, make_file


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return make_file(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two readable images whose results would share a name, and a broken one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "parts"
    (folder / "b").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a.png", "a.bmp", "b/c.png"):
        cv2.imwrite(str(folder / name), random.integers(0, 255, (80, 60, 3), np.uint8))
    (folder / "zero.png").touch()
    return folder


ALL = ("images", "txt", "json", "csv", "crops")


def test_all_files_of_a_run(file: Path, parts: Path) -> None:
    events: list[object] = []
    result = predict_files(file, "parts", device="cpu", save=ALL, on_event=events.append)
    assert result.folder == Path("runs/predict/parts").absolute()
    assert (result.images, result.ok + result.ng, len(result.skipped)) == (3, 3, 1)
    assert sum(isinstance(event, Message) for event in events) == 1
    assert events[-1] == Progress("predict", 4, 4)
    folder = result.folder
    drawn = {path.relative_to(folder).as_posix() for path in folder.glob("images/**/*.jpg")}
    assert drawn == {"images/a.jpg", "images/a-2.jpg", "images/b/c.jpg"}
    written = json.loads((folder / "predictions.json").read_text())
    stems = {one["name"]: one["stem"] for one in written["predictions"]}
    named = [stems[f"parts/{name}"] for name in ("a.bmp", "a.png", "b/c.png")]
    assert named == ["a", "a-2", "b/c"]
    assert len(written["predictions"]) == 4 and written["names"] == list(NAMES)
    (unread,) = [one for one in written["predictions"] if one["verdict"] == "UNREADABLE"]
    assert (unread["index"], unread["boxes"]) == (written["predictions"].index(unread), [])
    assert unread["why"] == result.skipped[0] and "is empty (0 bytes)" in unread["why"]
    with (folder / "verdicts.csv").open(newline="") as table:
        answers = [(row["name"], row["verdict"]) for row in csv.DictReader(table)]
    assert len(answers) == 4 and (unread["name"], "UNREADABLE") in answers
    assert unread["name"] == str(Path("parts/zero.png"))
    assert (folder / "predictions.json").read_text() == json.dumps(written, indent=2) + "\n"
    count = sum(len(one["boxes"]) for one in written["predictions"])
    assert count == sum(result.boxes.values()) > 0
    with (folder / "predictions.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == count == len(list(folder.glob("crops/*/**/*.png")))
    first = written["predictions"][0]["boxes"][0]
    assert [float(rows[0][key]) for key in ("x1", "y1", "x2", "y2")] == first["box"]
    assert (rows[0]["class"], float(rows[0]["score"])) == (first["class"], first["score"])
    for name in ("a", "a-2", "b/c"):
        for line in (folder / f"labels/{name}.txt").read_text().splitlines():
            label, *shares, score = line.split()
            assert label in "01" and 0.25 <= float(score) <= 1
            assert len(shares) == 4 and all(0 <= float(share) <= 1 for share in shares)


@pytest.mark.parametrize("kind", ["images", "json"])
def test_a_folder_that_is_removed_meanwhile_is_an_error(
    predictor: Predictor, tmp_path: Path, kind: str
) -> None:
    """Its files that grow, and the pictures so far, are lost, though the rest could be written."""
    (prediction,) = predictor.predict(grey(9))
    with writer_module.PredictionWriter([kind], Place(tmp_path / "out")) as writer:
        writer.write(prediction)
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(KdlnetError, match=r"out' was removed or emptied .*start again"):
            writer.write(prediction)


def test_yolo_rows_give_the_boxes_back(predictor: Predictor) -> None:
    (prediction,) = replace(predictor, rule=VerdictRule.at(0.5)).predict(grey(255, 128, 64))
    label, cx, cy, width, height, score = map(float, yolo_rows(prediction).split())
    assert (label, cx * 64, cy * 128, width * 64, height * 128) == (0, 32, 64, 32, 32)
    assert score == pytest.approx(float(prediction.scores[0]), abs=1e-7)


def test_crops_keep_the_native_depth(predictor: Predictor, tmp_path: Path) -> None:
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    cv2.imwrite(str(tmp_path / "deep.png"), image)
    deep = replace(predictor, rule=VerdictRule.at(0.5))
    with writer_module.PredictionWriter(["crops"], Place(tmp_path / "out")) as writer:
        for prediction in deep.stream(tmp_path / "deep.png", on_event=lambda event: None):
            writer.write(prediction)
    (cut,) = (tmp_path / "out").rglob("*.png")
    assert (cv2.imread(str(cut), cv2.IMREAD_UNCHANGED) == image[24:40, 24:40]).all()


def test_a_crop_has_a_pixel_at_least() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert crop(image, [6.0, 4.0, 6.0, 4.0]).shape == (1, 1, 3)
    assert crop(image, [1.2, 0.0, 2.1, 0.4]).shape == (1, 2, 3)
    assert crop(image, [0.0, 0.0, 6.0, 4.0]).shape == image.shape


def test_a_name_that_is_no_utf8_is_written_as_it_is(file: Path, parts: Path) -> None:
    (parts / "a.png").rename(parts / os.fsdecode(b"\xe4lat.png"))
    result = predict_files(file, "parts", device="cpu", save=("csv",))
    assert result.folder is not None
    assert b"\xe4lat.png" in (result.folder / "verdicts.csv").read_bytes()


def test_folders_count_up_and_inputs_are_safe(file: Path, parts: Path) -> None:
    folders = [predict_files(file, "parts", device="cpu").folder for _ in range(2)]
    assert [folder.name for folder in folders if folder] == ["parts", "parts-2"]
    again = predict_files(file, "parts", device="cpu", out=folders[0], overwrite=True)
    assert again.folder == folders[0]
    with pytest.raises(KdlnetError, match="would delete"):
        predict_files(file, "parts/a.png", device="cpu", out=Path(), overwrite=True)
    with pytest.raises(KdlnetError, match="would delete"):
        predict_files(file, "parts/a.png", device="cpu", out=file.parent, overwrite=True)


def test_nothing_is_written_where_nothing_was_read_or_asked_for(file: Path, parts: Path) -> None:
    with pytest.raises(DataError, match="no image could be read"):
        predict_files(file, "parts/zero.png", device="cpu")
    assert predict_files(file, "parts", device="cpu", save=["none"]).folder is None
    with pytest.raises(ConfigError, match="'jsn'; did you mean 'json'"):
        predict_files(file, "parts", device="cpu", save=["jsn"])
    assert not Path("runs").exists()


def test_a_full_disk_is_told(file: Path, parts: Path, monkeypatch) -> None:
    """The picture is written behind: its error must not be lost, on the last image either."""

    def full(path: Path, image: object) -> None:
        raise KdlnetError(f"cannot write {path.name!r}: No space left on device")

    monkeypatch.setattr(writer_module, "save_image", full)
    for source in ("parts/a.png", "parts"):
        with pytest.raises(KdlnetError, match="No space left"):
            predict_files(file, source, device="cpu", batch=1)


def test_a_stop_keeps_what_was_done(file: Path, parts: Path) -> None:
    def stop(prediction: Prediction) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(file, "parts", device="cpu", save=["json", "csv"], on_prediction=stop)
    written = json.loads(Path("runs/predict/parts/predictions.json").read_text())
    assert len(written["predictions"]) == 1


def test_predictions_are_on_the_disk_and_not_in_memory(file: Path, parts: Path) -> None:
    """At every image the document is whole and holds those before it, but for the pending ones."""
    seen = []

    def look(prediction: Prediction) -> None:
        seen.append(len(_read_along(Path("runs/predict/parts/predictions.json"))))

    named = ["parts/a.png"] * 12
    out = Path("runs/predict/parts")
    predict_files(file, named, device="cpu", save=["json"], batch=1, out=out, on_prediction=look)
    assert len(seen) == 12 and all(count >= n - 3 for n, count in enumerate(seen)), seen


def _read_along(document: Path) -> list[Any]:
    """What a document holds that grows meanwhile; a read in the middle of a write is repeated."""
    for _ in range(50 if document.exists() else 0):
        with contextlib.suppress(json.JSONDecodeError):
            found: list[Any] = json.loads(document.read_text())["predictions"]
            return found
        time.sleep(0.01)
    assert not document.exists()
    return []


@pytest.mark.parametrize("room", [0, 2])
def test_a_full_disk_says_how_many_images_are_written(
    file: Path, parts: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not how many the network saw: those wait to be written."""
    save = writer_module.save_image

    def full(path: Path, image: np.ndarray) -> None:
        if int(path.stem) >= room:
            raise KdlnetError("No space left")
        save(path, image)

    monkeypatch.setattr(writer_module, "save_image", full)
    names = [parts / f"{n}.png" for n in range(4)]
    for name in names:
        name.write_bytes((parts / "a.png").read_bytes())
    with pytest.raises(KdlnetError, match="No space left") as caught:
        predict_files(file, names, device="cpu", out=parts.parent / "out")
    assert ("the results of 2 images before it" in str(caught.value)) == (room == 2)
    assert ("the results of" in str(caught.value)) == (room > 0)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_full_disk_leaves_whole_rows(predictor: Predictor, tmp_path: Path, kind: str) -> None:
    """A last row that ended in the middle looked like a part, and the error named no file."""
    resource = pytest.importorskip("resource")
    (prediction,) = predictor.predict(grey(200))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = writer_module.PredictionWriter([kind], Place(tmp_path), lines=True)
    try:
        with pytest.raises(KdlnetError, match=r"cannot write .*(predictions|verdicts)\."), writer:
            writer.write(prediction)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most[1]))  # a file takes no more
            while True:
                writer.write(prediction)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    files = [file for file in tmp_path.iterdir() if file.suffix in (".csv", ".jsonl")]
    assert files and writer.written > 1
    for file in files:
        lines = file.read_bytes().splitlines(keepends=True)
        assert len({line.strip() for line in lines[-writer.written :]}) == 1, file
        assert lines[-1].endswith(b"\n")


def test_videos_have_a_row_for_what_nobody_saw(file: Path, parts: Path) -> None:
    """In its place: of a frame in the middle, of what a cut file lacks, of a file that is none."""
    damaged = changed(parts.parent, lambda n, data: data[:700] if n == 3 else data)
    cut = parts.parent / "cut.avi"
    data = damaged.read_bytes()
    cut.write_bytes(data[: data.rindex(b"00dc", 0, data.index(b"idx1"))])
    (parts.parent / "none.avi").write_text("none")
    names = ["none.avi", "changed.avi", "cut.avi", "parts/a.png", "parts/zero.png", "none.avi"]
    result = predict_files(file, names, device="cpu", save=["csv", "json"], batch=2)
    assert result.folder is not None
    with (result.folder / "verdicts.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    found = [(row["name"], int(row["index"])) for row in rows]
    assert found == [
        ("none.avi", 0),
        *(("changed.avi", n) for n in range(6)),
        *(("cut.avi", n) for n in range(6)),
        ("parts/a.png", 3),
        ("parts/zero.png", 4),
        ("none.avi", 0),
    ]
    unseen = [n for n, row in enumerate(rows) if row["verdict"] == "UNREADABLE"]
    assert unseen == [0, 4, 10, 12, 14, 15] and len(result.skipped) == 6
    written = json.loads((result.folder / "predictions.json").read_text())["predictions"]
    assert [(one["name"], one["index"]) for one in written] == found
    whys = [written[n]["why"] for n in unseen]
    assert whys == list(result.skipped)
    assert "frame 3 of video 'changed.avi' is truncated" in whys[1]
    assert "announces 6 frames and ends in number 6" in whys[3]


def test_a_stalled_stream_keeps_what_was_done(file: Path, tmp_path: Path, monkeypatch) -> None:
    from kdlnet.images import sources

    def stalling(address: str, timeout: float, reconnect: float, on_problem, every):
        for index in range(2):
            image = np.full((48, 64, 3), 90, np.uint8)
            yield Frame("http://camera/1", f"{index:06d}", image, index, index / 10)
        on_problem(DataError("frame 2 is truncated"), "http://camera/1", 2, 0.25)
        (file,) = Path("runs/predict").glob("*/predictions.jsonl")
        over = time.monotonic() + 30
        while '"index": 2' not in file.read_text():  # though no other frame comes
            assert time.monotonic() < over
            time.sleep(0.01)
        raise DataError("stream 'http://camera/1' stalled")

    monkeypatch.setattr(sources, "stream_frames", stalling)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"stalled \(the results of 2 images before it are in"):
        predict_files(file, "http://me:secret@camera/1", device="cpu")
    (folder,) = Path("runs/predict").iterdir()
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["index"] for one in found] == [0, 1, 2]
    assert (found[2]["verdict"], found[2]["why"]) == ("UNREADABLE", "frame 2 is truncated")
    assert found[2]["timestamp"] == 0.25
    assert not (folder / "predictions.json").exists()
    assert "secret" not in (folder / "config.yaml").read_text()
    assert len(list(folder.glob("images/*.jpg"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_stays_flat(file: Path, parts: Path) -> None:
    """Of 10,000 images the last 8,000 take no more memory than the first 2,000."""
    held: list[int] = []

    def look(prediction: Prediction) -> None:
        held.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)

    named = ["parts/a.png"] * 10_000
    predict_files(file, named, device="cpu", save=["json"], batch=16, on_prediction=look)
    assert len(held) == 10_000
    assert max(held) - max(held[:2_000]) < 16 * 2**20, (max(held), max(held[:2_000]))
