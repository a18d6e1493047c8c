"""fcgi.resolve against a name server of the test's own.

SPDX-License-Identifier: MIT
"""
import os

import pytest

from support.dns_server import A, AAAA, DnsServer
from support.gateway import Gateway, run, wait_until
from support.lua import EVAL, Lua

ZONE = {
    "www.test": ["192.0.2.1", "2001:db8::1"],
    "v4.test": ["192.0.2.4", "192.0.2.5"],
    "alias.test": [("CNAME", "www.test")],
    "gone.test": ["NXDOMAIN"],
    "none.test": [],
    "broken.test": ["SERVFAIL"],
    "refused.test": ["REFUSED"],
    "silent.test": ["SILENT"],
    "garbage.test": ["GARBAGE"],
    "long.test": ["TRUNCATED"] + [f"192.0.2.{n}" for n in range(1, 61)],
    "short.corp.test": ["192.0.2.6"],
    "other.test": ["192.0.2.7"],
}
HOSTS = "192.0.2.99 file.test filed\n2001:db8::99 file.test\n"


class Rig:
    """A name server, a hosts file and a gateway that uses them."""

    def __init__(self, folder, zone, *options, **args):
        self.hosts = folder / "hosts"
        self.hosts.write_text(HOSTS)
        self.dns = DnsServer(zone, **args)
        self.options = options

    def __enter__(self):
        self.dns.__enter__()
        self.gateway = Gateway(
            EVAL, "--resolver=" + self.dns.address, *self.options,
            env={"CARES_HOSTS": str(self.hosts), "LOCALDOMAIN": "corp.test"})
        self.gateway.__enter__()
        self.lua = Lua(self.gateway)
        return self

    def __exit__(self, *failure):
        try:
            self.gateway.__exit__(*failure)
        finally:
            self.dns.__exit__(*failure)

    def resolve(self, *args):
        args = ", ".join(repr(arg) if arg is not None else "nil"
                         for arg in args)
        return self.lua.value(f"fcgi.resolve({args})")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Rig(tmp_path_factory.mktemp("resolve"), ZONE) as rig:
        yield rig


@pytest.fixture
def rig_with(tmp_path):
    """rig_with(zone, *options, **args): a rig of the test's own."""
    rigs = []

    def start(*args, **named):
        rigs.append(Rig(tmp_path, *args, **named).__enter__())
        return rigs[-1]
    yield start
    for rig in rigs:
        rig.__exit__(None, None, None)


VALUES = [
    (("v4.test",), '{"192.0.2.4", "192.0.2.5"}'),
    (("V4.Test.", "inet"), '{"192.0.2.4", "192.0.2.5"}'),
    (("www.test", "inet6"), '{"2001:db8::1"}'),
    (("www.test", 4), '{"192.0.2.1"}'),
    (("alias.test", 6), '{"2001:db8::1"}'),
    (("v4.test", 6), 'nil, "not found"'),
    (("gone.test",), 'nil, "not found"'),
    (("none.test",), 'nil, "not found"'),
    (("broken.test",), 'nil, "server failure"'),
    (("refused.test",), 'nil, "server failure"'),
    (("silent.test", None, 0.05), 'nil, "timeout"'),
    (("garbage.test", None, 0.05), 'nil, "timeout"'),
    (("short",), '{"192.0.2.6"}'),
    (("short.",), 'nil, "not found"'),
    (("file.test", "inet"), '{"192.0.2.99"}'),
    (("filed",), '{"192.0.2.99"}'),
    (("localhost", 4), '{"127.0.0.1"}'),
    (("::1",), '{"::1"}'),
    (("m\u00fcller.test",), 'nil, "not found"'),
    (("x" * 64 + ".test",), 'nil, "not found"'),
    (("x." * 126 + "xx",), 'nil, "not found"'),
]


@pytest.mark.parametrize("args,expected", VALUES,
                         ids=[str(args[0])[:20] for args, _ in VALUES])
def test_value(shared, args, expected):
    assert shared.resolve(*args) == expected


def test_both_families(shared):
    for name in "www.test", "alias.test":
        assert set(shared.resolve(name).strip("{}").split(", ")) == {
            '"192.0.2.1"', '"2001:db8::1"'}
    assert shared.dns.asked("www.test", A) >= 1
    assert shared.dns.asked("www.test", AAAA) >= 1


