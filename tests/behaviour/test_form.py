"""req:form: the fields of urlencoded and multipart bodies, and their limits.

SPDX-License-Identifier: MIT
"""
import random
from urllib.parse import quote_plus

import pytest

from support.forms import URLENCODED, field, file, multipart, params
from support.gateway import wait_until
from support.lua import ECHO, params_for

MIB = 1 << 20
FORM = multipart(field("name", "Ada L"), field("tag", "a"), field("tag", "b"),
                 field("empty", ""), file("photo", "cat.png", "\u20acPNG\r\n"))


def send(conn, code, body, given, cut=1):
    """Sends a request whose body comes in pieces; its answer."""
    conn.begin(1)
    conn.params(1, params_for(code, given, body))
    conn.stdin(1, body, cut=cut)
    return conn.collect(1)


# --- fields ---

@pytest.mark.parametrize("given,body", [
    (URLENCODED, b"name=Ada+L&tag=a&tag=b&empty="),
    (params(), FORM)])
def test_fields_are_found_by_name(lua, given, body):
    def value(expression):
        return lua.value(expression, given, body)
    assert value("req:form 'name'") == '"Ada L"'
    assert value("req:form 'tag'") == '"a"'
    assert value("req:form 'empty'") == '""'
    assert value("req:form 'none'") == "nil"
    assert value("req:form_all 'tag'") == '{"a", "b"}'
    assert value("req:form_all 'none'") == "{}"
    assert value("req:form().tag, req:form().name, req:form().none") == \
        '"a", "Ada L", nil'


def test_contents_of_a_file_are_its_value(lua):
    assert lua.value("req:form 'photo'", params(), FORM) == '"\u20acPNG\r\n"'


def test_file_that_was_not_chosen_is_no_field(lua):
    body = multipart(file("photo", "", b""), file("text", "", "typed"),
                     file("empty", "a.txt", b""))
    assert lua.value("req:form()", params(), body) == \
        '{empty="", text="typed"}'


def test_table_is_the_callers_own(lua):
    assert lua.value("(function() req:form().name = 'x' "
                     "req:form_all('tag')[1] = 'x' "
                     "return req:form 'name', req:form_all 'tag' end)()",
                     params(), FORM) == '"Ada L", {"a", "b"}'


def test_urlencoded_fields_are_decoded(lua):
    assert lua.value("req:form()", URLENCODED,
                     b"a%20b=%E2%82%AC+1&&x&=y&%zz=%") == \
        '{%zz="%", ="y", a b="\u20ac 1", x=""}'


def test_random_forms_mean_the_same_in_both_codings(lua):
    rng = random.Random(7)      # the same on every run
    alphabet = [b"a", b"%", b"+", b"&", b"=", b"2", b"5", b"41", b"\xc3\xa4",
                b"\r\n", b'"', b"\\", b";", b" ", b"\0", b"--", b"\xff"]
    code = ("local function hex(s) return (s:gsub('.', function(c) "
            "return ('%02x'):format(c:byte()) end)) end local out = {} "
            "for name, value in pairs(req:form()) do out[#out + 1] = "
            "hex(name) .. '=' .. hex(value) end table.sort(out) "
            "return 200, {}, table.concat(out, ' ')")
    with lua.connect() as conn:
        for _ in range(40):
            fields = {}
            for _ in range(rng.randrange(6)):
                name = b"".join(rng.choices(alphabet, k=rng.randrange(4)))
                name = name.translate(None, b"\0\\%")
                fields.setdefault(
                    name, b"".join(rng.choices(alphabet, k=rng.randrange(30))))
            expected = " ".join(sorted(f"{name.hex()}={value.hex()}"
                                       for name, value in fields.items()))
            encoded = "&".join(
                quote_plus(name, safe=rng.choice(["", "*"])) + "=" +
                quote_plus(value) for name, value in fields.items()).encode()
            parts = multipart(*[
                (b'Content-Disposition: form-data; name="' +
                 name.replace(b'"', b"%22").replace(b"\r\n", b"%0D%0A") + b'"',
                 value) for name, value in fields.items()])
            for given, body in ((URLENCODED, encoded), (params(), parts)):
                response = send(conn, code, body, given,
                                cut=rng.randrange(1, 50))
                assert response.text == expected, (fields, body)


