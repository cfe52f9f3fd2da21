"""Fusing with proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kdlnet.errors import KdlnetError, ProofFailed
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.fuse import fuse_model, is_fused
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Detections, Preprocess
from kdlnet.verbs import fuse as module
from kdlnet.verbs.fuse import contained, fuse


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model with statistics of its own in every BatchNorm and scores above the threshold."""
    arguments = ModelArguments(2)
    detector = build_model("lightnet-n", arguments, seed=0)
    torch.manual_seed(0)
    for _ in range(4):
        detector(torch.rand(4, 3, 64, 64))
    for layer in detector.head.class_logits:
        layer.weight.data *= 30
        layer.bias.data.zero_()
    weights = Weights(
        detector.eval(), "lightnet-n", arguments, ("square", "disc"), Preprocess((64, 64))
    )
    save_weights(tmp_path / "best.pt", weights)
    return tmp_path / "best.pt"


def test_the_fused_file_and_its_certificate(file: Path) -> None:
    proof = fuse(file)
    assert proof.passed and not proof.real_images and proof.images == 32
    assert 0 < proof.largest_logit_error <= proof.tolerance
    assert proof.boxes_compared > 32 and proof.same_boxes
    assert proof.parameters_after < proof.parameters_before
    assert proof.gflops_after <= proof.gflops_before
    fused = load_weights(file.with_name("best-fused.pt"))
    assert fused.fused and is_fused(fused.detector)
    written = json.loads(file.with_name("best-fused.json").read_text())
    assert written["passed"] is True and written["images"] == 32


def test_real_images_are_used_where_given(file: Path, dataset: Path) -> None:
    proof = fuse(file, data=str(dataset))
    assert proof.real_images and proof.images == 12 and proof.passed
    assert proof.ap_before == pytest.approx(proof.ap_after, abs=1e-3)


def test_fusing_twice_is_a_no_op(file: Path) -> None:
    fuse(file)
    fused = file.with_name("best-fused.pt")
    before = fused.read_bytes()
    again = fuse(fused)
    assert again.already_fused and again.passed and again.largest_logit_error == 0
    assert fused.read_bytes() == before
    assert not file.with_name("best-fused-fused.pt").exists()


def test_a_wrong_fold_fails_the_proof_and_leaves_no_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(detector: Network) -> Network:
        fused = fuse_model(detector)
        fused.neck.down[0].conv.bias.data += 1e-2  # type: ignore[union-attr]
        return fused

    monkeypatch.setattr(module, "fuse_model", wrong)
    with pytest.raises(ProofFailed, match="no file was written"):
        fuse(file)
    assert [path.name for path in file.parent.iterdir()] == ["best.pt"]


def test_not_a_number_fails_the_proof(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(detector: Network) -> Network:
        fused = fuse_model(detector)
        fused.neck.down[0].conv.bias.data.fill_(float("nan"))  # type: ignore[union-attr]
        return fused

    monkeypatch.setattr(module, "fuse_model", broken)
    with pytest.raises(ProofFailed):
        fuse(file)


def test_not_a_number_fails_also_where_no_box_would_tell(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_weights(file)
    for layer in weights.detector.head.class_logits:
        layer.bias.data.fill_(-30.0)  # no score comes near the threshold
    save_weights(file, weights)

    def broken(detector: Network) -> Network:
        fused = fuse_model(detector)
        fused.head.class_logits[0].bias.data.fill_(float("nan"))  # type: ignore[operator]
        return fused

    monkeypatch.setattr(module, "fuse_model", broken)
    with pytest.raises(ProofFailed, match="error inf"):
        fuse(file)


def test_an_existing_file_is_kept(file: Path) -> None:
    fuse(file)
    with pytest.raises(KdlnetError, match="--overwrite"):
        fuse(file)
    assert fuse(file, overwrite=True).passed


def test_out_must_be_another_weights_file(file: Path) -> None:
    for name in ("best.pt", "best.json"):
        with pytest.raises(KdlnetError, match="name another file"):
            fuse(file, out=file.with_name(name), overwrite=True)


def test_too_few_images_are_refused(file: Path, dataset: Path) -> None:
    with pytest.raises(KdlnetError, match="32 or more"):
        fuse(file, data=str(dataset), images=3)


def _detections(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels).long()
    )


def test_contained_compares_box_label_and_score() -> None:
    one = _detections([[0.0, 0, 9, 9]], [0.5], [0])
    assert contained(one, _detections([[0.05, 0, 9, 9]], [0.5005], [0]))
    assert not contained(one, _detections([[0.5, 0, 9, 9]], [0.5], [0]))
    assert not contained(one, _detections([[0.0, 0, 9, 9]], [0.5], [1]))
    assert not contained(one, _detections([[0.0, 0, 9, 9]], [0.6], [0]))
    assert not contained(one, _detections([], [], []))
    # Just below the threshold: rounding may drop it on one side.
    assert contained(_detections([[0.0, 0, 9, 9]], [0.0495], [0]), _detections([], [], []))
