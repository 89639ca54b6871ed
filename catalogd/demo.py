"""The photos of `catalogd demo`: real ones that an installed package carries, nothing fetched."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from catalogd.errors import UsageError

_PACKAGE = "skimage"
_PHOTOS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "page.png",
    "rocket.jpg",
)
DEMO_QUERIES = ("a cat", "a hot drink", 'text:"segmentation"')


def demo_photos(folder: Path) -> Path:
    """Copy the demo photos into `folder`, which is made. Raises UsageError when the package is missing."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the demo's photos come with the extra `demo`: pip install 'catalogd[demo]'")
    source = Path(spec.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True)
    for name in _PHOTOS:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    return folder
