"""The build backend of the package: setuptools, after the pages are built (PEP 517, in-tree).

Where no Node.js is new enough, the build asks pip for the one on PyPI.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta

sys.path.insert(0, str(Path(__file__).parent))

import bundle

BUILT = Path(__file__).parents[2] / "build" / "lib" / "headcount" / "web"

build_sdist = build_meta.build_sdist
build_editable = build_meta.build_editable  # without the pages: make web builds them beside the sources
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools needs, and Node.js if there is none."""
    wanted = build_meta.get_requires_for_build_wheel(config_settings)
    return [*wanted, *([] if bundle.find_node() else [bundle.NODE_WHEEL])]


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """The wheel, with the pages in it."""
    bundle.main()
    # setuptools copies what it finds and removes nothing: an older build's files would come along.
    shutil.rmtree(BUILT, ignore_errors=True)
    made: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return made
