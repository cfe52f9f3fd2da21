"""The whole method in one go, cut short: what it leaves, not how good it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.events import Message
from kdlnet.utils.manifest import strangers
from kdlnet.verbs import demo as module
from kdlnet.verbs.demo import demo


@pytest.mark.slow
def test_the_demo_leaves_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IMAGES", 60)
    monkeypatch.setattr(module, "IMAGE_SIZE", (96, 96))
    events: list[object] = []
    result = demo(out=tmp_path / "demo", training_seconds=4.0, device="cpu", on_event=events.append)
    for name, place in result.places.items():
        assert place.exists(), name
    steps = [e.text for e in events if isinstance(e, Message) and e.text.startswith("step ")]
    assert len(steps) == len(result.seconds) == 7 and steps[0].startswith("step 1/7")
    assert (tmp_path / "demo" / "demo.json").is_file()
    assert strangers(tmp_path / "demo") == []
    assert result.metrics["largest_logit_error"] < 1e-2
    assert list((tmp_path / "demo" / "predict").rglob("*.jpg")) or list(
        (tmp_path / "demo" / "predict").rglob("*.png")
    )
