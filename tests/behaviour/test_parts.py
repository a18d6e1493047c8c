"""req:parts: uploads as they come, and hostile ones.

SPDX-License-Identifier: MIT
"""
import os

import pytest

from support.fastcgi import stream, STDIN
from support.forms import BOUNDARY, field, file, multipart, params
from support.gateway import wait_until
from support.lua import ECHO, Lua, params_for

MIB = 1 << 20
LINE = f"--{BOUNDARY}\r\n"
END = f"--{BOUNDARY}--\r\n"
BYTES = bytes(range(256)) * 17 + b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\r\n"
FORM = multipart(field("a", "one"), file("f", "x.bin", BYTES, "image/png"),
                 field("b", "two"))
# Each part as it was: {name=contents, ...} in order.
ALL = ("local out = {} for part in req:parts() do "
       "out[#out + 1] = part.name .. '=' .. part:read() end "
       "return 200, {}, table.concat(out, '|')")
# What the loop raises.
FAULT = ("local ok, err = pcall(function() for part in req:parts() do %s end "
         "end) return 200, {}, dump(ok, tostring(err))")


def send(conn, code, body, given=None, cut=65535, end=True):
    """Sends a request whose body comes in pieces; without an end more could
    come."""
    conn.begin(1)
    given = given or params(**{} if end else {"CONTENT_LENGTH": None})
    conn.params(1, params_for(code, given, body))
    conn.stdin(1, body, cut=cut, end=end)


def part(head, content="x"):
    return LINE.encode() + head.encode() + b"\r\n\r\n" + content.encode() + \
        b"\r\n" + END.encode()


def disposition(rest):
    return f"Content-Disposition: form-data; {rest}"


# --- parts ---

def test_parts_come_in_order(lua):
    assert lua.text("local out = {} for part in req:parts() do "
                    "out[#out + 1] = dump(part.name, part.filename, part.type,"
                    " #part:read()) end return 200, {}, table.concat(out, ' ')",
                    params(), FORM) == (
        f'"a", nil, "text/plain", 3 "f", "x.bin", "image/png", {len(BYTES)} '
        '"b", nil, "text/plain", 3')


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 61, 1000])
def test_contents_are_kept_however_the_body_is_cut(lua, cut):
    code = ("req:set_header('A', 'b') for part in req:parts() do "
            "req:write(part.name, '=') for s in function() "
            "return part:read(50) end do req:write(s) end req:write('|') end")
    with lua.connect() as conn:
        send(conn, code, FORM, cut=cut)
        assert conn.collect(1).body == b"a=one|f=" + BYTES + b"|b=two|"


def test_slow_upload_byte_by_byte(lua):
    """Each byte comes when the one before has been looked at."""
    body = multipart(field("a", "one"), file("f", "x", "\r\n--\r\n"))
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ALL, params(), body))
        for at in range(len(body)):
            conn.stdin(1, body[at:at + 1], end=False)
            conn.barrier()
        conn.stdin(1)
        assert conn.collect(1).text == "a=one|f=\r\n--\r\n"


def test_part_can_be_read_before_the_next_has_come(lua):
    code = ("req:set_header('A', 'b') for part in req:parts() do "
            "for s in function() return part:read(1000) end do "
            "req:write('[', s, ']') end end")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(code, params(CONTENT_LENGTH=None)))
        conn.stdin(1, LINE + disposition("name=a") + "\r\n\r\n", end=False)
        for sofar, piece in enumerate((b"1", b"2", b"3"), 1):
            conn.stdin(1, piece, end=False)
            response = conn.begun[1]
            while not response.raw_head or len(response.body) < 3 * sofar:
                conn.step()
        conn.stdin(1, b"\r\n" + END.encode())
        assert conn.collect(1).text == "[1][2][3]"


def test_parts_that_are_not_read_are_skipped(lua):
    assert lua.text("local names = {} for part in req:parts() do "
                    "names[#names + 1] = part.name end "
                    "return 200, {}, names", params(), FORM) == "afb"
    assert lua.text("local out = {} for part in req:parts() do "
                    "out[#out + 1] = part:read(2) end return 200, {}, "
                    "out[1] .. #out[2] .. out[3]", params(), FORM) == "on2tw"


def test_loop_may_be_left(lua):
    with lua.connect() as conn:
        for _ in range(3):
            assert lua.on(conn, "for part in req:parts() do "
                          "return 200, {}, part:read() end", params(),
                          FORM).text == "one"
            assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_iterator_goes_on_where_a_loop_was_left(lua):
    assert lua.text("local next_part = req:parts() "
                    "for part in next_part do break end "
                    "local part = next_part() "
                    "return 200, {}, dump(part.name, next_part().name, "
                    "next_part(), next_part())", params(), FORM) == \
        '"f", "b", nil, nil'


