"""Which hasten this is."""

from __future__ import annotations

import sys


def own_version() -> str:
    """The version of the code that runs; what is installed beside it for editing may say an older one."""
    return str(sys.modules["hasten"].__version__)
