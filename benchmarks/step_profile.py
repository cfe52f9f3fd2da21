"""Where the time of a CPU training step goes, and how far it is from the arithmetic limit.

    python benchmarks/step_profile.py --data neu-det --image-size 224

Runs the parts of the real training step one after the other and takes the time of each: making the
batch, forward, loss, backward, clipping, optimizer and average. The limit is the rate of a large
float32 matrix product measured in the same process: a step cannot be faster than its convolutions'
operations (counted by torch, forward and backward) at that rate. A second pass under torch's
profiler says which operators the time is spent in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from kdlnet.config import TrainConfig, load_config
from kdlnet.events import ignore
from kdlnet.training.augment import Augmenter
from kdlnet.training.average import WeightAverage
from kdlnet.training.batches import TrainBatches
from kdlnet.training.optim import make_optimizer
from kdlnet.training.parts import RunParts, prepare_run
from kdlnet.training.run import supervised_step
from kdlnet.types import Batch

OPERATORS = {
    "convolution": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "batch norm": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "relu": ("aten::threshold_backward", "aten::clamp_min_", "aten::relu_"),
}


class Parts:
    """The parts of one training step as callables, and the seconds each took, by round."""

    def __init__(self, run: RunParts, config: TrainConfig) -> None:
        self.step = supervised_step(run)
        self.detector = run.detector.train()
        optim = config.optim
        self.optimizer = make_optimizer(
            self.detector, optim.name, optim.base_lr(), optim.momentum, optim.weight_decay
        )
        self.average = WeightAverage(self.detector, optim.ema_decay)
        augmenter = Augmenter(run.train, config.seed, **config.augment.model_dump())
        self.batches = self._endless(TrainBatches(augmenter, config.batch, run.device))
        self.seconds: dict[str, list[float]] = {}

    def run(self) -> torch.Tensor:
        """One step, each part timed; its loss."""
        batch = self._timed("batch", lambda: next(self.batches))
        raw = self._timed("forward", lambda: self.step.predict(self.step.recorded, batch.images))
        output = self._timed("loss", lambda: self.step.loss(raw, batch.targets))
        self._timed("backward", lambda: output.loss.backward())
        self._timed("update", self._update)
        loss: torch.Tensor = output.loss.detach()
        return loss

    def _update(self) -> None:
        torch.nn.utils.clip_grad_norm_(list(self.detector.parameters()), 10.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.detector)

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result

    def _endless(self, batches: TrainBatches) -> Iterator[Batch]:
        epoch = 0
        while True:
            yield from batches.epoch(epoch, mixing=True)
            epoch += 1


def matrix_rate(size: int = 2048, rounds: int = 10) -> float:
    """GFLOP/s of a float32 matrix product, the best of some rounds."""
    a = torch.randn(size, size)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times) / 1e9


def operator_shares(parts: Parts, steps: int = 5) -> dict[str, float]:
    """Share of each kind of operator in the processor time of whole steps."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(steps):
            parts.run()
    table = {event.key: float(event.self_cpu_time_total) for event in record.key_averages()}
    total = sum(table.values())
    shares = {
        kind: sum(table.get(name, 0.0) for name in names) / total
        for kind, names in OPERATORS.items()
    }
    return {**shares, "everything else": 1 - sum(shares.values())}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    flags = {
        "data.name": options.data,
        "model.name": options.model,
        "image_size": options.image_size,
        "batch": options.batch,
        "device": "cpu",
    }
    config = load_config(None, flags, options.set)
    parts = Parts(prepare_run(config, None, None, ignore), config)
    parts.run()
    with FlopCounterMode(display=False) as counter:
        parts.run()
    for _ in range(3):
        parts.run()
    parts.seconds.clear()
    for _ in range(options.steps):
        parts.run()
    seconds = {name: statistics.median(values) for name, values in parts.seconds.items()}
    shares = operator_shares(parts)
    rate, step = matrix_rate(), sum(seconds.values())
    operations = counter.get_total_flops() / 1e9
    return {
        "milliseconds": {name: round(1e3 * value, 2) for name, value in seconds.items()},
        "images_per_second": round(config.batch / step, 1),
        "gflop_per_step": round(operations, 2),
        "gflops_reached": round(operations / step, 1),
        "gflops_of_a_matrix_product": round(rate, 1),
        "share_of_the_limit": round(operations / step / rate, 3),
        "operator_shares": {name: round(value, 3) for name, value in shares.items()},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="name in datasets.yaml or a data.yaml")
    parser.add_argument("--model", default="lightnet-n")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], help="key=value of the config")
    print(json.dumps(measure(parser.parse_args(arguments)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
