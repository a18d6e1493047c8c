"""Where the error log goes, and what happens when it cannot go there.

SPDX-License-Identifier: MIT
"""
import os
import re
import socket
from signal import SIGUSR1

import pytest

from support import gateway as gateways
from support.gateway import wait_until

SCRIPT = """local fcgi = require 'fcgi'
function on_request(req)
  fcgi.log('warn', req:param('SAY') or 'hello')
  if req:param('FAIL') then error('out of cheese') end
  return 200, {}, 'x'
end
"""
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
                  r"(error|warn|notice|info|debug) \[\d+(/\d+)?\] .*")


def check_lines(text):
    """Entries with time and level; indented lines below them."""
    assert text.endswith("\n")
    for line in text.split("\n")[:-1]:
        assert line.startswith("    ") or LINE.fullmatch(line), line


def test_a_file(gateway, tmp_path):
    path = tmp_path / "log"
    gw = gateway(SCRIPT, f"--log={path}")
    gw.request({"SAY": "a\nb"})
    gw.request({"FAIL": "1"})
    gw.stop()
    text = path.read_text()
    check_lines(text)
    assert re.search(r" warn \[\d+/1\] .*app\.lua:3: a\b.*\n    b\n", text)
    assert re.search(r" error \[\d+/1\] .*app\.lua:4: out of cheese \(.*\n"
                     r"    stack traceback:\n    \t", text)
    assert gw.log() == ""


def test_the_journal(tmp_path):
    """A socket for stderr whose device and inode are in JOURNAL_STREAM, as
    systemd gives it to its services."""
    ours, theirs = socket.socketpair()
    stat = os.fstat(theirs.fileno())
    with ours, theirs, gateways.Gateway(
            SCRIPT, stderr=theirs, expect=0,
            env={"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}) as gw:
        gw.request({"FAIL": "1", "SAY": "x\n<0>forged"})
        gw.stop()
        theirs.close()
        data = b""
        while part := ours.recv(1 << 16):
            data += part
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    levels = {"error": "<3>", "warn": "<4>", "notice": "<5>"}
    below = None
    for line in lines:
        found = re.fullmatch(r"(<\d>)(\w+) \[\d+(/\d+)?\] (.*)", line)
        if found:
            assert levels[found[2]] == found[1], line
            below = found[1]
        else:
            assert line.startswith(below + "    "), line
    assert any(line.startswith("<3>    stack traceback") for line in lines)
    assert not any(line.startswith("<0>") for line in lines)


def test_another_stderr_than_the_journals_has_the_time(gateway):
    gw = gateway(SCRIPT, env={"JOURNAL_STREAM": "1:1"})
    gw.request()
    gw.stop()
    check_lines(gw.log())


def test_syslog_that_is_not_there_is_an_error(tmp_path):
    if os.path.exists("/dev/log"):      # then it can be used
        result = gateways.run("--log=syslog", tmp_path / "no.lua")
        assert result.code == 66
        return
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    result = gateways.run("--log=syslog", script)
    assert result.code == 73
    assert "cannot open the log syslog" in result.err


def test_a_full_disk_stops_nothing(gateway):
    gw = gateway(SCRIPT, "--log=/dev/full")
    for _ in range(5):
        assert gw.request().status == 200
    assert gw.request({"FAIL": "1"}).status == 500
    assert gw.stop() == 0


def test_what_a_full_disk_lost_is_told_of(gateway, tmp_path):
    """/dev/full becomes a file: what the log of the name is when it is
    opened anew."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    gw = gateway(SCRIPT, f"--log={path}")
    for _ in range(5):
        gw.request()
    path.unlink()
    gw.signal(SIGUSR1)
    gw.barrier()
    gw.request({"SAY": "there is room"})
    gw.stop()
    text = path.read_text()
    check_lines(text)
    # The five, and the line about the socket.
    assert re.search(r" warn \[\d+/1\] 6 log lines could not be written\n"
                     r".*there is room\b", text)


@pytest.mark.parametrize("way", ["stderr", "fifo"])
def test_a_blocked_pipe_stops_nothing(gateway, tmp_path, way):
    if way == "fifo":
        path = tmp_path / "fifo"
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        gw = gateway(SCRIPT, f"--log={path}")
    else:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        gw = gateway(SCRIPT, stderr=writing)
        os.close(writing)
    try:
        n = 300
        for _ in range(n):
            assert gw.request({"SAY": "x" * 1000}).status == 200
        data = b""

        def read():
            nonlocal data
            try:
                part = os.read(reading, 1 << 16)
            except BlockingIOError:
                return False
            data += part
            return part == b""

        while data == b"" or read():
            read()
        while True:
            before = len(data)
            read()
            if len(data) == before:
                break
        gw.request({"SAY": "again"})
        gw.stop()
        wait_until(read)
        text = data.decode()
        check_lines(text)
        lost = int(re.search(r"(\d+) log lines could not be written",
                             text)[1])
        assert lost > 0
        assert text.count("x" * 1000) + lost == n
        assert " again " in text
    finally:
        os.close(reading)


def test_rotation_under_load_loses_nothing(gateway, tmp_path):
    path = tmp_path / "log"
    gw = gateway(SCRIPT, f"--log={path}")
    files = [path]
    with gw.connect() as conn:
        for i in range(10):
            for id in range(1, 31):
                conn.start(id, {"SAY": f"line-{i * 30 + id}"})
            conn.collect_all(range(1, 31))
            files.append(tmp_path / f"log.{i}")
            wait_until(path.exists, "the file that was opened anew")
            os.rename(path, files[-1])
            gw.signal(SIGUSR1)
        wait_until(path.exists, "the last file")
    gw.stop()
    texts = [file.read_text() for file in files]
    for text in texts:
        if text:
            check_lines(text)
    assert sorted(re.findall(r"line-(\d+)", "".join(texts)), key=int) == [
        str(n) for n in range(1, 301)]
