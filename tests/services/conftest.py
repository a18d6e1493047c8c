"""Fixtures of the tests with real libraries and servers.

SPDX-License-Identifier: MIT
"""
import pathlib

import pytest

from support.gateway import Gateway

HERE = pathlib.Path(__file__).resolve().parent
PRELUDE = (HERE / "prelude.lua").read_text()


class Works:
    """A gateway whose handlers do the work that requests name."""

    def __init__(self, gateway):
        self.gateway = gateway

    def params(self, name, argument=None):
        return {"WORK": name, "ARGUMENT": argument}

    def __call__(self, name, argument=None):
        """Does it; the text of the answer, which must be 200."""
        return self.check(name, self.gateway.request(
            self.params(name, argument)))

    def check(self, name, response):
        assert response.status == 200, (f"{name}: {response.status}\n"
                                        f"{self.gateway.log()[-4000:]}")
        return response.text

    def start(self, conn, name, argument=None, id=1):
        """Begins it on a connection."""
        conn.start(id, self.params(name, argument))

    def at_once(self, names, argument=None):
        """All of them side by side in the one process; what they answer."""
        with self.gateway.connect() as conn:
            ids = range(1, len(names) + 1)
            for id, name in zip(ids, names):
                self.start(conn, name, argument, id)
            found = conn.collect_all(ids)
        return [self.check(name, found[id]) for id, name in zip(ids, names)]

    def hello(self):
        """Another request, which nothing may disturb."""
        assert self.gateway.request().text == "hello"


@pytest.fixture(scope="module")
def start_works():
    """start_works(script, *options, args=...) serves the script for all tests
    of the module."""
    running = {}

    def start(script, *options, args=()):
        key = script, options, args
        if key not in running:
            gw = Gateway(HERE / script, "--eval", PRELUDE, *options,
                         args=args)
            running[key] = gw.__enter__()
        return Works(running[key])

    yield start
    for gw in running.values():
        gw.__exit__(None, None, None)
