"""What lies where in the folder of a run, and that one process at a time is at work there."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from kdlnet.config import TrainConfig, build_config
from kdlnet.errors import KdlnetError
from kdlnet.events import EpochDone
from kdlnet.inference.weights import load_weights
from kdlnet.training.run_folder import RunFolder
from kdlnet.utils.lock import alone_in
from kdlnet.verbs.baseline import measure_gain
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train

from ..support.interrupt import StopAt
from ..support.weights_file import make_file

BUSY = "another kdlnet is at work"


def test_run_folder() -> None:
    run = Path("runs/a").absolute()
    assert RunFolder.around(run).path == RunFolder.around(run / "weights" / "last.pt").path == run
    assert RunFolder.around(Path("runs/a/weights/last.pt")).path == run


def test_a_last_pt_without_a_state_tells_of_no_kill(tmp_path: Path) -> None:
    """Such as a copy of best.pt; ``--final RUN --init FILE`` needs no state."""
    folder = RunFolder(tmp_path)
    folder.last.parent.mkdir()
    plain = load_weights(make_file(folder.last))
    assert not plain.training and not folder.lacks_best(plain)


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("verb", ["train", "taught", "series", "baseline"])
def test_a_second_process_is_refused_before_it_writes(
    verb: str, config: TrainConfig, tmp_path: Path
) -> None:
    """Also where it names another place of the dataset, which config.yaml would note."""
    short = build_config({**config.to_dict(), "epochs": 1})
    out = tmp_path / "run"
    start, resume = {
        "train": (train, train),
        "taught": (distill, distill),
        "series": (distill, distill),
        "baseline": (measure_gain, measure_gain),
    }[verb]
    more = {"teachers": [make_file(tmp_path / "teacher.pt")]} if verb == "taught" else {}
    with pytest.raises(KeyboardInterrupt):
        start(short, out=out, on_event=StopAt(1), **more)
    dataset = Path(config.data.name)
    shutil.copytree(dataset.parent, tmp_path / "new")
    asked = build_config({"data": {"name": str(tmp_path / "new" / dataset.name)}})
    before = _files(out)
    with alone_in(out):
        with pytest.raises(KdlnetError, match=BUSY):
            resume(asked, resume=out)
        with pytest.raises(KdlnetError, match=BUSY):
            start(short, out=out, overwrite=True, **more)
    assert _files(out) == before
    with suppress(KeyboardInterrupt):  # one more epoch of a series is enough
        resume(asked, resume=out, on_event=StopAt(1))
    assert str(tmp_path / "new") in (out / "config.yaml").read_text()


@pytest.mark.parametrize(("gone", "epoch"), [(".", 0), ("config.yaml", 0), (".", 2)])
def test_a_folder_that_is_removed_under_a_run_is_not_made_again(
    gone: str, epoch: int, config: TrainConfig, tmp_path: Path
) -> None:
    """It would have no settings, and ``--resume`` would refuse it."""
    out = tmp_path / "run"

    def remove(event: object) -> None:
        if isinstance(event, EpochDone) and event.epoch == epoch:
            place = out / gone
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    with pytest.raises(KdlnetError, match=r"removed or moved while the run .* and the run stops"):
        train(config, out=out, on_event=remove)
    assert out.exists() == (gone != ".")
