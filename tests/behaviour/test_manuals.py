"""The pages of the manual tell all that there is and nothing else, can be read
and copied from, and are found once installed.

That of the program is held against the program; those of the Lua API against
lua/fcgi/meta.lua as support/meta.py reads it, which has nothing in common with
the script that makes the pages.  (test_meta.py holds meta.lua against the
program, and runs its examples; tests/examples/test_web_manual.py runs those of
fcgi-lua-web.)

SPDX-License-Identifier: MIT
"""
import functools
import os
import re
import signal
import string
import subprocess

import pytest

from support import manual, meta
from support.gateway import environment, run
from support.manual import ROOT, words

META = meta.read()
RENDERERS = pytest.mark.parametrize("renderer", ["groff", "mandoc"])
PAGES = pytest.mark.parametrize("name", manual.NAMES)
VARIABLES = {     # of the classes whose objects have functions
    "fcgi": "fcgi", "fcgi.Channel": "channel", "fcgi.Counter": "counter",
    "fcgi.File": "file", "fcgi.Gauge": "gauge", "fcgi.Part": "part",
    "fcgi.Process": "process", "fcgi.Reader": "reader", "fcgi.Request": "req",
    "fcgi.Socket": "sock", "fcgi.Task": "task", "fcgi.Udp": "udp",
}


def program_page():
    return manual.sections(manual.render("fcgi-lua.1"))


# --- all pages --------------------------------------------------------------

@PAGES
def test_page_is_sound(name):
    assert manual.output("mandoc", "-Tlint", "-Wwarning",
                         manual.path(name)) == ""
    assert manual.path(name).read_bytes().isascii()


@PAGES
@RENDERERS
def test_page_fits_a_terminal(name, renderer):
    text = manual.render(name, renderer, "utf8")
    assert [line for line in text.split("\n") if len(line) > 80] == []
    assert not re.search("[\u2010\u00ad]$", text, re.M)     # hyphenation


@PAGES
def test_page_is_known_to_whatis(name):
    listed = manual.output("lexgrog", manual.path(name))
    assert f': "{name[:-2]} - ' in listed


@PAGES
def test_references_lead_somewhere(name):
    """Whether macros or prose make them."""
    text = manual.render(name)
    found = set(re.findall(r"fcgi-lua[a-z-]*\(\d\)", text))
    pages = {re.sub(r"(.*)\.(\d)", r"\1(\2)", one) for one in manual.NAMES}
    see_also = set(words(manual.sections(text)["SEE ALSO"]).replace(",", "")
                   .split("Operations")[0].split())
    assert found <= pages
    assert pages - {re.sub(r"(.*)\.(\d)", r"\1(\2)", name)} == \
        {one for one in see_also if one.endswith(")")}


def test_pages_have_one_date_and_the_version():
    version = run("--version").out.split()[1]
    sources = [manual.path(name).read_text() for name in manual.NAMES]
    assert len({re.search(r"^\.Dd (.*)$", one, re.M)[1]
                for one in sources}) == 1
    assert all(f".Os fcgi\\-lua {version}\n" in one for one in sources)


# --- the program ------------------------------------------------------------

TABLE = (ROOT / "src/proc/options_table.c").read_text()
OPTIONS = re.findall(r'\.name = "(.*)"', TABLE)


@functools.cache
def options_of_help():
    """name -> (the entry as the page has it, the group, the text)"""
    found = {}
    text, end = run("--help").out, "\nSizes:"
    assert end in text
    for group in re.split(r"\n\n(?=\S)", text.split(end)[0])[1:]:
        title = re.match(r"(.+?)(?: \(|:)", group)[1]
        lines = re.sub(r"\n {26}", " ", group).split("\n")
        for line in lines:
            match = re.match(r"  (?:-(\w), |    )--([a-z-]+)(?:=('.*'|\S+))?"
                             r"(?: +(.*))?$", line)
            if not match:
                continue
            letter, name, argument, rest = match.groups()
            entry = f"--{name}=" + argument if argument else f"--{name}"
            if letter:
                entry = f"-{letter}{' ' + argument if argument else ''}, " \
                    + entry
            found[name] = entry, title, rest or ""
    return found


@functools.cache
def entries_of_options():
    """The entries of the page: entry -> (group, text), in order."""
    found = {}
    options = program_page()["OPTIONS"]
    for group, text in manual.sections(options, 3).items():
        parts = re.split(r"^     (-.*)\n", text, flags=re.M)
        for entry, rest in zip(parts[1::2], parts[2::2]):
            found[entry] = group, words(rest)
    return found


