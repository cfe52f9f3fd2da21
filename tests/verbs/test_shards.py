"""Prediction in shards: each image once, over kills, and merged as one run would have it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.events import Message
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.tally import PredictResult
from kdlnet.utils.lock import alone_in
from kdlnet.verbs.merge import merge_shards
from kdlnet.verbs.predict import Shard, predict_files

from ..support.weights_file import make_file, make_weights

ALL = ("images", "txt", "json", "csv", "crops")
Run = Callable[..., PredictResult]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture
def run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Predicts eleven images, two that share a name and one that cannot be read among them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts/b").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ["a.png", "a.bmp", *(f"b/{n}.png" for n in range(8))]:
        cv2.imwrite(f"parts/{name}", random.integers(0, 255, (48, 64, 3), np.uint8))
    Path("parts/b/3-broken.png").touch()

    def run(shard: str | None, **more: Any) -> PredictResult:
        part = None if shard is None else Shard.read(shard)
        usual = {"out": Path("lot"), "batch": 1, "device": "cpu", "save": ALL, "shard": part}
        return predict_files(more.pop("weights", file), "parts", **usual | more)

    return run


def _document(folder: Path) -> dict[str, Any]:
    """predictions.json without what no two runs share."""
    text = (folder / "predictions.json").read_text()
    document = json.loads(text)
    assert text == json.dumps(document, indent=2) + "\n"
    for one in document["predictions"]:
        del one["seconds"]
    return document


def _names(folder: Path, pattern: str) -> list[str]:
    """Files of all shards below ``folder``, without the shards."""
    found = (file.relative_to(folder) for file in folder.glob(pattern))
    return sorted(
        Path(*path.parts[path.parts[0].startswith("shard-") :]).as_posix() for path in found
    )


def test_shards_of_two_folders_are_told_when_they_are_merged(run: Run, file: Path) -> None:
    shutil.copytree("parts", "other")
    run("1/2")
    predict_files(file, "other", out=Path("lot"), device="cpu", save=ALL, shard=Shard.read("2/2"))
    heard: list[object] = []
    merge_shards(Path("lot"), on_event=heard.append)
    (line,) = [e.text for e in heard if isinstance(e, Message) and "number alike" in e.text]
    assert line.startswith("shard-1-of-2 is of 'parts' and shard-2-of-2 of 'other': make sure")


def test_shards_merge_to_what_one_run_gives(run: Run) -> None:
    whole = run(None, out=Path("whole"))
    parts = [run(f"{n}/3") for n in (3, 1, 2)]
    assert [part.folder and part.folder.name for part in parts] == [
        f"shard-{n}-of-3" for n in (3, 1, 2)
    ]
    merged = merge_shards(Path("lot"))
    assert merged.folder == Path("lot") and whole.folder is not None
    assert _document(Path("lot")) == _document(whole.folder)
    for table in ("predictions.csv", "verdicts.csv"):
        assert Path("lot", table).read_text() == (whole.folder / table).read_text()
    for kind in ("images/**/*.jpg", "labels/**/*.txt", "crops/**/*.png"):
        assert len(_names(Path("lot"), f"shard-*/{kind}")) == len(_names(whole.folder, kind)) > 0
    assert (merged.images, merged.ok, merged.ng) == (whole.images, whole.ok, whole.ng)
    assert (merged.boxes, merged.skipped) == (whole.boxes, whole.skipped)
    assert len(merged.skipped) == 1 and "3-broken" in merged.skipped[0]
    answers = Path("lot/verdicts.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in answers] == [str(index) for index in range(11)]
    assert ["UNREADABLE" in row for row in answers] == [index == 5 for index in range(11)]
    merge_shards(Path("lot"))  # once more, over its own
    assert _document(Path("lot")) == _document(whole.folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells what is in a handle")
def test_a_full_disk_leaves_all_files_of_a_merge_or_none(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document had its name already when a table did not fit."""
    run("1/1", save=("json", "csv"))
    fsync = os.fsync

    def full(handle: int) -> None:
        file = Path(f"/proc/self/fd/{handle}")
        if file.is_file() and file.read_bytes().startswith(b"name,index"):  # a table
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KdlnetError, match="No space left"):
            merge_shards(Path("lot"))
    left = {path.name for path in Path("lot").iterdir() if path.is_file()}
    assert left == {".kdlnet"}
    merge_shards(Path("lot"))
    assert {"config.yaml", "predictions.json", "predictions.csv", "verdicts.csv"} < {
        path.name for path in Path("lot").iterdir()
    }


