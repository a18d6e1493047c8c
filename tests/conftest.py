"""Fixtures for every Python test; the program under test is $FCGI_LUA.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import gateway as gateways  # noqa: E402


def pytest_sessionstart(session):
    if session.config.option.collectonly:
        return
    path = os.environ.get("FCGI_LUA")
    if not path:
        pytest.exit("FCGI_LUA is not set: it names the fcgi-lua program to "
                    "test, e.g. FCGI_LUA=build/dev/fcgi-lua", 2)
    if not os.access(path, os.X_OK):
        pytest.exit(f"FCGI_LUA={path} is not an executable file", 2)


@pytest.fixture
def gateway():
    """gateway(script, *options, ...) starts a Gateway that ends with the
    test."""
    running = []

    def start(script, *options, **args):
        gw = gateways.Gateway(script, *options, **args)
        running.append(gw)
        return gw.__enter__()

    yield start
    failed = []
    for gw in reversed(running):
        print(f"--- the gateway's log:\n{gw.log()[-20000:]}")
        try:
            gw.__exit__(None, None, None)
        except AssertionError as error:
            failed.append(error)
    if failed:
        raise failed[0]


@pytest.fixture(scope="session")
def shared_gateways():
    shared = gateways.Shared()
    yield shared
    shared.close()


@pytest.fixture
def shared_gateway(shared_gateways):
    """shared_gateway(script, *options, ...): the Gateway that all tests of the
    session share who ask for the same."""
    yield shared_gateways.get
    shared_gateways.check()


@pytest.fixture
def program():
    return gateways.program()
