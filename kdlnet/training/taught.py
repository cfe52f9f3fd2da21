"""One training run under teachers, or under the average of the student's own weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig
from kdlnet.data.labels import Split
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.events import Listener, Message
from kdlnet.inference.released import from_anywhere, released_or_file
from kdlnet.inference.weights import load_weights
from kdlnet.losses.distill_loss import TERMS, DistillLoss, Form
from kdlnet.training.checkpoints import last_weights, saved_config
from kdlnet.training.parts import RunParts, prepare_run
from kdlnet.training.run import TrainResult, run_folder, run_training, supervised_step
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.steps import DistillStep
from kdlnet.training.teacher import Ensemble, Member, load_teachers
from kdlnet.utils.files import sha256_of

_BEGIN_ANEW = "start a new run with --teacher and, from what this one has learned, --init"


def taught_run(
    config: TrainConfig,
    teachers: Sequence[Path],
    *,
    init: Path | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
    found: tuple[Split, Split] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    repeats: Path | None = None,
) -> TrainResult:
    """A new run under ``teachers``, averaged; ``init`` are weights the student starts from.

    ``found``, ``thresholds`` and ``repeats`` are as for a plain run.
    """
    names = [str(from_anywhere(teacher)) for teacher in teachers]
    parts = prepare_run(config.changed(distill={"teachers": names}), None, init, on_event, found)
    parts.thresholds = dict(thresholds or {})
    teacher = _teacher(parts, teachers, on_event)
    reads = [*teachers, init, repeats]
    folder = run_folder(parts, Path("runs/distill"), out, overwrite, reads)
    folder.save_teachers(teacher.reached)
    result = run_training(parts, _step(parts, teacher), folder, None, on_event)
    _say_gain(parts, result, teacher, on_event)
    return result


def resumed_taught_run(
    resume: Path,
    asked: TrainConfig,
    on_event: Listener,
    teachers: Sequence[Path] | None = None,
) -> TrainResult:
    """The run of the folder or last.pt ``resume`` goes on, with its own settings and teachers.

    ``teachers`` is where these are by now, None for where they were.

    Its dataset is where ``asked``, if it names one, says: it may have been moved since.
    """
    file = last_weights(resume)
    saved = load_weights(file)
    config = saved_config(saved, asked)
    if not config.distill.taught:
        raise ConfigError(f"{str(resume)!r} is no distillation: use kdlnet train --resume")
    teachers = teachers or named_teachers(config)
    folder = RunFolder.around(file)
    require_teachers(teachers, folder.taught_by(), _BEGIN_ANEW)
    parts = prepare_run(config, saved, None, on_event)
    teacher = _teacher(parts, teachers, on_event)
    result = run_training(parts, _step(parts, teacher), folder, saved, on_event)
    folder.save_teachers(teacher.reached)
    _say_gain(parts, result, teacher, on_event)
    return result


def require_teachers(
    teachers: Sequence[Path], rows: Sequence[Mapping[str, Any]], instead: str
) -> None:
    """Raises WeightsError for one that is gone, or not the file that the run has learned from.

    That is before the images are read, which may take long. ``rows`` is what the run knows of each,
    ``instead`` what may be done without it. Runs of before do not know the files.
    """
    for teacher, row in zip(teachers, [*rows, *({} for _ in teachers)], strict=False):
        file = released_or_file(teacher)
        if not file.exists():
            fault = "does not exist"
        elif row.get("sha256", found := sha256_of(file)) != found:
            fault = "is another file than the one that it has learned from"
        else:
            continue
        raise WeightsError(
            f"teacher {str(teacher)!r} of this run {fault}: bring it back to where it was, or "
            f"{instead}"
        )


def named_teachers(config: TrainConfig) -> list[Path]:
    """The teachers in the settings, as a distillation's own config.yaml has them."""
    return [Path(teacher) for teacher in config.distill.teachers]


def distill_loss(config: TrainConfig) -> DistillLoss:
    """The teacher's terms with the weights of the config."""
    settings = config.distill
    return DistillLoss(
        weights={name: getattr(settings, f"{name}_weight") for name in TERMS},
        form=Form(settings.classification, settings.beta, settings.temperature),
        cross=settings.cross,
        schedule=settings.schedule,
        until=settings.until,
    )


def _teacher(parts: RunParts, teachers: Sequence[Path], on_event: Listener) -> Ensemble:
    settings = parts.config.distill
    if settings.own_average:
        return Ensemble([Member(parts.average.model, None)], settings.mirrored)
    return load_teachers(teachers, parts, distill_loss(parts.config).uses_features, on_event)


def _step(parts: RunParts, teacher: Ensemble) -> DistillStep:
    config, loss = parts.config, distill_loss(parts.config)
    return DistillStep(
        supervised_step(parts, features=loss.uses_features),
        teacher,
        loss,
        balance=config.distill.balance,
        count=None if config.compile else lambda: parts.state.step,
    )


def _say_gain(parts: RunParts, result: TrainResult, teacher: Ensemble, on_event: Listener) -> None:
    ap = result.metrics.get("ap")
    known = [row["ap"] for row in teacher.reached if row["ap"] is not None]
    if ap is not None and known:
        split, best = parts.config.data.val_split, max(known)
        whose = "teacher" if len(teacher.reached) == 1 else "best teacher"
        text = f"student AP {ap:.3f}, {whose} {best:.3f} on {split}: {ap - best:+.3f}"
        on_event(Message(f"{text}; what a baseline of both budgets reaches, --baseline tells"))
