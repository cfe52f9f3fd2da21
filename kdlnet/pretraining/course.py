"""How a pre-training is laid out: which images, how many views of each, in what room and time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.events import Listener, Message
from kdlnet.images.sources import open_source
from kdlnet.images.window import measured_window
from kdlnet.inference.probe_images import split_images
from kdlnet.models.zoo import model_strides
from kdlnet.pretraining.kept import KeptImages
from kdlnet.pretraining.lessons import Shapes, bytes_a_view, lesson_shapes
from kdlnet.pretraining.settings import PretrainConfig
from kdlnet.pretraining.teachers import FILES, FeatureTeacher, find_teacher
from kdlnet.pretraining.views import Cut, Views
from kdlnet.utils.device import find_device, prepare
from kdlnet.utils.paths import shown
from kdlnet.utils.ranks import from_writer
from kdlnet.utils.words import counted

_TEACHERS_SHARE = 0.25
"""Of the time, at most: a view is worth being asked about where it is then trained on often."""

_MOST_VIEWS, _USUAL_VIEWS = 8, 4
_ASKED = 16


@dataclass(frozen=True)
class Course:
    """The parts of a pre-training; nothing has been written yet.

    There is no ``teacher`` where every lesson has been learned.
    """

    config: PretrainConfig
    device: torch.device
    teacher: FeatureTeacher | None
    views: Views
    shapes: Shapes
    title: str


def prepare_course(
    config: PretrainConfig,
    on_event: Listener,
    kept: KeptImages | None = None,
    shapes: Shapes | None = None,
) -> Course:
    """Finds the images and the teacher and decides how many views there are.

    A run that goes on has the images that it ``kept``, whatever its folders hold now, and where
    the teacher has answered for all of them, its lessons have ``shapes`` and it needs no teacher.
    Raises ConfigError, DataError or KdlnetError.
    """
    device = find_device(config.device)
    prepare(device)
    model_strides(config.model.name)  # raises for an unknown one
    if kept is None:
        found = unlabelled_images(config, on_event)
        paths = from_writer(lambda: found)  # another rank may have seen a folder grow
    else:
        paths = kept.paths
        _tell_of_new(config, kept, on_event)
    config = _absolute(config)
    views, teacher = config.views, None
    if views is None or kept is None or shapes is None:
        teacher = find_teacher(config.teacher, device)
        shapes = lesson_shapes(teacher, config.image_size, device)
        if kept is None or views is None:
            room = bytes_a_view(shapes, config.image_size)
            views, paths = _fitted(config, paths, room, teacher, device, on_event)
    window = measured_window(paths)[0] if kept is None else kept.window
    cut = Cut(config.image_size, config.sides, config.grey, window)
    size = len(paths) * views * bytes_a_view(shapes, config.image_size) / 1e9
    on_event(
        Message(
            f"{counted(len(paths), 'image')}, {counted(views, 'view')} of each: the lessons of "
            f"{shown(Path(config.teacher))} take {size:.1f} GB until the run is over"
        )
    )
    config = config.model_copy(update={"views": views})
    made = Views(paths, views, cut, config.seed)
    return Course(config, device, teacher, made, shapes, _title(config))


def unlabelled_images(config: PretrainConfig, on_event: Listener) -> list[Path]:
    """The images of a run: all of ``images``, and the train splits of ``data``.

    Val and test are left out, so that what is measured on them stays a measurement. Raises
    ConfigError for fewer than two, DataError as the sources do.
    """
    root = None if config.data_root is None else Path(config.data_root)
    sources = [open_source(source) for source in config.images]
    for note in (note for source in sources for note in source.notes):
        on_event(Message(note, "warning"))
    for item in (item for source in sources for item in source.items):
        if item.fault is not None:
            raise DataError(item.fault)
    paths = [path for source in sources for path in source.files]
    paths += [path for name in config.data for path in split_images(name, "train", root)]
    if len(paths) < 2:
        raise ConfigError(
            f"{counted(len(paths), 'image')} to learn from: give --images FOLDER or LIST, or "
            "--data NAME, with hundreds of them at least"
        )
    return paths


def _tell_of_new(config: PretrainConfig, kept: KeptImages, on_event: Listener) -> None:
    """Says how many images the folders hold that the run did not begin with."""
    try:
        present = unlabelled_images(config, on_event)
    except KdlnetError:  # they are empty or gone: the images that are missed will be named
        return
    new = len({path.absolute() for path in present}.difference(kept.paths))
    if new:
        text = f"the run goes on with the {len(kept.paths)} images that it began with"
        left = counted(new, "other image")
        on_event(Message(f"{text}; left for another run: {left} of its folders"))


def _fitted(
    config: PretrainConfig,
    paths: list[Path],
    room: int,
    teacher: FeatureTeacher,
    device: torch.device,
    on_event: Listener,
) -> tuple[int, list[Path]]:
    """How many views of which images: a view takes ``room`` bytes."""
    fitting = int(config.cache_gb * 1e9 / room)
    views = config.views or from_writer(
        lambda: _views_an_image(config, len(paths), fitting, teacher, device)
    )
    if config.views is not None and len(paths) * views > fitting:
        size = len(paths) * views * room / 1e9
        raise ConfigError(
            f"{counted(views, 'view')} of {len(paths)} images take {size:.1f} GB, more "
            f"than cache_gb {config.cache_gb:g}: raise --cache-gb or lower --views"
        )
    if len(paths) * views > fitting:  # one view each is still too many
        rows = np.linspace(0, len(paths) - 1, max(2, fitting)).round().astype(int)
        on_event(Message(f"{len(rows)} of {len(paths)} images fit into --cache-gb", "warning"))
        paths = [paths[row] for row in np.unique(rows)]
    return views, paths


def _views_an_image(
    config: PretrainConfig,
    images: int,
    fitting: int,
    teacher: FeatureTeacher,
    device: torch.device,
) -> int:
    """As many as the room and a quarter of the time allow."""
    most = _USUAL_VIEWS
    if config.time is not None:
        rate = teacher_rate(teacher, config.image_size, device)
        most = min(_MOST_VIEWS, int(_TEACHERS_SHARE * config.time * rate / images))
    return max(1, min(most, fitting // images))


def _absolute(config: PretrainConfig) -> PretrainConfig:
    """Paths made absolute, so that a run can be resumed from any folder."""
    places = [str(Path(source).absolute()) for source in config.images]
    data = [str(Path(name).absolute()) if Path(name).exists() else name for name in config.data]
    root = None if config.data_root is None else str(Path(config.data_root).absolute())
    teacher = Path(config.teacher)
    return config.model_copy(
        update={
            "images": tuple(places),
            "data": tuple(data),
            "data_root": root,
            "teacher": str(teacher.absolute()) if teacher.suffix in FILES else config.teacher,
        }
    )


def _title(config: PretrainConfig) -> str:
    """What the run's folder is called after: its first source."""
    first = config.images[0] if config.images else config.data[0]
    return Path(first).resolve().stem or "images"


def teacher_rate(teacher: FeatureTeacher, size: int, device: torch.device) -> float:
    """Views a second, measured on two batches after one to warm up."""
    images = torch.zeros(_ASKED, 3, size, size, device=device)
    teacher(images)
    began = time.perf_counter()
    for _ in range(2):
        teacher(images).vector.cpu()
    return 2 * _ASKED / (time.perf_counter() - began)
