"""OpenCV without lines of its own: the errors here say the same in one."""

from __future__ import annotations

import cv2

from kdlnet.utils.together import Together

_set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # from 4.13 on

quiet = Together(lambda: _set_level(0), _set_level)
"""While any thread is in, OpenCV logs nothing."""
