"""The comparison with peers: its arithmetic, and a toy run in which there are none."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the clock uses wait4", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_a_command_is_timed_from_outside(benchmark):
    clock = benchmark("process_clock")
    program = (
        "import sys, time; time.sleep(0.3); held = bytearray(100 << 20); open(sys.argv[1], 'w')"
    )
    cost = clock.cost_of([sys.executable, "-c", program, clock.RESULTS], {})
    assert cost.wall > 0.3 and cost.processor < cost.wall
    assert 100 < cost.peak < 200
    with pytest.raises(RuntimeError, match="ended with 3"):
        clock.cost_of([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_commands_take_turns(benchmark, tmp_path):
    clock, log = benchmark("process_clock"), tmp_path / "log"
    commands = {
        name: [sys.executable, "-S", "-c", f"open({str(log)!r}, 'a').write({name!r})"]
        for name in "ab"
    }
    found = clock.costs_in_turns(commands, 2, {})
    assert log.read_text() == "ababab"  # the first pair does not count
    assert [len(costs) for costs in found.values()] == [2, 2]


def test_a_bar_is_judged_by_the_median_of_ratios_within_rounds(benchmark):
    peers = benchmark("peers")
    times = {"own": [1.0, 2.0, 3.0], "peer": [2.0, 10.0, 4.0]}  # 0.5, 0.2 and 0.75
    part = peers.Part("a part", "s", times, [peers.Bar("own", "peer", 0.5)])
    assert part.ratios(part.bars[0]) == [0.5, 0.2, 0.75]
    row, other = part.lines()
    assert "2.00 (1.00 to 3.00) s" in row
    assert row.endswith("0.50 (0.20 to 0.75) of peer; at most 0.5: met |")
    assert other == "| a part | peer | 4.00 (2.00 to 10.00) s |  |  |"
    part.bars = [peers.Bar("own", "peer", 0.49), peers.Bar("own", "nobody", 1)]
    assert "at most 0.49: not met" in part.lines()[0] and "nobody" not in part.lines()[0]


@pytest.mark.slow
def test_a_toy_run_without_peers(benchmark, tmp_path, capsys):
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    peers = benchmark("peers")
    out = tmp_path / "peers.json"
    code = peers.main(["--quick", "--no-peers", "--threads", "1", "--out", str(out)])
    text = capsys.readouterr().out
    assert code == 0, text
    names = {part["name"] for part in json.loads(out.read_text())["parts"]}
    assert {"command start", "one image at 64, start included"} <= names
    assert {"exported, onnxruntime, 64, batch 1", "exported, openvino, 64, batch 1"} <= names
    assert "| exported, openvino, 64, batch 1 | lightnet |" in text
    assert "4 images at 64, pictures saved, start excluded | lightnet-n, ONNX Runtime" in text


def test_a_part_that_fails_is_told_and_the_others_go_on(benchmark, monkeypatch, capsys, tmp_path):
    peers = benchmark("peers")

    def broken(*_):
        raise RuntimeError("no such command")

    monkeypatch.setattr(peers, "make_own_files", lambda *_: None)
    monkeypatch.setattr(peers, "make_images", lambda *_: ([], tmp_path, 0))
    monkeypatch.setattr(peers, "part_start", broken)
    monkeypatch.setattr(peers, "part_one", lambda *_: [peers.Part("one", "s", {"kdlnet": [1.5]})])
    assert peers.main(["--quick", "--no-peers", "--parts", "start", "one"]) == 1
    said = capsys.readouterr()
    assert "start failed: no such command" in said.err
    assert "| one | kdlnet | 1.50 (1.50 to 1.50) s |" in said.out


def test_a_run_that_is_cut_keeps_what_it_measured(benchmark, monkeypatch, capsys, tmp_path):
    peers, out = benchmark("peers"), tmp_path / "peers.json"
    out.write_text("of another day")
    seen = []

    def many(*_):
        seen.extend(part["name"] for part in json.loads(out.read_text())["parts"])
        yield peers.Part("half of many", "s", {"kdlnet": [2.5]})
        seen.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr(peers, "make_own_files", lambda *_: None)
    monkeypatch.setattr(peers, "make_images", lambda *_: ([], tmp_path, 0))
    monkeypatch.setattr(peers, "part_one", lambda *_: [peers.Part("one", "s", {"kdlnet": [1.5]})])
    monkeypatch.setattr(peers, "part_many", many)
    with pytest.raises(KeyboardInterrupt):
        peers.main(["--quick", "--no-peers", "--parts", "one", "many", "--out", str(out)])
    assert seen[0] == "one" and "| half of many | kdlnet | 2.50" in seen[1]
    found = json.loads(out.read_text())["parts"]
    assert [part["name"] for part in found] == ["one", "half of many"]
