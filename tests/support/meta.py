"""Reads lua/fcgi/meta.lua, the definitions of the Lua API: its chapters,
classes, functions, fields and examples.  Strict, because the file is a manual:
whatever is not understood, or not documented, raises MetaError with its line.

SPDX-License-Identifier: MIT
"""
import pathlib
import re
from dataclasses import dataclass, field

PATH = pathlib.Path(__file__).resolve().parents[2] / "lua/fcgi/meta.lua"

NAME = r"[A-Za-z_][A-Za-z_0-9]*"
FUNCTION = re.compile(rf"function ({NAME})([.:])({NAME})\(([^()]*)\) end")
TABLE = re.compile(rf"local ({NAME}) = {{}}")
NOTHING = "Returns nothing."    # in the prose of functions without results
FLAGS = ("async", "nodiscard")


class MetaError(Exception):
    """The file has something that a definition must not have."""


def fail(line, what):
    raise MetaError(f"meta.lua:{line}: {what}")


@dataclass
class Example:
    """A ```lua block: line is that of its first line of code."""
    owner: str
    line: int
    code: str


@dataclass
class Doc:
    """Prose, and the examples in it."""
    line: int
    text: str = ""
    examples: list = field(default_factory=list)


@dataclass
class Param:
    name: str
    type: str
    optional: bool
    text: str


@dataclass
class Field(Param):
    doc: Doc = None


@dataclass
class Return:
    type: str
    name: str
    text: str


@dataclass
class Function:
    """full_name as users know it: fcgi.sleep, fcgi.Request:read."""
    full_name: str
    doc: Doc
    args: list
    params: list
    returns: list
    overloads: list
    flags: set


@dataclass
class Class:
    name: str
    doc: Doc
    fields: dict = field(default_factory=dict)
    functions: dict = field(default_factory=dict)
    is_table: bool = False      # functions can be defined in it


@dataclass
class Alias:
    name: str
    type: str
    doc: Doc


@dataclass
class Meta:
    chapters: dict      # title -> Doc
    classes: dict
    aliases: dict

    def functions(self):
        """All of them, by full name."""
        return {function.full_name: function
                for cls in self.classes.values()
                for function in cls.functions.values()}

    def examples(self):
        docs = list(self.chapters.values())
        for cls in self.classes.values():
            docs.append(cls.doc)
            docs += [one.doc for one in cls.fields.values()]
            docs += [one.doc for one in cls.functions.values()]
        docs += [alias.doc for alias in self.aliases.values()]
        return [example for doc in docs for example in doc.examples]


# --- pieces -----------------------------------------------------------------

def take_type(text, line):
    """Splits "TYPE rest" where the type ends: at a blank outside of brackets
    and quotes, but not behind "|", ":" of a function's results or ","
    between these, nor behind "async"."""
    depth, at, quote, in_results = 0, 0, False, False
    while at < len(text):
        c = text[at]
        if quote:
            quote = c != '"'
        elif c == '"':
            quote = True
        elif c in "([{<":
            depth += 1
        elif c in ")]}>":
            depth -= 1
            if depth < 0:
                fail(line, f"unbalanced brackets in {text!r}")
        elif c == ":" and depth == 0:
            in_results = True
        elif c == " " and depth == 0:
            head = text[:at]
            if not (head.endswith(("|", ":")) or head == "async"
                    or (in_results and head.endswith(","))):
                break
        at += 1
    if depth != 0 or quote:
        fail(line, f"unbalanced brackets or quotes in {text!r}")
    if at == 0:
        fail(line, "a type is missing")
    return text[:at], text[at:].strip()


def type_names(text):
    """The class and alias names in a type: those with fcgi in front."""
    return re.findall(r"\bfcgi(?:\.\w+)?\b", re.sub(r'"[^"]*"', "", text))


def make_doc(owner, lines, at):
    """Prose that begins at line `at`, with its examples."""
    doc = Doc(at, "\n".join(lines).strip())
    code, begun = None, 0
    for number, line in enumerate(lines, at):
        if code is None and line.startswith("```"):
            if line != "```lua":
                fail(number, f"a block of {line[3:] or 'unknown'} code")
            code, begun = [], number + 1
        elif code is not None and line == "```":
            doc.examples.append(Example(owner, begun, "\n".join(code)))
            code = None
        elif code is not None:
            code.append(line)
    if code is not None:
        fail(begun, "the example has no end")
    return doc


