"""How small a defect is found: probability of detection over size."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kdlnet.metrics.pod import DefectSize, Pod
from kdlnet.report.pages.section import Figure, Section, Table, drawn
from kdlnet.report.pages.svg import Line, log_axis, percent_axis
from kdlnet.report.pages.words import counted, visible

_HEAVIEST = 5.6  # radius of the largest dot


def size_section(pod: Pod, per_class: Mapping[str, Pod], score: str) -> Section:
    """Probability of detection over size, at ``score`` as it is printed."""
    return Section(
        id="size",
        name="Size",
        title="How small a defect does it find?",
        lead=f"The share of defects found, by size (the root of the area of the label), at score "
        f"{score}, where found and false boxes balance best.",
        figures=(_pod_figure(pod),) if pod.bins else (),
        facts=(
            ("Found half of the time", _size(pod.a50, pod)),
            ("Found 9 times of 10", _size(pod.a90, pod)),
            ("The same, with 95 % confidence (a90/95)", _size(pod.a90_95, pod)),
            ("Rests on", f"{counted(pod.boxes, 'labelled defect')}, {pod.hits} found"),
        ),
        notes=tuple(visible(note) for note in pod.notes if "outside the sizes" not in note),
        tables=(_pod_table(per_class),) if len(per_class) > 1 else (),
    )


def _pod_figure(pod: Pod) -> Figure:
    sizes = [point.size for point in pod.curve] or [
        edge for b in pod.bins for edge in (b.low, b.high)
    ]
    centers = [math.sqrt(b.low * b.high) for b in pod.bins]
    heaviest = max(b.boxes for b in pod.bins)
    radii = [_HEAVIEST * math.sqrt(b.boxes / heaviest) for b in pod.bins]
    dots = Line(
        "defects of about that size",
        centers,
        [b.hits / b.boxes for b in pod.bins],
        "s1",
        dots=radii,
        line=False,
    )
    lines = [dots]
    if pod.curve:
        x, y = [p.size for p in pod.curve], [p.pod for p in pod.curve]
        fit = Line("fitted, with its lower 95 % bound", x, y, "s0", [p.low for p in pod.curve], y)
        lines = [fit, dots]
    marks = [
        (size.px, name)
        for name, size in (("a50", pod.a50), ("a90", pod.a90), ("a90/95", pod.a90_95))
        if size.px is not None and pod.bins[0].low <= size.px <= pod.bins[-1].high
    ]
    x_axis = log_axis(
        "size of the defect, pixels", min([*sizes, *centers]), max([*sizes, *centers])
    )
    title = "Share of defects found over their size"
    return drawn(title, x_axis, percent_axis("found"), lines, marks)


def _size(size: DefectSize, pod: Pod) -> str:
    """A size among those of the set; a fit says nothing of others."""
    if size.px is None:
        return f"not defined: {visible(size.reason or 'no fit')}"
    low, high = pod.bins[0].low, pod.bins[-1].high
    if size.px < low:
        return f"smaller than all here, below {_length(low, pod)}"
    return (
        f"larger than all here, above {_length(high, pod)}"
        if size.px > high
        else _length(size.px, pod)
    )


def _short(size: DefectSize, pod: Pod) -> str:
    if size.px is None:
        return "–"
    low, high = pod.bins[0].low, pod.bins[-1].high
    if size.px < low:
        return f"< {_length(low, pod)}"
    return f"> {_length(high, pod)}" if size.px > high else _length(size.px, pod)


def _length(px: float, pod: Pod) -> str:
    if pod.mm_per_pixel is None:
        return f"{px:.1f} px"
    return f"{px * pod.mm_per_pixel:.2f} mm ({px:.1f} px)"


def _pod_table(per_class: Mapping[str, Pod]) -> Table:
    rows = tuple(
        (
            visible(name),
            f"{p.boxes}",
            f"{p.hits}",
            _short(p.a50, p),
            _short(p.a90, p),
            _short(p.a90_95, p),
        )
        for name, p in per_class.items()
    )
    return Table(("Kind", "Labelled", "Found", "a50", "a90", "a90/95"), rows)
