from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kdlnet.curation import writer
from kdlnet.curation.checks.survey import list_dataset
from kdlnet.data.catalog import find_dataset
from kdlnet.data.labels import read_labels
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.events import Progress
from kdlnet.images.read import read_image
from kdlnet.verbs.convert import ImportOptions, convert

from ..support.closed import closed
from ..support.layouts import save_image, save_xml


def tree(folder):
    """Every file's path, content and time of change."""
    return {
        file.relative_to(folder): (
            hashlib.sha1(file.read_bytes()).digest(),
            file.stat().st_mtime_ns,
        )
        for file in folder.rglob("*")
        if file.is_file()
    }


def lists(folder, **splits):
    files = {}
    for split, images in splits.items():
        files[split] = folder / f"list-{split}.txt"
        files[split].write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
    return files


def labels_of(out, split="train"):
    info = find_dataset(str(out / "data.yaml"))
    images = list_images(info, split)
    return {image.name: read_labels(label_path(image), len(info.names))[0] for image in images}


def test_what_is_converted_is_not_put_among_the_images_of_another_dataset(voc, tmp_path):
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/data.yaml").write_text("train: images\nnames: [scratch]\n")
    with pytest.raises(DataError, match=r"is among the images of '.*data\.yaml'"):
        convert("voc", voc, tmp_path / "set/images/more")
    assert not any((tmp_path / "set/images").iterdir())


def test_voc_becomes_a_dataset_that_is_found(voc, tmp_path):
    before = tree(voc)
    splits = lists(tmp_path, train=["IMAGES/a.jpg"], val=["IMAGES/b.jpg", "./IMAGES/c.jpg"])
    report = convert("voc", voc, tmp_path / "out", splits=splits)
    info = find_dataset(str(tmp_path / "out"))
    assert info.names == ("crack", "dent")
    labels = labels_of(tmp_path / "out")["a.jpg"]
    np.testing.assert_allclose(labels.boxes * [60, 40, 60, 40], [[0, 0, 60, 40], [10, 20, 20, 30]])
    assert labels.labels.tolist() == [1, 0]
    assert list(labels_of(tmp_path / "out", "val")) == ["b.jpg", "c.jpg"]
    assert tree(voc) == before
    assert (report.images, report.boxes, report.good) == (3, 3, 1)
    assert report.splits["train"].classes == {"crack": 1, "dent": 1}
    assert report.splits["val"].good == 1
    assert json.loads((tmp_path / "out/report.json").read_text())["boxes"] == 3
    assert json.loads(json.dumps(report.to_dict()))["splits"]["val"]["images"] == 2


