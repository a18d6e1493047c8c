"""on_authorize before files and applications, called by each web server that
knows the role, with its shipped configuration.

SPDX-License-Identifier: MIT
"""
import base64
import hashlib
import pathlib
import random

import pytest
import webserver
from http_client import Connection, request
from support.gateway import wait_until

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / \
    "authorizer.lua"
MIB = 1 << 20
names = {"ids": lambda kind: kind.name}


@pytest.fixture(scope="module", params=webserver.AUTHORIZERS, **names)
def running(request):
    with request.param() as server:
        yield server


def basic(user="ada", password="analytical"):
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ("Authorization", f"Basic {both}")


def ask(server, auth, path="/file.txt", method="GET", headers=(), body=None,
        mark=None):
    """A request with a name and a password: some configurations do not call
    the script without."""
    target = f"{path}?auth={auth}"
    if mark is not None:
        target += f"&mark={server.folder / 'marks' / mark}"
    return request(server.address, method, target, [basic(), *headers], body)


def environment(answer):
    """What the application has shown."""
    assert answer.status == 200, answer
    head, _, body = answer.body.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    assert first == "protected"
    return dict(line.split("=", 1) for line in lines), body


def is_file(answer):
    return answer.status == 200 and answer.body == b"a protected file\n"


def assert_refused(answer):
    assert b"protected" not in answer.body, answer
    assert answer.status >= 300, answer


# --- letting in -----------------------------------------------------------

@pytest.mark.parametrize("auth", ["allow", "slow", "cookie"])
def test_who_is_let_in_gets_the_file(server, auth):
    assert is_file(ask(server, auth))


def test_head(server):
    answer = ask(server, "allow", method="HEAD")
    assert answer.status == 200 and answer.body == b""
    assert answer.header("content-length") == "17"


@pytest.mark.parametrize("auth", ["allow", "slow", "cookie"])
def test_variables_reach_what_is_protected(server, auth):
    env, _ = environment(ask(server, auth, "/app/some/page"))
    # Both calls give the variable: mod_fcgid hands on both.
    twice = server.shows_variables and len(server.phases) > 1
    assert env["COLOUR"] == ("blue, blue" if twice else "blue")
    assert env["LONG"].startswith("x" * 3000)
    assert env["REMOTE_USER"] == "ada"
    assert not [name for name in env if name.lower().startswith("variable")]


def test_whether_the_client_sees_the_variables(server):
    for path in ("/file.txt", "/app/"):
        answer = ask(server, "allow", path)
        assert answer.status == 200
        seen = [name for name, _ in answer.headers
                if name.startswith("variable-")]
        assert bool(seen) == server.shows_variables


def test_variables_cannot_be_given_by_the_client(server):
    env, _ = environment(ask(server, "slow", "/app/", headers=[
        ("Variable-COLOUR", "red"), ("Variable-EXTRA", "yes"),
        ("COLOUR", "red")]))
    assert env["COLOUR"].split(", ")[0] == "blue" and "EXTRA" not in env


def test_what_apache_tells(server):
    env, _ = environment(ask(server, "phase", "/app/"))
    saw = {name[4:]: value for name, value in env.items()
           if name.startswith("SAW_")}
    assert set(saw) == set(server.phases)
    if server.asks:
        assert saw == {"AUTHENTICATOR": "ada/analytical", "AUTHORIZER": "ada/"}
    else:
        assert set(saw.values()) == {"/"}


@pytest.mark.parametrize("auth", ["body", "whole-body"])
@pytest.mark.parametrize("size", [0, 1, MIB])
def test_a_post_is_the_applications(server, auth, size):
    """The authorizer gets no body, and is told so at once; the application
    behind it gets all of it."""
    body = random.Random(size).randbytes(size)
    answer = ask(server, auth, "/app/", "POST", [
        ("Content-Type", "application/octet-stream")], body)
    env, received = environment(answer)
    assert env["COLOUR"].startswith("POST")
    assert hashlib.sha256(received).digest() == hashlib.sha256(body).digest()


def test_a_refused_post_is_refused(server):
    answer = ask(server, "nil", "/app/", "POST", body=bytes(MIB))
    assert_refused(answer)


def test_a_waiting_authorizer_keeps_nobody_waiting(server, prefix):
    mark = f"&mark={server.folder / 'marks' / prefix}"
    with Connection(server.address) as http:
        http.send("GET", f"/file.txt?auth=hold{mark}", [basic()], close=True)
        wait_until(server.mark(prefix, "started").exists, "the first's start")
        for _ in range(5):
            assert is_file(ask(server, "allow"))
            assert_refused(ask(server, "nil"))
        server.mark(prefix, "go").touch()
        assert is_file(http.answer().read())


# --- refusing -------------------------------------------------------------

REFUSALS = ["nothing", "nil", "false", "yes", "one", "empty", "200", "204",
            "403", "500", "503", "504", "header", "header_false", "raw",
            "raw_200", "built_200", "send", "finish", "late", "err",
            "err_object", "split", "ask", "login", "missing"]


@pytest.mark.parametrize("path", ["/file.txt", "/app/"])
@pytest.mark.parametrize("auth", REFUSALS)
def test_nothing_but_true_lets_in(server, auth, path):
    answer = ask(server, auth, path)
    assert_refused(answer)
    if not server.keeps_refusal:
        assert answer.status in (401, 500)
    elif auth in ("nothing", "nil", "false", "403", "header", "header_false"):
        assert answer.status == 403
    elif auth in ("503", "504"):
        assert answer.status == int(auth)
    assert is_file(ask(server, "allow"))  # the next one is


