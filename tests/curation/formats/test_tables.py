from __future__ import annotations

import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.tables import import_csv
from kdlnet.errors import DataError

from ...support.layouts import save_image

BOX = "x1,y1,x2,y2"
HEAD = f"image,class,{BOX}"


def save_table(file, *rows, head=HEAD, encoding="utf-8"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("".join(f"{row}\n" for row in (head, *rows)).encode(encoding))
    return file


def read(source, **options):
    result = import_csv(source, ImportOptions(**options))
    return {image.path.name: image for image in result.images}, result


@pytest.fixture
def parts(tmp_path):
    """Images a and b of 40x60 (H, W)."""
    for name in "ab":
        save_image(tmp_path / f"images/{name}.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("image,class,x1,y1,x2,y2", "a.jpg,dent,5,6,15,26"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,60,40,dent,5,6,15,26"),
        ("File Name;LABEL;X_min;Y_min;X_max;Y_max", "a.jpg;dent;5.0;6;15;26"),
        ("path\tcategory\tx\ty\tw\th", "images/a.jpg\tdent\t5\t6\t10\t20"),
        ("id,ymax,xmax,ymin,xmin,name,file_path", "3,26,15,6,5,dent,C:\\set\\images\\A.JPG"),
        ('"image_id", "class_name", "x1", "y1", "x2", "y2"', '"a.jpg", "dent", 5, 6, 15, 26'),
        ("image_id,file,class_id,label,x1,y1,x2,y2,x,y", "9,a.jpg,1,dent,5,6,15,26,10,16"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_known_by_their_names(parts, head, row, encoding):
    save_table(parts / "labels.csv", row, head=head, encoding=encoding)
    images, result = read(parts)
    assert images["a.jpg"].boxes.tolist() == [[5, 6, 15, 26]]
    assert images["a.jpg"].names == ("dent",) and images["a.jpg"].problems == ()
    assert [(p.reason, p.value) for p in result.left_out] == [("not listed", "b.jpg")]
    assert result.warnings == ()


def test_boxes_without_classes_are_of_the_one_that_is_given(parts):
    rows = ["a.jpg,5,6,15,26", "a.jpg,1,2,3,4", "b.jpg,,,,"]
    save_table(parts / "labels.csv", *rows, head="image,x1,y1,x2,y2")
    images, _ = read(parts, class_name="dent")
    assert images["a.jpg"].names == ("dent", "dent") and images["b.jpg"].names == ()
    assert images["a.jpg"].problems == images["b.jpg"].problems == ()
    save_table(parts / "labels.csv", "a.jpg,7,5,6,15,26", head="id,image,x1,y1,x2,y2")
    with pytest.raises(DataError, match=r"no column of classes: .* or give --class-name$"):
        read(parts)
    save_table(parts / "labels.csv", "a.jpg,5,6,15,26", head="id,x1,y1,x2,y2")
    with pytest.raises(DataError, match="no column of images"):  # the id may be that of the box
        read(parts, class_name="dent")


def test_columns_of_other_names_are_those_that_are_given(parts):
    head = "id,Bild,cell_type,label,X1,x2,y1,oben,unten,Lot"
    row = "7,a.jpg,dent,Meyer,5,0,0,6,26,val"
    columns = {"image": "Bild", "class": "Cell_Type", "split": "Lot", "y1": "oben", "y2": "unten"}
    save_table(parts / "labels.csv", row.replace("5,0", "5,15"), head=head)
    save_table(parts / "more.csv", "b.jpg,pit,1,2,3,4")
    images, result = read(parts, columns=columns)
    assert images["a.jpg"].boxes.tolist() == [[5, 6, 15, 26]]
    assert images["a.jpg"].names == ("dent",) and images["a.jpg"].split == "val"
    assert images["b.jpg"].names == ("pit",) and result.warnings == ()
    head = "ImageId,defect,rle_mask,mask"
    save_table(parts / "labels.csv", "a,3,1 20,1 40", head=head)
    assert read(parts, columns={"class": "defect"})[0]["a.jpg"].names == ("3",)
    image = read(parts, columns={"class": "defect", "EncodedPixels": "mask"})[0]["a.jpg"]
    assert image.boxes.tolist() == [[0, 0, 1, 40]]


def test_image_and_class_in_one_column_of_another_name(parts):
    save_table(parts / "labels.csv", "a.jpg_1,1 90", "b.jpg_dent,", head="Pic,EncodedPixels")
    for columns in ({"image": "Pic", "class": "Pic"}, {"class": "pic", "image": "Pic"}):
        images, _ = read(parts, columns=columns)
        assert images["a.jpg"].names == ("1",) and images["b.jpg"].names == ()
    head = "Pic,Image_Label,image,label,EncodedPixels"
    save_table(parts / "labels.csv", "a.jpg_1,b.jpg_2,b.jpg,3,1 90", head=head)
    assert read(parts, columns=columns)[0]["a.jpg"].names == ("1",)
    save_table(parts / "labels.csv", "a.jpg_1,b.jpg_1,1 90", head="Pic,Pic,EncodedPixels")
    with pytest.raises(DataError, match="has 2 columns 'Pic': rename or delete one"):
        read(parts, columns=columns)
    save_table(parts / "labels.csv", "a.jpg_1,1,2,3,4", head=f"Pic,{BOX}")
    with pytest.raises(DataError, match=r"one column, 'Pic', are read beside run lengths alone: "):
        read(parts, columns=columns)


def test_a_class_beside_a_column_of_image_and_class_is_refused(parts):
    head = "ImageId_ClassId,EncodedPixels,kind"
    save_table(parts / "labels.csv", "a.jpg_1,1 90,pit", head=head)
    assert read(parts)[0]["a.jpg"].names == ("1",)
    told = r"has image and class in one column, 'ImageId_ClassId': leave --column class=kind out,"
    with pytest.raises(DataError, match=told):
        read(parts, columns={"class": "Kind"})
    save_table(parts / "labels.csv", "a.jpg_1,1 90,pit,b.jpg", head=f"{head},file")
    images, _ = read(parts, columns={"class": "kind", "image": "file"})
    assert images["b.jpg"].names == ("pit",)


def test_of_two_forms_of_boxes_one_may_be_said(parts):
    head = "image,class,x,y,w,h,l,t,r,b"
    save_table(parts / "labels.csv", "a.jpg,pit,1,2,3,4,5,6,15,26", head=head)
    assert read(parts)[0]["a.jpg"].boxes.tolist() == [[1, 2, 4, 6]]
    columns = {"x_min": "l", "ymin": "t", "xmax": "r"}
    assert read(parts, columns=columns)[0]["a.jpg"].boxes.tolist() == [[1, 2, 4, 6]]
    columns["ymax"] = "b"
    assert read(parts, columns=columns)[0]["a.jpg"].boxes.tolist() == [[5, 6, 15, 26]]
    columns |= {each: each for each in "xywh"}
    said = "say which: --column xmin=l --column ymin=t .* --column ymax=b; or --column x=x "
    with pytest.raises(DataError, match=rf"as xmin ymin xmax ymax and x y w h: .*{said}"):
        read(parts, columns=columns)
    save_table(parts / "labels.csv", "a.jpg,pit,5,6,15,26,1 90", head=f"{HEAD},mask")
    assert read(parts, columns={"EncodedPixels": "mask"})[0]["a.jpg"].boxes.tolist() == [
        [0, 0, 3, 40]
    ]


def test_a_size_is_said_by_both_sides(parts):
    save_table(parts / "labels.csv", "a.jpg,pit,1,2,3,4,20,30", head=f"{HEAD},H,image_width")
    with pytest.raises(DataError, match=r"one side of the images: add --column image_width=HEAD$"):
        read(parts, columns={"Image_Height": "H"})
    _, result = read(parts, columns={"image_height": "H", "image_width": "image_width"})
    assert "size" in [problem.reason for problem in result.left_out]


def test_of_several_columns_one_may_be_said(parts):
    save_table(parts / "labels.csv", "a.jpg,dent,7,5,6,15,26", head=f"image,class,Label,{BOX}")
    with pytest.raises(DataError, match=r"'class' and 'Label': .*, or say which with --column$"):
        read(parts)
    assert read(parts, columns={"class": "Label"})[0]["a.jpg"].names == ("7",)
    save_table(parts / "labels.csv", "a.jpg,dent,7,5,6,15,26", head=f"image,class,Class,{BOX}")
    assert read(parts, columns={"class": "Class"})[0]["a.jpg"].names == ("7",)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"clas": "kind"}, "--column clas=kind: unknown column 'clas'; did you mean 'class'"),
        (
            {"class": "king"},
            r"--column class=king: no table of labels in .* has a column 'king'; passed over",
        ),
        (
            {},
            "'image, kind, .*'; say which one it is with --column class=HEAD, or give --class-name",
        ),
        (
            {"class": "kind", "Class": "class"},
            "^--column Class=class: Class is 'kind' already, leave one out$",
        ),
        ({"x_min": "x1", "xmax": "x1"}, "^--column xmax=x1: 'x1' is the column of xmin already"),
        (
            {"image": "kind", "class": "kind", "split": "kind"},
            "^--column split=kind: 'kind' is the column of image already, leave one out$",
        ),
        ({"image": "kind", "class": "kind"}, "'kind', are read beside run lengths alone: give"),
    ],
)
def test_columns_that_are_given_are_known_and_there(parts, columns, told):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26", head=f"image,kind,{BOX}")
    with pytest.raises(DataError, match=told):
        read(parts, columns=columns)


