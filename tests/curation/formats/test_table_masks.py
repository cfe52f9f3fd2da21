"""Tables of run-length masks, as Kaggle's segmentation competitions have them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.masks import import_masks
from kdlnet.curation.formats.tables import import_csv
from kdlnet.errors import DataError

from ...support.layouts import save_image
from .test_tables import read, save_table

HEAD = "ImageId,ClassId,EncodedPixels"
JOINED = "ImageId_ClassId,EncodedPixels"


def encoded(mask):
    """Starts from 1 and lengths, found pixel by pixel."""
    runs = []
    for number, marked in enumerate(mask.ravel("F").tolist(), start=1):
        if marked and runs and sum(runs[-1]) == number:
            runs[-1][1] += 1
        elif marked:
            runs.append([number, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


@pytest.fixture
def parts(tmp_path):
    """Images a and b of 40x60 (H, W)."""
    for name in "ab":
        save_image(tmp_path / f"images/{name}.jpg")
    return tmp_path


def test_pixels_count_from_one_down_the_columns(parts):
    # Columns of 40: pixel 1 is (0, 0), 40 the lowest of the first one, 41 the top of the second.
    save_table(parts / "train.csv", "a.jpg,3,41 2 81 2", "b.jpg,3,40 1 80 1 1 1", head=HEAD)
    images, _ = read(parts, min_area=1)
    assert images["a.jpg"].boxes.tolist() == [[1, 0, 3, 2]]
    assert images["a.jpg"].names == ("3",) and images["a.jpg"].converted == ("mask",)
    assert sorted(images["b.jpg"].boxes.tolist()) == [[0, 0, 1, 1], [0, 39, 2, 40]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("head", [HEAD, JOINED])
def test_regions_are_those_that_masks_give(parts, seed, head):
    generator = np.random.default_rng(seed)
    mask = np.zeros((40, 60), bool)
    for _ in range(6):
        y, x = generator.integers(0, 40), generator.integers(0, 60)
        mask[y : y + generator.integers(1, 15), x : x + generator.integers(1, 15)] = True
    mask[12:20, 5:9] = mask[14:16, 6:8] = False  # a hole, perhaps
    if seed == 0:
        mask[:] = True  # one run over all columns
    file = parts / "masks/a_mask.png"
    file.parent.mkdir()
    file.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
    options = ImportOptions(images=parts / "images", class_name="pit_2", min_area=9)
    (wanted,) = import_masks(parts / "masks", options).images
    file.unlink()
    part = "_" if head == JOINED else ","
    save_table(parts / "train.csv", f"a.jpg{part}pit_2,{encoded(mask)}", head=head)
    image = read(parts, min_area=9)[0]["a.jpg"]
    assert image.names == wanted.names == ("pit_2",) * len(wanted.boxes)
    assert image.boxes.tolist() == wanted.boxes.tolist() and len(image.boxes)
    for ours, theirs in zip(image.outlines, wanted.outlines, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    small = [(problem.reason, problem.value) for problem in wanted.problems]
    assert [(problem.reason, problem.value) for problem in image.problems] == small


@pytest.mark.parametrize("name", ["sample_submission", "sample_submission_v2"])
def test_the_example_of_answers_beside_the_labels_is_passed_over(parts, name):
    """Kaggle puts it there: a mask of each whole image of its test."""
    save_table(parts / "train.csv", "a.jpg,3,41 20 81 20", head=HEAD)
    save_table(parts / f"{name}.csv", "b.jpg,1,1 2400", head=HEAD)
    images, result = read(parts, min_area=1)
    assert list(images) == ["a.jpg"]
    assert any(f"{name}.csv" in line for line in result.warnings)


@pytest.mark.parametrize("head", ["ImageId,EncodedPixels", "id,rle_mask", "img,rle_mask"])
def test_masks_without_classes_are_of_the_one_that_is_given(parts, head):
    """One row per object: of Airbus ships, TGS salt, Carvana."""
    save_image(parts / "images/c.jpg")
    rows = ["a.jpg,1 20", "a.jpg,", "a.jpg,401 20", "b.jpg,", "c.jpg"]
    file = save_table(parts / "train.csv", *rows, head=head)
    images, _ = read(parts, class_name="ship")
    assert images["a.jpg"].names == ("ship", "ship") and images["a.jpg"].problems == ()
    assert images["a.jpg"].boxes.tolist() == [[0, 0, 1, 20], [10, 0, 11, 20]]
    assert images["b.jpg"].names == () and images["b.jpg"].problems == ()
    assert [p.reason for p in images["c.jpg"].problems] == ["cut off"]
    save_table(parts / "depths.csv", "a.jpg,7", head="id,z")  # TGS has one before it
    for source in (parts, file):
        with pytest.raises(
            DataError, match=r"train.csv' has no column of cl.*or give --class-name"
        ):
            import_csv(source, ImportOptions())
    save_table(parts / "more.csv", "b.jpg,1,1 20", head=HEAD)
    save_table(parts / "train.csv", *rows, "ä.jpg,", head=head, encoding="cp1252")
    images, result = read(parts)
    assert list(images) == ["b.jpg"] and "train.csv' has no column of cl" in result.warnings[0]


@pytest.mark.parametrize("head", [HEAD, JOINED])
def test_a_class_beside_those_of_the_table_is_refused(parts, head):
    row = "a.jpg,1,1 20" if head == HEAD else "a.jpg_1,1 20"
    save_table(parts / "train.csv", row, head=head)
    column = r"(ImageId_)?ClassId"
    with pytest.raises(DataError, match=rf"has classes in '{column}': leave .*--class '\*=NAME'"):
        read(parts, class_name="pit")


@pytest.mark.parametrize("none", ["", "-1", " -1"])
def test_a_class_without_runs_is_not_there_and_without_any_the_part_is_good(parts, none):
    save_image(parts / "images/c.jpg")
    rows = ["a.jpg_1,", "a.jpg_2,1 20", "a.jpg_3,", "B.JPG_1,", "b.jpg_2,"]
    rows = [row + none * row.endswith(",") for row in rows]
    save_table(parts / "train.csv", *rows, head=JOINED)
    images, result = read(parts)
    assert images["a.jpg"].names == ("2",) and images["b.jpg"].names == ()
    assert images["a.jpg"].problems == images["b.jpg"].problems == ()
    assert [(p.reason, p.value) for p in result.left_out] == [("not listed", "c.jpg")]


SHORT = [
    (JOINED, "a.jpg_1,1 20", ["b.jpg_1", "c.jpg_1"], "c.jpg_1,"),
    (HEAD, "a.jpg,1,1 20", ["b.jpg,1", "c.jpg,1"], "c.jpg,1,-1"),
    ("ClassId,ImageId,EncodedPixels", "1,a.jpg,1 20", ["1,b.jpg", "1,c.jpg"], "1,c.jpg,"),
]


@pytest.mark.parametrize(("head", "drawn", "short", "written"), SHORT)
def test_rows_without_their_run_lengths_are_good_parts_where_all_of_a_table_are_so(
    parts, head, drawn, short, written
):
    """Some programs leave out empty cells at the end; a row that was cut off looks the same."""
    save_image(parts / "images/c.jpg")
    file = save_table(parts / "train.csv", drawn, *short, head=head)
    images, result = read(parts)
    assert images["a.jpg"].names == ("1",)
    for name in ("b.jpg", "c.jpg"):
        assert images[name].names == () and images[name].problems == ()
    (line,) = result.warnings
    assert line.startswith(f"2 rows of table {str(file)!r}, first line 3, end before 'EncodedPix")
    save_image(parts / "images/d.jpg")
    written = written.replace("c.jpg", "d.jpg")
    for rows in ([short[0]], [*short, written]):  # one row alone, and some beside an empty cell
        save_table(file, drawn, *rows, head=head)
        images, result = read(parts)
        assert [(p.line, p.reason) for p in images["b.jpg"].problems] == [(3, "cut off")]
        assert images["a.jpg"].problems == () and result.warnings == ()
    assert [p.reason for p in images["c.jpg"].problems] == ["cut off"]
    assert images["d.jpg"].names == () and images["d.jpg"].problems == ()


@pytest.mark.parametrize(("head", "drawn", "short", "written"), SHORT)
def test_a_table_that_ends_in_mid_row_has_no_good_part_there(parts, head, drawn, short, written):
    save_image(parts / "images/c.jpg")
    save_image(parts / "images/d.jpg")
    last = short[1].replace("c.jpg", "d.jpg")
    for rows in ([last], [f"{last},"], [*short, last]):
        file = save_table(parts / "train.csv", drawn, *rows, head=head)
        file.write_bytes(file.read_bytes().removesuffix(b"\n"))
        images, _ = read(parts)
        faults = {name: [p.reason for p in image.problems] for name, image in images.items()}
        assert faults.pop("d.jpg") == ["cut off"] and not any(faults.values())


@pytest.mark.parametrize("end", ["1 20", "-1"])
def test_a_last_row_with_its_run_lengths_is_whole_without_a_line_end(parts, end):
    (parts / "train.csv").write_text(f"{HEAD}\na.jpg,1,1 20\nb.jpg,1,{end}")
    images, _ = read(parts)
    assert images["b.jpg"].names == ("1",) * (end != "-1") and images["b.jpg"].problems == ()


@pytest.mark.parametrize("head", [HEAD, "ImageId,EncodedPixels"])
def test_images_alone_in_their_rows_are_no_good_parts_however_many(parts, head):
    save_table(parts / "train.csv", "a.jpg", "b.jpg", head=head)
    images, _ = read(parts, class_name=None if head == HEAD else "pit")
    assert [[p.reason for p in images[name].problems] for name in images] == [["cut off"]] * 2


def test_rows_that_are_no_mask_are_dropped_with_their_line(parts):
    rows = [
        "a.jpg,1,5 x",
        "a.jpg,1,5.5 2",
        "a.jpg,1,nan 2",
        "a.jpg,1,-2",
        "a.jpg,1,5 2 9",
        "a.jpg,1,0 2",
        "a.jpg,1,5 0",
        "a.jpg,1,9 2 5 5",
        "a.jpg,1,1 20 2400 2",  # of 2400 pixels
        "a.jpg,1,1e15 1",
        "a.jpg,,1 20",
        "a.jpg,1,1 15",
        "a.jpg,1,2381 20",
        "b.jpg,1,5 2,9 2",
        ",1,5 2",
    ]
    save_table(parts / "train.csv", *rows, head=HEAD)
    images, result = read(parts)
    assert images["a.jpg"].boxes.tolist() == [[59, 20, 60, 40]]
    assert [(p.line, p.reason) for p in images["a.jpg"].problems] == [
        (2, "no whole numbers"),
        (3, "no whole numbers"),
        (4, "no whole numbers"),
        (5, "start without length"),
        (6, "start without length"),
        (7, "start below 1"),
        (8, "length below 1"),
        (9, "overlapping runs"),
        (12, "incomplete"),
        (10, "beyond the image"),
        (11, "beyond the image"),
        (13, "small region"),
    ]
    values = {p.line: p.value for p in images["a.jpg"].problems}
    assert values[9] == "a.jpg, 1, 9 2 5 5" and values[10] == "1 2400 2, image 60x40"
    assert values[13] == "1, area 15"
    assert [(p.line, p.reason) for p in images["b.jpg"].problems] == [(15, "incomplete")]
    assert [(p.line, p.reason) for p in result.lost] == [(16, "no image named")]


def test_names_that_do_not_join_an_image_and_a_class_name_no_image(parts):
    save_table(parts / "train.csv", "a_1,1 20", "a.jpg,1 20", "a.jpg_,1 20", head=JOINED)
    images, result = read(parts)
    assert images == {} and [p.reason for p in result.lost] == ["no image named"] * 3


def test_runs_of_another_size_leave_the_image_out(parts):
    head = f"{HEAD},height,width"
    save_table(parts / "train.csv", "a.jpg,1,1 90,20,30", "b.jpg,1,1 90,40,60", head=head)
    images, result = read(parts)
    assert [(p.file.name, p.reason) for p in result.left_out] == [("a.jpg", "size")]
    assert images["b.jpg"].boxes.tolist() == [[0, 0, 3, 40]]
    save_table(parts / "train.csv", "b.jpg,1,1 90,40,60", "images/b.jpg,1,1 9,20,30", head=head)
    (problem,) = read(parts)[0]["b.jpg"].problems
    assert (problem.line, problem.reason, problem.action) == (3, "two sizes", "dropped")


def test_an_image_may_be_named_in_two_ways_and_doubted_as_others_are(parts):
    save_table(parts / "train.csv", "a.jpg,1,1 20", "images/a.jpg,2,41 20", ",1,5 2", head=HEAD)
    assert read(parts)[0]["a.jpg"].names == ("1", "2")
    save_table(parts / "train.csv", "a.jpg,1,1 20", "b.jpg,1,", ",1,5 2", head=HEAD)
    images, _ = read(parts)
    assert images["a.jpg"].problems == ()
    assert [p.reason for p in images["b.jpg"].problems] == ["unsure"]
    save_table(parts / "train.csv", "b.jpg,1,", "D:/set/b.jpg,1,1 20", head=HEAD)
    assert [p.reason for p in read(parts)[0]["b.jpg"].problems] == ["unsure"]


def test_a_cell_may_be_longer_than_the_csv_module_allows_by_default(parts):
    save_image(parts / "images/c.png", 400, 400)
    runs = " ".join(f"{start} 1" for start in range(1, 160000, 5))
    assert len(runs) > 131072
    save_table(parts / "train.csv", f"c.png,1,{runs}", head=HEAD)
    images, _ = read(parts, min_area=1)
    assert len(images["c.png"].boxes) == 80  # every fifth row, over all columns


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("ImageId,EncodedPixels", "no column of classes"),
        ("ClassId,EncodedPixels", "no column of images"),
        ("ImageId_ClassId,Image_Label,EncodedPixels", "several columns of images, 'ImageId_Class"),
        ("image,class,x1,y1,x2,y2,EncodedPixels", "boxes as x1 y1 x2 y2 and encodedpixels: del"),
        ("ImageId_ClassId,x1,y1,x2,y2", "no column of images: .*EncodedPixels: run lengths"),
    ],
)
def test_columns_that_lack_or_are_not_clear_are_named(parts, head, told):
    save_table(parts / "train.csv", "a.jpg,1,1,1,1", head=head)
    with pytest.raises(DataError, match=rf"train\.csv' has .*{told}"):
        import_csv(parts, ImportOptions())