def test_headers_of_a_part(lua):
    body = part(disposition('name="a"') + "\r\nX-Thing:  one \r\n"
                "CONTENT-TYPE: Text/HTML; charset=utf-8\r\nx-THING: two\r\n"
                "Folded: a\r\n\tb\r\n c")
    assert lua.text("local part = req:parts()() return 200, {}, "
                    "dump(part.type, part.headers)", params(), body) == (
        '"Text/HTML; charset=utf-8", {content-disposition="form-data; '
        'name=\\"a\\"", content-type="Text/HTML; charset=utf-8", '
        'folded="a  \tb   c", x-thing="one, two"}'.replace('\\"', '"'))


def test_part_has_no_other_fields(lua):
    text = lua.text("local part = req:parts()() return 200, {}, dump("
                    "part.nothing, part[1], part[{}], tostring(part), "
                    "select(2, pcall(function() part.name = 'x' end)))",
                    params(), FORM)
    assert text == ('nil, nil, nil, "fcgi.part: a", '
                    '"test:1: a part\'s fields cannot be set"')


def test_part_tells_how_much_of_it_was_taken(lua, folder):
    assert lua.text("local next_part = req:parts() local a = next_part() "
                    "local out = { a.received, a:read(2) and a.received, "
                    "a:read() and a.received } local f = next_part() "
                    "out[#out + 1], out[#out + 2] = f.received, a.received "
                    f"f:save('{folder}/f') "
                    "return 200, {}, dump(out, f.received)", params(),
                    FORM) == f"{{0, 2, 3, 0}}, {len(BYTES)}"


@pytest.mark.parametrize("rest,name,filename", [
    ("name=a", "a", None),
    ('name="a b;c"', "a b;c", None),
    (' NAME = "a" ;; x=y ; ', "a", None),
    ('name=""', "", None),
    ('name="a\\"b\\\\c"', 'a"b\\c', None),
    ('name="a%22b%0D%0Ac%41"', 'a"b\r\nc%41', None),
    ('name="\u20ac"', "\u20ac", None),
    ('name=a; filename=""', "a", ""),
    ('name=a; filename="x y.txt"', "a", "x y.txt"),
    ('name=a; filename=x.txt', "a", "x.txt"),
    ('filename=x; name=a', "a", "x"),
    ('name=a; filename="a%22b%0D%0A.txt"', "a", 'a"b%0D%0A.txt'),
    ('name=a; filename="C:\\dir\\file.txt"', "a", "file.txt"),
    ('name=a; filename="\\\\host\\share\\file.txt"', "a", "file.txt"),
    ('name=a; filename="../../etc/passwd"', "a", "passwd"),
    ('name=a; filename="dir/"', "a", ""),
    ('name=a; filename=".."', "a", ""),
    ('name=a; filename="a/."', "a", ""),
    ('name=a; filename=".htaccess"', "a", ".htaccess"),
    ('name=a; filename="a\\"', "a", ""),
    ("name=a; filename*=UTF-8''%e2%82%ac%20x.txt", "a", "\u20ac x.txt"),
    ("name=a; filename=\"?.txt\"; filename*=utf-8'en'%e2%82%ac.txt", "a",
     "\u20ac.txt"),
    ("name=a; filename=x.txt; filename*=utf-8''..%2Fy%5Cz", "a", "z"),
    ("name=a; filename=x.txt; filename*=iso-8859-1''y", "a", "x.txt"),
    ("name=a; filename=x.txt; filename*=utf-8''%ff", "a", "x.txt"),
    ("name=a; filename=x.txt; filename*=utf-8''a%00b", "a", "x.txt"),
])
def test_names(lua, rest, name, filename):
    assert lua.text("local part = req:parts()() return 200, {}, "
                    "dump(part.name, part.filename)", params(),
                    part(disposition(rest))) == \
        f'"{name}", ' + (f'"{filename}"' if filename is not None else "nil")


# --- what a body may look like ---

@pytest.mark.parametrize("body,result", [
    (END, ""),
    (f"--{BOUNDARY}--", ""),
    (f"junk\r\n--{BOUNDARY}x\r\n--\r\n" + multipart(field("a", "1")).decode(),
     "a=1"),
    (multipart(field("a", "1")).decode() + "\r\nmore\r\n" + LINE, "a=1"),
    (multipart(field("a", ""), field("b", "")).decode(), "a=|b="),
    # the empty line before a boundary is the one that ends the head
    (LINE + disposition("name=a") + "\r\n\r\n" + END, "a="),
    (f"--{BOUNDARY} \t \r\n{disposition('name=a')}\r\n\r\nx\r\n"
     f"--{BOUNDARY}--", "a=x"),
    (multipart(field("a", f"--{BOUNDARY[:-1]}"),
               field("b", f"x--{BOUNDARY}\r\n"),
               field("c", f"\r\n--{BOUNDARY}x\r\n--{BOUNDARY}-\r\n")).decode(),
     f"a=--{BOUNDARY[:-1]}|b=x--{BOUNDARY}\r\n|"
     f"c=\r\n--{BOUNDARY}x\r\n--{BOUNDARY}-\r\n"),
    (multipart(field("a", "\r\n" * 100 + "\r--" + BOUNDARY)).decode(),
     "a=" + "\r\n" * 100 + "\r--" + BOUNDARY),
])
def test_sound_bodies(lua, body, result):
    assert lua.text(ALL, params(), body.encode()) == result
    with lua.connect() as conn:
        send(conn, ALL, body.encode(), cut=1)
        assert conn.collect(1).text == result


