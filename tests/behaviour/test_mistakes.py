"""What the log says of mistakes that everybody makes once: what is wrong, in
which line of the script, and what to write instead.

SPDX-License-Identifier: MIT
"""
import pytest

from support.fastcgi import AUTHORIZER


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


@pytest.mark.parametrize("code", ["return nil", "print('hello')"])
def test_nothing_is_returned(mistake, code):
    assert ("the handler ended without an answer: it wrote nothing and "
            "returned nothing (print writes to the log) (") in mistake(code)


@pytest.mark.parametrize("value, field", [
    ("{name='x'}", "name"), ("{{}, {{[2]='x'}}}", "2"),
    ("{[{}]=1}", "table: 0x"), ("req.input", "")])
def test_a_table_that_is_no_list_is_written(mistake, value, field):
    assert ("test:1: bad argument #2 to 'write' (a list of strings or numbers "
            f"expected, got a table with the field {field}"
            ) in mistake(f"req:set_status(200):write('a', {value})")


def test_empty_lists_are_lists(lua):
    assert lua("req:set_status(200):write({}, {{}}, table.pack(), 'a')"
               ).text == "a"
    assert lua("return 200, {A={}}, {'a', {{}}, table.pack()}").text == "a"


HEADERS = [("{['Content-Type']=true}", '"Content-Type"', "string expected, got "
            "boolean"),
           ("{A='a\\nb'}", '"A"', "has a control byte"),
           ("{['A B']='x'}", '"A B"', "is not the name of a header"),
           ("{A={B='x'}}", '"A"', "a list of strings or numbers expected, got "
            "a table with the field B"),
           ("{'A: x'}", "1", 'string expected, got number: write { ["Content-'
            'Type"] = "text/html" }'),
           ("{[{}]='x'}", "table: 0x", "string expected, got table")]
OTHERS = [("200, 'x'", "headers are a table, not a string; the order is "
           "status, headers, body"),
          ("200, nil, {name='x'}", "the body: a list of strings or numbers "
           "expected, got a table with the field name"),
          ("200, nil, {{[2]='x'}}", "the body: a list of strings or numbers "
           "expected, got a table with the field 2"),
          ("99", "the status 99 is not an integer from 200 to 599"),
          ("200, nil, true", "a body is a string, a list, an iterator or an "
           "open file, not a boolean"),
          ("200, nil, {{true}}", "the body: a list of strings or numbers "
           "expected, got boolean")]


@pytest.mark.parametrize("headers, name, why", HEADERS)
def test_a_wrong_header_names_the_line(gateway, lua, mistake, headers, name,
                                       why):
    line = mistake(f"\nreq:send(200, {headers})")
    assert f"test:2: the header {name}" in line and why in line
    gw = gateway(f"\n\nfunction on_request()\n  return 200, {headers}\nend")
    assert gw.request().status == 500
    line = gw.wait_log(r"app\.lua:3: the header .*").group(0)
    assert name in line and why in line
    assert "answer.lua" not in line


@pytest.mark.parametrize("answer, why", OTHERS)
def test_a_wrong_answer_names_the_line(gateway, mistake, answer, why):
    assert f"test:2: {why}" in mistake(f"\nreq:send({answer})")
    gw = gateway(f"\n\nfunction on_request()\n  return {answer}\nend")
    assert gw.request().status == 500
    assert why in gw.wait_log(r"app\.lua:3: .*").group(0)


def test_a_wrong_answer_of_on_error_names_its_line(gateway):
    gw = gateway("function on_request() error('x') end\n"
                 "function on_error() return 99 end")
    assert gw.request().status == 500
    gw.wait_log(r"app\.lua:2: the status 99")


@pytest.mark.parametrize("vars, why", [
    ("{A=true}", 'the variable "A" of the answer: string expected, got bool'),
    ("{[print]='x'}", "the variable function: "),
    ("{['A B']='x'}", 'the variable "A B" of the answer: is not the name'),
    ("'x'", "variables are a table, not a string")])
def test_a_wrong_variable_names_the_line(gateway, vars, why):
    gw = gateway(f"\nfunction on_authorize() return true, {vars} end")
    assert gw.request(role=AUTHORIZER).status == 500
    assert why in gw.wait_log(r"app\.lua:2: .*").group(0)
