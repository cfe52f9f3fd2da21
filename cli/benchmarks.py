"""What ``kdlnet bench`` shows: stages, rivals, batches, threads, the paper's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Console, figure

if TYPE_CHECKING:
    from kdlnet.verbs.bench import BenchResult

Facts = Mapping[str, Any]


def show(console: Console, result: BenchResult) -> None:
    """All of it for people, and the document for programs."""
    facts = result.to_dict()
    console.table(
        ("stage, ms a call", "mean", "p50", "p95", "p99", "largest"),
        [(name, *(figure(value, 2) for value in part.values())) for name, part in _parts(facts)],
    )
    _show_how(console, facts)
    _show_rivals(console, facts)
    _show_sweeps(console, facts)
    if facts["paper"] is not None:
        _show_paper(console, facts)
    else:
        console.say(
            f"speed   {figure(facts['images_per_second'], 1)} images/s from file to boxes, "
            f"{figure(facts['infer_images_per_second'], 1)} images/s for the network alone",
            "bold",
        )
    console.document(facts)


def _parts(facts: Facts) -> list[tuple[str, dict[str, float]]]:
    """The stages; the total is left out where it is the only stage again."""
    stages: dict[str, dict[str, float]] = facts["stages"]
    return [(name, part) for name, part in stages.items() if len(stages) > 2 or name != "total"]


def _show_how(console: Console, facts: Facts) -> None:
    height, width = facts["image_size"]
    state = "fused" if facts["fused"] else "not fused"
    console.say(
        f"model   {facts['model']}, {state}, {height}x{width}, batch {facts['batch']}, "
        f"{_precision(facts)}, {facts['runtime']}"
    )
    threads = f"{facts['threads']} thread" + "s" * (facts["threads"] > 1)
    console.say(f"device  {facts['device']}: {facts['device_name']}, {threads}")
    if facts["images"]:
        console.say(
            f"images  {_images(facts['images'])}; {facts['boxes_per_image']:.1f} boxes each"
        )
    console.say(
        f"calls   {facts['calls']} after {facts['warmup']} to warm up; the first of all took "
        f"{facts['first_call_ms']['total']:.0f} ms, loading {facts['load_ms']:.0f} ms"
    )
    rounds = len(facts["rounds"])
    console.say(f"rounds  {rounds}, with medians of {_range(facts['spread'], 2)} ms a call")
    if facts["overlapped"] is not None:
        found = facts["overlapped"]
        console.say(
            f"overlap {_range(found['images_per_second'], 1)} images/s as predict reads and "
            f"computes at once, batch {found['batch']}"
        )


def _precision(facts: Facts) -> str:
    """What is computed in; and what the file holds, where that is less."""
    runs, holds = facts["precision"], facts["file_precision"]
    return runs if holds in (runs, "float32") else f"{runs} from a file in {holds}"


def _range(values: Mapping[str, float], digits: int) -> str:
    """``12.0 (11.5 to 12.6)``."""
    middle, low, high = (figure(values[name], digits) for name in ("median", "smallest", "largest"))
    return f"{middle} ({low} to {high})"


def _images(images: Facts) -> str:
    kinds = {"made-up": "made-up grey PNG files, not real images", "data": "files of the dataset"}
    size = "x".join(map(str, images["size"])) if images["size"] else "of several sizes"
    kind = kinds.get(images["kind"], "files")
    return f"{images['count']} {kind}, {size}, {images['kilobytes']:.0f} kB each on average"


def _show_rivals(console: Console, facts: Facts) -> None:
    """Latency beside accuracy: a row a file, where there is more to tell than of one file."""
    rivals = facts["against"]
    if not rivals and facts["accuracy"] is None:
        return
    rows: Sequence[tuple[Facts, str]] = [(facts, "1")]
    rows = [*rows, *((one["result"], _range(one["ratio"], 2)) for one in rivals)]
    names = [Path(one["weights"]).name for one, _ in rows]
    files = names if len(set(names)) == len(names) else [one["weights"] for one, _ in rows]
    console.table(
        ("file", "<runtime", "ms p50", "times as long", "images/s", "AP", "AP50"),
        [
            (
                file,
                f"{one['runtime']} {'x'.join(map(str, dict.fromkeys(one['image_size'])))}",
                figure(one["stages"]["total"]["p50"], 2),
                ratio,
                figure(one["images_per_second"], 1),
                *_accuracy(one["accuracy"]),
            )
            for file, (one, ratio) in zip(files, rows, strict=True)
        ],
    )


def _accuracy(found: Facts | None) -> tuple[str, str]:
    return ("-", "-") if found is None else (figure(found["ap"]), figure(found["ap50"]))


def _show_sweeps(console: Console, facts: Facts) -> None:
    if facts["batches"]:
        console.table(
            ("batch", "images/s from file to boxes", "images/s of the network"),
            [
                (
                    one["batch"],
                    _range(one["images_per_second"], 1),
                    _range(one["infer_images_per_second"], 1),
                )
                for one in facts["batches"]
            ],
        )
    if facts["thread_counts"]:
        console.table(
            ("threads", "ms a call", "images/s from file to boxes"),
            [
                (one["threads"], _range(one["p50_ms"], 2), _range(one["images_per_second"], 1))
                for one in facts["thread_counts"]
            ],
        )


def _show_paper(console: Console, facts: Facts) -> None:
    paper, (height, width) = facts["paper"], facts["image_size"]
    console.table(
        ("forward pass, batch 1", "FPS", "<size", "<device"),
        [
            (
                f"{facts['model']}, here",
                figure(facts["images_per_second"], 1),
                f"{height}x{width}",
                facts["device_name"],
            ),
            (paper["model"], figure(paper["images_per_second"], 1), "not public", paper["device"]),
        ],
    )
    verdict = "comparable" if paper["comparable"] else "not comparable"
    console.say(f"{verdict}: {paper['note']}", "bold")
