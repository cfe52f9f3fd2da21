from __future__ import annotations

import math

import pytest

from kdlnet.curation.formats.shapes import Unusable, box_around


def test_box_around_points():
    assert box_around([(5, 6), (1, 9), (3, 2)]) == (1, 2, 5, 9)
    with pytest.raises(Unusable, match="incomplete"):
        box_around([])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_point_that_is_no_number_spoils_the_box_wherever_it_stands(place, bad):
    points = [(5.0, 6.0), (1.0, 9.0), (3.0, 2.0)]
    points[place] = (points[place][0], bad)
    with pytest.raises(Unusable, match="nan"):
        box_around(points)
