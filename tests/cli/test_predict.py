"""``kdlnet predict`` with the real engine: what is printed, written and refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from kdlnet.inference.predictor import Predictor
from kdlnet.inference.weights import load_weights, save_weights

from ..support.closed import closed
from ..support.weights_file import make_file

if TYPE_CHECKING:
    from .conftest import Command


@pytest.fixture
def images(dataset: Path, tmp_path: Path) -> Path:
    """Three of the made-up parts, and a file that is none."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for image in sorted((dataset / "images").rglob("*.png"))[:3]:
        shutil.copy(image, folder)
    (folder / "zero.png").touch()
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    file = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for n in range(5):
        writer.write(np.full((64, 96, 3), 40 * n, np.uint8))
    writer.release()
    return file


def test_a_folder(kdlnet: Command, weights: Path, images: Path) -> None:
    run = kdlnet("predict parts --score 0.001 --weights", weights)
    assert run.code == 0, run.err
    assert run.err == "warning: skipped: image 'parts/zero.png' is empty (0 bytes): " + (
        "copy it again or remove it\n"
    )
    cells = [line.split() for line in run.out.splitlines()]
    total = next(row[1] for row in cells if row and row[0] == "all")
    assert int(total) == sum(
        len(one["boxes"])
        for one in json.loads(Path("runs/predict/parts/predictions.json").read_text())[
            "predictions"
        ]
    )
    assert "3 images: " in run.out and "; 1 UNREADABLE" in run.out
    assert "images/s" in run.out and "all is in runs/predict/parts" in run.out
    assert len(list(Path("runs/predict/parts/images").iterdir())) == 3
    assert sum(line.startswith("parts/00") for line in run.out.splitlines()) == 3


def test_the_document(kdlnet: Command, weights: Path, images: Path) -> None:
    run = kdlnet("predict --save none --json --weights", weights, *sorted(images.glob("0*.png")))
    assert run.code == 0, run.err
    facts = run.document
    assert (
        facts["images"] == len(facts["predictions"]) == facts["ok"] + facts["ng"] == 3
        and facts["unsure"] == 0
    )
    assert facts["folder"] is None and facts["skipped"] == []
    assert run.out == json.dumps(facts, indent=2) + "\n" and list(facts)[-1] == "predictions"
    assert not Path("runs").exists()


def test_plain_lines_and_options_that_reach_the_engine(
    kdlnet: Command, weights: Path, images: Path
) -> None:
    line = "predict parts --quiet --score 0.001 --iou 0.5 --max-detections 2 --batch 2 --out o"
    run = kdlnet(
        f"{line} --image-size 96x64 --save txt --save csv --classes scratch,pit --weights", weights
    )
    assert run.code == 0, run.err
    assert not any(line.startswith("parts/") for line in run.out.splitlines())
    assert {path.name for path in Path("o").iterdir()} == {
        ".kdlnet",
        "config.yaml",
        "labels",
        "predictions.csv",
        "verdicts.csv",
    }
    verdicts = Path("o/verdicts.csv").read_text().splitlines()
    assert verdicts[0] == "name,index,timestamp,verdict,boxes" and len(verdicts) == 5
    assert verdicts[-1] == "parts/zero.png,3,,UNREADABLE,0"
    rows = [path.read_text().splitlines() for path in Path("o/labels").iterdir()]
    assert len(rows) == 3 and all(len(boxes) <= 2 for boxes in rows)
    assert "iou_threshold: 0.5" in Path("o/config.yaml").read_text()


def test_what_could_not_be_read_is_among_the_predictions_of_json(
    kdlnet: Command, weights: Path, images: Path, video: Path
) -> None:
    """The same records, in the same order, as in the file."""
    run = kdlnet("predict parts --save json --json --weights", weights)
    written = json.loads(Path("runs/predict/parts/predictions.json").read_text())
    assert run.document["predictions"] == written["predictions"]
    assert [one["verdict"] for one in written["predictions"]].count("UNREADABLE") == 1
    assert run.document["images"] == 3
    data = video.read_bytes()
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xd8"]
    video.write_bytes(data[: starts[3] + 100])
    run = kdlnet("predict line.avi --save json --json --weights", weights)
    lines = Path("runs/predict/line/predictions.jsonl").read_text().splitlines()
    assert list(map(json.loads, run.out.splitlines())) == list(map(json.loads, lines))
    assert json.loads(lines[-1])["verdict"] == "UNREADABLE"