def test_a_column_of_a_table_that_is_passed_over_is_told_with_why(parts):
    save_table(parts / "more.csv", "b.jpg,pit,1,2,3,4")
    save_table(parts / "labels.csv", "a.jpg,dent,1,5,6,15,26", head=f"image,kind,score,{BOX}")
    with pytest.raises(DataError, match=r"has a column 'kind'; passed over: .*labels\.csv' has"):
        read(parts, columns={"class": "kind"})


def test_a_column_that_no_table_has_is_told_with_those_that_are_there(parts):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26", head=f"Bild,kind,{BOX}")
    told = r"no table of labels in .* has a column 'typo'; passed over: .* columns are 'Bild, kind"
    with pytest.raises(DataError, match=told):
        read(parts, columns={"class": "kind", "image": "typo"})
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    with pytest.raises(DataError, match=r"column 'typo'; those of 'labels.csv' are 'image, class"):
        read(parts, columns={"image": "typo"})


def test_the_table_is_told_that_has_the_column_which_is_said(parts):
    save_table(parts / "a.csv", "a.jpg,5,6,15,26", head=f"image,{BOX}")
    save_table(parts / "z.csv", "a.jpg,dent,1", head="image,kind,score")
    with pytest.raises(DataError, match=r"^table .*z\.csv' has the column 'score'"):
        read(parts, columns={"class": "kind"})
    # One that nobody has goes before.
    with pytest.raises(DataError, match=r"^--column split=lot: no table of labels in "):
        read(parts, columns={"class": "kind", "split": "lot"})


