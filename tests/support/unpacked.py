"""Debian's packages that are unpacked instead of installed: those of plain Lua
that depend on an nginx with Lua or on another Lua, and documentation, which some
systems leave out.

SPDX-License-Identifier: MIT
"""
import subprocess

import pytest

from support.gateway import PROJECT

FOLDER = PROJECT / "build/unpacked"
RESTY = ("lua-nginx-redis", "lua-nginx-memcached", "lua-nginx-websocket")
WSAPI = ("lua-wsapi", "lua-wsapi-doc", "lua-orbit", "lua-cosmo")
LUA = FOLDER / "usr/share/lua/5.1"


def unpack(packages):
    done = subprocess.run(
        [PROJECT / "tests/tools/unpack.sh", FOLDER, *packages],
        stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        pytest.fail(f"cannot unpack {', '.join(packages)}:\n{done.stderr}")


def options():
    """Options of the gateway with which scripts find OpenResty's libraries:
    Debian calls them nginx.redis, nginx.memcached and nginx.websocket.client."""
    unpack(RESTY)
    return ["-I", str(LUA)]


def wsapi(*examples):
    """The same for WSAPI and Orbit, with folders of their examples."""
    unpack(WSAPI)
    found = []
    for folder in (LUA, *(FOLDER / "usr/share/doc" / e for e in examples)):
        found += ["-I", str(folder)]
    return found
