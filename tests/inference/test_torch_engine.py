"""A torch network for one thread or for several, in a program that uses torch besides."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, get_ident

import pytest
import torch

from kdlnet.errors import KdlnetError
from kdlnet.inference.runtimes import thread_count
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.types import RawPredictions
from kdlnet.utils.threads import Home

from ..support.blob_network import blob, grey, make_predictor
from ..support.weights_file import make_file

# A program that computes, by itself and with kdlnet, and forks; the child ends if it hangs.
FORK = """
import faulthandler, os, sys, numpy, torch, kdlnet
torch.set_num_threads(2)
torch.rand(1000, 1000) + 1
images = list(numpy.random.default_rng(0).integers(0, 256, (9, 64, 64), numpy.uint8))
def find():
    return [one.boxes for one in kdlnet.Detector.load(sys.argv[1], device="cpu").predict(images)]
before = find()
child = os.fork()
if not child:
    faulthandler.dump_traceback_later(60, exit=True)
    same = all(map(numpy.array_equal, find(), before)) and all(map(len, before))
    os._exit(0 if same and torch.get_num_threads() == 2 else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_a_lane_takes_its_share_and_no_other_thread_has_fewer() -> None:
    """Nor while a loop over predictions stands still, nor where two that overlap end."""
    shares: set[int] = set()
    lanes: set[int] = set()
    both = Barrier(2, timeout=30)

    def network(images: torch.Tensor) -> RawPredictions:
        shares.add(torch.get_num_threads())
        if get_ident() not in lanes:
            lanes.add(get_ident())
            both.wait()  # while one takes its share, a new thread may see it
        return blob(images)

    predictor = replace(make_predictor(), engine=TorchEngine(network), batch=2)
    images = [grey(level) for level in range(9)]
    with thread_count(4), ThreadPoolExecutor(1) as elsewhere:
        one = predictor.stream(images)
        next(one)
        assert (of_a_new_thread(), torch.get_num_threads()) == (4, 4)
        other = predictor.stream(images)
        elsewhere.submit(next, other).result()
        one.close()
        elsewhere.submit(other.close).result()
        assert shares == {2}
        assert (of_a_new_thread(), torch.get_num_threads()) == (4, 4)
        assert elsewhere.submit(torch.get_num_threads).result() == 4


def test_several_threads_share_a_predictor() -> None:
    """Each gets the answers to its own images, in their order."""
    predictor = replace(make_predictor(), batch=4)

    def scores(start: int) -> list[float]:
        images = [grey(start + level) for level in range(30)]
        return [float(one.scores[0]) for one in predictor.predict(images)]

    starts = [130, 160, 190, 220]
    with thread_count(2), ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scores, starts))
    assert together == [scores(start) for start in starts]


def test_a_fork_is_refused_where_it_would_hang() -> None:
    """A child has one thread, whatever the pools of its parent had."""
    forked = replace(make_predictor(), engine=TorchEngine(blob, home=Home(process=0)))
    with thread_count(2), pytest.raises(KdlnetError, match=r"forked.*'spawn'.*OMP_NUM_THREADS=1"):
        forked.predict([grey(9)])
    with thread_count(1):
        assert len(forked.predict([grey(9)])) == 1


def test_a_detector_that_was_pickled_is_at_home_where_it_is_unpickled() -> None:
    """A process that was spawned was told that it had been forked."""
    sent = pickle.loads(pickle.dumps(replace(make_predictor().engine, home=Home(process=0))))
    assert sent.home == Home()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a fork")
def test_a_fork_of_a_program_that_computed_loads_a_detector_of_its_own(tmp_path: Path) -> None:
    """It hung, for the threads that had helped the parent are not in the child."""
    line = [sys.executable, "-c", FORK, str(make_file(tmp_path / "best.pt"))]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