def test_help_is_understood():
    assert list(options_of_help()) == OPTIONS


def test_options_are_those_of_the_program():
    """With the same short names and arguments, in the same order and groups."""
    assert [(entry, group) for entry, (group, _) in
            entries_of_options().items()] == \
        [(entry, title) for entry, title, _ in options_of_help().values()]


@pytest.mark.parametrize("name", OPTIONS)
def test_option_has_its_default(name):
    entry, _, help_text = options_of_help()[name]
    text = entries_of_options()[entry][1]
    default = re.search(r"\(default ([^\s:;,)]+)", help_text)
    assert len(text) > 15
    if default:
        assert re.search(r"Default: (\w+, or )?" + re.escape(default[1]) +
                         r"(?!\w)", text), (default[1], text)
    else:
        assert ("Default:" in text) == ("default: " in help_text)
    if "(may be repeated" in help_text:
        assert "May be repeated." in text
    zero = re.search(r"; 0: (\w+)\)|\(default 0: (never)\)", help_text)
    if zero:
        assert re.search(r"0[:,] " + (zero[1] or zero[2]), text)


def names_in(text):
    return set(re.findall(r"--([\w-]+)", text))


def names_with_reach(reach):
    return {re.search('"(.*?)"', entry)[1]
            for entry in re.split(r"\{ \.name = ", TABLE)[1:]
            if f".reach = {reach}," in entry}


def test_settings_may_come_from_where_the_page_says(tmp_path):
    text = words(program_page()["SETTINGS"])
    line_only = names_in(re.search("Only the command line has (.*?)[.] ",
                                   text)[1])
    before = names_in(re.search("The table cannot have (.*?)which are needed",
                                text)[1])
    assert line_only == names_with_reach("REACH_COMMAND_LINE")
    assert before == names_with_reach("REACH_BEFORE_SCRIPT")
    warned = run("--print-config", env={
        "FCGI_LUA_NO_SUCH": "1",
        **{"FCGI_LUA_" + name.upper().replace("-", "_"): "?"
           for name in line_only}})
    assert warned.code == 0 and "FCGI_LUA_NO_SUCH" in warned.err
    for name in line_only:
        assert f"is ignored: --{name} " in warned.err
    script = tmp_path / "app.lua"
    for name, code in (("watch", 78), ("chdir", 78), ("no_such", 78),
                       ("max_body", 0)):
        script.write_text("return { on_request = print, %s = '1' }" % name)
        assert run("--check", script).code == code


def tags(text):
    """The tags of a list: what stands at the section's own margin."""
    return re.findall(r"^     (\S.*?)(?:  .*)?$", text, re.M)


def sources():
    return {path: path.read_text()
            for folder, kind in (("src", "*.c"), ("lua", "*.lua"))
            for path in sorted((ROOT / folder).rglob(kind))}


def test_signals_are_those_that_the_program_hears():
    heard = re.search(r"signals\[\] = \{(.*?)\}",
                      (ROOT / "src/proc/held.c").read_text(), re.S)[1]
    told = [name for tag in tags(program_page()["SIGNALS"])
            if tag.startswith("SIG") for name in tag.split(", ")]
    assert len(told) == len(set(told))
    assert set(told) == set(re.findall(r"SIG\w+", heard))
    assert all(hasattr(signal, name) for name in told)


def test_exit_codes_are_those_of_the_program():
    used = {name for text in sources().values()
            for name in re.findall(r"\bEX_[A-Z]+\b", text)
            if hasattr(os, name)}
    told = re.findall(r"^     (\d+)  ", program_page()["EXIT STATUS"], re.M)
    assert told == sorted(told, key=int)
    assert set(map(int, told)) == {getattr(os, name) for name in used} | {1}


def test_variables_are_those_of_the_program():
    """Each is a name that the source has; each that it asks for is told."""
    literal = set(re.findall(r'"([A-Z][A-Z_]+)"',
                             "".join(sources().values())))
    asked = {name for text in sources().values() for name in re.findall(
        r'\b(?:getenv|read_value|take)\("([A-Z][A-Z_]+)"\)', text)}
    told = {name for tag in tags(program_page()["ENVIRONMENT"])
            for name in tag.split(", ") if re.fullmatch("[A-Z_]+", name)}
    assert told - literal == {"FCGI_LUA_NAME"}
    assert asked <= told and {"TMPDIR", "FCGI_WEB_SERVER_ADDRS"} <= asked
    oneshot = (ROOT / "src/proc/oneshot.c").read_text()
    names = re.search(r"names\[\] = \{(.*?)\}", oneshot, re.S)[1]
    entry = entries_of_options()[options_of_help()["request"][0]][1]
    for name in re.findall(r'"(\w+)"', names):
        assert name in entry


