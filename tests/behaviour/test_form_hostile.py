"""Forms of those who mean harm, against the real program: cut anywhere, and
broken in every way that a generator with a fixed seed comes to.

SPDX-License-Identifier: MIT
"""
import contextlib
import random
import socket
import urllib.parse

import pytest

from support import fastcgi
from support.fastcgi import BEGIN, KEEP_CONN, PARAMS, STDIN, record
from support.forms import BOUNDARY, URLENCODED, field, file, multipart, params
from support.gateway import DEADLINE, Gateway, free_port

SCRIPT = """
local fcgi = require "fcgi"
local folder = fcgi.args[1]
local ways = {}

-- Saves files, reads fields.
function ways.parts(req)
  local found, n = {}, 0
  for part in req:parts() do
    n = n + 1
    local what = part.filename and part:save(folder .. "/" .. n)
      or #(part:read(1 << 20) or "") -- of a broken one the loop tells
    found[n] = ("%q=%d"):format(part.name, what)
  end
  return 200, {}, table.concat(found, " ")
end

function ways.form(req)
  local form, err = req:form()
  if not form then return 400, {}, err end
  local names, bytes = 0, 0
  for name, value in pairs(form) do
    names, bytes = names + 1, bytes + #name + #value
  end
  return 200, {}, ("%d %d"):format(names, bytes)
end

-- The values of a name, each behind its length.
function ways.all(req)
  local name = fcgi.unescape(req:param "NAME")
  local of = req:param "OF"
  local values = assert(req[of .. "_all"](req, name))
  for i, value in ipairs(values) do
    values[i] = #value .. ":" .. value
  end
  return 200, {}, table.concat(values)
end

function on_request(req)
  return ways[req:param "WAY" or req:query "way"](req)
end
return { on_request = on_request, abort = "cancel" }
"""
PARTS = (field("name", "Ada"), file("f", "a.txt", "the file\r\n--not"),
         field("empty", ""), file("g", "", ""))
FORM = multipart(*PARTS)


class Site:
    def __init__(self, gw, folder):
        self.gw, self.folder = gw, folder

    def saved(self):
        return sorted(path.name for path in self.folder.iterdir())

    def empty(self):
        for path in self.folder.iterdir():
            path.unlink()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    port = free_port()
    with Gateway(SCRIPT, f"--http=127.0.0.1:{port}", args=[folder],
                 lean=True) as gw:
        gw.http = ("127.0.0.1", port)
        yield Site(gw, folder)


@pytest.fixture(autouse=True)
def nothing_saved(site):
    site.empty()


@pytest.fixture(scope="module")
def conn(site):
    with site.gw.connect() as conn:
        yield conn


def test_the_whole_form_is_sound(site, conn):
    answer = conn.request(1, params(WAY="parts"), FORM)
    assert (answer.status, answer.text) == (
        200, '"name"=3 "f"=15 "empty"=0 "g"=0')
    assert site.saved() == ["2", "4"]


@pytest.mark.parametrize("way", ["parts", "form"])
def test_a_form_that_ends_anywhere_is_refused(site, conn, way):
    for at in range(len(FORM) - 2):
        answer = conn.request(1, params(WAY=way), FORM[:at])
        assert answer.status == 400, at
    assert set(site.saved()) <= {"2", "4"}  # which were whole


def test_an_abort_at_any_byte_leaves_no_file_that_is_not_whole(site, conn):
    before = site.gw.fds()
    whole = FORM.index(b"--not") + 5 + len(f"\r\n--{BOUNDARY}\r\n")
    for at in range(0, len(FORM) - 2):
        conn.begin(1, flags=KEEP_CONN)
        conn.params(1, fastcgi.default_params(params(WAY="parts"), FORM))
        conn.stdin(1, FORM[:at], end=False)
        if at % 3 == 0:
            conn.barrier()  # it has been read
        conn.abort(1)
        conn.collect(1)
        assert site.saved() == [] or at >= whole, at
        if at >= whole:
            site.empty()
    site.gw.wait_fds(before)


def test_who_leaves_at_any_byte_leaves_no_file_either(site):
    site.gw.barrier()
    before = site.gw.fds()
    start = (record(BEGIN, 1, fastcgi.begin_body()) +
             record(PARAMS, 1, fastcgi.encode_params(
                 fastcgi.default_params(params(WAY="parts"), FORM).items()))
             + record(PARAMS, 1))
    for at in range(0, FORM.index(b"--not"), 7):
        with contextlib.closing(fastcgi.connect(site.gw.address)) as sock:
            sock.sendall(start + record(STDIN, 1, FORM[:at]) if at else start)
    site.gw.wait_fds(before)
    assert site.saved() == []


