"""fcgi-lua-web(7), from its first line to its last: what the page says is done,
in its order, comes out as it says.  (How it is rendered is the business of
tests/behaviour/test_manuals.py.)

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support import manual
from support.gateway import (Gateway, environment, free_port, is_asan,
                             program, run, wait_until)
from support.programs import find

SOURCE = manual.ROOT / "src/man/fcgi-lua-web.txt"
TEXT = SOURCE.read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)
START = "fcgi-lua --dev --http=:8080 app.lua"
BUSTED = "busted --lua=lua5.4 app_spec.lua"


def commands(session):
    """What stands behind "$ ", each with what it prints."""
    parts = re.split(r"^\$ (.*)\n", session, flags=re.M)
    assert parts[0] == "", session
    return list(zip(parts[1::2], parts[2::2]))


class Reader:
    """Somebody who does what the page says, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.server = None
        self.done = []
        tools = folder / "bin"
        tools.mkdir()
        (tools / "fcgi-lua").symlink_to(program())
        self.env = environment({
            "PATH": f"{tools}:{os.environ['PATH']}"})

    def sh(self, command):
        return subprocess.run(
            ["bash", "-c", command.replace(":8080", f":{self.port}")],
            cwd=self.folder, env=self.env, capture_output=True,
            text=True).stdout

    def start(self):
        """What START does, ended with the test."""
        args = START.replace(":8080", f":{self.port}").split()[1:]
        self.server = Gateway(None, *args, listen=None, cwd=self.folder)
        self.server.wait_log("listening on http")

    def spec(self):
        """busted, of a program that is not installed."""
        env = dict(self.env)
        if is_asan():  # lua5.4 knows nothing of it
            env["LD_PRELOAD"] = subprocess.run(
                ["gcc", "-print-file-name=libasan.so"], capture_output=True,
                text=True, check=True).stdout.strip()
            env["ASAN_OPTIONS"] = "detect_leaks=0"
        name, *args = BUSTED.split()
        done = subprocess.run(
            [name, f"--cpath={manual.build()}/lua/?.so", *args], cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def do(self, command, expected):
        self.done.append(command)
        if command == START:
            self.start()
        elif command == BUSTED:
            self.spec()
        elif command.startswith("curl "):
            # What was saved serves a moment later.
            outputs = []
            wait_until(lambda: outputs.append(self.sh(command)) or
                       outputs[-1] == expected, f"{command}: {expected!r}")
        else:
            assert self.sh(command) == expected, command

    def read(self, language, block):
        if language == "lua":
            name = re.match(r"-- (\w+\.lua)\n", block)[1]
            (self.folder / name).write_text(block)
        elif language == "sh":
            for command, expected in commands(block):
                self.do(command, expected)


def test_the_page_does_what_it_says(tmp_path):
    reader = Reader(tmp_path)
    try:
        for language, block in BLOCKS:
            reader.read(language, block)
        saved, = (tmp_path / "uploads").iterdir()
        assert saved.read_text() == "boots,9\nclogs,7\n"
        assert re.fullmatch("[0-9a-f]{32}", saved.name)
        assert f"uploads/{saved.name} is shoes.csv" in reader.server.log()
        assert not re.search(r"^\S+ error ", reader.server.log(), re.M)
        reader.server.finish()
    except BaseException:
        if reader.server:
            print(reader.server.log())
        raise
    finally:
        if reader.server:
            reader.server.end()
            shutil.rmtree(reader.server.folder)
    assert START in reader.done and BUSTED in reader.done
    assert len(reader.done) > 12


def script_of(chapter):
    """The script of a chapter."""
    text = re.search(rf"^# {chapter}\n(.*?)(?=^# |\Z)", TEXT, re.M | re.S)[1]
    return re.search(r"```lua\n(.*?)```", text, re.S)[1]


@pytest.mark.parametrize("chapter,path,has", [
    ("A form", "/", '<input name="name"'),
    ("An upload", "/", 'enctype="multipart/form-data"'),
    ("Events", "/", "EventSource"),
])
def test_pages_of_the_scripts(gateway, chapter, path, has):
    gw = gateway(script_of(chapter))
    answer = gw.request({"SCRIPT_NAME": path})
    assert answer.status == 200 and has in answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("body,kind,status", [
    (b"name=%3Cb%3E", "application/x-www-form-urlencoded", 200),
    (b"name", "text/plain", 400),
])
def test_names_are_made_safe(gateway, body, kind, status):
    gw = gateway(script_of("A form"))
    answer = gw.request({"REQUEST_METHOD": "POST", "CONTENT_TYPE": kind}, body)
    assert answer.status == status
    assert answer.text == ("Welcome, &lt;b&gt;!\n" if status == 200
                           else "not a form\n")


@pytest.mark.parametrize("body,kind,status", [
    (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400),
    (b"a=1", "application/x-www-form-urlencoded", 415),
])
def test_what_the_client_gets(gateway, body, kind, status):
    assert re.search(rf"^\| {status} \| .*req:parts", TEXT, re.M)
    gw = gateway(script_of("An upload"))
    assert gw.request({"REQUEST_METHOD": "POST", "CONTENT_TYPE": kind},
                      body).status == status


def test_command_for_production_is_understood():
    command = re.search(r"^    (fcgi-lua -w auto(?:.|\\\n)*?app\.lua)$", TEXT,
                        re.M)[1]
    args = command.replace("\\\n", " ").replace("app.lua", "").split()[1:]
    done = run("--print-config", *args)
    assert done.code == 0, done
    assert re.search(r"^workers = \d+ +\(command line\)", done.out, re.M)
    assert "unix:/run/app.sock,mode=0660,group=www-data" in done.out


def test_nginx_takes_the_snippet(tmp_path):
    snippet, = [block for language, block in BLOCKS if language == "nginx"]
    shipped = (manual.ROOT / "examples/servers/nginx.conf").read_text()
    assert re.search(r"include\s+/etc/nginx/fastcgi_params;", shipped)
    port = free_port()
    config = tmp_path / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {tmp_path}/{name};\n" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with Gateway(script_of("A first page")) as gw:
        config.write_text(
            f"daemon off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}"
            f"server {{\nlisten 127.0.0.1:{port};\n"
            f"{snippet.replace('/run/app.sock', gw.address)}}}\n}}\n")
        pathlib.Path(gw.address).chmod(0o666)
        gw.folder.chmod(0o755)
        tmp_path.chmod(0o755)
        nginx = subprocess.Popen(
            [find("nginx", "nginx-light"), "-c", str(config),
             "-e", f"{tmp_path}/log", "-p", str(tmp_path)])
        try:
            url = f"http://127.0.0.1:{port}/?name=Ada"
            wait_until(lambda: subprocess.run(
                ["curl", "-s", url], capture_output=True,
                text=True).stdout == "Hello, Ada!\n", "nginx answers")
        finally:
            nginx.terminate()
            nginx.wait()