def test_directives_of_the_access_log_are_those_of_the_program(tmp_path):
    """Each that the page has is taken, each letter that it has not is not."""
    script = tmp_path / "app.lua"
    script.write_text("function on_request() end")
    text = re.search("these directives:(.*)", program_page()["LOGS"], re.S)[1]
    told = re.findall(r"%(?:\{\w+\})?[A-Za-z%]",
                      re.sub("%{%s}t", "", "".join(
                          tag + "\n" for tag in tags(text))))
    assert run("--check", "--access-format=" + " ".join(told),
               script).code == 0
    letters = {directive[-1] for directive in told}
    for letter in string.ascii_letters:
        if letter not in letters:
            assert run("--check", "--access-format=%" + letter,
                       script).code == 64, letter


def test_help_names_the_manual():
    assert run("--help").out.endswith("The manual: man fcgi-lua\n")


# --- the Lua API ------------------------------------------------------------

def api_text(device="ascii"):
    return "\n".join(manual.render(name, device=device)
                     for name in manual.API)


def unquoted(text):
    """Prose as it is rendered: without backticks."""
    return words(text.replace("`", ""))


def paragraphs(doc):
    """What is neither example nor table, each piece as words."""
    text = re.sub(r"^```.*?^```$", "", doc.text, flags=re.M | re.S)
    for piece in re.split(r"\n\n+", text):
        if re.match("[|]", piece):
            for row in piece.split("\n"):
                for cell in row.strip("|").split("|"):
                    if cell.strip("- "):
                        yield unquoted(cell)
        elif piece.strip():
            yield unquoted(piece)


def docs():
    found = dict(META.chapters)
    for cls in META.classes.values():
        found[cls.name] = cls.doc
        for one in [*cls.fields.values(), *cls.functions.values()]:
            found[one.doc.line] = one.doc
    found.update((alias.name, alias.doc) for alias in META.aliases.values())
    return found


@pytest.mark.parametrize("renderer,device", [
    ("groff", "ascii"), ("mandoc", "ascii")])
def test_all_that_meta_lua_says_is_there(renderer, device):
    text = words("\n".join(manual.render(name, renderer, device)
                           for name in manual.API))
    for name, doc in docs().items():
        for paragraph in paragraphs(doc):
            assert paragraph in text, (name, paragraph)


def signature(cls, function):
    out, brackets = "", 0
    for n, param in enumerate(function.params):
        if param.optional:
            out += "["
            brackets += 1
        out += (", " if n else "") + param.name
    joint = "." if cls.name == "fcgi" else ":"
    name = re.split("[.:]", function.full_name)[-1]
    return f"{VARIABLES[cls.name]}{joint}{name}({out}{']' * brackets})"


SIGNATURES = {signature(cls, function): function
              for cls in META.classes.values()
              for function in cls.functions.values()}


@functools.cache
def subsections():
    """heading -> text, of all pages; a heading stands on one page."""
    found = {}
    for name in manual.API:
        text = manual.render(name)
        for title, body in manual.sections(text).items():
            for heading, below in manual.sections(body, 3).items():
                assert heading not in found, heading
                found[heading] = below
    return found


def test_functions_are_those_of_meta_lua():
    """Each has a section, and there are no others but those of tables."""
    tables = {name for name, cls in META.classes.items() if not cls.is_table}
    shown_elsewhere = {"fcgi.App"}      # in the section THE SCRIPT
    assert set(subsections()) == \
        set(SIGNATURES) | tables - shown_elsewhere