@pytest.mark.parametrize("body", [b"", b"&", b"&&"])
def test_form_without_fields(lua, body):
    assert lua.value("req:form(), req:form 'a'", URLENCODED, body) == "{}, nil"
    assert lua.value("req:form(), req:form 'a'", params(),
                     multipart()) == "{}, nil"


def test_type_may_have_parameters_and_any_case(lua):
    given = {"CONTENT_TYPE":
             " Application/X-WWW-Form-URLencoded ; charset=utf-8"}
    assert lua.value("req:form 'a'", given, b"a=1") == '"1"'
    given = {"CONTENT_TYPE": 'Multipart/Form-Data; charset=utf-8; '
                             'Boundary="a b"'}
    assert lua.value("req:form 'a'", given,
                     multipart(field("a", "1"), boundary="a b")) == '"1"'


@pytest.mark.parametrize("type", [
    None, "", "text/plain", "application/json", "multipart/mixed; boundary=x",
    "application/x-www-form-urlencodedx", "multipart/form-datax", ";", "/"])
def test_other_bodies_are_not_a_form(lua, type):
    given = {"CONTENT_TYPE": type}
    assert lua.value("req:form 'a', req:form()", given, b"a=1") == \
        'nil, nil, "not a form"'
    assert lua.value("select(2, req:form 'a'), select(2, req:form_all 'a')",
                     given, b"a=1") == '"not a form", "not a form"'
    # and can be taken in another way
    assert lua.value("req:form 'a', req:body()", given,
                     b"a=1") == 'nil, "a=1"'


def test_request_without_a_body_is_not_a_form(lua):
    assert lua.value("req:form 'a'") == 'nil, "not a form"'


# --- as it comes ---

@pytest.mark.parametrize("given,body", [
    (URLENCODED, b"name=Ada+L&tag=a&tag=b&photo=%E2%82%ACPNG%0D%0A&empty="),
    (params(), FORM)])
def test_form_that_comes_byte_by_byte(lua, given, body):
    with lua.connect() as conn:
        text = send(conn, "return 200, {}, dump(req:form())", body, given).text
    assert text == '{empty="", name="Ada L", photo="\u20acPNG\r\n", tag="a"}'


def test_tasks_may_ask_for_a_form_at_the_same_time(lua):
    code = ("local tasks = {} for i, name in ipairs { 'name', 'tag', 'empty' }"
            " do tasks[i] = fcgi.spawn(req.form, req, name) end "
            "local values = {} for i, task in ipairs(tasks) do "
            "values[i] = task:join() end return 200, {}, dump(values)")
    with lua.connect() as conn:
        assert send(conn, code, FORM, params(), cut=7).text == \
            '{"Ada L", "a", ""}'


