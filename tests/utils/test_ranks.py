"""One process is rank 0 of 1; two processes on gloo sum, agree, and only the first one writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from kdlnet.losses.normalizer import normalizer
from kdlnet.training.meter import Meter
from kdlnet.training.run_folder import RunFolder
from kdlnet.types import StepOutput
from kdlnet.utils.ranks import agreed, from_writer, is_writer, ranks, summed

REPOSITORY = Path(__file__).resolve().parents[2]


def test_alone_everything_stays_as_it_is() -> None:
    value = torch.tensor([0.1, 0.2])
    assert summed(value) is value and agreed(0.3) == 0.3
    assert ranks() == 1 and is_writer() and from_writer(lambda: "here") == "here"
    assert normalizer(torch.tensor(0.1)).item() == 1
    assert normalizer(torch.tensor(7.3)).item() == torch.tensor(7.3).item()


def _work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        meter = Meter()
        for loss in [1.0, 2.0][: rank + 1]:  # 1 on rank 0; 1 and 2 on rank 1
            meter.add(StepOutput(torch.tensor(loss)), images=3)
        run = RunFolder.new(
            Path(folder) / "run", None, False, reads=[], images=[Path(folder) / "set" / "a.png"]
        )
        run.begin({"rank": rank}, "float32")
        found = {
            "summed": summed(torch.tensor([1.0, 2.0]) * (rank + 1)).tolist(),
            "agreed": agreed(0.25 + rank),
            "normalizer": [normalizer(torch.tensor(amount)).item() for amount in (3.0, 0.0)],
            "own": meter.means()["loss"],
            "all": meter.all_means(),
            "folder": run.path.name,
        }
        (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes_act_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)  # the new processes import this file by its name
    mp.spawn(_work, (str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for found in (first, second):
        assert found["summed"] == [3.0, 6.0]
        assert found["agreed"] == 0.25
        # (3 + 3) / 2: the mean over ranks of sums / 3 is the whole sum / 6. And 1 at least, shared.
        assert found["normalizer"] == [3.0, 0.5]
        assert found["all"] == [{"loss": pytest.approx(4 / 3)}, 9]
        assert found["folder"] == "run"
    assert (first["own"], second["own"]) == (1.0, 1.5)
    assert not (tmp_path / "run-2").exists()
    assert "rank: 0" in (tmp_path / "run" / "config.yaml").read_text()
