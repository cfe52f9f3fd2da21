"""What each verb hands to the engine and shows of its answer."""
# ruff: noqa: TID251

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kdlnet.config import TrainConfig
from kdlnet.metrics.drift import Change, Drift
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.flips import Flips, McNemar
from kdlnet.metrics.paired import Difference
from kdlnet.metrics.rates import PartRates
from kdlnet.training.run import TrainResult
from kdlnet.utils.paths import typed
from kdlnet_cli.commands.compare import show_comparison
from kdlnet_cli.console import Console

if TYPE_CHECKING:
    from .conftest import Command, FakeEngine

CERTIFICATE = {
    "weights": Path("best.pt"),
    "fused": Path("best-fused.pt"),
    "images": 32,
    "real_images": False,
    "largest_logit_error": 2e-6,
    "largest_logit": 8.0,
    "tolerance": 8e-4,
    "same_boxes": True,
    "ap_before": None,
    "ap_after": None,
    "parameters_before": 1_500_000,
    "parameters_after": 1_120_000,
    "gflops_before": 3.0,
    "gflops_after": 2.45,
    "latency_ms_before": 20.0,
    "latency_ms_after": 12.5,
    "boxes_compared": 17,
    "already_fused": False,
}


def test_train_flags_reach_the_config(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet(
        "train --model lightnet-n --data set --data-root d --epochs 3 --image-size 64x96 --batch 4 "
        "--seed 7 --device cpu --time 1h30m --cache none --strict --out o --overwrite --init w.pt "
        "--set optim.lr=0.5 --set loss.topk=9"
    )
    assert run.code == 0, run.err
    config: TrainConfig = engine.call["config"]
    assert config.model.name == "lightnet-n"
    assert (config.data.name, config.data.root) == ("set", "d")
    assert (config.data.cache, config.data.strict) == ("none", True)
    assert (config.epochs, config.batch, config.seed) == (3, 4, 7)
    assert (config.image_size, config.device, config.time) == ((64, 96), "cpu", 5400)
    assert (config.optim.lr, config.loss.topk) == (0.5, 9)
    options = {key: engine.call[key] for key in engine.call if key != "config"}
    assert options == {"out": Path("o"), "init": Path("w.pt"), "overwrite": True}


def test_flags_not_given_leave_the_file_alone(
    kdlnet: Command, engine: FakeEngine, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(
        "epochs: 9\nbatch: 5\ndata: {name: set, strict: true}\nseed: 3"
    )
    assert kdlnet("train", "--config", "c.yaml", "--batch", 6, "--set", "seed=4").code == 0
    config = engine.call["config"]
    assert (config.epochs, config.batch, config.seed) == (9, 6, 4)
    assert config.data.strict is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "optim.lrr=1"], ["optim.lrr", "optim.lr"]),
        (["--set", "optim.lr"], ["optim.lr", "key=value"]),
        (["--set", "epochs=0"], ["epochs = 0", "greater"]),
        (["--image-size", "100"], ["'100'", "multiple of 32"]),
        (["--cache", "tape"], ["data.cache", "tape", "ram"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--config", "."], ["'.'", "directory"]),
    ],
)
def test_wrong_settings_are_1(
    kdlnet: Command, engine: FakeEngine, arguments: list[str], words: list[str]
) -> None:
    run = kdlnet("train", "--data", "set", *arguments)
    assert run.code == 1
    assert all(word in run.error for word in words), run.error
    assert not engine.calls


