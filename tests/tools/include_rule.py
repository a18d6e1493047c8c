#!/usr/bin/python3
"""include_rule.py -- checks who may include whom under src/.

The rooms are drawn in src/README.md; arrows never point up.  The table below is
that drawing.  A room that it does not know is an error: a new room gets a line.

    include_rule.py SRC         checks the tree, exit 1 and a line per breach
    include_rule.py --self-test checks that each kind of breach is found

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import sys
import tempfile

# room: the rooms whose headers it may include, besides its own
ROOMS = {
    "base": set(),
    "core": {"base"},
    "fcgi": {"core", "base"},
    "http": {"core", "base"},
    "io": {"core", "base"},
    "ops": {"core", "base"},
    "script": {"core", "base"},
    "proc": {"script", "ops", "io", "http", "fcgi", "core", "base"},
    "mock": {"proc", "script", "io", "http", "fcgi", "core", "base"},
}
# Single headers across the drawing: io's face without libev.
EV_FREE = ("io/loop.h", "io/stream.h", "io/endpoint.h", "io/ready.h",
           "io/resolver.h", "io/datagram.h", "io/child.h", "io/pump.h")
EXTRA = {"script": set(EV_FREE)}
# The generated header, and who may read it.
GENERATED = {"version.h": {"proc", "script"}}
# Libraries: pattern of the header, who may include it.
LIBRARIES = [
    (re.compile(r"(.*/)?(lua|lauxlib|lualib|luaconf)\.h(pp)?$"), {"mock", "script"}),
    (re.compile(r"(.*/)?(ev|ev\+\+|event)\.h$"), {"io", "proc"}),
    (re.compile(r"(.*/)?llhttp\.h$"), {"http"}),
    (re.compile(r"(.*/)?ares(_\w+)?\.h$"), {"io"}),
]
RESUME = {"script/task.c", "script/coroutine.c"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
# A string or character literal is kept, so that "/*" in it opens no comment.
COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
                     r'|/\*.*?\*/|//[^\n]*', re.S)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


def blank(match):
    """Comments become spaces; lines keep their numbers."""
    return match[1] or " " + "\n" * match[0].count("\n")


class File:
    def __init__(self, root, path):
        self.name = path.relative_to(root).as_posix()
        self.room = self.name.partition("/")[0] if "/" in self.name else ""
        self.code = COMMENT.sub(blank, path.read_text(encoding="utf-8"))
        self.includes = [(self.line(m.start(2)), m[1] == "<", m[2])
                         for m in INCLUDE.finditer(self.code)]

    def line(self, at):
        return self.code.count("\n", 0, at) + 1


def check_include(file, system, header):
    """What is wrong with the include, or None."""
    for pattern, rooms in LIBRARIES:
        if pattern.match(header):
            if file.room in rooms:
                return None
            return f"only {' and '.join(sorted(rooms))} may include <{header}>"
    if system:
        room = header.partition("/")[0]
        return f'write "{header}"' if room in ROOMS and "/" in header else None
    if header in GENERATED:
        return (None if file.room in GENERATED[header]
                else f"{file.room} may not include {header}")
    room, slash, _ = header.partition("/")
    if not slash or room not in ROOMS:
        return f'"{header}" does not name a header by its room'
    if room == file.room or room in ROOMS[file.room]:
        return None
    if header in EXTRA.get(file.room, ()):
        return None
    return f"{file.room} may not include {header}"


def check(root):
    """A list of lines, one per breach."""
    root = pathlib.Path(root)
    files = {}
    for path in sorted(root.rglob("*.[ch]")):
        file = File(root, path)
        files[file.name] = file
    found = []
    for file in files.values():
        if file.room not in ROOMS:
            found.append(f"{file.name}:1: not in a room of {__file__}")
            continue
        for line, system, header in file.includes:
            wrong = check_include(file, system, header)
            if wrong:
                found.append(f"{file.name}:{line}: {wrong}")
        if file.name not in RESUME:
            code = STRING.sub('""', file.code)
            for match in re.finditer(r"\blua_resume\b", code):
                line = code.count("\n", 0, match.start()) + 1
                found.append(f"{file.name}:{line}: lua_resume stands in "
                             f"{' and '.join(sorted(RESUME))} only")
    for name in EV_FREE:
        for chain in chains_to_ev(files, [name]):
            found.append(f"{name}:1: must be free of libev, includes "
                         f"{' -> '.join(chain[1:])}")
    if not files:
        found.append(f"{root}: no sources")
    return found


def chains_to_ev(files, chain):
    """Each way from a header to ev.h."""
    file = files.get(chain[-1])
    for _, _, header in file.includes if file else ():
        if LIBRARIES[1][0].match(header):
            yield chain + [header]
        elif header not in chain:
            yield from chains_to_ev(files, chain + [header])


# --- Self-test --------------------------------------------------------------

GOOD = {
    "base/slice.h": "#include <stddef.h>\n",
    "core/params.c": '#include "core/params.h"\n#include "base/slice.h"\n',
    "io/loop.h": '#include "base/slice.h"\n/* #include <ev.h> */\n',
    "io/loop.c": "#include <ev.h>\n",
    "http/session.c": '#include <llhttp.h>\n#include "core/wire.h"\n',
    "core/wire.h": "\n",
    "script/task.c": '#include <lua.h>\n#include "io/loop.h"\n'
                     '#include "version.h"\nint f(void){lua_resume();}\n',
    "script/other.c": '/* lua_resume */\nconst char *s = "lua_resume";\n',
    "proc/main.c": '#include "version.h"\n#include <ev.h>\n'
                   '#include "fcgi/session.h"\n#include "script/script.h"\n',
}
# What is put into one file of the good tree, and a word of the complaint.
BAD = [
    ("base/a.c", '#include "core/params.h"\n', "base may not include"),
    ("core/a.c", '#include "io/loop.h"\n', "core may not include"),
    ("fcgi/a.c", '#include "io/loop.h"\n', "fcgi may not include"),
    ("io/a.c", '#include "fcgi/session.h"\n', "io may not include"),
    ("ops/a.c", '#include "script/script.h"\n', "ops may not include"),
    ("script/a.c", '#include "io/conn.h"\n', "script may not include"),
    ("script/a.c", '#include "proc/options.h"\n', "script may not include"),
    ("script/a.c", "#include <ev.h>\n", "<ev.h>"),
    ("proc/a.c", "#include <lauxlib.h>\n", "<lauxlib.h>"),
    ("core/a.c", '  #  include "lua.h"\n', "<lua.h>"),
    ("core/a.c", "#include <lua5.4/lua.h>\n", "<lua5.4/lua.h>"),
    ("proc/a.c", "#include <llhttp.h>\n", "<llhttp.h>"),
    ("script/a.c", "#include <ares.h>\n", "<ares.h>"),
    ("io/a.c", '#include "http/session.h"\n', "io may not include"),
    ("http/a.c", '#include "fcgi/session.h"\n', "http may not include"),
    ("core/a.c", '#include "version.h"\n', "version.h"),
    ("core/a.c", '#include "params.h"\n', "by its room"),
    ("core/a.c", '#include "../io/loop.h"\n', "by its room"),
    ("core/a.c", "#include <io/loop.h>\n", "write"),
    ("script/a.c", "int f(void)\n{\n  lua_resume();\n}\n", "a.c:3: lua_resume"),
    ("shop/a.c", "\n", "not in a room"),
    ("a.c", "\n", "not in a room"),
    ("io/loop.h", "#include <ev.h>\n", "free of libev"),
    ("io/stream.h", '#include "io/inner.h"\n', "io/inner.h -> ev.h"),
]


def self_test():
    failed = 0
    for name, text, word in [(None, None, None)] + BAD:
        with tempfile.TemporaryDirectory() as folder:
            tree = {**GOOD, "io/inner.h": "#include <ev.h>\n"}
            if name:
                tree[name] = text
            for path, content in tree.items():
                file = pathlib.Path(folder, path)
                file.parent.mkdir(exist_ok=True)
                file.write_text(content, encoding="utf-8")
            found = check(folder)
        if name is None and found:
            print("a good tree was refused:", *found, sep="\n  ")
            failed += 1
        elif name and not (len(found) == 1 and word in found[0]):
            print(f"{name}: {text!r}: wanted one line with {word!r}, got",
                  *found, sep="\n  ")
            failed += 1
    return failed


def main(args):
    if args == ["--self-test"]:
        return 1 if self_test() else 0
    if len(args) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    found = check(args[0])
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