def test_a_column_gives_the_splits(parts):
    for name in "cd":
        save_image(parts / f"images/{name}.jpg")
    box = "dent,5,6,15,26"
    rows = [f"a.jpg,{box},VALID", "a.jpg,dent,1,2,3,4,", f"b.jpg,{box}", "c.jpg,,,,,,unused"]
    save_table(parts / "labels.csv", *rows, f"d.jpg,{box},train", head=f"{HEAD},Split")
    images, result = read(parts)
    splits = {name: image.split for name, image in images.items()}
    assert splits == {"a.jpg": "val", "b.jpg": None, "c.jpg": "", "d.jpg": "train"}
    assert result.warnings == () and not any(image.problems for image in images.values())
    (parts / "labels.csv").rename(parts / "test_labels.csv")
    assert read(parts)[0]["b.jpg"].split == "test"


def test_a_split_in_a_row_goes_before_that_of_the_file(parts):
    rows = ["a.jpg,dent,5,6,15,26,", "images/a.jpg,dent,1,2,3,4,val"]
    save_table(parts / "train.csv", *rows, head=f"{HEAD},subset")
    image = read(parts)[0]["a.jpg"]
    assert (image.split, image.problems) == ("val", ())


def test_lists_of_all_and_of_parts_agree_whatever_the_order_of_their_rows(parts):
    save_image(parts / "images/b.jpg")
    rows = ["b.jpg,dent,5,6,15,26", "a.jpg,dent,1,2,3,4", "a.jpg,scratch,5,6,15,26"]
    save_table(parts / "all.csv", *rows, head=HEAD)
    save_table(parts / "train.csv", *reversed(rows[1:]), head=HEAD)
    save_table(parts / "val.csv", rows[0], head=HEAD)
    images = read(parts)[0]
    assert {name: image.split for name, image in images.items()} == {
        "a.jpg": "train",
        "b.jpg": "val",
    }
    assert len(images["a.jpg"].boxes) == 2


@pytest.mark.parametrize("names", [("all.csv", "more.csv"), ("more.csv", "all.csv")])
def test_an_image_in_none_of_our_splits_stays_out_of_them(parts, names):
    save_image(parts / "images/b.jpg")
    rows = ["a.jpg,dent,5,6,15,26", "b.jpg,dent,5,6,15,26"]
    save_table(parts / names[0], f"{rows[0]},unused", f"{rows[1]},train", head=f"{HEAD},subset")
    save_table(parts / names[1], *rows, head=HEAD)
    assert read(parts)[0]["a.jpg"].split == ""


@pytest.mark.parametrize("second", ["a.jpg", "images/a.jpg"])
def test_an_image_in_two_splits_is_told(parts, second):
    rows = ["a.jpg,dent,5,6,15,26,val", f"{second},dent,1,2,3,4,test"]
    save_table(parts / "labels.csv", *rows, head=f"{HEAD},subset")
    image = read(parts)[0]["a.jpg"]
    assert [(p.reason, p.action) for p in image.problems] == [("two splits", "dropped")]
    assert image.split == "val"


def test_a_column_of_other_splits_is_told(parts):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26,3", head=f"{HEAD},Split")
    images, result = read(parts)
    assert images["a.jpg"].split is None
    (line,) = result.warnings
    assert "the column 'Split' of table" in line and "--split val=LIST" in line
    assert "no train, val or test" in line


@pytest.mark.parametrize("part", [",", ";", "\t"])
def test_a_first_line_for_excel_says_what_parts_the_columns(parts, part):
    file = save_table(parts / "labels.csv", head=f"sep={part}\r", encoding="utf-8-sig")
    rows = (HEAD, "a.jpg,dent,5,6,15,26", "a.jpg,dent,5,6,5,26")
    with file.open("a") as stream:
        stream.writelines(row.replace(",", part) + "\r\n" for row in rows)
    image = read(parts)[0]["a.jpg"]
    assert image.boxes.tolist() == [[5, 6, 15, 26]]
    assert [(p.line, p.reason) for p in image.problems] == [(4, "degenerate")]


def test_rows_of_an_image_stand_anywhere_and_an_empty_one_is_a_good_part(parts):
    rows = ["a.jpg,dent,5,6,15,26", "b.jpg,,,,,", "", ",,,,,", 'a.jpg,"pit, deep",0,0,60,40']
    save_table(parts / "labels.csv", *rows)
    images, result = read(parts)
    assert images["a.jpg"].names == ("dent", "pit, deep")
    assert images["a.jpg"].boxes.tolist() == [[5, 6, 15, 26], [0, 0, 60, 40]]
    assert images["b.jpg"].names == () and images["b.jpg"].problems == ()
    assert result.left_out == [] and result.lost == ()


