"""The section on other light, blur and noise."""

from __future__ import annotations

from kdlnet.report.pages.answer import Limits, ends
from kdlnet.report.pages.drift import drift_section

from .made import made_images, made_subject


def test_shares_have_the_digits_that_tell_them_from_the_limits(tmp_path):
    """As in the other tables of the page: 0.0 % beside a limit of 0.05 % says nothing."""
    result = made_subject(made_images(tmp_path, 6)).result
    limits = Limits(0.0005, 0.00125)
    (table,) = drift_section(result, limits).tables
    escape, overkill = table.rows[0][3:5]
    rates = result.verdicts.overall
    assert escape.text == ends(rates.escape, limits.escape)[1]
    assert overkill.text == ends(rates.overkill, limits.overkill)[1]
    assert (len(escape.text.split(".")[1]), len(overkill.text.split(".")[1])) == (4, 5)  # "00 %"