@pytest.mark.parametrize("boundary,given", [
    ("x", "x"), ("x" * 70, "x" * 70), ("a b", '"a b"'), ("--", "--"),
    ("-", '"-"'), ("%d+[a-z].*^$()", '"%d+[a-z].*^$()"'),
    ("a=b:c/d,e?", "a=b:c/d,e?"), ("'()+_,-./:=? x", '"\'()+_,-./:=? x"'),
    ('q"q', '"q\\"q"')])
def test_boundaries(lua, boundary, given):
    body = multipart(field("a", f"{boundary}\r\n--{boundary[:-1]}"),
                     file("f", "x", BYTES[:4000]), boundary=boundary)
    code = ("local a, f = nil, 0 for part in req:parts() do "
            "if part.name == 'a' then a = part:read() else f = #part:read() end"
            " end return 200, {}, a .. ' ' .. f")
    assert lua.text(code, params(boundary=given), body) == \
        f"{boundary}\r\n--{boundary[:-1]} 4000"


def test_nested_multipart_is_the_content_of_its_part(lua):
    inner = multipart(("Content-Disposition: file; filename=x", "1"),
                      boundary=BOUNDARY + "i")
    body = multipart((disposition("name=m") + "\r\nContent-Type: "
                      f"multipart/mixed; boundary={BOUNDARY}i", inner),
                     field("b", "2"))
    assert lua.text(ALL, params(), body) == f"m={inner.decode()}|b=2"


@pytest.mark.parametrize("body,why", [
    ("", "it has no boundary, or ends before the first"),
    ("a=1&b=2", "it has no boundary, or ends before the first"),
    (LINE, "it ends within a part"),
    (LINE + disposition("name=a"), "it ends within a part"),
    (LINE + disposition("name=a") + "\r\n\r\nhalf", "it ends within a part"),
    (multipart(field("a", "1"), end=False).decode(), "it ends within a part"),
    (multipart(field("a", "1")).decode().replace("\r\n", "\n"),
     "it has no boundary, or ends before the first"),
    (f"--{BOUNDARY}\n" + disposition("name=a"),
     "it has no boundary, or ends before the first"),
    (f"--{BOUNDARY}\r" + disposition("name=a"),
     "a boundary's line that does not end with CRLF"),
    (f"--{BOUNDARY} x\r\n", "text behind a boundary"),
    (f"--{BOUNDARY}{' ' * 200}\r\n", "text behind a boundary"),
    (LINE + "\r\nx\r\n" + END, "a part without Content-Disposition"),
    (part("Content-Type: text/plain").decode(),
     "a part without Content-Disposition"),
    (part(disposition("name=a") + "\r\nno colon").decode(),
     "a line in the head of a part that is no header"),
    (part(disposition("name=a") + "\r\n: x").decode(),
     "a header of a part whose name is none"),
    (part(disposition("name=a") + "\r\nA b: x").decode(),
     "a header of a part whose name is none"),
    (part(" folded: x\r\n" + disposition("name=a")).decode(),
     "a header of a part whose name is none"),
    (part(disposition('name="a\0"')).decode(), "a NUL in the head of a part"),
    (part(disposition("name=a\nX: y")).decode(),
     "a line that does not end with CRLF in the head of a part"),
    (part(disposition("name=a\rX: y")).decode(),
     "a line that does not end with CRLF in the head of a part"),
    (part(disposition("name=a") + "\r\nX: \x01").decode(),
     "a control byte in the head of a part"),
    (part("Content-Disposition: attachment; name=a").decode(),
     "the disposition of a part is not form-data"),
    (part("Content-Disposition: form-data").decode(), "a part without a name"),
    (part(disposition("filename=x")).decode(), "a part without a name"),
    (part(disposition("name=a; name=b")).decode(), "a part with two names"),
    (part(disposition("name=a; filename=x; filename=y")).decode(),
     "a part with two file names"),
    (part(disposition("name=a; filename*=utf-8''%ff")).decode(),
     "a file name that is not UTF-8"),
    (part(disposition('name="a')).decode(),
     "a Content-Disposition that cannot be read"),
    (part(disposition('name="a"b')).decode(),
     "a Content-Disposition that cannot be read"),
    (part(disposition("name=a") + "\r\n" + disposition("name=b")).decode(),
     "a part with two Content-Dispositions"),
    (part(disposition("name=a") + "\r\nX: " + "x" * 16384).decode(),
     "the head of a part is over 16 KiB"),
    (LINE + "x" * 100000, "the head of a part is over 16 KiB"),
    (part(disposition("name=a") + "\r\nX: y" * 4000).decode(),
     "the head of a part is over 16 KiB"),
    (part(disposition("name=a") + "\r\nX: y" * 64).decode(),
     "the head of a part has over 64 lines"),
])
def test_broken_bodies_raise(lua, body, why):
    assert lua.text(FAULT % "", params(), body.encode()) == \
        f'false, "bad multipart: {why}"'
    with lua.connect() as conn:
        send(conn, FAULT % "part:read()", body.encode(), cut=997)
        assert conn.collect(1).text == f'false, "bad multipart: {why}"'
        # Nobody catches it.
        send(conn, "for part in req:parts() do end", body.encode())
        assert conn.collect(1).status == 400
        assert lua.on(conn, ECHO, body=b"next").text == "next"