def test_line_ends_of_other_systems_and_names_in_other_letters(parts):
    save_image(parts / "images/裂纹.png")
    for end in ("\r\n", "\r"):
        text = f'{HEAD}{end}裂纹.png,划痕,1,2,3,4{end}"a.jpg",pit,5,6,7,8'
        (parts / "labels.csv").write_bytes(text.encode())
        images, _ = read(parts)
        assert images["裂纹.png"].names == ("划痕",) and images["a.jpg"].names == ("pit",)


def test_faulty_rows_are_dropped_or_repaired_with_their_line(parts):
    rows = [
        "a.jpg,dent,5,6,x,26",
        "a.jpg,dent,5,6,,26",
        "a.jpg,,5,6,15,26",
        "a.jpg,good,,,,",
        "a.jpg,dent,5,6",
        "a.jpg,dent, deep,5,6,15,26",
        "a.jpg,dent,nan,6,15,26",
        "a.jpg,dent,5,6,5,26",
        "a.jpg,dent,70,6,80,26",
        "a.jpg,dent,55,6,65,26",
        "a.jpg,dent,15,6,5,26",
        "a.jpg,dent,1,1,6,6",
        "a.jpg,dent,1,1,6,6,,",  # commas at the end, as spreadsheets leave them
        ",dent,1,1,6,6",
        "b.jpg",
        'b.jpg,dent,"1,5",6,15,26',
    ]
    save_table(parts / "labels.csv", *rows)
    images, result = read(parts)
    assert sorted((p.line, p.reason, p.action) for p in images["a.jpg"].problems) == [
        *((line, "incomplete", "dropped") for line in range(2, 9)),
        (9, "degenerate", "dropped"),
        (10, "outside", "dropped"),
        (11, "clipped", "clipped"),
        (12, "swapped corners", "repaired"),
        (14, "duplicate", "dropped"),
    ]
    assert images["a.jpg"].boxes.tolist() == [[55, 6, 60, 26], [5, 6, 15, 26], [1, 1, 6, 6]]
    assert [(p.line, p.reason) for p in result.lost] == [(15, "no image named")]
    # A row that was cut off is no good part.
    faults = [(p.line, p.reason) for p in images["b.jpg"].problems]
    assert faults == [(16, "cut off"), (17, "decimal comma")]


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        (f"{HEAD},note", ["a.jpg,dent,5,6,15,26", "b.jpg,"]),
        (f"{HEAD},width,height", ["a.jpg,dent,5,6,15,26", "b.jpg,,,,,,60"]),
        ("image,x1,y1,x2,y2,class", ["a.jpg,5,6,15,26,dent", "b.jpg,,"]),
        ("class,image,x1,y1,x2,y2,split", ["dent,a.jpg,5,6,15,26", ",b.jpg"]),
    ],
)
def test_cells_that_are_missing_at_the_end_of_a_row_are_empty(parts, head, rows):
    save_table(parts / "labels.csv", *rows, head=head)
    images, _ = read(parts)
    assert images["a.jpg"].boxes.tolist() == [[5, 6, 15, 26]] and images["b.jpg"].names == ()
    assert images["a.jpg"].problems == images["b.jpg"].problems == ()


@pytest.mark.parametrize(
    ("head", "drawn", "row", "end", "cut"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "60,40,dent,5,6,15,26", ",60", "", 1),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "60,40,dent,5,6,15,26", ",60,4", "", 1),
        (HEAD, "dent,5,6,15,26", ",", "", 1),  # the class was to come
        (HEAD, "dent,5,6,15,26", ",", "\n", 0),
        (HEAD, "dent,5,6,15,26", ",,", "", 0),
        (HEAD, "dent,5,6,15,26", ",,,,,", "", 0),
        (HEAD, "dent,5,6,15,26", ",", "\r", 0),  # of old Macs
        (HEAD, "dent,5,6,15,26", ",", "\n  ", 0),
        ("image,x1,y1,x2,y2,class", "5,6,15,26,dent", ",", "", 1),
    ],
)
def test_a_table_of_boxes_that_ends_in_mid_row_has_no_good_part_there(
    parts, head, drawn, row, end, cut
):
    (parts / "labels.csv").write_text(f"{head}\na.jpg,{drawn}\nb.jpg{row}{end}")
    images, _ = read(parts)
    assert images["a.jpg"].names == ("dent",) and images["a.jpg"].problems == ()
    assert [p.reason for p in images["b.jpg"].problems] == ["cut off"] * cut


@pytest.mark.parametrize("last", ["", "  ", ",,,,,,,", " \n,,"])
def test_rows_that_end_with_the_size_of_the_image_are_good_parts_where_all_of_a_table_are_so(
    parts, last
):
    save_image(parts / "images/c.jpg")
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    rows = ["a.jpg,60,40,dent,5,6,15,26", "b.jpg,60,40", "c.jpg,60,40"]
    with save_table(parts / "labels.csv", *rows, head=head).open("a") as stream:
        stream.write(last)  # as Excel and editors leave it
    images, result = read(parts)
    assert images["b.jpg"].problems == images["c.jpg"].problems == ()
    assert "2 rows" in result.warnings[0] and "end before 'class'" in result.warnings[0]
    save_table(parts / "labels.csv", *rows[:2], "c.jpg,60,40,,", head=head)
    images, result = read(parts)
    assert [p.reason for p in images["b.jpg"].problems] == ["cut off"] and not result.warnings
    assert images["c.jpg"].problems == ()


