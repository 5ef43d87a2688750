"""OpenCV, where it is there, under the name that the modules here know."""

from __future__ import annotations

from liquid_pilot.vision import import_cv2

__all__ = ["import_cv2"]