def test_folder_can_be_moved(voc, tmp_path):
    convert("voc", voc, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert set(labels_of(tmp_path / "moved")) == {"a.jpg", "b.jpg", "c.jpg"}


def test_images_in_no_list_are_left_out_and_counted(voc, tmp_path):
    report = convert("voc", voc, tmp_path / "out", splits=lists(tmp_path, val=["IMAGES/a.jpg"]))
    assert report.images == 1 and report.left_out == {"not in a split": 2}
    assert list(find_dataset(str(tmp_path / "out")).splits) == ["val"]


def test_lists_that_contradict_the_splits_of_the_source_are_told(tmp_path):
    rows = [
        f"{name}.jpg,dent,1,2,9,8,{split}"
        for name, split in zip("abcd", ["val", "train", "x", ""], strict=True)
    ]
    for name in "abcd":
        save_image(tmp_path / f"set/{name}.jpg")
    (tmp_path / "set/labels.csv").write_text("\n".join(["image,class,x1,y1,x2,y2,split", *rows]))

    def told(out, **splits):
        report = convert("csv", tmp_path / "set", tmp_path / out, splits=lists(tmp_path, **splits))
        return report.warnings

    assert told("one", train=["b.jpg", "d.jpg"], val=["a.jpg"]) == ()
    (line,) = told("two", train=["a.jpg", "b.jpg", "d.jpg"], val=["c.jpg"])
    assert "--split goes before the source, which has 2 of 4 images in another split" in line
    assert "first 'a.jpg': 'val' there, 'train' in the list" in line
    (line,) = told("three", val=["c.jpg"])
    assert "'c.jpg': 'none' there, 'val' in the list" in line


def test_faulty_split_lists(voc, tmp_path):
    def attempt(**splits):
        convert("voc", voc, tmp_path / "out", splits=lists(tmp_path, **splits))

    with pytest.raises(DataError, match=r"1 of 2 images.*gone\.jpg"):
        attempt(train=["IMAGES/a.jpg", "IMAGES/gone.jpg"])
    with pytest.raises(DataError, match=r"a\.jpg' is listed in train and val"):
        attempt(train=["IMAGES/a.jpg"], val=["IMAGES/a.jpg"])
    with pytest.raises(DataError, match="did you mean 'train'"):
        attempt(trian=["IMAGES/a.jpg"])
    with pytest.raises(DataError, match="empty"):
        attempt(train=[])
    with pytest.raises(DataError, match="cannot read split list"):
        convert("voc", voc, tmp_path / "out", splits={"train": tmp_path / "none.txt"})
    assert not (tmp_path / "out").exists()


def test_lists_are_relative_to_the_folder_of_the_images(voc, tmp_path):
    (voc / "IMAGES").rename(tmp_path / "pictures")
    options = ImportOptions(images=tmp_path / "pictures")
    good = lists(tmp_path, train=["a.jpg", "b.jpg"])
    assert convert("voc", voc, tmp_path / "out", splits=good, options=options).images == 2
    wrong = lists(tmp_path, train=["pictures/a.jpg"])
    with pytest.raises(DataError, match=r"pictures/a\.jpg': paths are relative to '.*pictures'$"):
        convert("voc", voc, tmp_path / "bad", splits=wrong, options=options)


def test_listed_image_that_is_unreadable_does_not_stop_the_rest(voc, tmp_path):
    (voc / "IMAGES/b.jpg").write_bytes(b"")
    splits = lists(tmp_path, train=["IMAGES/a.jpg", "IMAGES/b.jpg"])
    report = convert("voc", voc, tmp_path / "out", splits=splits)
    assert report.images == 1 and report.left_out["unreadable"] == 1
    assert any("b.jpg" in example for example in report.examples)


def test_class_order_can_be_given_and_must_be_complete(voc, tmp_path):
    convert("voc", voc, tmp_path / "out", names=["dent", "crack", "hole"])
    assert find_dataset(str(tmp_path / "out")).names == ("dent", "crack", "hole")
    assert labels_of(tmp_path / "out")["a.jpg"].labels.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"'crack'.*--names"):
        convert("voc", voc, tmp_path / "other", names=["dent"])


NAMES = ["a.b.jpg", "x y.JPG", "Prüfung 試.png", "#1.jpeg", "same.jpg", "same.png", "SAME.bmp"]


def test_unusual_and_colliding_names_keep_their_own_labels(tmp_path):
    files = [
        f"{folder}/{name}" for folder in ("left", "right/images", "right/labels") for name in NAMES
    ]
    for number, name in enumerate(files):
        image = save_image(tmp_path / "source" / name, value=number)
        shape = {"label": "dent", "shape_type": "rectangle", "points": [[1, 1], [2 + number, 9]]}
        content = {"imagePath": image.name, "shapes": [shape]}
        image.with_name(f"{image.name}.json").write_text(json.dumps(content))
    report = convert("labelme", tmp_path / "source", tmp_path / "out")
    assert report.images == len(files)
    info = find_dataset(str(tmp_path / "out"))
    images = list_images(info, "train")
    assert len({str(label_path(image)).casefold() for image in images}) == len(files)
    for image in images:
        number = int(read_image(image).flat[0])  # a flat picture names its source
        right = read_labels(label_path(image), 1)[0].boxes[0, 2] * 60
        assert right == pytest.approx(2 + number, abs=1e-4)