def test_a_row_of_a_good_part_is_cut_off_where_its_image_has_a_box(parts):
    save_image(parts / "images/c.jpg")
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    rows = ["a.jpg,60,40,dent,5,6,15,26", "a.jpg,60,40", "b.jpg,60,40", "c.jpg,60,40"]
    save_table(parts / "labels.csv", *rows, head=head)
    images, result = read(parts)
    assert [(p.line, p.reason) for p in images["a.jpg"].problems] == [(3, "cut off")]
    assert images["b.jpg"].problems == images["c.jpg"].problems == ()
    assert "2 rows" in result.warnings[0] and "first line 4, end before" in result.warnings[0]
    # The same image with and without its folder.
    rows = ["a.jpg,60,40,dent,5,6,15,26", "images/a.jpg,60,40", "b.jpg,60,40", "c.jpg,60,40"]
    save_table(parts / "labels.csv", *rows, head=head)
    assert [p.reason for p in read(parts)[0]["a.jpg"].problems] == ["cut off"]
    rows = ["images/a.jpg,60,40,dent,5,6,15,26", "a.jpg,60,40", "b.jpg,60,40", "c.jpg,60,40"]
    save_table(parts / "labels.csv", *rows, head=head)
    assert [p.reason for p in read(parts)[0]["a.jpg"].problems] == ["cut off"]
    # Two rows of one image are no habit of a program.
    rows = ["a.jpg,60,40,dent,5,6,15,26", "b.jpg,60,40", "b.jpg,60,40"]
    save_table(parts / "labels.csv", *rows, head=head)
    assert {p.reason for p in read(parts)[0]["b.jpg"].problems} == {"cut off"}
    # A mask may be of another class.
    rows = ["a.jpg,1,1 90", "a.jpg,2", "b.jpg,1"]
    save_table(parts / "labels.csv", *rows, head="ImageId,ClassId,EncodedPixels")
    images, result = read(parts)
    assert images["a.jpg"].problems == () and "2 rows" in result.warnings[0]


def test_short_rows_are_cut_off_where_a_class_has_no_box(parts):
    save_image(parts / "images/c.jpg")
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    rows = ["a.jpg,60,40", "b.jpg,60,40", "c.jpg,60,40,pit"]
    save_table(parts / "labels.csv", *rows, head=head)
    images, result = read(parts)
    faults = {name: [p.reason for p in image.problems] for name, image in images.items()}
    assert faults == {"a.jpg": ["cut off"], "b.jpg": ["cut off"], "c.jpg": ["incomplete"]}
    assert result.warnings == ()


def test_a_class_with_an_unquoted_comma_is_not_cut_off(parts):
    save_table(parts / "labels.csv", "a.jpg,5,6,15,26,dent, deep", head="image,x1,y1,x2,y2,class")
    image = read(parts)[0]["a.jpg"]
    assert image.names == () and [p.reason for p in image.problems] == ["incomplete"]


def test_a_box_without_an_image_may_be_that_of_a_good_part(parts):
    save_table(parts / "labels.csv", "a.jpg,,,,,", "b.jpg,dent,1,2,3,4", ",dent,1,1,6,6")
    images, _ = read(parts)
    assert [p.reason for p in images["a.jpg"].problems] == ["unsure"]
    assert images["b.jpg"].problems == ()


@pytest.mark.parametrize(
    ("good", "drawn", "doubt"),
    [
        ("a.jpg", "D:/set/a.jpg,dent,1,2,3,4", True),
        ("a.jpg", "C:\\set\\A.JPG,dent,1,2,,4", True),
        ("images/a.jpg", "D:/set/images/a.jpg,dent,1,2,3,4", True),
        ("images/a.jpg", "lot/a.jpg,dent,1,2,3,4", False),
        ("a.jpg", "D:/set/c.jpg,dent,1,2,3,4", False),
        ("a.jpg", "D:/set/a.jpg,,,,,", False),
        ("a", "D:/set/a.jpg,dent,1,2,3,4", True),
        ("a.jpg", "set/a,dent,1,2,3,4", True),
        ("images/a", "lot/A.jpg,dent,1,2,3,4", False),
        ("a.jpg", "D:/set/a.png,dent,1,2,3,4", False),
    ],
)
def test_a_good_part_that_a_row_may_mean_by_another_name_is_unsure(parts, good, drawn, doubt):
    image = (parts / good).with_suffix(".jpg")
    (parts / "images/a.jpg").rename(image)  # so that its name leads to it
    save_table(parts / "labels.csv", f"{good},,,,,", drawn, "images/b.jpg,dent,1,2,3,4")
    images, result = read(parts)
    assert [p.reason for p in result.left_out] == ["no image"]
    assert [p.reason for p in images["a.jpg"].problems] == ["unsure"] * doubt


def test_size_that_is_not_the_images_leaves_it_out(parts):
    rows = ["a.jpg,30,20,dent,1,2,9,8", "b.jpg,,,dent,1,2,9,8", "b.jpg,60,40,dent,2,2,9,8"]
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    save_table(parts / "labels.csv", *rows, head=head)
    images, result = read(parts)
    assert [p.reason for p in result.left_out] == ["size"]
    assert len(images["b.jpg"].boxes) == 2 and images["b.jpg"].problems == ()
    save_table(parts / "labels.csv", *rows, "b.jpg,120,80,dent,3,2,9,8", head=head)
    (problem,) = read(parts)[0]["b.jpg"].problems
    assert (problem.line, problem.reason, problem.action) == (5, "two sizes", "dropped")
    save_table(parts / "labels.csv", "b.jpg,120,dent,3,2,9,8", head=head.replace("height,", ""))
    assert read(parts)[0]["b.jpg"].problems == ()  # a width alone is none


