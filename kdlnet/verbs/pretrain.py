"""Pre-training without labels: images, a frozen teacher, and weights to start from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kdlnet.events import Listener, Message, Progress, RunStarted, ignore
from kdlnet.inference.transfer import begin, model_of, starting_weights
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.cost import model_cost
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.pretraining.batches import LessonBatches
from kdlnet.pretraining.checkpoints import StartCheckpoints, saved_settings
from kdlnet.pretraining.course import Course, prepare_course
from kdlnet.pretraining.kept import KeptImages
from kdlnet.pretraining.lessons import Lessons, Shapes, asked_shapes
from kdlnet.pretraining.mimic import Mimic, measured_scale
from kdlnet.pretraining.settings import PretrainConfig
from kdlnet.pretraining.student import MimicStep, explained
from kdlnet.training.average import WeightAverage
from kdlnet.training.checkpoints import last_weights
from kdlnet.training.loop import Loop, LoopState
from kdlnet.training.optim import make_optimizer
from kdlnet.training.parallel import distributed, require_even
from kdlnet.training.recorded import Recorded, is_recordable
from kdlnet.training.run import TrainResult, finished
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.schedule import Schedule
from kdlnet.utils.device import autocast_dtype, find_device, precision_name
from kdlnet.utils.given import AnyPath, as_path, checked
from kdlnet.utils.ranks import from_writer, is_writer, ranks, together

__all__ = ["PretrainConfig", "pretrain"]

_LR = 0.004  # for batches of 32 views
_ON_A_START = 0.5  # of that rate where the student has learned before
_LEAST_SHARE = 0.1  # of the time is left for the student, however slow the teacher was


@checked
def pretrain(
    config: PretrainConfig,
    *,
    init: AnyPath | None = None,
    out: AnyPath | None = None,
    overwrite: bool = False,
    resume: AnyPath | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Teaches a model what a frozen network sees in unlabelled images; leaves a run folder.

    Its weights/best.pt is a start for trainings and has no classes. It begins at the weights
    ``init``, whose model it takes where none is named, else at the released start of its model.
    ``resume`` is a run folder or its last.pt: the run goes on there with its own config, on the
    device of ``config`` if that names one. Raises ConfigError, DataError or WeightsError before
    anything is written. Several processes that torchrun started share the batches; the first one
    asks the teacher and measures.
    """
    init, out, resume = as_path(init), as_path(out), as_path(resume)
    with together(find_device(config.device)):
        listener = on_event if is_writer() else ignore
        return _pretrained(config, init, out, overwrite, resume, listener)


def _pretrained(
    config: PretrainConfig,
    init: Path | None,
    out: Path | None,
    overwrite: bool,
    resume: Path | None,
    on_event: Listener,
) -> TrainResult:
    saved = None if resume is None else load_weights(last_weights(resume), start=True)
    if saved is not None:
        config = saved_settings(saved, config)
        if saved.training["over"]:
            return _over(saved, on_event)
    start = None if saved is not None else starting_weights(config.model, init)
    if init is not None and start is not None and "name" not in config.model.model_fields_set:
        model = config.model.model_copy(update=model_of(start, config.model))
        config = config.model_copy(update={"model": model})
    if start is not None and config.optim.lr is None:
        rate = _ON_A_START * _rate(config)
        config = config.model_copy(update={"optim": config.optim.model_copy(update={"lr": rate})})
    course = prepare_course(config, on_event, *_left(saved, config.views))
    require_even(min(config.batch, len(course.views.to_learn())))
    student = _student(course)
    if saved is None:
        for line in begin(start, student.detector, (), config.model, init, seed=config.seed):
            on_event(Message(line))
    folder = _run_folder(course, init, saved, out, overwrite)
    with folder.held():
        return _taught(course, student, folder, saved, on_event)


def _taught(
    course: Course, student: Mimic, folder: RunFolder, saved: Weights | None, on_event: Listener
) -> TrainResult:
    """Asks the teacher, runs the loop to its end and clears the cache."""
    config = course.config
    average, state = WeightAverage(student, config.optim.ema_decay), LoopState()
    optim = config.optim
    optimizer = make_optimizer(
        student, optim.name, _rate(config), optim.momentum, optim.weight_decay
    )
    checkpoints = StartCheckpoints(config, folder, average, student, optimizer, state)
    if saved is None:
        checkpoints.save(best=False, over=False)
    else:
        if saved.training["pretrain"]["device"] != config.device:
            folder.settle(config.to_dict())
        checkpoints.restore(saved)
    from_writer(lambda: _ask(course, folder, on_event))
    lessons = _lessons(course, folder)
    batches = LessonBatches(
        lessons,
        measured_scale(lessons.sample()),
        course.views.to_learn(),
        config.batch,
        config.seed,
        course.device,
    )
    on_event(_started(course, student, folder, len(batches)))
    autocast = autocast_dtype(config.amp, course.device)
    loop = Loop(
        step=MimicStep(_forward(student, course), autocast),
        model=student,
        average=average,
        optimizer=optimizer,
        scaler=torch.amp.GradScaler(course.device.type, enabled=autocast is torch.float16),
        batches=batches,
        schedule=_schedule(config, lessons.seconds),
        state=state,
        validate=lambda: from_writer(
            lambda: explained(average.model, batches, course.views.held_out())
        ),
        save=checkpoints.save,
        on_event=on_event,
    )
    reason = loop.run()
    if is_writer():
        shutil.rmtree(_cache(folder))
    return finished(folder, state, reason, on_event)


