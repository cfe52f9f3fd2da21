import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.errors import DataError, KdlnetError
from kdlnet.pretraining.batches import LessonBatch, LessonBatches, changed
from kdlnet.pretraining.lessons import Lessons, bytes_a_view, lesson_shapes, to_unit
from kdlnet.pretraining.mimic import measured_scale
from kdlnet.pretraining.teachers import FeatureTeacher, Lesson
from kdlnet.pretraining.views import Cut, Views

CPU = torch.device("cpu")


def pooled(images: torch.Tensor) -> list[torch.Tensor]:
    """Maps whose values are the images themselves, coarser: what is mirrored shows."""
    return [torch.nn.functional.avg_pool2d(images, stride) for stride in (8, 16, 32)]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(pixels, (80, 70)))
    return Views(paths, 4, Cut(64, (0.5, 1.0), grey=0.5), seed=0)


def filled(folder: Path, views: Views) -> Lessons:
    teacher = FeatureTeacher("pooled", pooled)
    lessons = Lessons(folder, views, lesson_shapes(teacher, 64, CPU))
    lessons.ask(teacher, CPU, lambda done, total: None)
    return lessons


def test_lessons_are_what_the_teacher_says(tmp_path: Path, views: Views) -> None:
    lessons = filled(tmp_path / "cache", views)
    rows = np.array([3, 17, 39])
    seen, lesson = lessons[rows]
    assert (seen.numpy() == np.stack([views[row] for row in rows])).all()
    for kept, said in zip(lesson.maps, pooled(to_unit(seen)), strict=True):
        assert torch.allclose(kept.float(), said, atol=1e-3)
    assert lesson.vector.shape == (3, 3)


def test_an_interrupted_filling_goes_on(tmp_path: Path, views: Views) -> None:
    whole = filled(tmp_path / "whole", views)
    teacher = FeatureTeacher("pooled", pooled)
    lessons = Lessons(tmp_path / "cut", views, lesson_shapes(teacher, 64, CPU))

    def stop(done: int, total: int) -> None:
        if done >= 32:
            lessons.keep(done, 5.0, teacher.digest)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lessons.ask(teacher, CPU, stop)
    again = Lessons(tmp_path / "cut", views, lesson_shapes(teacher, 64, CPU))
    assert again.done == 32
    assert again.seconds == 5.0
    asked = []
    again.ask(teacher, CPU, lambda done, total: asked.append(done))
    assert asked == [40]
    every = np.arange(40)
    assert all(
        torch.equal(a, b) for a, b in zip(whole[every][1].maps, again[every][1].maps, strict=True)
    )


def test_lessons_that_are_gone_are_not_taken_for_asked(tmp_path: Path, views: Views) -> None:
    lessons = filled(tmp_path / "cache", views)
    (lessons.folder / "stride16.npy").unlink()
    with pytest.raises(DataError, match=r"stride16.npy' is gone and the run needs"):
        filled(tmp_path / "cache", views)


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_lessons_that_were_cut_are_told(tmp_path: Path, views: Views, kept: int) -> None:
    lessons = filled(tmp_path / "cache", views)
    os.truncate(lessons.folder / "stride16.npy", kept)
    with pytest.raises(DataError, match=r"stride16.npy' is damaged and the run needs"):
        filled(tmp_path / "cache", views)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room")
def test_a_disk_without_room_is_told_before_the_teacher_is_asked(
    tmp_path: Path, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, offset: int, size: int) -> None:
        if size > 40 * 64 * 64 * 3:  # views.npy, with its header
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(KdlnetError, match=r"views\.npy': No space left on device; free"):
            filled(tmp_path / "cache", views)
    assert not list((tmp_path / "cache").iterdir())
    assert filled(tmp_path / "cache", views).done == 40


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room")
@pytest.mark.parametrize("left", ["holes", "nothing"])
def test_files_of_a_start_that_was_killed_are_given_room(
    tmp_path: Path, views: Views, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    if left == "holes":  # killed before their room was reserved
        np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (40, 64, 64, 3))
    else:
        (folder / "views.npy").touch()
    reserved = []
    monkeypatch.setattr(os, "posix_fallocate", lambda handle, offset, size: reserved.append(size))
    assert filled(folder, views).done == 40
    assert reserved[0] == 128 + 40 * 64 * 64 * 3  # views.npy with its header
    assert len(reserved) == 5


