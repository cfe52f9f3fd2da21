"""Shares as pages and the screen show them."""

from __future__ import annotations

import pytest

from kdlnet.utils.words import decimals, digits_of, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.0625, "6.3 %"), (0.03246, "3.2 %"), (None, "–")],
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text  # 6.25 goes up, as Math.floor(x + 0.5) does in the browser
    assert percent(float("nan")) == "–"


def test_decimals_are_as_many_as_those_of_the_percentage() -> None:
    assert [decimals(share) for share in (0.0, 1.0, 0.0625)] == ["0.000", "1.000", "0.063"]
    for limit, share in ((0.0005, 0.00045), (0.01, 0.0104), (0.9995, 0.9996)):
        digits = digits_of(limit, share)
        assert decimals(limit, digits) != decimals(share, digits)
        assert float(percent(share, digits)[:-2]) == pytest.approx(
            100 * float(decimals(share, digits))
        )
