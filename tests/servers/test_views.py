"""What clients see of an application is the same under --http and behind
nginx: every example, asked as its first lines say by curl, and its pages in a
browser.

An answer is compared in status, headers and body, and a page in what the
browser made of it.  What is left out, or made alike before, stands below with
the reason.  An example that needs other servers has a line in ARGS.

SPDX-License-Identifier: MIT
"""
import contextlib
import hashlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
from concurrent import futures

import pytest
import webserver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

from support import backends
from support.browser import chromium, console
from support.gateway import (PROJECT, Gateway, environment, free_port,
                             wait_until)
from support.programs import find

URL = "http://127.0.0.1:8080"   # in the first lines of all of them
SCRIPTS = sorted((PROJECT / "examples").glob("*.lua"))

NOT_COMPARED = {
    b"server",      # nginx says its name, --http has none to say
    b"date",        # when it was answered
    b"connection",  # these three are about the connection to whoever has
    b"keep-alive",  # answered, not about the answer
    b"transfer-encoding",
    b"x-accel-buffering",   # is for nginx, which takes it off
}

# What is another one each time.
ALIKE = [(re.compile(pattern), text) for pattern, text in [
    (rb"\b\d\d:\d\d:\d\d\b", b"TIME"),
    (rb"\b\d{4}-\d\d-\d\d( \d\d:\d\d)?\b", b"DATE"),
    (rb"(?<=took )\d+\.\d|\d+\.\d(?= seconds)", rb"DURATION"),
    (rb"\bupload-[0-9a-f]{16}\b", b"FILE"),         # these two: fcgi.random
    (rb"\b[0-9a-f]{32}\b", b"TOKEN"),
    (rb"(?<=in our log as )\S+(?=\.\n)", b"ID"),    # req.id
]]


def checked_by_nobody(body):
    """REMOTE_USER: whoever the client says it is, with nginx; --http does not
    tell of users that nobody has checked."""
    return body.replace(b"Hello, ada of", b"Hello, nil of")


def parameters(body):
    """What a request has in common wherever it came from.  Web servers split
    the path in their own ways, tell of themselves and of what is not there;
    Debian's nginx takes the port off the Host."""
    found = dict(line.split(b"=", 1) for line in body.splitlines())
    path = found.pop(b"SCRIPT_NAME", b"") + found.pop(b"PATH_INFO", b"")
    for name in (b"DOCUMENT_ROOT", b"DOCUMENT_URI", b"REDIRECT_STATUS",
                 b"REMOTE_PORT", b"SERVER_NAME", b"SERVER_PORT",
                 b"SERVER_SOFTWARE"):
        found.pop(name, None)
    found[b"HTTP_HOST"] = found[b"HTTP_HOST"].partition(b":")[0]
    return path, {name: value for name, value in found.items() if value}


# Bodies of which a part is compared; then their length is not, either.
PARTS = {"authorizer.lua": checked_by_nobody, "env.lua": parameters}

CGI = """\
#!/bin/sh
printf 'Content-Type: text/plain\\n\\n%s %s %s\\n' \\
    "$REQUEST_METHOD" "$PATH_INFO" "$QUERY_STRING"
cat
"""


def cgi_folder(folder):
    (folder / "program").write_text(CGI)
    (folder / "program").chmod(0o755)
    return folder


# The arguments of the scripts: folders to use, servers to talk to.
ARGS = {
    "cache.lua": lambda get, _: ["127.0.0.1", get("memcached").port],
    "cgi.lua": lambda _, folder: [cgi_folder(folder)],
    "chat.lua": lambda get, _: [get("redis").address],
    "cqueues.lua": lambda get, _: [get("web").url + "/index.html"],
    "cron.lua": lambda *_: [3600],  # before its first round, for sure
    "database.lua": lambda get, _: ["postgres", get("postgres").conninfo],
    "demo.lua": lambda _, folder: [folder],
    "guestbook.lua": lambda _, folder: [folder / "guestbook.db"],
    "http_client.lua": lambda get, _: [get("web").url],
    "proxy.lua": lambda get, _: [get("web").address],
    "queries.lua": lambda get, _: [
        f"unix:{get('postgres').folder}/.s.PGSQL.{get('postgres').port}",
        "test"],
    "redis_client.lua": lambda get, _: [
        "127.0.0.1", get("own_redis")().port],
    "tls_client.lua": lambda get, _: [
        "localhost", get("web").tls_port, get("web").cert],
    "upload.lua": lambda _, folder: [folder],
}
OPTIONS = {"cache.lua": lambda get: get("resty")}
# Where the line cannot run as it is.
CHANGES = {
    "cgi.lua": ("NAME", "program"),
    # What is said before somebody listens nobody hears.
    "chat.lua": ("& curl", "& until grep -qs . $VIEWS/*/body; do sleep 0.01; "
                           "done; curl"),
}
# When a page that goes on by itself has begun to.
READY = {"clock.lua": "return !document.querySelector('.stale')"}