@pytest.mark.parametrize("type,status,why", [
    (None, 415, "the body is not multipart/form-data"),
    ("text/plain", 415, "the body is not multipart/form-data"),
    ("Application/x-www-form-urlencoded; charset=utf-8", 415,
     'the form was sent without enctype="multipart/form-data"'),
    ("application/x-www-form-urlencode", 415,
     "the body is not multipart/form-data"),
    ("multipart/mixed; boundary=x", 415,
     "the body is not multipart/form-data"),
    ("multipart/form-data", 400, "a Content-Type without a boundary"),
    ("multipart/form-data; boundary", 400,
     "a Content-Type that cannot be read"),
    ("multipart/form-data; boundary=", 400,
     "a boundary that is empty or ends with a blank"),
    ('multipart/form-data; boundary=""', 400,
     "a boundary that is empty or ends with a blank"),
    ('multipart/form-data; boundary="x "', 400,
     "a boundary that is empty or ends with a blank"),
    ('multipart/form-data; boundary="x', 400,
     "a Content-Type that cannot be read"),
    ("multipart/form-data; boundary=" + "x" * 71, 400,
     "a boundary of more than 70 bytes"),
    ("multipart/form-data; boundary=" + "x" * 100000, 400,
     "a boundary of more than 70 bytes"),
    (b"multipart/form-data; boundary=\xff", 400,
     "a boundary that is not printable"),
    (b"multipart/form-data; boundary=a\rb", 400,
     "a boundary that is not printable"),
    ("multipart/form-data; boundary=a; boundary=b", 400, "two boundaries"),
])
def test_wrong_types_raise(lua, type, status, why):
    given = {"CONTENT_TYPE": type}
    assert lua.text(FAULT % "", given, FORM) == \
        f'false, "bad multipart: {why}"'
    assert lua("for part in req:parts() do end", given, FORM).status == status


def test_broken_body_is_told_by_read(lua):
    body = multipart(field("a", "half"), end=False)[:-2]
    for call in ("part:read(2), part:read(9), part:read(9)",
                 "nil, nil, part:read()", "nil, nil, part:read_line()",
                 "nil, nil, part:save('/tmp/fcgi-lua-is-not-there')"):
        assert lua.text(f"local part = req:parts()() return 200, {{}}, "
                        f"dump({call})", params(), body).endswith(
            'nil, "bad multipart"')
    assert not os.path.exists("/tmp/fcgi-lua-is-not-there")


def test_fault_is_a_value_that_can_be_raised_again(lua):
    """... and is no 500 for that; what is made of its text is."""
    code = ("local ok, err = pcall(function() for part in req:parts() do end "
            "end) error(%s)")
    assert lua(code % "err", params(), b"junk").status == 400
    assert lua(code % "'oh: ' .. err", params(), b"junk").status == 500
    assert lua(code % "err .. '!'", params(), b"junk").status == 500
    assert "oh: bad multipart: it has no" in lua.gateway.log()
    assert lua("local task = fcgi.spawn(function() for part in req:parts() do "
               "end end) error(select(2, task:join()))", params(),
               b"junk").status == 400


def test_fault_is_no_error_of_the_script(gateway):
    """Nobody is asked to look into it: neither on_error nor the log."""
    gw = gateway('function on_error() return 500, {}, "oh" end '
                 "function on_request(req) "
                 'if req:param "HEAD" then req:write(req:param "HEAD") end '
                 "for part in req:parts() do end end\n", "--log-level=info")
    assert gw.request(params(), b"junk").status == 400
    gw.wait_log(r"info .*app\.lua: bad multipart: it has no boundary, or ends "
                r"before the first \(POST")
    response = gw.request(params(HEAD="A: b\r\n\r\nbegun"), b"junk")
    assert response.body == b"begun" and response.app_status == 1
    assert " error " not in gw.log()


def test_what_debug_finds_behind_the_loop_does_no_harm(lua):
    assert lua.text("""
        local next_part = req:parts()
        local part = next_part()
        local _, reader = debug.getupvalue(next_part, 1)
        local class = debug.getmetatable(reader)
        for _, f in ipairs { class.__gc, class.__close } do
          for _, v in ipairs { 5, io.stdout, part, next_part } do f(v) end
          f()
          f(reader)
          f(reader)
        end
        pcall(part.read, part)
        pcall(next_part)
        debug.setupvalue(next_part, 1, 5)
        return 200, {}, dump(pcall(next_part))""", params(), FORM) == \
        """false, "bad argument #1 to '?' (fcgi.parts expected, got number)\""""


