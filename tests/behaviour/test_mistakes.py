"""What the log says of mistakes that everybody makes once: what is wrong, in
which line of the script, and what to write instead.

SPDX-License-Identifier: MIT
"""
import pytest


@pytest.fixture
def mistake(lua):
    """What the log says of a handler's code that ends with 500."""
    def made(code):
        before = len(lua.gateway.log())
        assert lua(code).status == 500
        log = lua.gateway.log()[before:]
        return next(line for line in log.splitlines() if " error [" in line)
    return made


@pytest.mark.parametrize("call, what", [
    ("req.read()", "req:read"), ("req.write('x')", "req:write"),
    ("req.param('X')", "req:param"), ("req.header(nil)", "req:header"),
    ("req.set_header('A', 'b')", "req:set_header"),
    ("req.on_abort(print)", "req:on_abort"),
    ("fcgi.spawn(print).join()", "task:join"),
    ("fcgi.spawn(print).cancel({})", "task:cancel"),
    ("fcgi.counter('n').inc()", "metric:inc")])
def test_a_dot_for_a_colon(mistake, call, what):
    assert f"test:1: bad self (write {what}, with a colon)" in mistake(call)


def test_another_object_is_named(mistake):
    assert ("test:1: bad argument #1 to 'read' (fcgi.request expected, got "
            "task)") in mistake("req.read(fcgi.spawn(print))")