def test_an_answer_that_is_cut_off_is_asked_for_over_tcp(shared):
    assert shared.resolve("long.test", 4).count("192.0.2.") == 60
    assert shared.dns.asked("long.test", A, "udp") == 1
    assert shared.dns.asked("long.test", A, "tcp") == 1


def test_files_and_addresses_ask_nobody(shared):
    for name in "file.test", "localhost", "a.localhost", "192.0.2.1", "::1":
        shared.resolve(name)
        assert shared.dns.asked(name) == 0


def test_answers_are_remembered(shared):
    assert shared.resolve("other.test", 4) == '{"192.0.2.7"}'
    for _ in range(5):
        assert shared.resolve("OTHER.test", 4) == '{"192.0.2.7"}'
    assert shared.dns.asked("other.test") == 1
    assert shared.resolve("gone.test", 4) == 'nil, "not found"'
    asked = shared.dns.asked("gone.test")
    assert shared.resolve("gone.test", 4) == 'nil, "not found"'
    assert shared.dns.asked("gone.test") == asked
    asked = shared.dns.asked("broken.test")
    assert shared.resolve("broken.test") == 'nil, "server failure"'
    assert shared.dns.asked("broken.test") > asked


@pytest.mark.parametrize("ttl", [0, 1])
def test_answers_are_remembered_for_their_ttl_only(rig_with, ttl):
    rig = rig_with({"www.test": ["192.0.2.1"]}, ttl=ttl)
    for _ in range(2):
        assert rig.resolve("www.test", 4) == '{"192.0.2.1"}'
    if ttl == 0:
        assert rig.dns.asked("www.test") == 2
    rig.dns.zone["www.test"] = ["192.0.2.2"]
    wait_until(lambda: rig.resolve("www.test", 4) == '{"192.0.2.2"}',
               "the TTL is over")


def test_100_requests_share_one_query(rig_with):
    rig = rig_with({"www.test": ["HELD"]})
    with rig.lua.connect() as conn:
        for id in range(1, 101):
            rig.lua.start(conn, id, "n = (n or 0) + 1 return 200, {}, "
                          "fcgi.resolve('www.test', 4)[1]")
        wait_until(lambda: rig.lua.value("n") == "100", "all wait")
        rig.dns.release("www.test", ["192.0.2.1"])
        for id in range(1, 101):
            assert conn.collect(id).text == "192.0.2.1"
    assert rig.dns.asked("www.test") == 1


def test_others_are_served_while_a_name_server_is_silent(rig_with):
    rig = rig_with({"slow.test": ["HELD"], "www.test": ["192.0.2.1"]})
    with rig.lua.connect() as conn:
        rig.lua.start(conn, 1, "return 200, {}, "
                      "dump(fcgi.resolve('slow.test', 4))")
        rig.dns.wait_asked("slow.test")
        assert rig.resolve("www.test", 4) == '{"192.0.2.1"}'
        rig.dns.release("slow.test", ["192.0.2.2"])
        assert conn.collect(1).text == '{"192.0.2.2"}'


def test_many_names_at_once(rig_with):
    """More than are asked for at once; each is asked for once."""
    names = [f"n{n}.test" for n in range(600)]
    rig = rig_with({name: [f"192.0.{n // 250}.{n % 250 + 1}"]
                    for n, name in enumerate(names)})
    assert rig.lua.text("""
        local tasks, bad = {}, 0
        for n = 0, 599 do
          tasks[n] = fcgi.spawn(fcgi.resolve, "n" .. n .. ".test", 4)
        end
        for n = 0, 599 do
          local list = tasks[n]:join()
          local wanted = ("192.0.%d.%d"):format(n // 250, n % 250 + 1)
          if not list or list[1] ~= wanted then bad = bad + 1 end
        end
        return 200, {}, tostring(bad)
        """) == "0"
    ids = rig.dns.ids()
    assert sorted(ids) == sorted(names)
    assert all(len(ids[name]) == 1 for name in names)


def test_cancelled_in_the_middle(rig_with):
    rig = rig_with({"www.test": ["HELD"]})
    with rig.lua.connect() as conn:
        rig.lua.start(conn, 1, "task = fcgi.spawn(fcgi.resolve, 'www.test', 4)"
                      " return 200, {}, dump(task:join())")
        rig.dns.wait_asked("www.test")
        rig.lua("task:cancel('enough') return 200")
        assert conn.collect(1).text == 'nil, "enough"'
    rig.lua("task = nil collectgarbage() return 200")
    rig.dns.release("www.test", ["192.0.2.1"])
    wait_until(lambda: rig.resolve("www.test", 4) == '{"192.0.2.1"}')
    assert rig.dns.asked("www.test") == 1


