"""A torch network for one thread or for several, in a program that uses torch besides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, get_ident

import pytest
import torch

from kdlnet.errors import KdlnetError
from kdlnet.inference.runtimes import thread_count
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.types import RawPredictions
from kdlnet.utils.threads import Home

from ..support.blob_network import blob, grey, make_predictor


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
