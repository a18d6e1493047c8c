"""Programs that tests start.

SPDX-License-Identifier: MIT
"""
import os
import shutil

import pytest


def find(name, package, folders=()):
    """The path of an installed program, in PATH or in one of the folders.
    Without it the test is skipped; where everything must run (CI=true) it
    fails."""
    path = shutil.which(name, path=":".join(
        [*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing: apt-get install {package}")
        pytest.skip(f"{name} is missing: apt-get install {package}")
    return path