def test_part_is_over_when_the_loop_goes_on(lua):
    for call in ("read()", "read(1)", "read_line()", "save('/tmp/x')",
                 "lines()()"):
        assert lua.text("local next_part = req:parts() local a = next_part() "
                        "next_part() return 200, {}, select(2, pcall(function()"
                        f" return (a:{call}) end))", params(), FORM) == \
            "test:1: the part is over: req:parts has gone on"


def test_the_last_part_is_over_when_the_loop_is(lua):
    for call in ("read()", "read_line()", "save('/tmp/x')", "lines()()"):
        assert lua.text("local last for part in req:parts() do last = part end "
                        "return 200, {}, dump(last.received, select(2, "
                        f"pcall(function() return (last:{call}) end)))",
                        params(), FORM) == \
            'nil, "test:1: the part is over: req:parts has gone on"'


def test_parts_are_taken_once(lua):
    assert lua.text("local first = req:parts() return 200, {}, "
                    "select(2, pcall(function() local x = req:parts() end))",
                    params(), FORM).startswith(
        "test:1: the body is already being taken by req:parts")


def test_body_of_another_type_can_be_taken_otherwise(lua):
    assert lua.text("pcall(req.parts, req) return 200, {}, req:body()",
                    {"CONTENT_TYPE": "text/plain"}, b"x") == "x"


@pytest.mark.parametrize("call,what", [
    ("part.read()", "bad self (write part:read, with a colon)"),
    ("part.read({})", "bad self (write part:read, with a colon)"),
    ("part.read(req)", "bad argument #1 to 'read' (fcgi.part expected, got"),
    ("part.save('x')", "bad self (write part:save, with a colon)"),
    ("part.lines()", "bad self (write part:lines, with a colon)"),
    ("part:read(0)", "bad argument #1 to 'read' (must be positive)"),
    ("part:read(1.5)", "bad argument #1 to 'read' (number has no integer"),
    ("part:read({})", "bad argument #1 to 'read' (number expected, got"),
    ("part:read_line(-1)", "bad argument #1 to 'read_line' (must be pos"),
    ("part:save()", "bad argument #1 to 'save' (string expected, got no"),
    ("part:save('a\\0b')", "bad argument #1 to 'save' (a path with a NUL)"),
    ("part:read(1) part:save('/tmp/x')", "the part was read or saved before"),
    ("part:read() part:save('/tmp/x')", "the part was read or saved before"),
    ("req.parts()", "bad self (write req:parts, with a colon)")])
def test_misuse_raises(lua, call, what):
    text = lua.text("local part = req:parts()() local ok, err = "
                    f"pcall(function() {call} end) "
                    "return 200, {}, tostring(ok) .. ' ' .. tostring(err)",
                    params(), FORM)
    assert text.startswith("false test:1: " + what), text


# --- read, read_line, lines ---

def test_read_of_the_rest(lua):
    assert lua.text("local part = req:parts()() return 200, {}, "
                    "dump(part:read(1), part:read(), part:read(), "
                    "part:read(1))", params(), FORM) == '"o", "ne", nil, nil'


def test_read_of_an_empty_part(lua):
    """All of it is "", so that an empty field has a value."""
    body = multipart(field("a", ""), field("b", ""), field("c", ""))
    assert lua.text("local p = req:parts() local a, b, c = p():read(), "
                    "p():read(1), p():read_line() return 200, {}, "
                    "dump(a, b, c)", params(), body) == '"", nil, nil'
    assert lua.text("local part = req:parts()() return 200, {}, "
                    "dump(part:read(), part:read(), part:read(1))", params(),
                    body) == '"", nil, nil'


def test_read_without_a_number_is_limited(lua):
    body = multipart(file("f", "x", b"x" * (16 * MIB + 1)), field("b", "2"))
    assert lua.text("local next_part = req:parts() local part = next_part() "
                    "return 200, {}, dump({ part:read() }, { part:read(1) }, "
                    "{ part:read_line() }, next_part():read())", params(),
                    body) == ('{2="too large"}, {2="too large"}, '
                              '{2="too large"}, "2"')
    body = multipart(file("f", "x", b"x" * 16 * MIB))
    assert lua.text("return 200, {}, dump(#req:parts()():read())", params(),
                    body) == str(16 * MIB)


def test_lines_of_a_part(lua):
    body = multipart(file("f", "x", "one\n\ntwo\r\nlast"), field("b", "2"))
    assert lua.text("local p = req:parts() local f = p() local out = {} "
                    "for line in f:lines() do out[#out + 1] = line end "
                    "return 200, {}, dump(out, p():read_line())", params(),
                    body) == '{"one", "", "two\r", "last"}, "2"'
    with lua.connect() as conn:
        send(conn, "local f = req:parts()() return 200, {}, dump("
             "f:read_line(), f:read(2), f:read_line(3), f:read_line(1), "
             "f:read_line(), f:read_line())", body, cut=1)
        text = conn.collect(1).text
    assert text.startswith('"one\n", "') and text.endswith(', nil')
    assert text.replace('", "', "").replace('"', "") == \
        "one\n\ntwo\r\nlast, nil"


