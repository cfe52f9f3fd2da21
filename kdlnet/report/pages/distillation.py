"""``report.html`` of a distillation: what the student gained over its teacher, or alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.metrics.comparison import Comparison
from kdlnet.report.pages.comparison import (
    difference_words,
    differences_section,
    reservations,
)
from kdlnet.report.pages.render import render
from kdlnet.report.pages.section import Section, drawn
from kdlnet.report.pages.svg import Axis, Line, share_axis, style
from kdlnet.report.pages.words import counted, figure, visible
from kdlnet.utils.files import write_atomic

_MOST_LINES = 12
_ONE_SEED = (
    "The interval covers other images, not other trainings: this is one seed, and another may come "
    "out otherwise. With --seeds 0,1,2 it covers both."
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One training: its ``role``, its weights, what its best epoch reached on ``split`` and when.

    ``curve`` are (epoch, AP) on what it was validated on; ``seconds`` of wall time; None for what
    is not known.
    """

    role: str
    weights: Path
    ap: float | None
    ap50: float | None
    split: str
    epochs: int | None
    seconds: float | None
    curve: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True)
class Distilled:
    """``arms`` in the order of their training; ``comparison`` of baselines (A) and students (B).

    Where no arm is a teacher, the student's own average taught it.
    """

    data: str
    arms: Sequence[Arm]
    settings: Sequence[tuple[str, str]]
    comparison: Comparison | None = None

    @property
    def teachers(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.role.startswith("Teacher")]

    @property
    def teacher(self) -> str:
        """What the student learned from, in words."""
        return "a trained teacher" if self.teachers else "the moving average of its own weights"


def write_distillation(folder: Path, subject: Distilled) -> None:
    """``report.html`` into ``folder``."""
    write_atomic(folder / "report.html", distillation_page(subject, folder).encode())


def distillation_page(subject: Distilled, folder: Path) -> str:
    """The page; it has no pictures and no script of its own.

    Weights in ``folder`` go by their place in it: it may be moved.
    """
    arms = subject.arms
    sections = [_curves(arms)] if any(arm.curve for arm in arms) else []
    if subject.comparison is not None and subject.comparison.differences:
        sections.insert(0, differences_section(subject.comparison.differences))
    answer, why, tone = _answer(subject)
    return render(
        "distillation.html",
        version=__version__,
        title=f"Distillation on {visible(subject.data)}",
        over=visible(subject.data),
        question="What did the student gain?",
        lead=f"The student learned from labels and from the answers of {subject.teacher}.",
        foot=f"Made by kdlnet {__version__}. This file needs no network and sends nothing.",
        answer=answer,
        why=why,
        tone=tone,
        arms=[_card(arm, folder) for arm in arms],
        compared=subject.comparison is not None,
        sections=sections,
        settings=subject.settings,
        data={},
    )


def _answer(subject: Distilled) -> tuple[str, str, str]:
    """In few words, in many, and the colour."""
    if subject.comparison is not None and subject.comparison.differences:
        return _against_baseline(subject.comparison)
    students = [arm for arm in subject.arms if arm.role.startswith("Student")]
    given = [arm.ap for arm in subject.teachers]
    teachers = [ap for ap in given if ap is not None]
    reached = students[-1].ap if students else None
    if reached is not None and not given:
        facts = (
            f"Its teacher is {subject.teacher}, no training to set it beside. Its precision (AP) "
            f"on {visible(students[-1].split)} is {reached:.3f}. Whether one plain training as "
            "long reaches the same, only kdlnet distill --baseline tells."
        )
        return "It taught itself", facts, "free"
    if reached is None or not teachers or len(teachers) < len(given):
        return "Not known", "The precision of teacher or student is not known.", "free"
    # Of several students only the first learned from these teachers, each later one from another.
    first, last = ("first ", "last ") if len(students) > 1 else ("", "")
    several = f"best of {'the' if first else 'its'} {first}teachers"
    teacher = f"{first}teacher" if len(teachers) == 1 else several
    facts = (
        f"Precision (AP) on {visible(students[-1].split)} is {max(teachers):.3f} for the {teacher} "
        f"and {reached:.3f} for the {last}student. Whether one plain training as long as all of "
        "them reaches the same, only kdlnet distill --baseline tells."
    )
    whose = "the" if first or len(teachers) > 1 else "its"
    return f"{reached - max(teachers):+.3f} over {whose} {teacher}", facts, "free"


def _against_baseline(found: Comparison) -> tuple[str, str, str]:
    ap = found.differences["ap"]
    facts = (
        f"Precision (AP) is {ap.a:.3f} for a plain training as long as teacher and student "
        f"together (A), and {ap.b:.3f} for the student (B): {difference_words(ap)}."
    )
    seed = _ONE_SEED if ap.shown and len(found.a) == 1 else ""
    why = " ".join(text for text in (facts, seed, reservations(found)) if text)
    if not ap.shown:
        where = "in AP, but other verdicts" if found.warning else "is shown"
        return f"No gain {where}", why, "free"
    gained = ap.difference > 0
    answer = "A gain" if gained else "A loss"
    if found.reservation:
        return f"{answer} in AP, but not in the verdicts", why, "free"
    return answer, why, "met" if gained else "broken"


def _card(arm: Arm, folder: Path) -> dict[str, Any]:
    inside = arm.weights.is_relative_to(folder)
    spent = [] if arm.epochs is None else [counted(arm.epochs, "epoch")]
    if arm.seconds is not None:
        spent.append(f"{arm.seconds / 60:.1f} minutes")
    return {
        "role": arm.role,
        "ap": figure(arm.ap),
        "what": f"AP on {visible(arm.split)}; AP50 {figure(arm.ap50)}" if arm.split else "AP",
        "spent": ", ".join(spent),
        "weights": visible(str(arm.weights.relative_to(folder) if inside else arm.weights)),
    }


def _curves(arms: Sequence[Arm]) -> Section:
    lines = [
        Line(
            arm.role, [epoch for epoch, _ in arm.curve], [ap for _, ap in arm.curve], style(number)
        )
        for number, arm in enumerate([arm for arm in arms if arm.curve][:_MOST_LINES])
    ]
    last = max(max(line.x) for line in lines)
    best = max(max(line.y) for line in lines)
    ticks = sorted({last // 2, last} - {0})
    x = Axis("epoch", 0, max(1.0, last), tuple((v, f"{v:.0f}") for v in ticks))
    y = share_axis("AP", best)
    return Section(
        id="curves",
        name="On the way",
        title="On the way",
        lead="Precision (AP) after each epoch, on what each training was validated on.",
        figures=(drawn("AP over epochs", x, y, lines),),
    )