def test_stop_in_the_middle(rig_with):
    rig = rig_with({"www.test": ["SILENT"]}, "--grace=0.1")
    with rig.lua.connect() as conn:
        for id in range(1, 11):
            rig.lua.start(conn, id, "return 200, {}, "
                          f"dump(fcgi.resolve('www.test', {4 + id % 2 * 2}))")
        rig.dns.wait_asked("www.test", 2)
        assert rig.gateway.stop() == 0


def test_reload_in_the_middle(rig_with):
    """The script before waits on; the new one has a resolver of its own."""
    rig = rig_with({"www.test": ["HELD"]})
    with rig.lua.connect() as conn:
        rig.lua.start(conn, 1, "return 200, {}, "
                      "dump(fcgi.resolve('www.test', 4))")
        rig.dns.wait_asked("www.test")
        rig.gateway.signal(1)
        rig.gateway.wait_log("generation 2")
        rig.dns.release("www.test", ["192.0.2.1"])
        assert conn.collect(1).text == '{"192.0.2.1"}'
    assert rig.resolve("www.test", 4) == '{"192.0.2.1"}'
    assert rig.dns.asked("www.test") == 2


def test_a_change_of_the_hosts_file_is_noticed(rig_with):
    rig = rig_with({"www.test": ["192.0.2.1"]})
    assert rig.resolve("www.test", 4) == '{"192.0.2.1"}'
    rig.hosts.write_text("192.0.2.98 www.test\n")
    wait_until(lambda: rig.resolve("www.test", 4) == '{"192.0.2.98"}',
               "the new hosts file")
    os.unlink(rig.hosts)
    wait_until(lambda: rig.resolve("www.test", 4) == '{"192.0.2.1"}',
               "no hosts file")


def test_a_second_server_is_asked_when_the_first_refuses(tmp_path):
    with DnsServer({"www.test": ["REFUSED"]}) as first, \
            DnsServer({"www.test": ["192.0.2.1"]}) as second, \
            Gateway(EVAL, f"--resolver={first.address},{second.address}",
                    env={"CARES_HOSTS": str(tmp_path / "none")}) as gw:
        assert Lua(gw).value("fcgi.resolve('www.test', 4)") == \
            '{"192.0.2.1"}'
        assert first.asked("www.test") == 1


def test_nobody_listens_there(lua_with):
    with DnsServer() as dns:
        address = dns.address
    lua = lua_with("--resolver=" + address, env={"LOCALDOMAIN": ""})
    assert lua.value("fcgi.resolve('www.test', 4)") == \
        'nil, "server failure"'


def test_workers_resolve_each_for_itself(rig_with):
    rig = rig_with({"www.test": ["192.0.2.1"]}, "-w", "2")
    workers = set()

    def ask():
        workers.add(rig.lua.value(
            "fcgi.worker.id, fcgi.resolve('www.test', 4)[1]"))
        return len(workers) == 2
    wait_until(ask, "an answer of both workers")
    assert workers == {'1, "192.0.2.1"', '2, "192.0.2.1"'}
    assert rig.dns.asked("www.test") == 2


# --- --resolver ---------------------------------------------------------------

def test_option_stands_in_the_environment_and_in_the_script(tmp_path):
    with DnsServer({"www.test": ["192.0.2.1"]}) as dns:
        env = {"CARES_HOSTS": str(tmp_path / "none")}
        script = EVAL + ("return { on_request = on_request, resolver = "
                         f"{{ '127.0.0.1:1', '{dns.address}' }} }}\n")
        code = "fcgi.resolve('www.test', 4)"
        with Gateway(script, env=env) as gw:
            assert Lua(gw).value(code) == '{"192.0.2.1"}'
        with Gateway(EVAL, env={**env, "FCGI_LUA_RESOLVER":
                                "127.0.0.1:1 " + dns.address}) as gw:
            assert Lua(gw).value(code) == '{"192.0.2.1"}'


def test_option_takes_addresses_only():
    for text in "dns.test", "192.0.2.1:0", "192.0.2.1,", "":
        result = run("--resolver=" + text, "--check", "app.lua")
        assert result.code == 64
        assert "--resolver: " in result.err and "name server" in result.err


def test_version_names_the_library():
    assert "c-ares 1." in run("--version").out