@pytest.mark.parametrize("second", ["images/b.jpg", "B.JPG"])
def test_two_sizes_of_an_image_that_is_named_in_two_ways(parts, second):
    head = "filename,width,height,class,xmin,ymin,xmax,ymax"
    rows = ["b.jpg,60,40,dent,1,2,9,8", f"{second},120,80,dent,2,2,9,8", f"{second},120,80,,,,,"]
    save_table(parts / "labels.csv", *rows, head=head)
    image = read(parts)[0]["b.jpg"]
    assert image.boxes.tolist() == [[1, 2, 9, 8]]
    assert [(p.line, p.reason, p.action) for p in image.problems] == [(3, "two sizes", "dropped")]
    save_table(parts / "labels.csv", rows[0].replace("60,40", ","), *rows[1:], head=head)
    images, result = read(parts)
    assert "b.jpg" not in images and "size" in [p.reason for p in result.left_out]


@pytest.mark.parametrize("more", ["", "height,width,"])
def test_the_size_of_the_image_may_be_called_so(parts, more):
    head = f"image_name,image_width,image_height,{more}label,x1,y1,x2,y2"
    box = "8,6," if more else ""  # height and width are then those of the box
    rows = [f"a.jpg,120,80,{box}dent,1,1,7,9", f"b.jpg,60,40,{box}dent,1,1,7,9"]
    save_table(parts / "labels.csv", *rows, head=head)
    images, result = read(parts)
    assert [(p.file.name, p.reason) for p in result.left_out] == [("a.jpg", "size")]
    assert images["b.jpg"].problems == ()


def test_a_table_of_something_else_is_not_read_behind_its_first_row(parts):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    log = save_table(parts / "log.csv", '1,"so"me', head="time,note")
    images, result = read(parts)
    assert images["a.jpg"].names == ("dent",)
    assert (
        len(result.warnings) == 1 and f"{str(log)!r} has no column of images" in result.warnings[0]
    )
    with pytest.raises(DataError, match=r"log.csv', line 2: no CSV"):
        save_table(log, '1,"so"me', head=HEAD)
        read(parts)


def test_image_ids_that_are_no_files_name_no_image(parts):
    head = HEAD.replace("image", "image_id")
    file = save_table(parts / "labels.csv", "7,dent,1,2,9,8", ",dent,1,2,9,8", head=head)
    told = "has a column 'image_id', first '7', and no image called so lies under"
    for source, options in ((parts, {}), (file, {}), (file, {"images": parts / "images"})):
        with pytest.raises(DataError) as caught:
            read(source, **options)
        folder = str(options.get("images", parts))
        assert str(caught.value) == (
            f"table {str(file)!r} {told} {folder!r}: name the folder of the images with --images"
        )
    save_table(parts / "labels.csv", head=head)
    with pytest.raises(DataError, match=r"has a column 'image_id' and no image in it$"):
        read(parts)
    save_table(parts / "labels.csv", "7,2,1 90", head="id,class_id,EncodedPixels")
    with pytest.raises(DataError, match=r"has a column 'id', first '7', and no image called so"):
        read(parts)


def test_ids_of_something_else_stop_no_set_whatever_else_their_table_has(parts):
    """Saved in another encoding; with classes, where --class-name is for the table of labels."""
    other = parts / "other.csv"
    other.write_bytes("image_id,class,x,y,w,h\n7,Ma\xdf,1,2,9,8\n".encode("cp1252"))
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    images, result = read(parts)
    assert list(images) == ["a.jpg"] and f"passed over: table {str(other)!r}" in result.warnings[0]
    save_table(parts / "labels.csv", "a.jpg,5,6,15,26", head=HEAD.replace("class,", ""))
    images, _ = read(parts, class_name="dent")
    assert images["a.jpg"].names == ("dent",)


@pytest.mark.parametrize("head", [HEAD, HEAD.replace("image", "image_id")])
def test_names_without_a_suffix_are_those_of_the_images_that_are_so_called(parts, head):
    save_image(parts / "images/x.1.PNG")
    rows = ["A,dent,1,2,9,8", "images/b,,,,,", "x.1,dent,1,2,9,8", "x,dent,1,2,9,8"]
    save_table(parts / "labels.csv", *rows, head=head)
    images, result = read(parts)
    assert {name: image.names for name, image in images.items()} == {
        "a.jpg": ("dent",),
        "b.jpg": (),
        "x.1.PNG": ("dent",),
    }
    assert [(p.reason, p.value) for p in result.left_out] == [("no image", "x")]


def test_a_name_without_a_suffix_that_fits_several_images_is_ambiguous(parts):
    """A mask beside each image, or the image in two folders."""
    save_image(parts / "images/a.png")
    save_table(parts / "labels.csv", "a,dent,1,2,9,8", "b,dent,1,2,9,8")
    images, result = read(parts)
    assert list(images) == ["b.jpg"]
    (problem,) = (p for p in result.left_out if p.reason != "not listed")
    assert problem.reason == "ambiguous" and "--images" in problem.advice
    assert problem.value == "a, fits images/a.jpg and images/a.png"
    (parts / "images/a.png").rename(parts / "a.png")
    save_table(parts / "labels.csv", "a,dent,1,2,9,8", "images/b,dent,1,2,9,8")
    assert list(read(parts)[0]) == ["b.jpg"]
    save_table(parts / "labels.csv", "images/a,dent,1,2,9,8")
    assert list(read(parts)[0]) == ["a.jpg"]
    assert list(read(parts, images=parts / "images")[0]) == ["a.jpg"]