def test_out_is_never_overwritten_by_surprise(voc, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    convert("voc", voc, out)  # an empty folder is free
    with pytest.raises(DataError, match=r"not empty.*--overwrite"):
        convert("voc", voc, out)
    (voc / "IMAGES/c.jpg").unlink()
    with pytest.raises(DataError, match=r"is the last copy now, first 'images/c\.jpg'"):
        convert("voc", voc, out, overwrite=True)
    (out / "images/c.jpg").unlink()
    assert convert("voc", voc, out, overwrite=True).images == 2
    assert len(list(out.rglob("*.jpg"))) == 2
    (out / "report.json").unlink()  # someone's own folder from now on
    with pytest.raises(DataError, match="not written by kdlnet"):
        convert("voc", voc, out, overwrite=True)
    assert len(list(out.rglob("*.jpg"))) == 2


def test_source_and_out_must_be_apart(voc, tmp_path):
    before = tree(tmp_path)
    for out in (voc, voc / "out", tmp_path):
        with pytest.raises(DataError, match="inside each other"):
            convert("voc", voc, out, overwrite=True)
    assert tree(tmp_path) == before


def test_failure_on_the_way_leaves_nothing(voc, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "link_file", full)
    monkeypatch.setattr("kdlnet.verbs.convert.link_file", full)
    with pytest.raises(DataError, match=r"cannot write.*No space left"):
        convert("voc", voc, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voc"]


@pytest.mark.parametrize("broken", [(), ("link",), ("link", "symlink")])
def test_images_are_linked_as_the_file_system_allows(voc, tmp_path, monkeypatch, broken):
    def refuse(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    for name in broken:
        monkeypatch.setattr(os, name, refuse)
    report = convert("voc", voc, tmp_path / "out")
    kind = ("hard link", "symbolic link", "copy")[len(broken)]
    assert report.links == {kind: 3}
    source, image = voc / "IMAGES/a.jpg", tmp_path / "out/images/a.jpg"
    assert image.read_bytes() == source.read_bytes()
    assert image.is_symlink() == (kind == "symbolic link")
    assert image.samefile(source) == (kind != "copy")
    assert set(labels_of(tmp_path / "out")) == {"a.jpg", "b.jpg", "c.jpg"}


def test_yolo_round_trip_keeps_boxes_splits_and_class_order(voc, tmp_path):
    splits = lists(tmp_path, train=["IMAGES/a.jpg", "IMAGES/c.jpg"], test=["IMAGES/b.jpg"])
    first = convert("voc", voc, tmp_path / "one", splits=splits, names=["dent", "crack"])
    second = convert("yolo", tmp_path / "one", tmp_path / "two")
    assert second.names == ("dent", "crack")
    assert second.splits == first.splits
    for split in ("train", "test"):
        for name, labels in labels_of(tmp_path / "one", split).items():
            again = labels_of(tmp_path / "two", split)[name]
            assert np.abs(labels.boxes - again.boxes).max(initial=0) < 1e-6
            assert labels.labels.tolist() == again.labels.tolist()


def test_channels_that_a_form_has_no_place_for_are_told(tmp_path):
    save_image(tmp_path / "set/a.png")
    (tmp_path / "set/a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "set/data.yaml").write_text("train: .\nnames: [dent]\nchannels: 1\n")
    for to in ("coco", "voc"):
        (line,) = convert("yolo", tmp_path / "set", tmp_path / to, to=to).warnings
        assert line.startswith(f"{to} has no place for 'channels: 1'")
    assert convert("yolo", tmp_path / "set", tmp_path / "yolo").warnings == ()
    assert "channels: 1" in (tmp_path / "yolo/data.yaml").read_text()


def test_the_report_names_what_was_read(voc, tmp_path, monkeypatch):
    """The file that was given, and the folder of the images where that is another."""
    monkeypatch.chdir(tmp_path)
    images, labels = ImportOptions(images=Path("voc/IMAGES")), Path("voc/ANNOTATIONS")
    convert("voc", labels, Path("out"), options=images)
    report = json.loads(Path("out/report.json").read_text())
    assert report["source"] == str(tmp_path / labels)
    assert report["image_folder"] == str(voc / "IMAGES")
    convert("voc", voc, Path("coco"), to="coco")
    file = Path("coco/annotations/instances_train.json")
    convert("coco", file, Path("again"), options=ImportOptions(images=Path("coco/images")))
    report = json.loads(Path("again/report.json").read_text())
    assert report["source"] == str(tmp_path / file)
    assert report["image_folder"] == str(tmp_path / "coco/images")
    convert("yolo", Path("out/data.yaml"), Path("last"))
    report = json.loads(Path("last/report.json").read_text())
    assert report["source"] == str(tmp_path / "out/data.yaml") and "image_folder" not in report


def test_names_that_lack_a_class_the_source_names_itself_say_so(voc, tmp_path):
    save_image(tmp_path / "set/a.png")
    (tmp_path / "set/a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "set/classes.txt").write_text("dent\n")
    with pytest.raises(DataError, match=r"'dent'.*--names, or leave that out: the source names"):
        convert("yolo", tmp_path / "set", tmp_path / "out", names=["crack"])
    with pytest.raises(DataError, match=r"'crack'.*Add it to --names$"):
        convert("voc", voc, tmp_path / "out", names=["dent"])


def test_relative_and_roundabout_paths(voc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = lists(
        tmp_path, train=["IMAGES/a.jpg", "../voc/IMAGES/b.jpg", str(voc / "IMAGES/c.jpg")]
    )
    relative = Path("voc/../voc")
    save_image(voc / "more/d.jpg")
    assert convert("voc", relative, Path("one"), splits=splits).images == 3
    convert("voc", relative, Path("all"))
    convert("yolo", Path("all"), Path("two"))
    assert (tmp_path / "two/images/more/d.jpg").is_file()  # folders are kept


def test_images_outside_of_the_source_keep_their_folders(voc, tmp_path):
    for name in ("left/a.png", "right/a.png"):
        save_image(tmp_path / "store" / name)
        (tmp_path / "store" / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.yaml").write_text("names: [dent]\ntrain: ../store\n")
    for source in (tmp_path / "set", tmp_path / "set/data.yaml"):
        convert("yolo", source, tmp_path / "out", overwrite=True)
        images = sorted((tmp_path / "out/images").rglob("*.png"))
        folders = [image.relative_to(tmp_path / "out/images").as_posix() for image in images]
        assert folders == ["left/a.png", "right/a.png"]


def test_names_that_are_no_utf8_are_written_as_text(voc, tmp_path):
    name = os.fsdecode(b"Pr\xfcfung.jpg")  # Latin-1, out of an old archive
    (voc / "IMAGES/c.jpg").rename(voc / "IMAGES" / name)
    (voc / "ANNOTATIONS/b.xml").write_text("<")
    report = convert("voc", voc, tmp_path / "out")
    assert report.images == 2
    assert set(labels_of(tmp_path / "out")) == {"a.jpg", "Pr\ufffdfung.jpg"}


def test_wrong_arguments_get_one_line(voc, tmp_path):
    with pytest.raises(DataError, match="did you mean 'voc'"):
        convert("vocc", voc, tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        convert("voc", tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="is not a folder"):
        convert("voc", voc / "IMAGES/a.jpg", tmp_path / "out")
    save_xml(voc / "ANNOTATIONS/a.xml", [])
    save_xml(voc / "ANNOTATIONS/b.xml", [])
    with pytest.raises(DataError, match="no boxes at all"):
        convert("voc", voc, tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no data\.yaml"):
        convert("yolo", voc, tmp_path / "out")


@pytest.mark.parametrize("format", ["voc", "coco", "cvat", "csv", "labelme", "yolo", "masks"])
def test_an_export_that_is_still_packed_is_to_be_unpacked(tmp_path, format):
    """As CVAT, Label Studio and Roboflow give it: a zip, or a folder that it was saved in."""
    file = tmp_path / "saved" / "task 3.zip"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("annotations.xml", "<annotations/>")
    for source in (file, file.parent):
        with pytest.raises(DataError, match=r"'task 3\.zip' is packed: unpack it"):
            convert(format, source, tmp_path / "out")
    with pytest.raises(DataError, match=r"nor images; 'task 3\.zip' is packed: unpack it"):
        list_dataset(str(file.parent))
    file.unlink()
    with pytest.raises(DataError) as caught:
        convert(format, file.parent, tmp_path / "out")
    assert "packed" not in str(caught.value)


@pytest.mark.parametrize("there", ["a.xml", "a.jpg", "deep/a.json", "deep/a.PNG", "data.yaml"])
def test_an_archive_beside_what_was_in_it_is_no_fault(tmp_path, there):
    source = tmp_path / "set"
    (source / "v1.7z").mkdir(parents=True)
    (source / "v1.7z/notes.md").touch()
    with pytest.raises(DataError) as of_folder:
        convert("coco", source, tmp_path / "out")
    (source / "set.zip").touch()
    with pytest.raises(DataError, match=r"'set\.zip' is packed"):
        convert("coco", source, tmp_path / "out")
    (source / there).parent.mkdir(exist_ok=True)
    (source / there).touch()
    with pytest.raises(DataError) as of_fault:
        convert("coco", source, tmp_path / "out")
    assert "packed" not in str(of_folder.value) + str(of_fault.value)


def test_progress_is_told(voc, tmp_path):
    told = []
    convert("voc", voc, tmp_path / "out", on_event=told.append)
    assert told == [Progress("link images", done, 3) for done in (1, 2, 3)]


@pytest.mark.parametrize("midway", [False, True])
def test_annotations_that_cannot_be_listed_make_no_good_parts(voc, tmp_path, midway):
    save_image(voc / "IMAGES/lot2/d.jpg")
    save_xml(voc / "ANNOTATIONS/lot2/d.xml", [("dent", 1, 1, 60, 40)])
    for folder in ("ANNOTATIONS/lot2", "IMAGES/lot2"):
        with (
            closed(voc / folder, midway=midway),
            pytest.raises(DataError, match=f"{folder}' cannot be read"),
        ):
            convert("voc", voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()
