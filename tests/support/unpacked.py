"""Debian's packages of OpenResty's libraries.  They are files of plain Lua, but
depend on an nginx with Lua, so they are unpacked instead of installed.

SPDX-License-Identifier: MIT
"""
import subprocess

import pytest

from support.gateway import PROJECT

FOLDER = PROJECT / "build/unpacked"
PACKAGES = ("lua-nginx-redis", "lua-nginx-memcached", "lua-nginx-websocket")


def options():
    """Options of the gateway with which scripts find them: Debian calls them
    nginx.redis, nginx.memcached and nginx.websocket.client."""
    done = subprocess.run(
        [PROJECT / "tests/tools/unpack.sh", FOLDER, *PACKAGES],
        stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        pytest.fail(f"cannot unpack {', '.join(PACKAGES)}:\n{done.stderr}")
    return ["-I", str(FOLDER / "usr/share/lua/5.1")]