def test_train_prints_one_line_an_epoch(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("train", "--data", "set")
    epochs = [line for line in run.out.splitlines() if line.startswith("epoch")]
    assert epochs == [
        "epoch 1/2  class 1.500  AP 0.250  AP50 0.500  250 images/s  3.0 s  *",
        "epoch 2/2  class 1.500  AP 0.250  AP50 0.500  250 images/s  3.0 s",
    ]
    assert "lightnet-n: 1.12 M parameters, 2.45 GFLOPs" in run.out
    assert "runs/train/set/weights/best.pt" in run.out
    assert run.err == ""
    assert all(char.isprintable() or char == "\n" for char in run.out)


def test_quiet_is_plain_on_a_terminal(
    kdlnet: Command, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_COLOR makes rich take the pipe for a terminal: bars with it, none with --quiet."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in kdlnet("train", "--data", "set").out
    assert "\x1b" not in kdlnet("train", "--data", "set", "--quiet").out


def test_what_to_type_next_holds_in_a_folder_with_a_space(
    kdlnet: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = Path("line 1/best.pt")
    result = TrainResult(Path("line 1"), best, Path("line 1/last.pt"), {}, "epochs")
    monkeypatch.setattr("kdlnet.verbs.pretrain.pretrain", lambda *given, **named: result)
    monkeypatch.setattr("kdlnet.verbs.train.train", lambda *given, **named: result)
    option = f"--init {typed(str(best))}"
    assert option == "--init 'line 1/best.pt'" or sys.platform == "win32"
    assert f"next    kdlnet train {option} --data DATA" in kdlnet("pretrain --images set").out
    assert f"{option} goes on from its weights" in kdlnet("train --data set").out


def test_train_document(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("train", "--data", "set", "--json")
    assert run.document["best"] == "runs/train/set/weights/best.pt"
    assert run.document["reason"] == "epochs"
    assert run.document["metrics"]["ap50"] == 0.75
    assert "epoch 2/2" in run.err


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my run"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "last.pt").write_bytes(b"")
    (folder / "config.yaml").write_text("epochs: 9\ndata: {name: set}\noptim: {lr: 0.125}\n")
    return folder


@pytest.mark.parametrize("last", [False, True])
def test_resume(kdlnet: Command, engine: FakeEngine, run_folder: Path, last: bool) -> None:
    """The flags of the first command may stand there again."""
    target = run_folder / "weights" / "last.pt" if last else run_folder
    run = kdlnet("train", "--resume", target, "--epochs", 9, "--data", "set", "--out", run_folder)
    assert run.code == 0, run.err
    assert engine.call["resume"] == target
    assert engine.call["config"].epochs == 9
    assert engine.call["config"].augment.blur == 0  # the run began before there was blur


def test_resume_with_the_config_of_the_first_command(
    kdlnet: Command, engine: FakeEngine, run_folder: Path, tmp_path: Path
) -> None:
    """What it does not name was chosen from the dataset."""
    (tmp_path / "c.yaml").write_text("epochs: 9\ndata: {name: set}\n")
    run = kdlnet("train", "--resume", run_folder, "--config", tmp_path / "c.yaml")
    assert run.code == 0, run.err
    (tmp_path / "c.yaml").write_text("epochs: 8\n")
    run = kdlnet("train", "--resume", run_folder, "--config", tmp_path / "c.yaml")
    assert run.code == 2 and "epochs is 9 in the run and 8 now" in run.error


def test_resume_knows_a_relative_path_again(
    kdlnet: Command, engine: FakeEngine, run_folder: Path, tmp_path: Path
) -> None:
    """A run keeps absolute paths; the first command may have named a relative one."""
    (run_folder / "config.yaml").write_text(f"data: {{name: {tmp_path}/set/data.yaml}}\n")
    run = kdlnet("train --data set/data.yaml --resume", run_folder)
    assert run.code == 0, run.err
    assert engine.call["config"].data.name == f"{tmp_path}/set/data.yaml"


def test_resume_takes_the_place_that_a_dataset_was_moved_to(
    kdlnet: Command, engine: FakeEngine, run_folder: Path
) -> None:
    run = kdlnet("train --data elsewhere/set --data-root sets --resume", run_folder)
    assert run.code == 0, run.err
    data = engine.call["config"].data
    assert (data.name, data.root) == ("elsewhere/set", "sets")


def test_resume_goes_on_with_another_device(
    kdlnet: Command, engine: FakeEngine, run_folder: Path
) -> None:
    """The card of the first command may be gone."""
    (run_folder / "config.yaml").write_text("device: cuda:9\ndata: {name: set}\n")
    assert kdlnet("train", "--resume", run_folder).code == 0
    assert engine.call["config"].device == "cuda:9"
    engine.calls.clear()
    run = kdlnet("train", "--resume", run_folder, "--device", "cpu")
    assert run.code == 0, run.err
    assert engine.call["config"].device == "cpu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "20"], ["epochs is 9 in the run and 20 now", "--init"]),
        (["--set", "optim.lr=0.5"], ["optim.lr is 0.125", "0.5"]),
        (["--out", "elsewhere"], ["--out elsewhere"]),
        (["--overwrite"], ["--overwrite"]),
    ],
)
def test_resume_refuses_other_settings(
    kdlnet: Command, engine: FakeEngine, run_folder: Path, arguments: list[str], words: list[str]
) -> None:
    run = kdlnet("train", "--resume", run_folder, *arguments)
    assert run.code == 2
    assert all(word in run.error for word in words), run.error
    assert not engine.calls


@pytest.mark.parametrize("verb", ["train", "distill"])
def test_final_repeats_a_run_with_val(
    kdlnet: Command,
    engine: FakeEngine,
    run_folder: Path,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdlnet.verbs.distill.distill", engine.train)
    run = kdlnet(verb, "--final", run_folder, "--device", "cpu", "--out", "o")
    assert run.code == 0, run.err
    config: TrainConfig = engine.call["config"]
    assert config.data.name == "set"
    assert (config.epochs, config.optim.lr, config.device) == (9, 0.125, "cpu")
    assert (config.augment.blur, config.augment.noise) == (0, 0)  # it began before there were these
    assert (engine.call["final"], engine.call["out"]) == (run_folder, Path("o"))


@pytest.mark.parametrize(
    "flags",
    [
        "train --resume r",
        "train --config c.yaml",
        "distill --resume r",
        "distill --config c.yaml",
        "distill --teacher-model lightnet --student lightnet-n",
        "distill --recipe paper",
        "distill --generations 2",
        "distill --baseline",
    ],
)
def test_final_leaves_nothing_else_to_say(
    kdlnet: Command, engine: FakeEngine, run_folder: Path, flags: str
) -> None:
    run = kdlnet(flags, "--final", run_folder)
    assert run.code == 2
    assert "--final" in run.error and f"leave {flags.split()[1]} out" in run.error
    assert not engine.calls


def test_final_wants_a_run(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("train --final nowhere")
    assert run.code == 2
    assert run.error == "--final nowhere: no run of kdlnet train or distill is there"
    assert not engine.calls


def test_resume_does_not_use_init(kdlnet: Command, engine: FakeEngine, run_folder: Path) -> None:
    run = kdlnet("train", "--resume", run_folder, "--init", "w.pt")
    assert "warning: --init is not used" in run.err
    assert "init" not in engine.call


def test_interrupt_says_how_to_go_on(kdlnet: Command, engine: FakeEngine, run_folder: Path) -> None:
    engine.fail = KeyboardInterrupt()
    run = kdlnet("train", "--data", "set", "--out", run_folder)
    assert run.code == 130
    assert "kdlnet train --resume 'my run'" in run.err
    (run_folder / "config.yaml").write_text("epochs: [")  # a line of its own, no second error
    run = kdlnet("train", "--data", "set", "--out", run_folder)
    assert run.code == 130
    assert "kdlnet train --resume 'my run'" in run.err
    run = kdlnet("train", "--data", "set", "--out", "fresh", "--json")
    assert "nothing to resume in fresh yet" in run.err
    assert run.document["error"]["code"] == 130


def test_val(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("val b.pt --data set --split test --image-size 64x96 --batch 2 --strict")
    assert run.code == 0, run.err
    assert engine.call == {
        "weights": Path("b.pt"),
        "data": "set",
        "split": "test",
        "image_size": (64, 96),
        "batch": 2,
        "strict": True,
        "overwrite": False,
    }
    cells = [line.split() for line in run.out.splitlines()]
    assert ["all", "12", "0.500", "0.750", "0.500", "0.600"] in cells
    assert ["pit", "0", "-", "-", "-", "-"] in cells
    assert "AP by size: small 0.250, medium -, large 1.000" in run.out
    assert "AP 1.000 (no interval: it rests on one image or group)" in run.out
    assert "a90/95 not defined: all 1 true boxes are found" in run.out
    assert "calibration error of the scores: 0.100" in run.out
    assert "runs/val/set" in run.out
    assert "4 images, 1 problem in the data" in run.out
    assert run.err == "warning: a label was clipped\n"


def test_val_drift(kdlnet: Command, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    light, blur = Change("60 % of the light", light=0.6), Change("blur of 1 pixel", blur=1.0)
    rates = PartRates({"OK": 1, "UNSURE": 2, "NG": 7}, {"OK": 5, "UNSURE": 0, "NG": 3})
    drift = [Drift(light, 0.25, 0.5, rates, 4), Drift(blur, None, None, rates, 0)]

    def validate(weights: Path, **options: Any) -> EvalResult:
        return replace(engine.validate(weights, **options), drift=drift)

    monkeypatch.setattr("kdlnet.verbs.val.validate", validate)
    run = kdlnet("val b.pt --data set --drift")
    assert run.code == 0 and engine.call["drift"] is True
    lines = [" ".join(line.split()) for line in run.out.splitlines()]
    first = lines.index("images with AP AP50 passed rejected other verdicts") + 2
    assert lines[first : first + 3] == [
        "nothing changed 0.500 0.750 0 of 0 0 of 0 0",
        "60 % of the light 0.250 0.500 1 of 10 3 of 8 4",
        "blur of 1 pixel - - 1 of 10 3 of 8 0",
    ]


def test_val_document(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet(
        "val", "--weights", "b.pt", "--data", "set", "--json", "--no-pictures",
        "--mm-per-pixel", 0.05, "--group-by", "duplicates",
    )  # fmt: skip
    assert engine.call["pictures"] is False
    assert (engine.call["mm_per_pixel"], engine.call["group_by"]) == (0.05, "duplicates")
    assert run.document["schema"] == 1 and run.document["intervals"]["groups"] == 1
    assert run.document["per_class"]["pit"]["ap"] is None
    assert run.document["folder"] == "runs/val/set"
    assert run.document["problems"] == ["labels/a.txt:1: outside, clipped"]


def test_fuse(kdlnet: Command, engine: FakeEngine) -> None:
    engine.certificate = CERTIFICATE
    run = kdlnet("fuse", "best.pt", "--images", 8)
    assert run.code == 0, run.err
    assert engine.call == {"weights": Path("best.pt"), "images": 8, "overwrite": False}
    cells = [line.split() for line in run.out.splitlines()]
    assert ["parameters", "1500000", "1120000"] in cells
    assert ["GFLOPs", "3.00", "2.45"] in cells
    assert not any(row and row[0] == "AP" for row in cells)
    assert "proof on 32 random images: the same 17 boxes" in run.out
    assert "2.0e-06 (allowed 8.0e-04)" in run.out
    assert run.out.rstrip().endswith("best-fused.pt")


def test_fuse_shows_ap_where_it_was_measured(kdlnet: Command, engine: FakeEngine) -> None:
    engine.certificate = {**CERTIFICATE, "ap_before": 0.41237, "ap_after": 0.41241}
    engine.certificate["real_images"] = True
    run = kdlnet("fuse", "best.pt", "--data", "set")
    assert ["AP", "0.4124", "0.4124"] in [line.split() for line in run.out.splitlines()]
    assert "32 real images" in run.out


def test_fuse_document_has_no_nan(kdlnet: Command, engine: FakeEngine) -> None:
    engine.certificate = {**CERTIFICATE, "ap_before": math.nan}
    run = kdlnet("fuse", "best.pt", "--json")
    assert run.document["ap_before"] is None
    assert run.document["fused"] == "best-fused.pt"


def test_fusing_twice_says_so(kdlnet: Command, engine: FakeEngine) -> None:
    engine.certificate = {"weights": Path("best-fused.pt"), "already_fused": True}
    run = kdlnet("fuse", "best-fused.pt")
    assert run.code == 0
    assert run.out == ""


def test_models(kdlnet: Command) -> None:
    run = kdlnet("models")
    names = [line.split()[0] for line in run.out.splitlines() if line]
    assert {"model", "lightnet", "lightnet-n", "lightnet-l"} <= set(names)
    table = {row["name"]: row for row in kdlnet("models", "--json").document["models"]}
    assert table["lightnet"]["parameters"] == pytest.approx(4.7e6, rel=0.01)
    assert table["lightnet-n"]["gflops"] <= 2.5


def test_env(kdlnet: Command) -> None:
    facts = kdlnet("env", "--json").document
    assert facts["devices"][0].startswith("cpu")
    assert {"kdlnet", "python", "torch", "torchvision", "opencv", "numpy"} <= set(facts)
    assert facts["threads"] >= 1
    assert "torch" in kdlnet("env").out


def test_compare_says_of_which_pair_of_seeds_it_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    chance = McNemar(0, 0, None, "several pairs")
    found: Any = SimpleNamespace(
        differences={"ap": Difference(0.1, 0.1, 0.0, -0.1, 0.1)},
        per_class={},
        flips=Flips({"good": {"both OK": 6}}, {"good": chance}, ()),
        shifts=(SimpleNamespace(words="no shift"), SimpleNamespace(words="higher")),
        folds=[],
        images=3,
        split="val",
        folder=Path("f"),
        verdict="none",
    )
    with Console() as console:
        show_comparison(console, found)
    assert capsys.readouterr().out.splitlines()[-5:-2] == [
        "good images, 2 pairs added up: both OK 6",
        "scores of pair 1: no shift",
        "scores of pair 2: higher",
    ]


@pytest.mark.parametrize(
    "verb", ["val {0}", "compare {0} {0}", "calibrate {0} --max-overkill 0.1", "anomaly {0}"]
)
def test_every_set_that_is_named_is_taken(
    kdlnet: Command, dataset: Path, trained: Path, verb: str
) -> None:
    weights = trained / "weights/best.pt"
    run = kdlnet(verb.format(weights), "--data", dataset, "--data", dataset)
    assert run.code == 1
    assert "is named twice" in run.err.splitlines()[0]