def check_doc(doc, what, needs_example=True):
    if not doc.text or doc.text.startswith("```"):
        fail(doc.line, f"{what} has no description")
    if needs_example and not doc.examples:
        fail(doc.line, f"{what} has no example")


# --- the parser -------------------------------------------------------------

class Parser:
    def __init__(self, text):
        self.lines = text.split("\n")
        self.at = 0     # the next line, from 0
        self.meta = Meta({}, {}, {})
        self.tables = {}        # local name -> Class
        self.module = None

    def parse(self):
        if self.lines[0] != "---@meta fcgi":
            fail(1, "the first line is not ---@meta fcgi")
        self.at = 1
        self.chapters()
        ended = False
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line:
                self.at += 1
            elif ended:
                fail(self.at + 1, "something after the end")
            elif line.startswith("---"):
                self.block()
            elif line == f"return {self.module}":
                ended = True
                self.at += 1
            else:
                fail(self.at + 1, f"not understood: {line!r}")
        if not ended:
            fail(len(self.lines), "the module is not returned")
        self.check_names()
        return self.meta

    def chapters(self):
        """The licence and the long comment: prose under "# " headings."""
        while self.lines[self.at].startswith("-- "):
            self.at += 1
        if self.lines[self.at] != "--[==[":
            fail(self.at + 1, "no chapters: --[==[ expected")
        self.at += 1
        begin = self.at
        while self.lines[self.at] != "]==]":
            self.at += 1
            if self.at == len(self.lines):
                fail(begin, "the chapters have no end")
        title, prose, start = None, [], begin + 1
        for number in range(begin, self.at + 1):
            line = self.lines[number]
            if number == self.at or line.startswith("# "):
                if title:
                    doc = make_doc(title, prose, start)
                    check_doc(doc, title, needs_example=False)
                    self.meta.chapters[title] = doc
                title, prose, start = line[2:], [], number + 2
            else:
                prose.append(line)
        self.at += 1

    def block(self):
        """Lines that begin with ---, and the line of code below them."""
        begin, items, prose, start = self.at, [], [], self.at + 1
        while self.at < len(self.lines) and \
                self.lines[self.at].startswith("---"):
            line = self.lines[self.at]
            number = self.at + 1
            if line.startswith("---@"):
                tag, _, rest = line[4:].partition(" ")
                items.append((tag, rest, number, prose, start))
                prose, start = [], number + 1
            elif line != "---" and not line.startswith("--- "):
                fail(number, "no blank after ---")
            else:
                prose.append(line[4:])
            self.at += 1
        if prose and items:
            fail(self.at, "prose that belongs to nothing")
        code, number = self.lines[self.at], self.at + 1
        first = items[0][0] if items else None
        if first == "alias":
            self.alias(items)
        elif first == "class":
            self.cls(items, code, number)
        elif FUNCTION.fullmatch(code):
            doc = items[0][3] if items else prose
            self.function(items, FUNCTION.fullmatch(code), doc, begin + 1)
            self.at += 1
        else:
            fail(number, f"the comment belongs to {code!r}")

    def alias(self, items):
        if len(items) != 1:
            fail(items[1][2], "an alias has one tag")
        _, rest, number, prose, start = items[0]
        name, _, rest = rest.partition(" ")
        kind, text = take_type(rest, number)
        if text:
            fail(number, f"{text!r} after the type of an alias")
        doc = make_doc(name, prose, start)
        check_doc(doc, name, needs_example=False)
        self.meta.aliases[name] = Alias(name, kind, doc)

    def cls(self, items, code, number):
        _, name, at, prose, start = items[0]
        if not re.fullmatch(r"fcgi(\.[A-Z][A-Za-z]*)?", name):
            fail(at, f"the class {name!r}")
        doc = make_doc(name, prose, start)
        check_doc(doc, name, needs_example=name != "fcgi")
        made = self.meta.classes[name] = Class(name, doc)
        for tag, rest, at, prose, start in items[1:]:
            if tag != "field":
                fail(at, f"@{tag} in a class")
            match = re.match(rf"({NAME})(\??) ", rest)
            if not match:
                fail(at, f"the field {rest!r}")
            kind, text = take_type(rest[match.end():], at)
            if text:
                fail(at, "the description of a field stands above it")
            doc = make_doc(f"{name}.{match[1]}", prose, start)
            check_doc(doc, match[1], needs_example=False)
            if match[1] in made.fields:
                fail(at, f"a second field {match[1]}")
            made.fields[match[1]] = Field(match[1], kind, bool(match[2]), "",
                                          doc)
        if not code:
            return
        table = TABLE.fullmatch(code)
        if not table:
            fail(number, f"a class is followed by {code!r}")
        if name == "fcgi":
            self.module = table[1]
        made.is_table = True
        self.tables[table[1]] = made
        self.at += 1

    def function(self, items, match, prose, line):
        owner, joint, name, args = match.groups()
        if owner not in self.tables:
            fail(line, f"{owner} is no class")
        cls = self.tables[owner]
        full_name = cls.name + joint + name
        if (joint == ":") == (cls.name == "fcgi"):
            fail(line, f"{full_name}: methods have a colon, functions a dot")
        if name in cls.functions:
            fail(line, f"a second {full_name}")
        made = Function(full_name, make_doc(full_name, prose, line),
                        [arg.strip() for arg in args.split(",") if arg],
                        [], [], [], set())
        for tag, rest, at, between, _ in items:
            if between is not prose and between:
                fail(at, "prose between tags")
            self.tag(made, tag, rest, at)
        self.check_function(made, line)
        cls.functions[name] = made

    def tag(self, made, tag, rest, at):
        if tag in FLAGS:
            if rest or tag in made.flags:
                fail(at, f"@{tag} stands alone, once")
            if made.params or made.returns:
                fail(at, f"@{tag} comes first")
            made.flags.add(tag)
        elif tag == "param":
            match = re.match(rf"({NAME}|\.\.\.)(\??) ", rest)
            if not match or made.returns:
                fail(at, f"the @param {rest!r}")
            made.params.append(Param(match[1], *self.optional(
                match[2], rest[match.end():], at)))
        elif tag == "return":
            kind, text = take_type(rest, at)
            match = re.match(rf"({NAME}|\.\.\.)( |$)", text)
            if not match or made.overloads:
                fail(at, f"the @return {rest!r} needs a type and a name")
            made.returns.append(Return(kind, match[1], text[match.end():]))
        elif tag == "overload":
            kind, text = take_type(rest, at)
            if text or not kind.removeprefix("async ").startswith("fun("):
                fail(at, f"the @overload {rest!r}")
            made.overloads.append(kind)
        else:
            fail(at, f"unknown tag @{tag}")

    @staticmethod
    def optional(mark, rest, at):
        kind, text = take_type(rest, at)
        return kind, mark == "?", text

    @staticmethod
    def check_function(made, line):
        check_doc(made.doc, made.full_name)
        names = [param.name for param in made.params]
        if names != made.args:
            fail(line, f"{made.full_name} takes {made.args}, but the @param "
                       f"are {names}")
        required = [not param.optional for param in made.params
                    if param.name != "..."]
        if required != sorted(required, reverse=True):
            fail(line, f"{made.full_name}: an optional parameter comes before "
                       f"one that is not")
        if bool(made.returns) == (NOTHING in made.doc.text):
            fail(line, f"{made.full_name} has neither @return nor the words "
                       f"{NOTHING!r}, or both")

    def check_names(self):
        """Types name only what is defined."""
        known = {*self.meta.classes, *self.meta.aliases}
        for full_name, function in self.meta.functions().items():
            kinds = [one.type for one in function.params + function.returns]
            for kind in kinds + function.overloads:
                for name in type_names(kind):
                    if name not in known:
                        fail(function.doc.line,
                             f"{full_name}: the type {name} is not defined")
        for cls in self.meta.classes.values():
            for one in cls.fields.values():
                for name in type_names(one.type):
                    if name not in known:
                        fail(one.doc.line, f"the type {name} is not defined")
        for alias in self.meta.aliases.values():
            for name in type_names(alias.type):
                if name not in known:
                    fail(alias.doc.line, f"the type {name} is not defined")


def parse(text):
    return Parser(text).parse()


def read(path=PATH):
    """The Meta of the file."""
    return parse(path.read_text())