def test_a_video_gives_json_lines(kdlnet: Command, weights: Path, video: Path) -> None:
    run = kdlnet("predict line.avi --json --weights", weights)
    assert run.code == 0, run.err
    frames = [json.loads(line) for line in run.out.splitlines()]
    assert [frame["index"] for frame in frames] == list(range(5))
    assert frames[2]["timestamp"] == pytest.approx(0.2) and frames[0]["size"] == [64, 96]
    assert "5 frames: " in run.err
    written = Path("runs/predict/line/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == frames
    assert len(list(Path("runs/predict/line/images/line").glob("*.jpg"))) == 5


def test_a_frame_each_so_many_seconds(kdlnet: Command, weights: Path, video: Path) -> None:
    run = kdlnet(
        "predict line.avi --every 0.25 --save labelme --out seen --json --weights", weights
    )
    timestamps = [json.loads(line)["timestamp"] for line in run.out.splitlines()]
    assert run.code == 0 and timestamps == [0.0, 0.3]
    assert "2 frames" in run.err
    kept = sorted(file.name for file in Path("seen/labelme/line").glob("*.png"))
    assert kept == ["000000.png", "000003.png"]
    run = kdlnet("predict --watch here --every 2 --weights", weights)
    assert run.code == 2 and "--every" in run.err


def test_a_video_that_is_cut_off(kdlnet: Command, weights: Path, video: Path) -> None:
    data = video.read_bytes()
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xd8"]
    video.write_bytes(data[: starts[3] + 100])
    run = kdlnet("predict line.avi --weights", weights)
    assert run.code == 0
    assert "announces 5 frames and ends in number 4" in run.err
    assert "3 frames: " in run.out and "1 UNREADABLE" in run.out
    assert kdlnet("predict line.avi --strict --weights", weights).code == 1


def test_a_stream(kdlnet: Command, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for n in range(4):
                data = cv2.imencode(".jpg", np.full((48, 64, 3), 50 * n, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

    monkeypatch.delenv("http_proxy", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        run = kdlnet(f"predict http://127.0.0.1:{server.server_port}/ --weights", weights)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert run.code == 0, run.err
    assert "4 frames: " in run.out
    (folder,) = Path("runs/predict").iterdir()
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("nowhere.png", ["'nowhere.png'", "does not exist"]),
        ("empty", ["'empty'", "no images"]),
        ("parts/zero.png", ["no image could be read", "zero.png"]),
        ("97", ["camera 97 cannot be opened"]),
        ("http://127.0.0.1:9/x", ["http://127.0.0.1:9/x", "cannot be opened"]),
        ("parts --strict", ["zero.png"]),
        ("parts --classes scratsh", ["'scratsh'", "did you mean 'scratch'"]),
        ("parts --save imges", ["'imges'", "did you mean 'images'"]),
        ("parts --device cudda", ["'cudda'", "cpu"]),
        ("parts --image-size 65", ["'65'", "multiple"]),
        ("parts --score 2", ["score 2", "below 1"]),
        ("parts --out parts/zero.png", ["zero.png", "is a file"]),
        ("parts --overwrite --out parts", ["would delete"]),
    ],
)
def test_user_errors(
    kdlnet: Command, weights: Path, images: Path, tmp_path: Path, flags: str, words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    run = kdlnet(f"predict {flags} --weights", weights)
    assert run.code == 1, run.err
    last = run.err.splitlines()[-1]
    assert last.startswith("error: ") and all(word in last for word in words), run.err
    assert "Traceback" not in run.err
    assert len(list(images.iterdir())) == 4
    if "--strict" not in flags:
        assert not Path("runs").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_is_not_writable(
    kdlnet: Command, weights: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    run = kdlnet("predict parts --out locked/run --weights", weights)
    assert run.code == 1 and "locked/run" in run.err


def test_an_output_folder_below_a_file(kdlnet: Command, weights: Path, images: Path) -> None:
    Path("file").touch()
    run = kdlnet("predict parts --out file/run --weights", weights)
    assert run.code == 1
    assert "cannot make the output folder" in run.err.splitlines()[-1]


@pytest.mark.parametrize(
    "flags",
    [
        ".",  # the usual folder would be below it
        "'../**/*.png'",
        "../parts --out runs",
        ". --out deep/er --overwrite",
    ],
)
def test_results_never_go_where_they_would_be_read(
    kdlnet: Command, weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    monkeypatch.chdir(images)
    before = sorted(images.rglob("*"))
    run = kdlnet(f"predict {flags} --weights", weights)
    assert run.code == 1
    assert "nothing is ever written: choose another --out" in run.error
    assert sorted(images.rglob("*")) == before
    assert kdlnet(f"predict {flags.split()[0]} --save none --weights", weights).code == 0


def test_images_named_one_by_one_claim_no_folder_and_results_are_no_input(
    kdlnet: Command, weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the shell's ``*.png`` names them; nothing takes the drawn pictures for input later."""
    monkeypatch.chdir(images)
    files = sorted(images.glob("0*.png"))
    Path("all.txt").write_text("\n".join(path.name for path in files))
    for source in (files, ["*.png"], ["all.txt"]):
        assert kdlnet("predict --weights", weights, *source).code == 0
    assert kdlnet("predict all.txt --out lot/ --shard 1/1 --weights", weights).code == 0
    assert len(list(Path("runs").rglob("*.jpg"))) == 3 * 3
    for source in ("../parts", "'../parts/**/*.*'"):
        run = kdlnet(f"predict {source} --save none --weights", weights)
        assert run.code == 0 and "3 images: " in run.out
        assert " folders of results (with .kdlnet in it), first " in run.err
    run = kdlnet("predict runs/predict/images --out ../o --weights", weights)
    assert run.code == 1 and "is a folder of results" in run.error


def test_overwrite_spares_a_person_s_own_file(kdlnet: Command, weights: Path, images: Path) -> None:
    line = "predict parts --out o --save images,txt,json,csv,crops --score 0.001 --overwrite"
    assert kdlnet(f"{line} --weights", weights).code == 0
    assert kdlnet(f"{line} --weights", weights).code == 0, "all of it is kdlnet's own"
    table = Path("o/predictions.csv")
    table.write_text(table.read_text().replace("scratch", "SCRATCH"))
    Path("o/images/mine.png").touch()
    run = kdlnet(f"{line} --weights", weights)
    assert run.code == 1
    assert "2 files" in run.error and "first 'predictions.csv'" in run.error
    assert "SCRATCH" in table.read_text() and Path("o/images/mine.png").exists()


def test_usage(kdlnet: Command, weights: Path) -> None:
    assert kdlnet("predict --weights", weights).code == 2
    assert "no weights file" in kdlnet("predict parts").error
    assert kdlnet("predict parts").code == 2
    assert "SOURCE" in kdlnet("predict --help").out


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_weights_that_are_none(kdlnet: Command, images: Path, content: bytes) -> None:
    Path("w.pt").write_bytes(content)
    run = kdlnet("predict parts --json --weights w.pt")
    assert run.code == run.document["error"]["code"] == 1
    assert "w.pt" in run.error
    Path("w.onnx").write_bytes(content)
    run = kdlnet("predict parts --weights w.onnx")
    assert run.code == 1
    assert "w.onnx" in run.error or "kdlnet[export]" in run.error


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_verdicts_are_counted_and_can_fail_the_command(
    kdlnet: Command, images: Path, tmp_path: Path
) -> None:
    """Three parts: with a rule between their scores one is OK, one UNSURE, one NG."""
    file = make_file(tmp_path / "busy.pt")
    line = "predict parts --quiet --json --overwrite --out o --save json,csv --weights"
    plain = Predictor.load(file, score_threshold=0.001).predict(sorted(images.glob("0*.png")))
    best = sorted(float(one.scores[0]) for one in plain)
    unsure, ng = (best[0] + best[1]) / 2, (best[1] + best[2]) / 2
    rule = {"score": ng, "unsure": unsure}
    save_weights(tmp_path / "ruled.pt", replace(load_weights(file), thresholds=rule))
    line = f"{line} ruled.pt"
    run = kdlnet(line)
    facts = run.document
    assert run.code == 0 and (facts["ok"], facts["unsure"], facts["ng"]) == (1, 1, 1)
    assert "3 images: 1 OK, 1 UNSURE, 1 NG; 1 UNREADABLE" in run.err
    *rows, unread = table(Path("o/verdicts.csv"))
    assert unread["verdict"] == "UNREADABLE"
    assert sorted(row["verdict"] for row in rows) == ["NG", "OK", "UNSURE"]
    answers = [one["verdict"] for one in facts["predictions"]]
    assert answers == [row["verdict"] for row in [*rows, unread]]
    counted = {row["name"]: int(row["boxes"]) for row in rows}
    boxes = table(Path("o/predictions.csv"))
    assert len(boxes) == sum(counted.values()) > 0
    assert {row["verdict"] for row in boxes} == {"UNSURE", "NG"}
    failed = kdlnet(f"{line} --fail-on NG")
    assert failed.code == 4 and failed.document["ng"] == 1  # the document comes all the same
    strict = kdlnet(f"{line} --score 0.9999999 --fail-on ng")
    assert strict.code == 0 and strict.document["ok"] == 3
    # A part that could not be read was judged by nobody.
    assert kdlnet(f"{line} --score 0.9999999 --fail-on unsure").code == 4
    (images / "zero.png").unlink()
    assert kdlnet(f"{line} --score 0.9999999 --fail-on unsure").code == 0
    assert kdlnet(f"{line} --fail-on ok").code == 2


def test_images_in_a_folder_that_cannot_be_listed_were_seen_by_nobody(
    kdlnet: Command, weights: Path, images: Path
) -> None:
    (images / "zero.png").unlink()
    (images / "cam2").mkdir()
    line = f"predict parts --score 0.9999999 --overwrite --out o --save csv --weights {weights}"
    with closed(images / "cam2"):
        run = kdlnet(f"{line} --fail-on unsure")
        assert run.code == 4 and "3 images: 3 OK, 0 NG; 1 UNREADABLE" in run.out
        assert "skipped: folder 'parts/cam2' cannot be read (Permission denied)" in run.err
        unread = table(Path("o/verdicts.csv"))[-1]
        assert (unread["name"], unread["verdict"]) == ("parts/cam2", "UNREADABLE")
        strict = kdlnet(f"{line} --quiet --strict")
        assert strict.code == 1 and "parts/cam2" in strict.error
        check = kdlnet("data check parts --quiet")
        assert check.code == 1 and "parts/cam2' cannot be read" in check.error
    assert kdlnet(f"{line} --fail-on unsure --strict").code == 0