@pytest.mark.parametrize("heading", SIGNATURES)
def test_function_has_its_parameters_and_results(heading):
    function, text = SIGNATURES[heading], subsections()[heading]
    assert text.strip().startswith("May wait. ") == ("async" in function.flags)
    flat, at = words(text), 0
    prose = next(paragraphs(function.doc))
    assert prose in flat
    for one in [*function.params, *function.returns]:
        line = re.search(rf"^     {re.escape(one.name)}(?:  +|\n +)"
                         r"(.*(?:\n {7,}.*)*)", text[at:], re.M)
        assert line, one.name
        at += line.start() + 1
        told = words(line[1])
        assert words(one.text) in told
        assert all(word in told for word in
                   re.findall(r'[\w.]+|"[^"]*"', one.type)
                   if word not in ("async", "fun", "nil")), one
        if getattr(one, "optional", False):
            assert ", optional" in told
        if re.search(r"\?$|\bnil\b", one.type):
            assert re.search("(^| or )nil", told) or "fun(" in one.type
    assert text.count("\n     Gives\n") == bool(function.returns)


def test_fields_are_those_of_meta_lua():
    """Each has an entry: a hook as it is called, others with their types."""
    text = api_text()
    entries = re.findall(r"^     ([a-z_]\w*)(: .*|\([\w, ]*\))\n {9}\S",
                         text, re.M)
    expected = []
    for cls in META.classes.values():
        for one in cls.fields.values():
            hook = re.match(r"(?:async )?fun\((.*?)\)", one.type)
            if hook:
                args = re.findall(r"(\w+):", hook[1])
                expected.append((one.name, f"({', '.join(args)})"))
            else:
                expected.append((one.name, ": "))
    shown = [(name, rest if rest.startswith("(") else ": ")
             for name, rest in entries]
    assert sorted(shown) == sorted(expected)


def test_types_are_those_of_meta_lua():
    """Each alias is explained, on the pages that name it."""
    for name in manual.API:
        text = manual.render(name)
        types = manual.sections(text).get("TYPES", "")
        told = set(re.findall(r"^     (fcgi\.\w+): ", types, re.M))
        named = {alias for alias in META.aliases
                 if re.search(re.escape(alias) + r"\b", text)}
        assert told == named, name
    assert set(META.aliases) == {
        found for name in manual.API for found in re.findall(
            r"^     (fcgi\.\w+): ",
            manual.sections(manual.render(name)).get("TYPES", ""), re.M)}


@RENDERERS
@pytest.mark.parametrize("device", ["ascii", "utf8"])
def test_examples_can_be_copied(renderer, device):
    """Byte by byte, but for the blanks in front of all lines."""
    text = "\n".join(manual.render(name, renderer, device)
                     for name in manual.API)
    for example in META.examples():
        assert manual.is_indented(example.code, text), example


def test_contents_are_those_of_the_page():
    """The list at the begin of a page has its sections, in order, and all of
    its functions."""
    for name in manual.API:
        parts = manual.sections(manual.render(name))
        listed = [title.upper() for title in re.findall(
            r"^     (\S.*?)(?:  .*)?$",
            parts["DESCRIPTION"].rstrip().split("\n\n")[-1], re.M)]
        titles = [title for title in parts if title not in (
            "NAME", "SYNOPSIS", "DESCRIPTION", "THE PAGES", "TYPES",
            "SEE ALSO")]
        assert listed == titles[:-1], name      # the last is the footer
        for heading in re.findall(r"^   (\w+[.:]\w+)\(", manual.render(name),
                                  re.M):
            assert re.search(rf"\b{re.escape(heading)}\b",
                             parts["DESCRIPTION"]), heading


def test_first_page_tells_where_everything_is():
    listed = words(manual.sections(manual.render("fcgi-lua.3"))["THE PAGES"])
    for name in manual.API:
        if name != "fcgi-lua.3":
            shown = re.search(rf"{name[:-2]}\(3\) (.*?)[.] fcgi-lua", listed)[1]
            for heading in re.findall(r"^   (\w+[.:]\w+)\(",
                                      manual.render(name), re.M):
                assert heading in shown.replace(",", "").split(), heading


# --- the script that makes the pages ----------------------------------------

def make(tmp_path, text, plan=None):
    """Makes the pages of another meta.lua; the finished process."""
    source = ROOT / "src/man"
    folder = tmp_path / "man"
    folder.mkdir()
    for file in [*source.glob("*.lua"), *source.glob("*.txt")]:
        (folder / file.name).write_text(file.read_text())
    if plan:
        old, new = plan
        pages = folder / "pages.lua"
        assert old in pages.read_text()
        pages.write_text(pages.read_text().replace(old, new, 1))
    for number in (3, 7):
        (tmp_path / f"man{number}").mkdir()
    (tmp_path / "meta.lua").write_text(text)
    return subprocess.run(
        ["lua5.4", folder / "make.lua", tmp_path / "meta.lua", "1.0",
         "January 1, 2000", tmp_path], capture_output=True, text=True,
        env=environment())


