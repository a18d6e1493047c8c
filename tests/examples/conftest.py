"""Fixtures of the tests of the examples.

SPDX-License-Identifier: MIT
"""
import pathlib

import pytest
import sites

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(shared_gateway):
    """example(name) is a gateway that serves examples/name."""
    return lambda name: shared_gateway(str(EXAMPLES / name))


@pytest.fixture
def own_example(gateway):
    """The same with options and arguments, and for this test alone, which
    looks into its log."""
    return lambda name, *options, **more: gateway(str(EXAMPLES / name),
                                                  *options, **more)


@pytest.fixture(scope="module")
def all_sites():
    running = sites.Sites()
    yield running
    running.close()


@pytest.fixture(params=sites.FRONTS)
def front(request):
    return request.param


@pytest.fixture
def site(all_sites):
    """site(name, *args) is an example in the three ways of sites.FRONTS, for
    all tests of the module."""
    yield all_sites.get
    all_sites.check()