@pytest.mark.parametrize(
    ("table", "near", "far"),
    [
        ("images/labels.csv", "images/c.jpg", "masks/c.png"),  # beside the table
        ("labels/all.csv", "images/c.png", "preview/c.jpg"),  # where its other images are
    ],
)
def test_of_two_images_that_a_name_without_a_suffix_fits_the_nearer_is_meant(
    parts, table, near, far
):
    for image in (near, far, "other/c.bmp", "other/d.png"):
        save_image(parts / image)
    save_table(parts / table, "c,dent,1,2,9,8", "b,,,,,")
    _, result = read(parts)
    assert [image.path for image in result.images] == [parts / "images/b.jpg", parts / near]
    first = min(near, far, "other/c.bmp")
    assert result.warnings == (
        f"names that fit several images: 1, first c, fits {first} and 2 more: taken is {near!r}; "
        "if that is wrong, name the folder of the images with --images",
    )
    assert {p.reason for p in result.left_out} == {"not listed"}
    # Images of the table are in two folders then.
    save_table(parts / table, "c,dent,1,2,9,8", "b,,,,,", "d,,,,,")
    (parts / far).unlink()
    _, result = read(parts)
    (problem,) = (p for p in result.left_out if p.reason == "ambiguous")
    assert problem.value == f"c, fits {near} and other/c.bmp"


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_masks_that_are_taken_for_the_images_of_their_names_are_told(parts, suffix):
    for name in "ab":
        save_image(parts / f"masks/{name}.{suffix}")
    save_table(parts / "masks/labels.csv", "a,dent,1,2,9,8", "b,,,,,")
    _, result = read(parts)
    assert [image.path.parent.name for image in result.images] == ["masks", "masks"]
    (line,) = result.warnings
    assert "several images: 2, first a, fits images/a.jpg and masks/a" in line
    assert f"taken is 'masks/a.{suffix}'" in line
    save_table(parts / "masks/labels.csv", f"a.{suffix},dent,1,2,9,8")
    assert read(parts)[1].warnings == ()  # that is the one which is named
    save_table(parts / "masks/labels.csv", "a,dent,1,2,9,8")
    assert read(parts, images=parts / "images")[1].warnings == ()


def test_the_near_image_is_not_meant_where_another_row_names_it(parts):
    save_image(parts / "more/a.png")
    save_table(parts / "images/labels.csv", "a.jpg,,,,,", "a,dent,1,2,9,8", "b,,,,,")
    images, result = read(parts)
    assert [p.value for p in result.left_out if p.reason == "ambiguous"] == [
        "a, fits images/a.jpg and more/a.png"
    ]
    assert [p.reason for p in images["a.jpg"].problems] == ["unsure"]


