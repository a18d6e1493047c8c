"""Fixtures for the tests behind web servers.

SPDX-License-Identifier: MIT
"""
import itertools

import pytest
import webserver

_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "servers_where(trait=value, ...): only "
                            "behind web servers whose class has these values "
                            "(webserver.py)")


def pytest_collection_modifyitems(config, items):
    def applies(item):
        marker = item.get_closest_marker("servers_where")
        return marker is None or all(
            getattr(item.callspec.params["running"], trait) == value
            for trait, value in marker.kwargs.items())

    left_out = [item for item in items if not applies(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if applies(item)]


@pytest.fixture(scope="module", params=webserver.ALL,
                ids=lambda kind: kind.name)
def running(request):
    with request.param() as server:
        yield server


@pytest.fixture
def server(running):
    """Each web server of examples/servers/ in turn, running, in front of a
    gateway with app.lua."""
    running.ensure()
    before = len(running.log()), len(running.gateway_log())
    yield running
    # Shown when the test has failed.
    print(f"--- the log of {running.name}:\n{running.log()[before[0]:]}")
    if running.gateway is not None:
        print("--- the gateway's log:\n"
              f"{running.gateway_log()[before[1]:]}")
    running.check()


@pytest.fixture
def prefix():
    """A name for this test's marks."""
    return f"m{next(_numbers)}"