def test_what_the_plan_does_not_name_is_on_the_first_page(tmp_path):
    text = meta.PATH.read_text()
    chapter = "# The answer\n"
    assert text.count(chapter) == 1 and text.count("\nfunction fcgi.now") == 1
    text = text.replace(chapter, "# Pigeons\n\nThey know.\n\n" + chapter)
    text = text.replace(
        "\nfunction fcgi.now() end\n",
        "\nfunction fcgi.now() end\n\n--- Feeds them.  Returns nothing.\n---\n"
        "--- ```lua\n--- local x\n--- ```\n---@param n integer\n"
        "function fcgi.feed(n) end\n", 1)
    done = make(tmp_path, text)
    assert done.returncode == 0, done
    page = (tmp_path / "man3" / "fcgi-lua.3").read_text()
    assert '.Sh "PIGEONS"\nThey know.' in page
    assert '.Ss "fcgi.feed(n)"' in page


@pytest.mark.parametrize("old,new,what", [
    ("\nfunction fcgi.now() end\n", "\nfunction fcgi.now(x) end\n", "@param"),
    ("\nfunction fcgi.now() end\n", "\nlocal function now() end\n",
     "not understood"),
    ("\nfunction fcgi.now() end\n", "\nfunction birds.now() end\n",
     "is no class"),
    ("---@return number seconds with fractions\n",
     "---@returns number seconds\n", "the tag @returns"),
    ("---@return number seconds with fractions\n",
     "---@return fun( seconds\n", "no type"),
    ("---@return number seconds with fractions\n",
     "---@return fcgi.Bird seconds\n", "fcgi.Bird is not defined"),
    ("--- ```lua\n", "--- ```\n", "unknown code"),
    ("--- The time of a clock", "--- The `time of a clock", "backtick"),
    ("--- The time of a clock", "--- The time of a cl\u00f6ck", "ASCII"),
    ("--- The time of a clock", "--- # The time of a clock",
     "not understood"),
    ("--- The time of a clock", "--- [The time](x) of a clock",
     "not understood"),
    ("| \"closed\"    |", "| \"closed\" | a |", "two columns"),
    ("---@class fcgi.Stats\n", "---@class fcgi.stats!\n", "the class"),
])
def test_what_is_not_understood_is_refused_with_its_line(tmp_path, old, new,
                                                         what):
    text = meta.PATH.read_text()
    assert old in text
    done = make(tmp_path, text.replace(old, new, 1))
    assert done.returncode == 1, done
    assert re.match(r"meta\.lua:\d+: .*" + re.escape(what), done.stderr), done


@pytest.mark.parametrize("old,new,what", [
    ('chapter = "Failures"', 'chapter = "Success"', "no chapter Success"),
    ('"stats" }', '"stat" }', "no function fcgi.stat"),
    ('class = "fcgi.Task"', 'class = "fcgi.Tusk"', "no fcgi.Tusk"),
    ('"Events", "event"', '"Events", "even"', "no function even"),
])
def test_what_the_plan_names_must_be_there(tmp_path, old, new, what):
    done = make(tmp_path, meta.PATH.read_text(), plan=(old, new))
    assert done.returncode == 1, done
    assert done.stderr.startswith("pages.lua: ") and what in done.stderr


# --- installed --------------------------------------------------------------

def test_installed_pages_are_found(tmp_path):
    """Below a prefix and a DESTDIR, as packagers install."""
    done = subprocess.run(
        ["cmake", "--install", str(manual.build()), "--prefix",
         "/opt/fcgi-lua"], env=environment({"DESTDIR": str(tmp_path)}),
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "opt/fcgi-lua/share/man"
    assert sorted(path.name for path in folder.rglob("*.?")
                  if path.is_file()) == sorted(manual.NAMES)
    for name in manual.NAMES:
        found = manual.output("man", "-M", folder, "-w", name[-1], name[:-2])
        assert found.strip() == str(folder / f"man{name[-1]}" / name)
        assert (folder / f"man{name[-1]}" / name).read_bytes() == \
            manual.path(name).read_bytes()
    first = manual.output("man", "-M", folder, "-w", "fcgi-lua")
    assert first.strip().endswith("man1/fcgi-lua.1")
