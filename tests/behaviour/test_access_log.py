"""The access log: one line for each request, in the formats that others read.

SPDX-License-Identifier: MIT
"""
import datetime
import fcntl
import json
import os
import re
from signal import SIGTERM, SIGUSR1

import pytest

from support import gateway as gateways
from support.gateway import wait_until

HELLO = """local fcgi = require 'fcgi'
local function on_request(req)
  local uri = req:param('REQUEST_URI') or ''
  if uri == '/sleep' then fcgi.sleep(3600) end
  if uri == '/stream' then
    req:set_status(201) req:write('part') req:flush()
    fcgi.sleep(3600)
  end
  return 200, {['Content-Type'] = 'text/plain'}, 'hello'
end
return {on_request = on_request, abort = 'cancel'}
"""

# As strict as parsers of web servers' logs are.
COMBINED = re.compile(
    r'(?P<remote>[^ "\[\]]+) - (?P<user>[^ "]+) '
    r'\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"(?P<request>[^"\x00-\x1f\x7f-\xff]*)" (?P<status>[1-5]\d\d) '
    r'(?P<bytes>\d+) "(?P<referer>[^"\x00-\x1f\x7f-\xff]*)" '
    r'"(?P<ua>[^"\x00-\x1f\x7f-\xff]*)"')
KEYS = ["time", "remote", "method", "uri", "status", "bytes", "duration",
        "worker", "req", "ua"]


def constant(name):
    raise ValueError(f"{name} is not JSON")


def parse_combined(line):
    found = COMBINED.fullmatch(line)
    assert found, line
    datetime.datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
    return found