def test_the_settings_of_a_merge_get_their_name_last(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two names leaves no folder that has them and lacks a table."""
    run("1/1", save=("json", "csv"))
    named: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        named.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    merge_shards(Path("lot"))
    assert named == ["predictions.json", "verdicts.csv", "predictions.csv", "config.yaml"]


def test_files_of_an_image_have_its_stem_in_one_run_and_in_shards(run: Run) -> None:
    """The index says in which shard they are, and no two shards have a name in common."""
    Path("parts/b/3.jpg").write_bytes(b"no image")  # takes the name of 3.png all the same
    whole = run(None, out=Path("whole"))
    for number in (3, 1, 2):
        run(f"{number}/3")
    merge_shards(Path("lot"))
    found = _document(Path("lot"))["predictions"]
    assert whole.folder is not None and found == _document(whole.folder)["predictions"]
    stems = {one["name"]: one["stem"] for one in found if one["stem"] is not None}
    assert (stems["parts/a.bmp"], stems["parts/a.png"]) == ("a", "a-2")
    assert stems["parts/b/3.png"] == "b/3-2" and len(set(stems.values())) == 10
    for one in (one for one in found if one["stem"] is not None):
        shard = Path(f"lot/shard-{one['index'] % 3 + 1}-of-3")
        for folder in (shard, whole.folder):
            rows = (folder / f"labels/{one['stem']}.txt").read_text().splitlines()
            assert [int(row[0]) for row in rows] == [box["label"] for box in one["boxes"]]
            assert (folder / f"images/{one['stem']}.jpg").exists()
            for number, box in enumerate(one["boxes"], start=1):
                assert (folder / f"crops/{box['class']}/{one['stem']}-{number}.png").exists()
    for kind in ("images/**/*.jpg", "labels/**/*.txt", "crops/**/*.png"):
        assert _names(Path("lot"), f"shard-*/{kind}") == _names(whole.folder, kind)


def test_a_stopped_shard_goes_on_with_what_is_left(run: Run) -> None:
    def stop(prediction: Prediction) -> None:
        if prediction.index == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("1/1", on_prediction=stop)
    book = Path("lot/shard-1-of-1/predictions.jsonl")
    lines = book.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["index"] for line in lines[:5]] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="is not done"):
        merge_shards(Path("lot"))
    book.write_bytes(b"".join(lines[:5]) + lines[0][:40])  # a kill tears a line
    again: list[int] = []
    result = run("1/1", on_prediction=lambda one: again.append(one.index))
    assert again == [6, 7, 8, 9, 10]  # 5 cannot be read
    assert (result.images, result.before, len(result.skipped)) == (10, 5, 1)
    whole = run(None, out=Path("whole"))
    assert (result.ok, result.ng, result.boxes) == (whole.ok, whole.ng, whole.boxes)
    merge_shards(Path("lot"))
    assert whole.folder is not None and _document(Path("lot")) == _document(whole.folder)
    assert _names(Path("lot"), "shard-*/images/**/*.jpg") == _names(whole.folder, "images/**/*.jpg")


def test_done_means_done_but_for_what_could_not_be_read(run: Run) -> None:
    run("1/1")
    again: list[int] = []
    assert run("1/1", on_prediction=lambda one: again.append(one.index)).before == 10
    assert again == []
    Path("parts/b/3-broken.png").write_bytes(Path("parts/a.png").read_bytes())
    assert run("1/1", on_prediction=lambda one: again.append(one.index)).images == 11
    assert again == [5]
    merged = merge_shards(Path("lot"))
    assert (merged.images, merged.skipped) == (11, ())
    indices = [one["index"] for one in _document(Path("lot"))["predictions"]]
    assert indices == list(range(11))


@pytest.mark.parametrize("how", ["of another size", "of another time"])
def test_todays_part_does_not_get_the_answer_of_yesterdays(run: Run, how: str) -> None:
    """Where each lot numbers its images anew, the names alone are the same."""
    run("1/1")
    image = Path("parts/b/4.png")
    if how == "of another size":
        image.write_bytes(Path("parts/a.bmp").read_bytes())
    else:
        os.utime(image, ns=(0, 1_800_000_000_000_000_000))
    with pytest.raises(DataError, match=r"4\.png' is not the file .* choose another --out"):
        run("1/1")
    assert merge_shards(Path("lot")).images == 10
    assert '"stamp"' not in Path("lot/predictions.json").read_text()


def test_a_shard_of_an_older_version_is_run_again(run: Run) -> None:
    run("1/1")
    book = Path("lot/shard-1-of-1/predictions.jsonl")
    *lines, end = book.read_text().splitlines()
    values = json.loads(end)
    values["skipped"] = [one["why"] for one in values["skipped"]]
    book.write_text("\n".join([*lines, json.dumps(values)]) + "\n")
    with pytest.raises(DataError, match="is not done"):
        merge_shards(Path("lot"))
    assert run("1/1").before == 10
    assert len(merge_shards(Path("lot")).skipped) == 1


def test_more_shards_than_images(run: Run) -> None:
    for number in range(1, 13):
        run(f"{number}/12", save=["csv"])
    assert merge_shards(Path("lot")).images == 10
    assert not Path("lot/predictions.json").exists()
    assert len(Path("lot/verdicts.csv").read_text().splitlines()) == 12


def test_what_does_not_belong_together_is_refused(run: Run, tmp_path: Path) -> None:
    run("1/2")
    with pytest.raises(DataError, match=r"1 of 2 shards are not in 'lot', first shard-2-of-2"):
        merge_shards(Path("lot"))
    with pytest.raises(DataError, match=r"another iou_threshold 0\.55, not 0\.5"):
        run("1/2", iou_threshold=0.5)
    other = make_weights(tmp_path / "other.pt")
    with pytest.raises(DataError, match="begun with another"):
        run("1/2", weights=other)
    run("2/2", save=["csv"])
    with pytest.raises(DataError, match="begun with another save"):
        merge_shards(Path("lot"))
    Path("parts/new.png").write_bytes(Path("parts/a.png").read_bytes())
    with pytest.raises(DataError, match="begun with another images"):
        run("1/2")
    Path("parts/new.png").rename("parts/a.png")
    Path("parts/b/0.png").rename("parts/b/00.png")
    with pytest.raises(DataError, match="begun with another list of images"):
        run("1/2")


def test_only_images_are_divided_and_into_a_folder_that_is_named(run: Run, file: Path) -> None:
    with pytest.raises(ConfigError, match="give --out"):
        run("1/2", out=None)
    with pytest.raises(DataError, match="cannot be divided"):
        predict_files(file, "0", out=Path("lot"), shard=Shard(1, 2))
    Path("mine").mkdir()
    Path("mine/letter.txt").touch()
    with pytest.raises(DataError, match="not made by kdlnet"):
        run("1/2", out=Path("mine"))
    assert not Path("lot").exists() and len(list(Path("mine").iterdir())) == 1
    with pytest.raises(DataError, match="holds no shards"):
        merge_shards(Path("mine"))


def test_one_process_a_shard(run: Run) -> None:
    run("1/1")
    with alone_in(Path("lot/shard-1-of-1")), pytest.raises(KdlnetError, match="another kdlnet"):
        run("1/1")


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "-1/2", "1/2/3", "a/b", ""])
def test_a_shard_is_i_of_n(text: str) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        Shard.read(text)
