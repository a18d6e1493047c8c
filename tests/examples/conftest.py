"""Fixtures of the tests of the examples.

SPDX-License-Identifier: MIT
"""
import pathlib

import pytest

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