def test_broken_forms_are_answered(site, conn):
    """Each is read, or refused with 400; a file that is there is whole."""
    rng = random.Random(2)
    pieces = [b"\r\n", b"\n", b"\r", b"--", b'"', b";", b"=", b"\\", b"\0", b"%",
              b"--" + BOUNDARY.encode(), b"filename*=utf-8''%ff", b"\xff",
              b"Content-Disposition: ", b"name=", b":", b" ", b"\r\n\r\n",
              f"\r\n--{BOUNDARY}--".encode(), f"\r\n--{BOUNDARY}\r\n".encode()]
    found = {200: 0, 400: 0, 415: 0}
    for _ in range(1500):
        body, kind = bytearray(FORM), params()["CONTENT_TYPE"]
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(body) + 1)
            way = rng.randrange(4)
            if way == 0:
                del body[at:at + rng.randrange(1, 20)]
            elif way == 1:
                body[at:at] = rng.choice(pieces)
            elif way == 2:
                body[at:at + 1] = rng.randbytes(1)
            else:
                body[at:at] = body[at:at + rng.randrange(60)] * 3
        if rng.random() < 0.1:
            at = rng.randrange(len(kind))
            kind = kind[:at] + rng.choice(['"', ";", " ", "é", "=", ""]) \
                + kind[at + 1:]
        given = params(WAY=rng.choice(["parts", "form"])) \
            | {"CONTENT_TYPE": kind}
        answer = conn.request(1, given, bytes(body))
        found[answer.status] += 1
    assert min(found[200], found[400]) > 100, found
    assert all(name.isdigit() for name in site.saved())
    assert " error [" not in site.gw.log()


def broken_pairs(rng):
    pieces = ["&", "=", "%", "+", "%2", "%41", "%zz", "%00", "%0d%0a", "a", "b",
              "ab", "%26", "%3D", ";", "\xff", " ", "%C3%A9", "&&", "a=", "b=1"]
    return "".join(rng.choices(pieces, k=rng.randrange(40)))


def as_python_reads(text):
    """name -> values"""
    found = {}
    for name, value in urllib.parse.parse_qsl(
            text, keep_blank_values=True, encoding="latin-1"):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("of", ["form", "query"])
def test_broken_pairs_mean_what_others_read(conn, of):
    rng = random.Random(3)
    for _ in range(400):
        text = broken_pairs(rng)
        wanted = as_python_reads(text)
        name = rng.choice([*wanted, "none"])
        given = URLENCODED | {
            "WAY": "all", "OF": of,
            "NAME": urllib.parse.quote(name, encoding="latin-1")}
        body = text.encode("latin-1")
        if of == "query":
            given["QUERY_STRING"], body = body, b""
        answer = conn.request(1, given, body)
        assert answer.status == 200
        assert answer.body.decode("latin-1") == "".join(
            f"{len(value)}:{value}" for value in wanted.get(name, [])), text


def post(site, body, size, end=b"0\r\n\r\n"):
    """All that is answered to a form in chunks of that size."""
    chunks = [body[at:at + size] for at in range(0, len(body), size)]
    with contextlib.closing(fastcgi.connect(site.gw.http, DEADLINE)) as sock:
        sock.sendall(b"POST /?way=parts HTTP/1.1\r\nHost: h\r\n"
                     b"Connection: close\r\nTransfer-Encoding: chunked\r\n"
                     b"Content-Type: " + params()["CONTENT_TYPE"].encode()
                     + b"\r\n\r\n" + b"".join(
                         b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + end)
        if not end:
            sock.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := sock.recv(65536):
            reply += piece
        return reply


@pytest.mark.parametrize("size", [1, 3, 50, len(FORM)])
def test_forms_over_http_are_the_same(site, size):
    reply = post(site, FORM, size)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b'"name"=3 "f"=15 "empty"=0 "g"=0' in reply
    assert site.saved() == ["2", "4"]
    site.empty()
    assert post(site, FORM[:200], size).startswith(b"HTTP/1.1 400 ")
    assert post(site, FORM[:FORM.index(b"--not")], size, b"") == b""
    assert site.saved() == []