def test_one_mask_whose_image_lacks_makes_no_images_of_the_others(parts):
    for name in "abc":
        save_image(parts / f"masks/{name}.png")
    save_table(parts / "labels.csv", "a,dent,1,2,9,8", "b,,,,,", "c,dent,1,2,9,8")
    images, result = read(parts)
    assert list(images) == ["c.png"]
    assert [p.value for p in result.left_out if p.reason == "ambiguous"] == [
        f"{name}, fits images/{name}.jpg and masks/{name}.png" for name in "ab"
    ]


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("", "no column of images: it is empty; the first row has to name image"),
        (
            "a.jpg,5,6,15,26,dent",
            "no column of images: its columns are 'a.jpg, 5, 6, 15, 26, dent';",
        ),
        ("image,kind,x1,y1,x2,y2", "no column of classes: its columns are 'image, kind, x1"),
        (
            "a.jpg,5,6,15,26,dent",
            "'a.jpg, 5, 6, 15, 26, dent'; it has no header row; the first row",
        ),
        (
            "1;-5.5;6;dent",
            "'1, -5.5, 6, dent'; it has no header row; the first row has to name image",
        ),
        ("7;dent;a.jpg", "'7, dent, a.jpg'; it has no header row; the first row"),
        ("image,2024,2025", "'image, 2024, 2025'; the first row has to name image"),
        ("time,2019,2020", "'time, 2019, 2020'; the first row has to name image"),
        ("station,date,0.5,1.0", "'station, date, 0.5, 1.0'; the first row has to name image"),
        (",2019,2020", "', 2019, 2020'; the first row has to name image"),
        (
            'image,"class\nof it",x1',
            r"no column of classes: its columns are 'image, class\\nof it,",
        ),
        (
            "image,class,x1,y1,x2",
            "no columns of boxes: its columns are 'image, class, x1, y1, x2';",
        ),
        ("image,class,x,y,width,height", "no columns of boxes: .* x, y, w, h: left top corner"),
        ("image,file,class,x1,y1,x2,y2", "several columns of images, 'image' and 'file': rename"),
        ("image,class,Label,x1,y1,x2,y2", "several columns of classes, 'class' and 'Label'"),
        ("image,class,x1,X1,y1,x2,y2", "several columns of x1, 'x1' and 'X1'"),
        ("image,class,x1,y1,x2,y2,class", "2 columns 'class': rename or delete one$"),
        (
            "image,class,x1,y1,x2,y2,x,y,w,h",
            "x1 y1 x2 y2 and x y w h: delete .*: --column x1=x1 --column y1=y1",
        ),
        (f"{HEAD},split,subset", "several columns of splits, 'split' and 'subset': rename"),
        ("name,index,class,label,score,x1,y1,x2,y2", "column 'score', and what a model finds"),
    ],
)
def test_columns_that_lack_or_are_not_clear_are_named(parts, head, told):
    file = save_table(parts / "labels.csv", head=head)
    for source in (parts, file):
        with pytest.raises(DataError, match=rf"labels\.csv' (has|it is).*{told}") as caught:
            read(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f'{HEAD}\n"a.jpg,dent,1,2,3,4\nb.jpg,dent,1,2,3,4\n', "line 3: no CSV: unexpected end"),
        (f'{HEAD}\n"a.jpg"x,dent,1,2,3,4\n', "line 2: no CSV"),
        (f"{HEAD}\nä.jpg,dent,1,2,3,4\n".encode("latin-1"), "is not UTF-8.* line 2.*save it as"),
        (HEAD.encode("utf-16"), "is saved as UTF-16: save it as UTF-8"),
        (b"PK\x03\x04\x14\0\x06\0\x9e", "is a workbook or an archive: save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook or an archive: save it as CSV UTF-8"),
        (b"\x1f\x8b\x08\x08\x83\xf6", "is a workbook or an archive: save it as CSV UTF-8"),
    ],
)
def test_a_broken_table_is_an_error(parts, content, told):
    (parts / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"table .*labels\.csv',? {told}"):
        read(parts)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
        b"PAR1\x15\x04\x15,",
        bytes(99),
        b'"\x01a"b\n',
        b'"\x01\xff',
    ],
)
def test_what_is_no_text_is_passed_over(parts, content):
    file = parts / "data.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.csv' .*is no text; the first row has to name"):
        read(parts)
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    images, result = read(parts)
    assert list(images) == ["a.jpg"] and len(result.warnings) == 1
    assert f"passed over: table {str(file)!r} " in result.warnings[0]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "gbk"])
def test_a_table_of_something_else_may_be_saved_in_any_way(parts, encoding):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    head, row = ("文件;零件", "a;划痕") if encoding == "gbk" else ("Maß;Datei", "3;Fräsung")
    save_table(parts / "Protokoll.csv", row, head=head, encoding=encoding)
    images, result = read(parts)
    assert images["a.jpg"].names == ("dent",)
    (line,) = result.warnings
    assert "Protokoll.csv' has no column of images: its columns are" in line
    # Labels that are saved so may be those of any image.
    save_table(parts / "Maschine 2.csv", "b.jpg,Fräsung,1,2,3,4", encoding="cp1252")
    with pytest.raises(DataError, match=r"Maschine 2\.csv' is not UTF-8 .* line 2\): save it as"):
        read(parts)


def test_splits_come_from_file_or_folder_names_and_other_tables_are_told(parts):
    save_table(parts / "train_labels.csv", "a.jpg,dent,1,2,9,8")
    save_table(
        parts / "valid/_annotations.tsv", "b.jpg\tdent\t1\t2\t9\t8", head="\t".join(HEAD.split(","))
    )
    save_table(parts / "groups.csv", "a.jpg,1", head="image,group")
    images, result = read(parts)
    assert {name: image.split for name, image in images.items()} == {
        "a.jpg": "train",
        "b.jpg": "val",
    }
    (line,) = result.warnings
    assert line.startswith("passed over: table ") and "groups.csv' has no column of classes" in line


def test_one_file_may_be_named_and_the_images_lie_elsewhere(tmp_path):
    save_image(tmp_path / "photos/deep/a.jpg")
    file = save_table(tmp_path / "labels/all.csv", "a.jpg,dent,1,2,9,8", "gone.jpg,dent,1,2,9,8")
    save_table(tmp_path / "labels/more.csv", "a.jpg,dent,1,2,9,9")
    images, result = read(file, images=tmp_path / "photos")
    assert len(images["a.jpg"].boxes) == 1
    assert [(p.reason, p.value) for p in result.left_out] == [("no image", "gone.jpg")]
    with pytest.raises(DataError, match=r"a\.jpg' is listed in .*all\.csv' and .*more\.csv"):
        read(tmp_path)


def test_a_smallest_area_is_refused_where_there_are_boxes_alone(parts):
    save_table(parts / "labels.csv", "a.jpg,dent,5,6,15,26")
    with pytest.raises(DataError, match=r"--min-area 9 is for run lengths, .*: leave it out"):
        read(parts, min_area=9)
    save_table(parts / "runs.csv", "b.jpg,1,1 10", head="ImageId,ClassId,EncodedPixels")
    images, _ = read(parts, min_area=9)
    assert images["a.jpg"].names == ("dent",) and images["b.jpg"].names == ("1",)
    assert read(parts)[0]["b.jpg"].names == ()  # 16 pixels, unless it is said


def test_no_table_is_an_error(parts):
    with pytest.raises(DataError, match=r"no \.csv or \.tsv file"):
        read(parts)