def test_what_was_unreadable_stays_out(tmp_path: Path, views: Views) -> None:
    held = views.paths[9].read_bytes()
    views.paths[9].write_bytes(b"no image")
    lessons = filled(tmp_path / "cache", views)
    black = np.arange(36, 40)
    assert not np.isin(black, views.to_learn()).any()
    views.paths[9].write_bytes(held)
    later = Views(views.paths, 4, views.cut, seed=0)
    again = filled(tmp_path / "cache", later)
    assert not np.isin(black, [*later.to_learn(), *later.held_out()]).any()
    assert all(
        torch.equal(a, b) for a, b in zip(lessons.sample().maps, again.sample().maps, strict=True)
    )
    assert len(again.sample().vector) == 36


def test_the_size_is_known_beforehand(tmp_path: Path, views: Views) -> None:
    lessons = filled(tmp_path / "cache", views)
    on_disk = sum(file.stat().st_size for file in lessons.folder.glob("*.npy"))
    shapes = lesson_shapes(FeatureTeacher("pooled", pooled), 64, CPU)
    headers = 5 * 128
    assert on_disk - headers == len(views) * bytes_a_view(shapes, 64)


def test_mirroring_takes_the_lesson_along() -> None:
    images = torch.rand(4, 3, 64, 64)
    *maps, last = pooled(images)
    batch = LessonBatch(images, Lesson((*maps, last), last.mean((2, 3))))
    # Both flips, one, the other, none; no grey (draw 0.5 or more), tone left alone (draw 0.5).
    draws = torch.tensor([[0, 0, 0.9, 0.5, 0.5], [0, 1, 0.9, 0.5, 0.5], [1, 0, 0.9, 0.5, 0.5]])
    result = changed(batch, torch.cat((draws, torch.tensor([[1, 1, 0.9, 0.5, 0.5]]))))
    for x, answer in zip(pooled(result.images), result.lesson.maps, strict=True):
        assert torch.allclose(x, answer, atol=1e-5)
    assert torch.allclose(result.images[0], images[0].flip(1, 2), atol=1e-6)
    assert torch.allclose(result.images[3], images[3], atol=1e-6)


def test_tone_changes_the_image_and_not_the_lesson() -> None:
    images = torch.rand(2, 3, 64, 64)
    *maps, last = pooled(images)
    batch = LessonBatch(images, Lesson((*maps, last), last.mean((2, 3))))
    result = changed(batch, torch.tensor([[1, 1, 0.1, 0.5, 0.5], [1, 1, 0.9, 0.5, 1.0]]))
    grey, bright = result.images
    assert (grey[0] == grey[1]).all()
    assert bright.mean() > 1.2 * images[1].mean()
    assert all(
        torch.equal(a, b) for a, b in zip(result.lesson.maps, batch.lesson.maps, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_alone(tmp_path: Path, views: Views) -> None:
    lessons = filled(tmp_path / "cache", views)
    scale = measured_scale(lessons.sample())

    def batches(seed: int) -> LessonBatches:
        return LessonBatches(lessons, scale, views.to_learn(), 8, seed, CPU)

    first, again = list(batches(0).epoch(3, True)), list(batches(0).epoch(3, False))
    assert len(first) == len(batches(0)) == 36 // 8
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    other, later = next(batches(1).epoch(3, True)), next(batches(0).epoch(4, True))
    assert not torch.equal(first[0].images, other.images)
    assert not torch.equal(first[0].images, later.images)
