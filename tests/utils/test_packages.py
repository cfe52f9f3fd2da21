"""Versions of packages, asked for without importing them."""

from __future__ import annotations

import numpy as np

from kdlnet.utils.packages import version_of


def test_the_version_of_a_package_and_of_none() -> None:
    assert version_of("numpy") == np.__version__
    assert version_of("no-such-package") is None