def test_many_lines_in_a_part(lua):
    lines = [b"line %d" % n * (n % 50) for n in range(5000)]
    body = multipart(file("f", "x", b"\n".join(lines)))
    text = lua.text("local n, bytes = 0, 0 for line in req:parts()():lines() "
                    "do n, bytes = n + 1, bytes + #line end "
                    "return 200, {}, n .. ' ' .. bytes", params(), body)
    assert text == f"5000 {sum(map(len, lines))}"


def test_long_line_comes_in_pieces(lua):
    body = multipart(file("f", "x", b"x" * (2 * MIB + 5) + b"\ny"))
    assert lua.text("local out = {} for line in req:parts()():lines() do "
                    "out[#out + 1] = #line end return 200, {}, dump(out)",
                    params(), body) == f"{{{MIB}, {MIB}, 5, 1}}"


def test_what_a_cancelled_read_had_is_not_lost(lua):
    for call in ("read", "read_line"):
        code = ("local part = req:parts()() "
                f"local task = fcgi.spawn(part.{call}, part) "
                "while not go do fcgi.sleep(0.001) end go = nil task:cancel() "
                "task:join() gone = true "
                "return 200, {}, dump(part:read(2), part:read())")
        with lua.connect() as conn:
            conn.begin(1)
            conn.params(1, params_for(code, params(CONTENT_LENGTH=None)))
            conn.stdin(1, LINE + disposition("name=a") + "\r\n\r\nabcd",
                       end=False)
            conn.barrier()
            lua("go, gone = true, nil return 200")
            wait_until(lambda: lua.value("gone") == "true", "a cancel")
            conn.stdin(1, "ef\r\n" + END)
            assert conn.collect(1).text == '"ab", "cdef"'


# --- save ---

@pytest.fixture
def folder(tmp_path):
    """Where uploads go; nothing else may be left there."""
    yield tmp_path
    names = [path.name for path in tmp_path.iterdir()
             if path.name.endswith(".part")]
    assert names == []


def save(path):
    return (f"local part = req:parts()() return 200, {{}}, "
            f"dump(part:save('{path}'))")


def upload(content):
    return multipart(file("f", "x.bin", content))


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 3 * MIB])
def test_save_writes_the_contents(lua, folder, size):
    content = (os.urandom(MIB) * 4)[:size]
    assert lua.text(save(folder / "f"), params(), upload(content)) == str(size)
    assert (folder / "f").read_bytes() == content


def test_save_of_an_upload_in_small_pieces(lua, folder):
    with lua.connect() as conn:
        send(conn, save(folder / "f"), upload(BYTES), cut=1)
        assert conn.collect(1).text == str(len(BYTES))
    assert (folder / "f").read_bytes() == BYTES


def test_saved_file_has_the_mode_of_the_umask(gateway, folder):
    old = os.umask(0o027)
    try:
        gw = Lua(gateway(
            'function on_request(req) local part = req:parts()() '
            'return 200, {}, tostring(part:save(req:param "PATH")) end\n'))
    finally:
        os.umask(old)
    assert gw.gateway.request(params(PATH=str(folder / "f")),
                              upload("x")).text == "1"
    assert (folder / "f").stat().st_mode & 0o7777 == 0o640


def test_save_replaces_a_file_when_it_is_whole(lua, folder):
    (folder / "f").write_text("old")
    code = save(folder / "f")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(code, params(CONTENT_LENGTH=None)))
        conn.stdin(1, upload(b"new")[:-10], end=False)
        conn.barrier()
        assert (folder / "f").read_text() == "old"
        conn.stdin(1, upload(b"new")[-10:])
        assert conn.collect(1).text == "3"
    assert (folder / "f").read_text() == "new"


