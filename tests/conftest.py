"""Fixtures for every Python test; the program under test is $FCGI_LUA.

SPDX-License-Identifier: MIT
"""
import atexit
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import backends  # noqa: E402
from support import gateway as gateways  # noqa: E402
from support import unpacked  # noqa: E402


def pytest_configure(config):
    """Temporary folders of this run's own: pytest's common one is closed to
    other users again whenever another run begins, and some tests are such."""
    folder = tempfile.mkdtemp(prefix="fcgi-lua-tests-")
    os.chmod(folder, 0o755)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
    # pytest cleans up there at its exit, before what was registered first.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


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


@pytest.fixture(scope="session")
def shared_backends():
    shared = backends.Shared()
    yield shared
    shared.close()


@pytest.fixture
def redis(shared_backends):
    """A redis server without any keys."""
    server = shared_backends.get(backends.Redis)
    server.command("FLUSHALL")
    return server


@pytest.fixture
def memcached(shared_backends):
    """A memcached without any items."""
    server = shared_backends.get(backends.Memcached)
    server.exchange(b"flush_all\r\n", b"OK\r\n")
    return server


@pytest.fixture
def postgres(shared_backends):
    return shared_backends.get(backends.Postgres)


@pytest.fixture
def mariadb(shared_backends):
    return shared_backends.get(backends.Mariadb)


@pytest.fixture
def mailer(shared_backends):
    """An SMTP server; its mails are those of all tests."""
    return shared_backends.get(backends.Mailer)


@pytest.fixture(scope="session")
def resty():
    """Options with which a gateway's script finds OpenResty's libraries."""
    return unpacked.options()
