"""The build backend of the package: setuptools, after the pages are built (PEP 517, in-tree).

Where no Node.js is new enough, the build asks pip for the one on PyPI.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

sys.path.insert(0, str(Path(__file__).parent))

import build as pages  # noqa: E402


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools needs, and Node.js if there is none."""
    wanted = build_meta.get_requires_for_build_wheel(config_settings)
    return [*wanted, *([] if pages.find_node() else [pages.NODE_WHEEL])]


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """The wheel, with the pages in it."""
    pages.main()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
