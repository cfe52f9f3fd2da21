"""Which annotation file belongs to which image."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.curation.formats.pairing import pair
from kdlnet.errors import DataError

ROOT = Path("/set")


def paired(images, files, named=None, roots=("", "")):
    """Names in, names out: the file of each image, what is unclear, what another image has."""
    pairs = pair(
        [ROOT / name for name in images.split()],
        [ROOT / name for name in files.split()],
        (ROOT / roots[0], ROOT / roots[1]),
        {ROOT / file: names for file, names in (named or {}).items()},
    )
    found = {str(i.relative_to(ROOT)): str(f.relative_to(ROOT)) for i, f in pairs.file_of.items()}
    rest = [sorted(str(p.relative_to(ROOT)) for p in s) for s in (pairs.unclear, pairs.unlisted)]
    return found, *rest


@pytest.mark.parametrize(
    ("images", "files", "expected"),
    [
        ("images/a/x.jpg images/b/x.jpg", "xml/a/x.xml", {"images/a/x.jpg": "xml/a/x.xml"}),
        ("images/x.jpg images/b/x.jpg", "xml/x.xml", {"images/x.jpg": "xml/x.xml"}),
        ("a/images/x.jpg b/images/x.jpg", "b/xml/x.xml", {"b/images/x.jpg": "b/xml/x.xml"}),
        ("a/x.jpg b/x.jpg", "b/x.xml", {"b/x.jpg": "b/x.xml"}),
        ("a/x.jpg b/x.jpg", "xml/b/x.xml", {"b/x.jpg": "xml/b/x.xml"}),
        # By depth alone images/b would be nearer to xml/a than to xml.
        (
            "images/a/x.jpg images/b/x.jpg",
            "xml/a/x.xml xml/x.xml",
            {"images/a/x.jpg": "xml/a/x.xml", "images/b/x.jpg": "xml/x.xml"},
        ),
        # A folder that is served may hold files for the folders below it.
        (
            "images/x.jpg images/more/y.jpg",
            "xml/x.xml xml/y.xml",
            {"images/x.jpg": "xml/x.xml", "images/more/y.jpg": "xml/y.xml"},
        ),
    ],
)
def test_folders_tell(images, files, expected):
    assert paired(images, files) == (expected, [], [])


def test_images_of_another_root():
    found = paired(
        "photos/p/a/x.jpg photos/p/b/x.jpg", "drawn/a/x.xml", roots=("photos/p", "drawn")
    )
    assert found == ({"photos/p/a/x.jpg": "drawn/a/x.xml"}, [], [])


def test_nothing_tells():
    images = ["images/a/x.jpg", "images/b/x.jpg"]
    named = {"xml/x.xml": ("/home/me/images/x.jpg", "images/x.jpg", "x.jpg")}
    assert paired(" ".join(images), "xml/x.xml", named) == ({}, [*images, "xml/x.xml"], [])


@pytest.mark.parametrize("name", ["C:\\me\\b\\x.jpg", "b/x.jpg"])
def test_the_file_names_its_image(name):
    found = paired("images/a/x.jpg images/b/x.jpg", "xml/x.xml", {"xml/x.xml": ("x.jpg", name)})
    assert found == ({"images/b/x.jpg": "xml/x.xml"}, [], ["images/a/x.jpg"])


def test_a_file_that_lost_its_image_is_not_a_namesakes():
    found = paired("images/pit/1.jpg images/good/2.jpg", "xml/pit/1.xml xml/pit/2.xml")
    assert found == (
        {"images/pit/1.jpg": "xml/pit/1.xml"},
        ["images/good/2.jpg"],  # the file stays free: its image may have another name now
        [],
    )


def test_two_files_for_one_image():
    with pytest.raises(DataError, match=r"fits two annotations.*xml1.*xml2"):
        paired("images/x.jpg", "xml1/x.xml xml2/x.xml")