def test_an_authorizer_that_takes_too_long_lets_nobody_in(server):
    with Connection(server.address) as one, Connection(server.address) as two:
        for http, path in ((one, "/file.txt"), (two, "/app/")):
            http.send("GET", f"{path}?auth=timeout", [basic()], close=True)
        for http in one, two:  # both wait at once
            answer = http.answer().read()
            http.expect_end()
            assert_refused(answer)
            expected = (504,) if server.keeps_refusal else (401, 500)
            assert answer.status in expected
    assert is_file(ask(server, "allow"))


def test_what_becomes_of_a_401(server):
    answer = ask(server, "ask")
    assert answer.status == 401
    assert answer.header("x-why") == "who are you"
    assert answer.header("set-cookie") == "session=none"
    realm = "app" if server.asks else "script"
    assert answer.header("www-authenticate") == f'Basic realm="{realm}"'
    assert (answer.body == b"who are you?\n") == server.keeps_refusal


def test_what_becomes_of_a_redirect(server):
    answer = ask(server, "login")
    if server.keeps_refusal:
        assert answer.status == 302
        assert answer.header("location").endswith("/login")
    else:
        assert answer.status == 401
        assert not answer.header("location")


def test_what_becomes_of_an_error(server):
    """Its text is in the log, and not in the answer."""
    text = "on purpose: exception"
    before = server.gateway_log().count(text)
    answer = ask(server, "err")
    assert_refused(answer)
    assert b"on purpose" not in answer.body
    wait_until(lambda: server.gateway_log().count(text) > before,
               "the error in the log")


def test_without_a_name(server):
    """Apache asks for it by itself; others leave that to the script."""
    answer = request(server.address, "GET", "/file.txt?auth=allow")
    if server.asks:
        assert_refused(answer)
        assert answer.status == 401
        assert answer.header("www-authenticate") == 'Basic realm="app"'
    else:
        assert is_file(answer)


@pytest.mark.servers_where(needs_user=True)
def test_an_admission_needs_a_user(server):
    """As the configuration says: UserExpr."""
    answer = ask(server, "nameless")
    assert_refused(answer)
    assert answer.status == 500


@pytest.mark.servers_where(spawns=True)
def test_a_gateway_that_dies_lets_nobody_in(server):
    for path in ("/file.txt", "/app/"):
        assert_refused(ask(server, "die", path))

        def works():
            answer = ask(server, "allow")
            if answer.status != 200:
                assert_refused(answer)
            return is_file(answer)

        wait_until(works, "the next gateway")


# --- with other scripts ---------------------------------------------------

def start(kind, app, tmp_path):
    if not isinstance(app, pathlib.Path):
        text, app = app, tmp_path / "other.lua"
        app.write_text(text)
    return kind(app)


@pytest.mark.parametrize("kind", webserver.AUTHORIZERS, **names)
def test_a_script_without_on_authorize_lets_nobody_in(kind, tmp_path):
    script = "function on_request() return 200, {}, 'protected' end\n"
    with start(kind, script, tmp_path) as server:
        for path in ("/file.txt", "/app/"):
            assert_refused(ask(server, "allow", path))
        server.wait_log("the script has no on_authorize", server.gateway_log)


@pytest.mark.parametrize("kind", [
    kind for kind in webserver.AUTHORIZERS if not kind.spawns], **names)
def test_a_gateway_that_has_gone_lets_nobody_in(kind):
    with kind() as server:
        assert is_file(ask(server, "allow"))
        assert server.gateway.stop() == 0
        for path in ("/file.txt", "/app/"):
            assert_refused(ask(server, "allow", path))
        server.start_gateway()


@pytest.mark.parametrize("kind", [
    kind for kind in webserver.AUTHORIZERS if not kind.spawns], **names)
def test_an_overloaded_gateway_lets_nobody_in(kind, prefix):
    class Small(kind):
        gateway_options = ("--max-reqs=1",)

    with Small() as server, Connection(server.address) as http:
        mark = f"&mark={server.folder / 'marks' / prefix}"
        http.send("GET", f"/file.txt?auth=hold{mark}", [basic()], close=True)
        wait_until(server.mark(prefix, "started").exists, "the first's start")
        assert_refused(ask(server, "allow"))
        server.mark(prefix, "go").touch()
        assert is_file(http.answer().read())


@pytest.mark.parametrize("kind", webserver.AUTHORIZERS, **names)
def test_the_example(kind):
    with kind(EXAMPLE) as server:
        for path in ("/file.txt", "/app/"):
            good = request(server.address, "GET", path, [basic()])
            assert good.status == 200
            for header in ([], [basic("ada", "wrong")], [basic("eve", "")],
                           [basic("", "")], [basic("ada", "")],
                           [("Authorization", "Basic !!")],
                           [("Authorization", "Bearer YWRh")],
                           [("Remote-User", "ada"), ("Remote-Passwd", "x")]):
                bad = request(server.address, "GET", path, header)
                assert bad.status == 401, bad
                assert bad.header("www-authenticate") == 'Basic realm="app"'
        assert request(server.address, "GET", "/file.txt", [basic()]
                       ).body == b"a protected file\n"
        assert request(server.address, "GET", "/app/", [basic()]
                       ).body == b"Hello, ada of staff!\n"
