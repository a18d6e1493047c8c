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


# --- answers -----------------------------------------------------------------

@pytest.mark.parametrize("code, why", [
    ("req:write('hello')", "the handler ended before the empty line"),
    ("req:write('hello\\n\\n')", 'a line is not "Name: value"')])
def test_a_body_without_a_head(mistake, code, why):
    line = mistake(code)
    assert f"the head of the answer is not valid: {why} (the first write" in line
    assert "req:set_header" in line and "an empty line" in line


@pytest.mark.parametrize("value, kind", [
    ("'hello'", "string"), ("true", "boolean"), ("{200, 'hello'}", "table"),
    ("print", "function"), ("req", "userdata")])
def test_something_is_returned_without_a_status(mistake, value, kind):
    assert (f"the handler ended without an answer: it returned a {kind}, but "
            "an answer begins with the status: return 200, headers, body"
            ) in mistake(f"return {value}")


def test_nothing_is_returned(mistake):
    assert "the handler ended without an answer (" in mistake("return nil")