# In curl's place: what it gets lies in files, it asks the server that is
# meant, it hurries, and leaves a stream of events after the first one.
CURL = """\
#!/bin/sh
view=$(mktemp -d "$VIEWS/XXXXXXXX")
printf '%s\\0' "$@" >"$view/args"
"$CURL" -N -sS -o "$view/body" -D "$view/head" -m 60 \\
    --connect-to "127.0.0.1:8080:127.0.0.1:$PORT" "$@" \\
    --no-include --limit-rate 1G 2>"$view/errors" &
while kill -0 $! 2>/dev/null; do
    if grep -qsi '^content-type: text/event-stream' "$view/head" &&
        grep -qs '^data' "$view/body"; then
        kill $!
    fi
    sleep 0.01
done
wait $!
echo $? >"$view/code"
"""


class View:
    """What a curl got."""

    def __init__(self, folder):
        self.args = (folder / "args").read_text().split("\0")[:-1]
        self.code = int((folder / "code").read_text())
        self.errors = (folder / "errors").read_text()
        head = (folder / "head").read_bytes()
        # Of redirections, too.  Whether a 100 comes first depends on how soon
        # the body does.
        self.heads = [part.split(b"\r\n") for part in head.split(b"\r\n\r\n")
                      if part and not part.startswith(b"HTTP/1.1 100")]
        body = folder / "body"  # not there if it is empty
        self.body = body.read_bytes() if body.exists() else b""
        if b"content-type: text/event-stream" in head.lower():
            self.code = "left"
            self.body = self.body.partition(b"data")[0] + b"data"

    def is_get(self):
        return not any(re.match(r"-[dFITX]|--(data|form|head|json|request)",
                                arg) for arg in self.args)

    def is_page(self):
        return any(line.lower().startswith(b"content-type: text/html")
                   for line in self.heads[-1])

    def target(self):
        return re.search(r"http://127\.0\.0\.1:8080(/\S*)",
                         " ".join(self.args)).group(1)

    def comparable(self, example):
        part = PARTS.get(example.script.name)
        left_out = NOT_COMPARED | ({b"content-length"} if part else set())
        heads = []
        for status, *lines in self.heads:
            pairs = [(name.lower(), example.alike(value)) for name, _, value
                     in (line.partition(b": ") for line in lines)]
            # Their order says nothing, but that of those of one name.
            heads.append((status, sorted(
                (pair for pair in pairs if pair[0] not in left_out),
                key=lambda pair: pair[0])))
        body = part(self.body) if part and self.body else self.body
        return (" ".join(self.args), self.code, heads,
                body if part else example.alike(body))


class Example:
    """A script in a folder of its own, asked at a port."""

    def __init__(self, script, folder, get):
        self.script, self.folder = script, folder
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "curl").write_text(CURL)
        (folder / "curl").chmod(0o755)
        (folder / "big.iso").write_bytes(bytes(range(256)) * 512)
        comment = re.match(r"(--.*\n)+", script.read_text()).group()
        run = re.search(rf"^-- Run: fcgi-lua .*?((?: --\S+)*) {script.name}",
                        comment, re.M)
        self.options = [option for option in run.group(1).split()
                        if not option.startswith("--http=")]
        self.options += OPTIONS.get(script.name, lambda get: [])(get)
        self.args = ARGS.get(script.name, lambda *_: [])(get, folder)
        # What stands in brackets behind a command is for people.
        self.lines = [
            re.sub(r" {2,}\(.*\)$", "", line).replace(
                *CHANGES.get(script.name, ("", "")))
            for line in re.findall(r"^-- Try: (.*)", comment, re.M)]
        self.port = None

    def gateway(self, *options, **args):
        return Gateway(str(self.script), *options, *self.options,
                       args=self.args, cwd=self.folder, **args)

    def alike(self, text):
        """What differs for a reason is made the same."""
        if len(text) > 1 << 20:     # nothing in there does
            return hashlib.sha256(text).digest()
        text = text.replace(bytes(self.folder), b"FOLDER").replace(
            b"127.0.0.1:%d" % self.port, b"127.0.0.1:8080")
        for pattern, by in ALIKE:
            text = pattern.sub(by, text)
        return text

    def curl(self, line):
        """What the curls in a line of shell got: sorted, since some run at
        once."""
        views = self.folder / "views"
        views.mkdir()
        env = environment({"PATH": f"{self.folder}:{os.environ['PATH']}",
                           "CURL": find("curl", "curl"), "VIEWS": views,
                           "PORT": self.port})
        done = subprocess.run(
            ["bash", "-c", line + "\nwait"], cwd=self.folder, env=env,
            text=True, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=120)
        seen = [View(view) for view in views.iterdir()]
        assert seen, f"{line}: {done.stderr}"
        assert all(view.heads for view in seen), [
            view.errors for view in seen]
        shutil.rmtree(views)
        return sorted(seen, key=lambda view: (view.args, view.body))


# --- the two ways ---------------------------------------------------------

