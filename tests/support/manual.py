"""The pages of the manual that the build has made, as a reader sees them.

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import subprocess

from support.gateway import environment, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = ["fcgi-lua.1", "fcgi-lua.3", "fcgi-lua-programs.3",
         "fcgi-lua-request.3", "fcgi-lua-sockets.3", "fcgi-lua-tasks.3",
         "fcgi-lua-web.7"]
API = [name for name in NAMES if name.endswith(".3")]


def build():
    """The folder of the build whose program is tested."""
    return pathlib.Path(program()).resolve().parent


def path(name):
    return build() / "man" / f"man{name[-1]}" / name


def output(*command, **args):
    """What a command prints; it must have nothing to complain of."""
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, env=environment({"LC_ALL": "C.UTF-8"}),
                          **args)
    assert done.returncode == 0 and not done.stderr, (command, done)
    return done.stdout


_rendered = {}


def render(name, renderer="groff", device="ascii"):
    """The page on a terminal of 80 columns, without fonts."""
    key = name, renderer, device
    if key not in _rendered:
        if renderer == "groff":     # as man(1) calls it
            text = output("groff", "-mandoc", f"-T{device}", "-rLL=78n",
                          "-ww", "-P-cbou", path(name))
        else:
            text = output("mandoc", f"-T{device}", "-Owidth=78", path(name))
            text = re.sub(".\b", "", text)
        _rendered[key] = text
    return _rendered[key]


def words(text):
    """Text as its words, whatever lines and columns they stand in.  A line
    may end at the hyphen of a word."""
    return " ".join(text.split()).replace("- ", "-")


def sections(text, indent=0):
    """The sections of a rendered page, or the subsections of one: what stands
    below each heading, which is indented by that much."""
    found, heading = {}, None
    for line in text.split("\n")[1:] if indent == 0 else text.split("\n"):
        if re.match(" " * indent + r"\S", line):
            heading = line.strip()
            assert heading not in found, heading
            found[heading] = ""
        elif heading:
            found[heading] += line + "\n"
    return found


def is_indented(block, text):
    """Whether these lines stand in the text, all indented by the same."""
    lines = block.split("\n")
    first = re.escape(lines[0])
    for match in re.finditer(rf"^( +){first}$", text, re.M):
        whole = "\n".join(match[1] + line if line else "" for line in lines)
        if text.startswith(whole + "\n", match.start()):
            return True
    return False
