"""OpenCV, where it is there (extra `vision`)."""

from __future__ import annotations

from typing import Any

from liquid_pilot.errors import MissingExtraError


def import_cv2() -> Any:
    """OpenCV. Raises `MissingExtraError`."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("pictures of a camera need OpenCV; pip install 'liquid-pilot[vision]'") from error
    return cv2