def test_form_survives_a_task_that_was_cancelled(lua):
    """What a cancelled task had collected is not lost."""
    code = ("local first = fcgi.spawn(req.form, req, 'name') "
            "local second = fcgi.spawn(req.form, req, 'tag') "
            "while not go do fcgi.sleep(0.001) end go = nil first:cancel() "
            "gone = true return 200, {}, dump({ first:join() }, { second:join() }, "
            "req:form 'name')")
    for given, body in ((params(), FORM),
                        (URLENCODED, b"name=Ada+L&tag=a&tag=b")):
        for cut in (3, 11, len(body) // 2, len(body) - 3):
            with lua.connect() as conn:
                conn.begin(1)
                conn.params(1, params_for(code, given, body))
                conn.stdin(1, body[:cut], end=False)
                conn.barrier()
                lua("go, gone = true, nil return 200")
                wait_until(lambda: lua.value("gone") == "true", "a cancel")
                conn.stdin(1, body[cut:])
                assert conn.collect(1).text == \
                    '{2="cancelled"}, {"a"}, "Ada L"'


# --- limits ---

def test_body_of_a_form_is_limited_to_16_mib(lua):
    body = multipart(file("f", "x", b"x" * (16 * MIB - 300)))
    assert len(body) < 16 * MIB
    assert lua.value("#req:form 'f'", params(), body) == str(16 * MIB - 300)
    body = multipart(file("f", "x", b"x" * 16 * MIB))
    assert lua.value("req:form 'f'", params(), body) == 'nil, "too large"'


@pytest.mark.parametrize("length", [True, False])
def test_limit_may_be_given(lua, length):
    body = multipart(file("f", "x", b"x" * 1000))
    given = params() if length else params(CONTENT_LENGTH=None)
    size = len(body)
    assert lua.value(f"#req:form('f', {size})", given, body) == "1000"
    # (without a length it is the epilogue that nobody looks at)
    assert lua.value(f"req:form('f', {size - 3})", given, body) == \
        'nil, "too large"'
    assert lua.value(f"req:form(nil, {size - 3})", given, body) == \
        'nil, "too large"'
    assert lua.value("req:form_all('f', 1000)", given, body) == \
        'nil, "too large"'
    assert lua.value("#req:form_all('f', 32 << 20)[1]", given, body) == "1000"


def test_limit_of_an_urlencoded_body(lua):
    assert lua.value("req:form('a', 5)", URLENCODED, b"a=123") == '"123"'
    assert lua.value("req:form('a', 4)", URLENCODED, b"a=123") == \
        'nil, "too large"'


def test_fields_are_limited_to_1_mib(lua):
    fits = multipart(field("a", "x" * (MIB - 3)), field("b", "y"))
    over = multipart(field("a", "x" * (MIB - 2)), field("b", "y"))
    assert lua.value("#req:form 'a', req:form 'b'", params(), fits) == \
        f'{MIB - 3}, "y"'
    assert lua.value("req:form 'b'", params(), over) == 'nil, "too large"'
    fits = b"a=" + b"%78" * (MIB - 3) + b"&b=y"
    over = b"a=" + b"%78" * (MIB - 2) + b"&b=y"
    assert lua.value("#req:form 'a', req:form 'b'", URLENCODED, fits) == \
        f'{MIB - 3}, "y"'
    assert lua.value("req:form 'b'", URLENCODED, over) == 'nil, "too large"'


def test_names_of_fields_count(lua):
    name = "n" * 10000
    body = multipart(*[field(name, "")] * 110)
    assert lua.value("req:form()", params(), body) == 'nil, "too large"'


@pytest.mark.parametrize("make", [
    lambda n: (params(), multipart(*[field("a", "")] * n)),
    lambda n: (params(), multipart(*[file("a", "f", "")] * n)),
    lambda n: (params(), multipart(*[file("a", "", "")] * n)),
    lambda n: (URLENCODED, b"&".join([b"a"] * n))])
def test_fields_are_limited_to_1000(lua, make):
    given, body = make(1000)
    assert lua.value("type(req:form())", given, body) == '"table"'
    given, body = make(1001)
    assert lua.value("req:form()", given, body) == 'nil, "too many fields"'


def test_files_do_not_count_as_fields(lua):
    body = multipart(*[field("a", "x" * 1000)] * 1000,
                     *[file("f", "x", "y" * 2000)] * 1000)
    assert lua.value("#req:form_all 'a', #req:form_all 'f'", params(),
                     body) == "1000, 1000"


def test_what_is_too_large_stays_so_and_is_dropped(lua):
    with lua.connect() as conn:
        body = multipart(file("f", "x", b"x" * 3 * MIB))
        text = lua.on(conn, "return 200, {}, dump({ req:form('f', 1000) }, "
                      "{ req:form 'f' }, { req:form() }, { req:form_all 'g' })",
                      params(), body).text
        assert text == ', '.join(['{2="too large"}'] * 4)
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_answer_to_a_form_that_is_too_large_comes_at_once(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(
            "local form, err = req:form() return 413, {}, err",
            params(CONTENT_LENGTH=str(1 << 40))))
        assert conn.collect(1).text == "too large"


def test_form_over_max_body_is_answered_413(lua_with):
    lua = lua_with("--max-body=1000")
    body = multipart(field("a", "x" * 2000))
    for given in (params(), params(CONTENT_LENGTH=None)):
        assert lua("return 200, {}, dump(req:form())", given,
                   body).status == 413
    assert lua.value("req:form 'a'", params(),
                     multipart(field("a", "1"))) == '"1"'


def test_max_body_does_not_raise_the_limit(lua_with):
    lua = lua_with("--max-body=64M")
    body = multipart(file("f", "x", b"x" * 17 * MIB))
    assert lua.value("req:form 'f'", params(), body) == 'nil, "too large"'


# --- what goes wrong ---

@pytest.mark.parametrize("given,body", [
    (params(), FORM[:-20]),
    (params(), b""),
    (params(), b"name=Ada"),
    (params(), FORM.replace(b"\r\n", b"\n")),
    (params(boundary="other"), FORM),
    (params(boundary=""), FORM),
    (params(boundary="x" * 71), FORM),
    ({"CONTENT_TYPE": "multipart/form-data"}, FORM),
    (params(), multipart(("Content-Type: text/plain", "x")))])
def test_broken_multipart_is_told(lua, given, body):
    assert lua.value("req:form()", given, body) == 'nil, "bad multipart"'
    assert lua.value("select(2, req:form_all 'a'), select(2, req:form 'b')",
                     given, body) == '"bad multipart", "bad multipart"'


@pytest.mark.parametrize("given,body", [
    (params(), FORM), (URLENCODED, b"name=Ada&tag=a")])
def test_aborted_form_is_told(lua, given, body):
    code = ("seen = nil local form, err = req:form() "
            "seen = dump(form, err, select(2, req:form 'name'))")
    for cut in (0, 5, len(body) - 3):
        with lua.connect() as conn:
            conn.begin(1)
            conn.params(1, params_for(code, given, body))
            conn.stdin(1, body[:cut] or b"", end=False)
            conn.barrier()
            conn.abort(1)
            conn.collect(1)
            conn.barrier()
        assert lua.text("return 200, {}, seen") == \
            'nil, "aborted", "aborted"'


def test_truncated_form_is_told(lua):
    for given, body in ((params(), FORM), (URLENCODED, b"name=Ada&tag=a")):
        given = {**given, "CONTENT_LENGTH": str(len(body) + 1)}
        if given["CONTENT_TYPE"] == URLENCODED["CONTENT_TYPE"]:
            assert lua.value("req:form()", given, body) == 'nil, "aborted"'
        else:   # the last boundary has come
            assert lua.value("req:form 'name'", given, body) == '"Ada L"'
            assert lua.value("req:form()", given, body[:-9]) == \
                'nil, "aborted"'


def test_form_after_the_request_is_over(lua):
    text = lua.text("kept = req return 200, {}, ''", params(), FORM)
    assert text == ""
    assert lua.value("kept:form 'name'") == 'nil, "finished"'
    assert lua.value("kept:form_all 'name'") == 'nil, "finished"'
    assert lua.value("kept:form()") == 'nil, "finished"'
    assert lua.text("req:send(200) seen = dump(req:form())", params(),
                    FORM) == ""
    assert lua.text("return 200, {}, seen") == 'nil, "finished"'


@pytest.mark.parametrize("call,what", [
    ("req.form()", "bad self (write req:form, with a colon)"),
    ("req.form('x')", "bad self (write req:form, with a colon)"),
    ("req:form(nil)", "bad argument #1 to 'form' (string expected, got nil)"),
    ("req:form({})", "bad argument #1 to 'form' (string expected, got table)"),
    ("req:form_all()", "bad argument #1 to 'form_all' (string expected"),
    ("req:form('a', -1)", "bad argument #2 to 'form' (not a number of bytes)"),
    ("req:form('a', 1.5)", "bad argument #2 to 'form' (not a number of"),
    ("req:form(nil, '1')", "bad argument #2 to 'form' (not a number of"),
    ("req:form_all('a', {})", "bad argument #2 to 'form_all' (not a number")])
def test_misuse_names_the_line_of_the_script(lua, call, what):
    text = lua.text(f"local ok, err = pcall(function() {call} end) "
                    "return 200, {}, tostring(ok) .. ' ' .. tostring(err)",
                    params(), FORM)
    assert text.startswith("false test:1: " + what)


TAKES = {"read": "req:read()", "read_line": "req:read_line()",
         "lines": "req:lines()()", "body": "req:body()",
         "form": "req:form 'name'", "form_all": "req:form_all 'name'",
         "parts": "req:parts()()"}


@pytest.mark.parametrize("first,second", [
    ("form", "read"), ("form", "read_line"),
    ("form", "body"), ("form", "parts"), ("form_all", "body"),
    ("read", "form"), ("body", "form"), ("body", "form_all"),
    ("lines", "form"), ("parts", "form"), ("parts", "read"),
    ("parts", "body"), ("read", "parts"), ("body", "parts")])
def test_second_way_of_taking_the_body_raises(lua, first, second):
    text = lua.text(
        f"local s = {TAKES[first]} "
        f"local ok, err = pcall(function() s = {TAKES[second]} end) "
        "return 200, {}, tostring(ok) .. ' ' .. tostring(err)",
        params(), FORM)
    assert text.startswith("false test:1: the body is already being taken by "
                           "req:"), text
    assert first.removesuffix("_all") in text