def test_save_replaces_a_link_but_not_what_it_names(lua, folder):
    (folder / "secret").write_text("old")
    (folder / "link").symlink_to("secret")
    (folder / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        assert lua.text(save(folder / name), params(), upload("new")) == "3"
        assert not (folder / name).is_symlink()
        assert (folder / name).read_text() == "new"
    assert (folder / "secret").read_text() == "old"
    assert not (folder / "nowhere").exists()


def test_save_to_what_is_no_file(lua, folder):
    os.mkfifo(folder / "fifo")
    (folder / "dir").mkdir()
    (folder / "file").write_text("x")
    for path, why in ((folder / "fifo", "file exists"),
                      (folder / "dir", "is a directory"),
                      (f"{folder}/new/", "is a directory"),
                      ("/dev/null", "file exists"),
                      ("", "no such file or directory"),
                      (folder / "none" / "f", "no such file or directory"),
                      (folder / "file" / "f", "not a directory"),
                      (folder / ("x" * 300), "file name too long")):
        assert lua.text(save(path), params(), upload("x")) == f'nil, "{why}"'
    assert sorted(path.name for path in folder.iterdir()) == \
        ["dir", "fifo", "file"]


def test_part_can_be_saved_elsewhere_after_a_bad_folder(lua, folder):
    assert lua.text("local part = req:parts()() local ok, err = "
                    f"part:save('{folder}/none/f') return 200, {{}}, "
                    f"dump(ok, err, part:save('{folder}/f'))", params(),
                    upload("abc")) == 'nil, "no such file or directory", 3'


def test_full_disk_leaves_no_file(gateway, folder):
    """What is full here is the size that a file may have."""
    gw = Lua(gateway(
        'function on_request(req) local out = {} for part in req:parts() do '
        'local size, err = part:save(req:param "DIR" .. part.name) '
        'out[#out + 1] = tostring(size or err) '
        'local _, why = part:read() out[#out + 1] = tostring(why) end '
        'return 200, {}, table.concat(out, ",") end\n',
        wrap=("prlimit", "--fsize=2000000")))
    body = multipart(file("a", "a", b"x" * 1000), file("b", "b", b"x" * 4 * MIB),
                     file("c", "c", b"x" * 2000))
    assert gw.gateway.request(params(DIR=f"{folder}/"), body).text == \
        "1000,nil,file too large,file too large,2000,nil"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c"]


def test_abort_leaves_no_file(lua, folder):
    code = f"seen = nil seen = dump(req:parts()():save('{folder}/f'))"
    with lua.connect() as conn:
        send(conn, code, upload(b"x" * MIB)[:-30], end=False)
        conn.barrier()
        conn.abort(1)
        conn.collect(1)
        wait_until(lambda: lua.value("seen") == '"nil, \\"aborted\\""'
                   .replace('\\"', '"'), "the end of the handler")
    assert list(folder.iterdir()) == []


def test_loop_raises_when_the_client_goes(lua):
    """The end of the loop means that all has come."""
    code = ("seen = nil local n = 0 local ok, err = pcall(function() "
            "for part in req:parts() do n = n + 1 end end) "
            "seen = dump(n, ok, tostring(err))")
    for body in (b"", FORM[:30], FORM[:-40], FORM[:-4]):
        with lua.connect() as conn:
            send(conn, code, body, end=False)
            conn.barrier()
            conn.abort(1)
            conn.collect(1)
            wait_until(lambda: lua.value("seen") != "nil", "the handler's end")
        assert lua.text("return 200, {}, seen").endswith('false, "aborted"')


def test_abort_that_nobody_catches_is_no_error(lua_with):
    lua = lua_with("--log-level=debug")
    with lua.connect() as conn:
        send(conn, "for part in req:parts() do end", FORM[:-20], end=False)
        conn.barrier()
        conn.abort(1)
        conn.collect(1)
    lua.gateway.wait_log(r"debug .*app\.lua: aborted")
    assert " error " not in lua.gateway.log()


def test_truncated_upload_leaves_no_file(lua, folder):
    body = upload(b"x" * 1000)
    given = params(CONTENT_LENGTH=str(len(body) + 1000))
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(save(folder / "f"), given))
        conn.stdin(1, body[:-30])
        assert conn.collect(1).text == 'nil, "aborted"'
    assert list(folder.iterdir()) == []


def test_upload_over_max_body_leaves_no_file(lua_with, folder):
    lua = lua_with("--max-body=100k")
    body = upload(b"x" * 200000)
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(save(folder / "f"),
                                  params(CONTENT_LENGTH=None)))
        conn.stdin(1, body)
        assert conn.collect(1).status == 413
    assert list(folder.iterdir()) == []


def test_cancelled_save_leaves_no_file(lua, folder):
    """... and nothing of the part that could be taken for the whole."""
    code = (f"local part = req:parts()() local size, err = fcgi.timeout(0.05, "
            f"part.save, part, '{folder}/f') "
            "return 200, {}, dump(size, err, part:read(1))")
    with lua.connect() as conn:
        send(conn, code, upload(b"x" * 1000)[:-30], end=False)
        assert conn.collect(1).text == 'nil, "timeout", nil, "cancelled"'
    assert list(folder.iterdir()) == []


def test_handler_that_is_cancelled_leaves_no_file(lua_with, folder):
    lua = lua_with("--timeout=0.2")
    with lua.connect() as conn:
        send(conn, save(folder / "f"), upload(b"x" * 1000)[:-30], end=False)
        assert conn.collect(1).status == 504
    assert list(folder.iterdir()) == []


def test_part_that_is_being_saved_is_nobody_elses(lua, folder):
    code = ("local next_part = req:parts() local part = next_part() "
            f"local task = fcgi.spawn(part.save, part, '{folder}/f') "
            "fcgi.sleep(0) local out = { select(2, pcall(part.read, part)), "
            "select(2, pcall(part.save, part, 'x')), "
            "select(2, pcall(next_part)) } busy = true "
            "return 200, {}, dump(out, task:join())")
    body = upload(b"abc")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for("busy = nil " + code,
                                  params(CONTENT_LENGTH=None)))
        conn.stdin(1, body[:-20], end=False)
        wait_until(lambda: lua.value("busy") == "true", "the handler")
        conn.stdin(1, body[-20:])
        assert conn.collect(1).text == (
            '{"the part is being saved", "the part is being saved", '
            '"a part is being saved by another task"}, 3')


