"""What the suppression of boxes goes by, unless told otherwise."""

from __future__ import annotations

IOU_THRESHOLD = 0.65
"""Two boxes of one class that overlap by this much are one."""
MAX_DETECTIONS = 300