@contextlib.contextmanager
def by_http(example):
    example.port = free_port()
    with example.gateway(f"--http=127.0.0.1:{example.port}",
                         listen=None) as gw:
        gw.wait_log("listening on http:")
        yield


class Front(webserver.Nginx):
    """nginx as it is shipped, whatever gateway stands behind it."""

    def start_gateway(self):
        pass

    def finish(self):
        self.stop()
        self.folder.check_reports()

    @contextlib.contextmanager
    def before(self, example):
        example.port = self.address[1]
        path = str(self.folder / "run" / "app.sock")
        with example.gateway(listen=f"unix:{path},mode=0666", address=path):
            yield


@pytest.fixture(scope="module")
def nginx():
    with Front() as server:
        yield server


# --- who looks ------------------------------------------------------------

@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Copies of all: root runs nothing that others can change."""
    folder = tmp_path_factory.mktemp("examples")
    for script in SCRIPTS:
        shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="module")
def web():
    """Another web server, for the examples that ask one."""
    with backends.Nginx(tls=True) as server:
        (server.www / "index.html").write_text("<p>A page.\n")
        yield server


@pytest.fixture
def own_redis():
    """Starts one for each that counts in it."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(backends.Redis())


def quoted(args):
    return " ".join(["curl", *map(shlex.quote, args)])


def look_with_curl(example):
    """As the lines say; what is fetched is asked for its head alone, too, and
    so is the path / of each: where that is a page, it is fetched as well."""
    seen = [view for line in example.lines for view in example.curl(line)]
    fetched = [view.args for view in seen if view.is_get()]
    fetched = list(dict.fromkeys(quoted(args) for args in fetched))
    heads = [example.curl(line + " --head")[0] for line in fetched]
    if not any(view.target() == "/" for view in heads):
        heads += example.curl(f"curl {URL}/ --head")
        if heads[-1].is_page():
            seen += example.curl(f"curl {URL}/")
    return seen + heads


def pages(seen):
    """The paths of those that curl has got by GET."""
    return sorted({view.target() for view in seen
                   if view.is_get() and view.is_page()})


class Page:
    """What the browser made of a page, and of the one that its form leads
    to."""
    numbers = itertools.count(1)

    def __init__(self, example, browser, target):
        self.example, self.browser, self.seen = example, browser, []
        # A name of its own, so that nothing is left there of pages before.
        self.host = f"page{next(Page.numbers)}.localhost:{example.port}"
        browser.get(f"http://{self.host}{target}")
        ready = READY.get(example.script.name)
        if ready:
            wait_until(lambda: browser.execute_script(ready), "the page")
        self.note()
        if browser.find_elements(By.CSS_SELECTOR, "form"):
            self.fill_in()
            self.note()
        browser.get("about:blank")  # whatever it keeps open

    def note(self):
        browser = self.browser
        self.seen.append([self.example.alike(text.replace(
            self.host, "127.0.0.1:8080").encode()) for text in [
            browser.current_url, browser.title,
            browser.execute_script(
                "return [document.compatMode, document.contentType, "
                "document.characterSet, document.cookie, performance."
                "getEntriesByType('navigation')[0].responseStatus].join()"),
            browser.execute_script(
                "return document.documentElement.outerHTML"),
            *console(browser)]])

    def fill_in(self):
        """As somebody who types something into each field."""
        form = self.browser.find_element(By.CSS_SELECTOR, "form")
        for field in form.find_elements(
                By.CSS_SELECTOR, "textarea, input:not([type=hidden])"):
            is_file = field.get_attribute("type") == "file"
            field.clear()
            field.send_keys(str(self.example.folder / "big.iso") if is_file
                            else "Moon & <b>")
        self.browser.execute_script("window.isLeft = true")
        form.find_element(By.CSS_SELECTOR, "button").click()

        def is_there():
            # Between the pages there may be none that could be asked.
            with contextlib.suppress(WebDriverException):
                return self.browser.execute_script(
                    "return !window.isLeft && "
                    "document.readyState === 'complete'")
        wait_until(is_there, "the page behind the form")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_looks_the_same(script, scripts, tmp_path, nginx, request):
    get, running = request.getfixturevalue, []
    with contextlib.ExitStack() as stack:
        # Names of one length: paths in an answer are part of its length.
        for name, served in (("plain", by_http), ("nginx", nginx.before)):
            example = Example(scripts / script.name, tmp_path / name, get)
            stack.enter_context(served(example))
            running.append(example)
        with futures.ThreadPoolExecutor() as pool:
            views = list(pool.map(look_with_curl, running))
        assert pages(views[0]) or "<!DOCTYPE" not in script.read_text()
        seen = [[view.comparable(example) for view in some]
                for example, some in zip(running, views, strict=True)]
        for target in pages(views[0]):
            for example, some in zip(running, seen, strict=True):
                some += Page(example, get("browser"), target).seen
    for plain, behind in zip(*seen, strict=True):
        assert plain == behind