def test_uploads_that_were_spooled(lua, folder):
    """Nobody read them while they came, because of a neighbour."""
    content = os.urandom(MIB) * 20
    code = ("while not go do fcgi.sleep(0.002) end go = nil "
            + save(folder / "f"))
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for(code, params()))
        conn.stdin(1, upload(content))
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert conn.collect(2).status == 200
        assert conn.collect(1).text == str(len(content))
    assert (folder / "f").read_bytes() == content


def test_others_have_their_turns_during_a_large_save(lua, folder):
    """All of it has come, on disk: and yet it is saved bit by bit."""
    code = ("while not go do fcgi.sleep(0.002) end go = nil "
            "local turns = 0 local other = fcgi.spawn(function() while true do "
            "fcgi.sleep(0) turns = turns + 1 end end) "
            f"local part = req:parts()() local size = part:save('{folder}/f') "
            "other:cancel() return 200, {}, dump(size, turns > 20)")
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for(code, params()))
        conn.stdin(1, upload(b"x" * 20 * MIB))
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        conn.collect(2)
        assert conn.collect(1).text == f"{20 * MIB}, true"


def test_hundred_uploads_at_once(lua, folder):
    contents = [os.urandom(1000) * (1 + n) for n in range(100)]
    conns = [lua.connect() for _ in contents]
    try:
        at = 0
        for conn, content in zip(conns, contents):
            conn.begin(1)
            conn.params(1, params_for(
                save(folder / str(at)), params(), upload(content)))
            at += 1
        bodies = [upload(content) for content in contents]
        for start in range(0, max(map(len, bodies)), 30000):
            for conn, body in zip(conns, bodies):
                piece = body[start:start + 30000]
                if piece:
                    conn.send_raw(stream(STDIN, 1, piece, end=False))
        for conn, content in zip(conns, contents):
            conn.stdin(1)
            assert conn.collect(1).text == str(len(content))
    finally:
        for conn in conns:
            conn.close()
    for n, content in enumerate(contents):
        assert (folder / str(n)).read_bytes() == content


def test_memory_stays_flat(lua_with, folder):
    lua = lua_with()
    code = ("local sizes = {} for part in req:parts() do sizes[#sizes + 1] = "
            f"part.filename and part:save('{folder}/f') or #part:read() end "
            "return 200, {}, dump(sizes)")
    small = multipart(field("a", "1"), file("f", "x", b"x" * MIB))
    large = multipart(field("a", "1"), file("f", "x", os.urandom(MIB) * 64))
    lua(code, params(), small)
    before = lua.gateway.rss()
    lua.gateway.reset_peak()
    assert lua.text(code, params(), large) == f"{{1, {64 * MIB}}}"
    assert lua.gateway.peak_rss() - before < 32 * MIB


def test_hundred_thousand_empty_parts(lua_with):
    """They cost their time, no memory, and others have their turns."""
    lua = lua_with()
    one = f"{LINE}{disposition('name=a')}\r\n\r\n\r\n".encode()
    body = one * 100000 + END.encode()
    code = ("local n, turns, most = 0, 0, 0 "
            "local other = fcgi.spawn(function() while true do fcgi.sleep(0) "
            "turns = turns + 1 end end) for part in req:parts() do n = n + 1 "
            "most = math.max(most, fcgi.stats().memory) end other:cancel() "
            "return 200, {}, dump(n, turns > 5, most < 8 << 20)")
    assert lua.text(code, params(), body) == "100000, true, true"


def test_parts_after_the_request_is_over(lua):
    lua("kept = req kept_parts = req:parts() kept_part = kept_parts() "
        "return 200", params(), FORM)
    assert lua.value("kept_part.name, kept_part:read(1)") == \
        '"a", nil, "finished"'
    assert lua.value("kept_part:save('/tmp/x')") == 'nil, "finished"'
    for call in ("kept_parts()", "kept:parts()"):
        assert lua.text(f"local ok, err = pcall(function() {call} end) "
                        "return 200, {}, dump(ok, tostring(err))") == \
            'false, "finished"'


def test_parts_in_a_coroutine(lua):
    code = ("local parts = coroutine.wrap(function() for part in req:parts() "
            "do coroutine.yield(part.name, part:read()) end end) "
            "local out = {} for name, value in parts do "
            "out[#out + 1] = name .. #value end return 200, {}, out")
    with lua.connect() as conn:
        send(conn, code, FORM, cut=5)
        assert conn.collect(1).text == f"a3f{len(BYTES)}b3"


def test_save_in_a_coroutine_that_is_closed(lua, folder):
    code = ("local part = req:parts()() local co = coroutine.create("
            f"function() part:save('{folder}/f') end) "
            "local task = fcgi.spawn(coroutine.resume, co) fcgi.sleep(0) "
            "local ok = coroutine.close(co) "
            "return 200, {}, dump(ok, coroutine.status(co))")
    with lua.connect() as conn:
        send(conn, code, upload(b"x" * 1000)[:-30], end=False)
        assert conn.collect(1).text == 'true, "dead"'
    assert list(folder.iterdir()) == []
