"""Fixtures of the behaviour tests.

SPDX-License-Identifier: MIT
"""
import resource

import pytest

from support.lua import EVAL, Lua
from support.peers import Peer


@pytest.fixture
def lua(shared_gateway):
    """A Lua on the gateway that all tests with default options share."""
    return Lua(shared_gateway(EVAL))


@pytest.fixture
def lua_with(gateway):
    """lua_with(*options, ...): a Lua on a gateway of the test's own."""
    def start(*options, **args):
        return Lua(gateway(EVAL, *options, **args))
    return start


@pytest.fixture
def many_files():
    """Lets the test itself open thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def peer():
    """A listener on loopback, for sockets of scripts."""
    with Peer(("127.0.0.1", 0)) as one:
        yield one


@pytest.fixture
def local(tmp_path):
    """The same on a unix socket."""
    with Peer(str(tmp_path / "peer")) as one:
        yield one


@pytest.fixture
def stuck(tmp_path):
    """Nobody can connect to it, nor hears why."""
    with Peer(("127.0.0.1", 0), backlog=0) as one:
        one.fill()
        yield one
