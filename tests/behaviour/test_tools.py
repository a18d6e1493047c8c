"""The small tools of the module fcgi.

SPDX-License-Identifier: MIT
"""
import email.utils
import html
import time
import urllib.parse

import pytest

EVERY_BYTE = "(function() local t = {} for i = 0, 255 do " \
             "t[#t + 1] = string.char(i) end return table.concat(t) end)()"


def test_escape_is_that_of_urllib(lua):
    expected = urllib.parse.quote(bytes(range(256)), safe="-._~")
    assert lua.text(f"return 200, {{}}, fcgi.escape({EVERY_BYTE})") == expected


def test_unescape_undoes_it(lua):
    response = lua(f"return 200, {{}}, fcgi.unescape(fcgi.escape("
                   f"{EVERY_BYTE}))")
    assert response.body == bytes(range(256))


def test_html_is_undone_by_a_parser(lua):
    text = """<script>alert('1' & "2")</script> &amp; \u00e4"""
    escaped = lua.text("return 200, {}, fcgi.html(req:body())", body=text)
    assert html.unescape(escaped) == text
    assert not set(escaped) & set("<>\"'")


def test_encode_query_is_read_by_urllib(lua):
    query = lua.text("return 200, {}, fcgi.encode_query { q = 'a&b=c d+\\0', "
                     "n = { 1, 2.5 }, ok = true }")
    assert query == "n=1&n=2.5&ok=true&q=a%26b%3Dc+d%2B%00"
    assert urllib.parse.parse_qsl(query) == [
        ("n", "1"), ("n", "2.5"), ("ok", "true"), ("q", "a&b=c d+\0")]


def test_encode_query_comes_back_through_the_query_string(lua):
    query = lua.text("return 200, {}, fcgi.encode_query { { 'b', '+ %41' }, "
                     "{ 'a', { 1, 2 } } }")
    assert query == "b=%2B+%2541&a=1&a=2"
    assert lua.value("req:query(), req:query_all'a'",
                     {"QUERY_STRING": query}) == \
        '{a="1", b="+ %41"}, {"1", "2"}'


def test_decode_query_gives_both_tables(lua):
    assert lua.value("fcgi.decode_query 'a=1&b=+&a=%32&c'") == \
        '{a="1", b=" ", c=""}, {a={"1", "2"}, b={" "}, c={""}}'


def test_date_is_an_http_date(lua):
    for t in (0, 784111777, 951868799, -1, 253402300799):
        assert lua.text(f"return 200, {{}}, fcgi.date({t})") == \
            email.utils.formatdate(t, usegmt=True)


def test_date_is_that_of_now(lua):
    before = int(time.time())
    text = lua.text("return 200, {}, fcgi.date()")
    now = email.utils.parsedate_to_datetime(text).timestamp()
    assert before <= now <= time.time()


def test_equal(lua):
    assert lua.value("fcgi.equal('a\\0b', 'a\\0b'), fcgi.equal('a', 'b'), "
                     "fcgi.equal('', 'a')") == "true, false, false"


def test_random_differs_between_calls_and_workers(lua_with):
    code = "return 200, {}, (fcgi.random(16):gsub('.', function(c) " \
           "return ('%02x'):format(c:byte()) end))"
    drawn = [lua.text(code) for lua in (lua_with(), lua_with())
             for _ in range(50)]
    assert {len(text) for text in drawn} == {32}
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("call,message", [
    ("escape()", "bad argument #1 to 'escape' (string expected, got nil)"),
    ("unescape({})",
     "bad argument #1 to 'unescape' (string expected, got table)"),
    ("html(nil)", "bad argument #1 to 'html' (string expected, got nil)"),
    ("encode_query('a')",
     "bad argument #1 to 'encode_query' (table expected, got string)"),
    ("encode_query{a=print}",
     "bad argument #1 to 'encode_query' (the value of 'a' is a function)"),
    ("decode_query(true)",
     "bad argument #1 to 'decode_query' (string expected, got boolean)"),
    ("date(1e18)",
     "bad argument #1 to 'date' (not a time in the years 1 to 9999)"),
    ("equal('a')",
     "bad argument #2 to 'equal' (string expected, got no value)"),
    ("random(-1)", "bad argument #1 to 'random' (must not be negative)"),
    ("random(2^20 + 1)", "bad argument #1 to 'random' (at most 1048576 bytes)"),
])
def test_misuse_names_the_line_of_the_script(lua, call, message):
    assert lua.value(f"select(2, pcall(function()\n local x = fcgi.{call} "
                     "end))") == f'"test:2: {message}"'
