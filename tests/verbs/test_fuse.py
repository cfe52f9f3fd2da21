"""Fusing with proof."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdlnet.errors import KdlnetError, ProofFailed
from kdlnet.events import Message
from kdlnet.inference import certificate as certificates
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.models.fuse import fuse_model, is_fused
from kdlnet.models.network import Network
from kdlnet.utils.files import write_together
from kdlnet.verbs import fuse as module
from kdlnet.verbs.fuse import fuse

from ..support.weights_file import make_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model with statistics of its own in every BatchNorm and scores above the threshold."""
    return make_file(tmp_path / "best.pt")


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
    told: list[object] = []
    again = fuse(fused, on_event=told.append)
    (message,) = (event for event in told if isinstance(event, Message))
    assert "is fused already" in message.text and message.level == "info"
    assert again.already_fused and again.passed and again.largest_logit_error == 0
    assert fused.read_bytes() == before
    assert not file.with_name("best-fused-fused.pt").exists()
    assert again.fused == str(fused)


def test_a_fused_file_is_copied_where_out_is_given(file: Path) -> None:
    fuse(file)
    fused, copied = file.with_name("best-fused.pt"), file.with_name("deploy.pt")
    told: list[object] = []
    certificate = fuse(fused, out=copied, on_event=told.append)
    (message,) = (event for event in told if isinstance(event, Message))
    assert message.text.endswith(f"is fused already; a copy goes to {str(copied)!r}")
    assert certificate.fused == str(copied) and copied.with_suffix(".json").exists()
    one, two = load_weights(fused), load_weights(copied)
    assert two.fused and one.describe() == two.describe()
    numbers = one.detector.state_dict(), two.detector.state_dict()
    assert all(torch.equal(value, numbers[1][name]) for name, value in numbers[0].items())


def test_what_a_run_goes_on_from_is_never_replaced(file: Path) -> None:
    last = file.with_name("last.pt")
    save_weights(last, replace(load_weights(file), training={"loop": {"epoch": 3}}))
    before = last.read_bytes()
    with pytest.raises(KdlnetError, match=r"last\.pt' is what its run goes on from \(--resume\)"):
        fuse(file, out=last, overwrite=True)
    assert last.read_bytes() == before


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
    notes = file.with_name("notes.pt")
    notes.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(KdlnetError, match=r"notes\.pt"):
            fuse(file, out=notes, overwrite=overwrite)
    assert notes.read_text() == "mine"


def test_a_file_that_comes_during_the_proof_is_kept(file: Path) -> None:
    place = file.with_name("best-fused.pt")

    def write(event: object) -> None:
        place.write_text("theirs")

    with pytest.raises(KdlnetError, match="exists"):
        fuse(file, on_event=write)
    assert place.read_text() == "theirs"


def test_out_must_be_another_weights_file(file: Path) -> None:
    for name in ("best.pt", "best.json"):
        with pytest.raises(KdlnetError, match="name another file"):
            fuse(file, out=file.with_name(name), overwrite=True)


def test_too_few_images_are_refused(file: Path, dataset: Path) -> None:
    with pytest.raises(KdlnetError, match="32 or more"):
        fuse(file, data=str(dataset), images=3)


def test_the_certificate_tells_what_happens_to_verdicts_and_ap(file: Path, dataset: Path) -> None:
    fuse(file, data=str(dataset))
    written = json.loads(file.with_name("best-fused.json").read_text())
    assert written["verdict_flips"] == 0 and written["score_threshold"] == 0.25
    assert 0 < written["largest_box_error"] <= written["box_tolerance"]
    assert written["ap_before"] == pytest.approx(written["ap_after"], abs=1e-3)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_the_users_under_the_certificates_name_is_kept(
    file: Path, overwrite: bool
) -> None:
    mine = file.with_name("part7.json")
    for text in ('{"part": 7, "passed": true}', "[7]", "not even JSON", ""):
        mine.write_text(text)
        with pytest.raises(KdlnetError, match=r"part7\.json"):
            fuse(file, out=file.with_name("part7.pt"), overwrite=overwrite)
        assert mine.read_text() == text
    assert sorted(path.name for path in file.parent.iterdir()) == ["best.pt", "part7.json"]


def test_overwrite_replaces_a_certificate(file: Path) -> None:
    fuse(file)
    certificate = file.with_name("best-fused.json")
    file.with_name("best-fused.pt").unlink()
    with pytest.raises(KdlnetError, match=r"best-fused\.json' exists.*--overwrite"):
        fuse(file)
    certificate.write_text(certificate.read_text().replace('"images": 32', '"images": 31'))
    fuse(file, overwrite=True)
    assert json.loads(certificate.read_text())["images"] == 32


def test_nothing_is_left_when_the_certificate_cannot_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes one of the two files."""
    fsync, calls = os.fsync, list[int]()

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    def write(contents: Mapping[Path, bytes]) -> None:
        monkeypatch.setattr(os, "fsync", full)
        write_together(contents)

    monkeypatch.setattr(certificates, "write_together", write)
    with pytest.raises(KdlnetError, match="No space"):
        fuse(file)
    assert [path.name for path in file.parent.iterdir()] == ["best.pt"]


def test_a_renamed_file_gets_a_name_of_its_own_kind(file: Path) -> None:
    renamed = file.rename(file.with_name("best.onnx"))
    assert fuse(renamed).fused == str(file.with_name("best-fused.pt"))