def _run_folder(
    course: Course, init: Path | None, saved: Weights | None, out: Path | None, overwrite: bool
) -> RunFolder:
    if saved is not None and saved.path is not None:
        return RunFolder.around(saved.path)
    default = Path("runs/pretrain") / course.title
    wholes = [folder for folder in map(Path, course.config.images) if folder.is_dir()]
    images = course.views.paths
    folder = RunFolder.new(default, out, overwrite, reads=[init], images=images, folders=wholes)
    folder.begin(course.config.to_dict(), precision_name(course.config.amp, course.device))
    return folder


def _left(saved: Weights | None, views: int | None) -> tuple[KeptImages | None, Shapes | None]:
    """What the run of ``saved`` left: the images that it began with, and the shapes of its lessons.

    There are no shapes while the teacher must still be asked. A run of an old version does not
    tell its images.
    """
    if saved is None or saved.path is None:
        return None, None
    folder = RunFolder.around(saved.path)
    kept = KeptImages.read(folder.images)
    if kept is None or views is None:
        return kept, None
    return kept, asked_shapes(_cache(folder), len(kept.paths) * views)


def _student(course: Course) -> Mimic:
    """The model to train with its layers to the teacher's channels, the same for the same seed."""
    config = course.config
    arguments = ModelArguments(1, 3, config.model.block)
    *widths, vector = (shape[0] for shape in course.shapes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = Mimic(build_model(config.model.name, arguments), widths, vector)
    return student.to(course.device).to(memory_format=torch.channels_last)


def _forward(student: Mimic, course: Course) -> Callable[[Tensor], dict[str, Tensor]]:
    """``student`` shared by the ranks, or with its kernels recorded."""
    if is_recordable(course.device, course.config.optim.accumulate):
        return Recorded(student)
    return distributed(student, course.device, idle=True)


def _lessons(course: Course, folder: RunFolder) -> Lessons:
    return Lessons(_cache(folder), course.views, course.shapes)


def _cache(folder: RunFolder) -> Path:
    return folder.path / "cache"


def _ask(course: Course, folder: RunFolder, on_event: Listener) -> None:
    """Asks the teacher about every view that it has not been asked about.

    The list of images lies in ``folder`` before the first question. Raises DataError where one of
    those that the teacher must still see is not what it was.
    """
    lessons, views = _lessons(course, folder), course.views
    kept = KeptImages.read(folder.images)
    if kept is None:
        KeptImages.of(views.paths, views.cut.window).write(folder.images)
    else:
        kept.require(lessons.done // views.count)
    teacher = course.teacher
    if teacher is not None:
        task = f"lessons of {teacher.name}"
        lessons.ask(
            teacher, course.device, lambda done, total: on_event(Progress(task, done, total))
        )
    for line in course.views.unreadable.values():
        on_event(Message(f"left out: {line}", "warning"))


def _schedule(config: PretrainConfig, spent: float) -> Schedule:
    """The loop's part of the run; ``spent`` seconds of its time went to the teacher."""
    optim, time = config.optim, config.time
    if time is not None:
        time = max(time - spent, _LEAST_SHARE * time)
    return Schedule(
        epochs=config.epochs,
        lr=_rate(config),
        final_lr=optim.final_lr,
        warmup=optim.warmup,
        tail=0.0,
        accumulate=optim.accumulate,
        clip_norm=optim.clip_norm,
        time=time,
        val_every=config.val_every,
        figure="explained",
    )


def _rate(config: PretrainConfig) -> float:
    """The peak rate: what is given, else the usual one, for the batch of the run."""
    return config.optim.lr or _LR * (config.batch / 32) ** 0.5


def _started(course: Course, student: Mimic, folder: RunFolder, steps: int) -> RunStarted:
    config = course.config
    cost = model_cost(student.detector, (config.image_size, config.image_size))
    return RunStarted(
        folder=folder.path,
        model=config.model.name,
        parameters=cost.parameters,
        gflops=cost.gflops,
        train_images=len(course.views.to_learn()),
        val_images=len(course.views.held_out()),
        device=str(course.device) if ranks() == 1 else f"{ranks()} x {course.device.type}",
        precision=precision_name(config.amp, course.device),
        epochs=config.epochs,
        steps_per_epoch=steps,
    )


def _over(saved: Weights, on_event: Listener) -> TrainResult:
    """The result of a run that is over: nothing is left to do but what a kill kept it from."""
    assert saved.path is not None
    folder, state = RunFolder.around(saved.path), LoopState(**saved.training["state"])
    with folder.held():
        folder.mend_best(saved)
        shutil.rmtree(_cache(folder), ignore_errors=True)
    return finished(folder, state, "epochs", on_event)