def parse_json(line):
    """Strictly: the keys once and in order, no lone surrogate, no NaN."""
    pairs = json.loads(line, object_pairs_hook=list, parse_constant=constant)
    assert [key for key, _ in pairs] == KEYS
    entry = dict(pairs)
    json.dumps(entry, ensure_ascii=False).encode("utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                        entry["time"])
    assert isinstance(entry["status"], int)
    assert isinstance(entry["duration"], float) and entry["duration"] >= 0
    return entry


class Log:
    def __init__(self, path):
        self.path = path

    def lines(self, path=None):
        """As bytes: what was written is not taken for valid text."""
        try:
            data = (path or self.path).read_bytes()
        except FileNotFoundError:
            return []
        assert data == b"" or data.endswith(b"\n")
        return data.split(b"\n")[:-1]

    def wait(self, n):
        wait_until(lambda: len(self.lines()) >= n, f"{n} lines")
        lines = self.lines()
        assert len(lines) == n, lines
        return [line.decode("utf-8") for line in lines]


@pytest.fixture
def logged(gateway, tmp_path):
    """logged(format, *options): a gateway and its access log."""
    def start(form, *options, script=HELLO, **args):
        log = Log(tmp_path / "access")
        gw = gateway(script, f"--access-log={log.path}",
                     f"--access-format={form}", *options, **args)
        return gw, log
    return start


def test_combined(logged):
    gw, log = logged("combined")
    gw.request({"REQUEST_URI": "/a?b", "REMOTE_ADDR": "10.0.0.7",
                "REMOTE_USER": "jo", "HTTP_REFERER": "http://x/",
                "HTTP_USER_AGENT": "curl/8 (x)"})
    gw.request({"REQUEST_METHOD": "HEAD"})
    first, second = map(parse_combined, log.wait(2))
    assert first["remote"] == "10.0.0.7"
    assert first["user"] == "jo"
    assert first["request"] == "GET /a?b HTTP/1.1"
    assert (first["status"], first["bytes"]) == ("200", "5")
    assert first["referer"] == "http://x/"
    assert first["ua"] == "curl/8 (x)"
    assert second["request"].startswith("HEAD ")
    assert (second["status"], second["bytes"]) == ("200", "0")


def test_json(logged):
    gw, log = logged("json")
    gw.request({"REQUEST_URI": "/a?b", "HTTP_X_REQUEST_ID": "r-1",
                "HTTP_USER_AGENT": "é\""})
    entry = parse_json(log.wait(1)[0])
    assert entry["method"] == "GET"
    assert entry["uri"] == "/a?b"
    assert (entry["status"], entry["bytes"]) == (200, 5)
    assert entry["worker"] == 1
    assert entry["req"] == "r-1"
    assert entry["ua"] == "é\""


def test_a_format_as_of_php_fpm(logged):
    gw, log = logged('%R - %u %t "%m %r%Q%q" %s %f %{milli}d %{kilo}M %C%%')
    gw.request({"REQUEST_URI": "/a?b", "QUERY_STRING": "b",
                "SCRIPT_FILENAME": "/srv/a.lua"})
    assert re.fullmatch(
        r'\S+ - - \d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4} "GET /a\?b" 200 '
        r'/srv/a\.lua \d+\.\d{3} [1-9]\d* \d+\.\d\d%', log.wait(1)[0])


def test_the_cpu_of_a_request_is_its_own(logged):
    gw, log = logged("%C", script="""function on_request(req)
      local stop = os.clock() + 0.05
      if req:param('REQUEST_URI') == '/busy' then while os.clock() < stop do end
      else require 'fcgi'.sleep(0.05) end
      return 200, {}, 'x'
    end""")
    gw.request({"REQUEST_URI": "/busy"})
    gw.request({"REQUEST_URI": "/idle"})
    busy, idle = map(float, log.wait(2))
    assert busy > idle


def test_a_header_of_the_answer(logged):
    gw, log = logged('%{Content-Type}o "%{X}o"')
    gw.request()
    assert log.wait(1) == ['text/plain "-"']


@pytest.mark.parametrize("options, env, code", [
    (["--access-format=%y"], {}, 64),
    ([], {"FCGI_LUA_ACCESS_FORMAT": "%{x"}, 78),
])
def test_an_unknown_directive_is_an_error(tmp_path, options, env, code):
    script = tmp_path / "app.lua"
    script.write_text(HELLO)
    result = gateways.run("-t", *options, script, env=env)
    assert result.code == code
    assert "%" in result.err and len(result.err.splitlines()) == 1


def test_the_table_may_name_it(gateway, tmp_path):
    log = Log(tmp_path / "access")
    gw = gateway(f"""return {{ access_log = '{log.path}', access_format = '%s',
      on_request = function() return 204 end }}""")
    gw.request()
    assert log.wait(1) == ["204"]


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text(HELLO)
    result = gateways.run(f"--access-log={tmp_path}/no/such", "-l",
                          f"unix:{tmp_path}/socket", script)
    assert result.code == 73
    assert "access log" in result.err


EVIL = ('a" 200 1 "-"', "x\n10.0.0.9 - - [", "\r\n", "\x00\x1b[2J\x7f", "\\",
        "\\\"", "\"", "é\u2028\u0085", "a b [c] d", "\\x22", "{}\"},{\"time\":",
        b"\xff\xfe\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x98",
        "x" * 100_000, b"\xff" * 100_000)
FIELDS = ("REMOTE_ADDR", "REMOTE_USER", "REQUEST_METHOD", "REQUEST_URI",
          "QUERY_STRING", "SERVER_PROTOCOL", "SCRIPT_FILENAME",
          "CONTENT_TYPE", "HTTP_REFERER", "HTTP_USER_AGENT",
          "HTTP_X_REQUEST_ID", "SCRIPT_NAME", "PATH_INFO")


@pytest.mark.parametrize("form, check", [
    ("combined", parse_combined), ("json", parse_json),
    ('%R %u %m "%r%Q%q" %f %{HTTP_REFERER}e %L "%H" %{Content-Type}i end',
     lambda line: re.fullmatch(r'(\S+ ){3}"[^"]*" (\S+ ){3}"[^"]*" \S+ end',
                               line) or pytest.fail(line))])
def test_no_field_can_forge_a_line(logged, form, check):
    gw, log = logged(form)
    n = 0
    with gw.connect() as conn:
        for evil in EVIL:
            for field in FIELDS:
                value = evil if isinstance(evil, bytes) else evil.encode()
                conn.request(1, {field: value})
                n += 1
            conn.request(1, {field: value for field in FIELDS
                             if field != "REQUEST_METHOD"})
            n += 1
    for line in log.wait(n):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
        check(line)


def test_an_answer_of_the_script_cannot_forge_a_line(logged):
    gw, log = logged('"%{X-A}o"', script="""function on_request(req)
      req:write('X-A: a" "b\\tc\\xff\\r\\n\\r\\n')
    end""")
    gw.request()
    assert log.wait(1) == ['"a\\x22 \\x22b\\x09c\\xFF"']


def test_answers_of_the_gateway_itself(logged):
    gw, log = logged("%s %B", "--max-body=10", "--max-params=2k")
    gw.request({"A": "x" * 4000})
    gw.request({"CONTENT_LENGTH": "11"}, b"x" * 11)
    lines = log.wait(2)
    assert lines[0].startswith("431 ") and not lines[0].endswith(" 0")
    assert lines[1].startswith("413 ")


def test_a_refused_request(logged):
    gw, log = logged("combined", "--max-reqs=1")
    with gw.connect() as conn, gw.connect() as other:
        conn.start(1, {"REQUEST_URI": "/sleep"})
        conn.barrier()
        other.start(1)
        assert other.collect(1).status == 503
        entry = parse_combined(log.wait(1)[0])
        assert (entry["status"], entry["bytes"]) == ("503", "24")


def test_an_error_of_the_script(logged):
    gw, log = logged("%s %B", script="function on_request() error('x') end")
    answer = gw.request()
    assert log.wait(1) == [f"500 {len(answer.body)}"]


def test_a_client_that_has_gone(logged):
    gw, log = logged("%s %B %X %r")
    with gw.connect() as conn:
        conn.start(1, {"REQUEST_URI": "/sleep"})
        conn.barrier()
    assert log.wait(1) == ["499 0 X /sleep"]
    with gw.connect() as conn:
        conn.start(1, {"REQUEST_URI": "/stream"})
        conn.wait_stdout(1, 20)
    assert log.wait(2)[1] == "201 4 X /stream"
    with gw.connect() as conn:
        conn.start(1, {"REQUEST_URI": "/sleep"})
        conn.barrier()
        conn.abort(1)
        conn.collect(1)
        assert log.wait(3)[2] == "499 0 X /sleep"


def test_a_request_that_never_was_complete(logged):
    gw, log = logged("%s %X %m")
    with gw.connect() as conn:
        conn.begin(1)
        conn.barrier()
    assert log.wait(1) == ["499 X -"]


def load(gw, n, first=0, conns=8, batch=50):
    """n requests, numbered by their URI, on several connections at once."""
    opened = [gw.connect() for _ in range(conns)]
    try:
        at = first
        while at < first + n:
            for conn in opened:
                ids = range(1, min(batch, first + n - at) + 1)
                for id in ids:
                    conn.start(id, {"REQUEST_URI": f"/{at}"})
                    at += 1
                conn.collect_all(ids)
    finally:
        for conn in opened:
            conn.close()


def test_ten_thousand_requests_are_logged_once(logged):
    gw, log = logged("%r")
    load(gw, 10_000)
    gw.stop()
    assert sorted(log.lines()) == sorted(f"/{i}".encode()
                                         for i in range(10_000))


def test_rotation_under_load_loses_nothing(logged, tmp_path):
    gw, log = logged("%r")
    rotated = []
    for i in range(10):
        load(gw, 300, first=300 * i, conns=3, batch=20)
        rotated.append(tmp_path / f"access.{i}")
        os.rename(log.path, rotated[-1])
        gw.signal(SIGUSR1)
    load(gw, 300, first=3000, conns=3, batch=20)
    gw.stop()
    lines = [line for path in rotated + [log.path]
             for line in log.lines(path)]
    assert sorted(lines) == sorted(f"/{i}".encode() for i in range(3300))


def test_what_is_under_way_at_the_stop_is_logged(logged):
    gw, log = logged("%s %r", "--grace=0")
    with gw.connect() as conn:
        conn.start(1, {"REQUEST_URI": "/sleep"})
        conn.barrier()
        assert gw.stop(SIGTERM) == 0
    assert log.lines() == [b"503 /sleep"]


def test_two_gateways_may_share_a_file(logged):
    one, log = logged("%r")
    two, _ = logged("%r")
    for i in range(20):
        load(one, 50, first=100 * i, conns=1)
        load(two, 50, first=100 * i + 50, conns=1)
    one.stop()
    two.stop()
    assert sorted(log.lines()) == sorted(f"/{i}".encode()
                                         for i in range(2000))


def test_a_full_disk_stops_nothing(gateway):
    gw = gateway(HELLO, "--access-log=/dev/full")
    for _ in range(3):
        assert gw.request().status == 200
    gw.wait_log("error .*access log cannot be written: No space left")
    gw.stop()
    assert re.search(r"3 lines of the access log could not be written",
                     gw.log())


def test_stdout(gateway):
    gw = gateway(HELLO, "--access-log=-", "--access-format=%r")
    load(gw, 100)
    gw.stop()
    assert sorted(gw.out().split()) == sorted(f"/{i}" for i in range(100))


def test_a_blocked_pipe_stops_nothing(gateway):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)                    # F_SETPIPE_SZ
    try:
        gw = gateway(HELLO, "--access-log=-", "--access-format=%r " + "x" * 99,
                     stdout=writing)
        assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK
        os.close(writing)
        writing = None
        load(gw, 3000)
        assert gw.request().status == 200       # it still serves
        os.set_blocking(reading, False)
        data = b""

        def lines_come():
            nonlocal data
            try:
                data += os.read(reading, 1 << 16)
            except BlockingIOError:
                pass
            # What waited comes by itself, without another request.
            return len(data) > 100_000

        wait_until(lines_come)
        gw.signal(SIGTERM)
        os.set_blocking(reading, True)
        while part := os.read(reading, 1 << 16):
            data += part
        gw.wait()
        lines = data.decode().split("\n")
        assert lines.pop() == ""
        for line in lines:
            assert re.fullmatch(r"/\d* x{99}", line), line
        lost = sum(int(n) for n in re.findall(
            r"(\d+) lines of the access log could not be written", gw.log()))
        assert lost > 0
        assert len(lines) + lost == 3001
    finally:
        os.close(reading)
        if writing is not None:
            os.close(writing)


def test_a_log_that_cannot_be_reopened_goes_on(logged, tmp_path):
    gw, log = logged("%r")
    gw.request({"REQUEST_URI": "/1"})
    log.wait(1)
    moved = tmp_path / "moved"
    os.rename(log.path, moved)
    log.path.mkdir()
    gw.signal(SIGUSR1)
    gw.wait_log("cannot reopen the access log")
    gw.request({"REQUEST_URI": "/2"})
    gw.stop()
    assert log.lines(moved) == [b"/1", b"/2"]


def test_print_config(tmp_path):
    result = gateways.run("--access-log=x", "--print-config")
    assert "access-log = x  (command line)" in result.out
    assert "access-format = combined  (default)" in result.out
    assert "slow = 0  (default)" in result.out
