--- definitions -- reads lua/fcgi/meta.lua: chapters, classes, fields,
--- functions, aliases, each with its prose.  Strict: what is not understood is
--- an error.
---
--- SPDX-License-Identifier: MIT
local markup = require "markup"

local definitions = {}

local NAME = "[%a_][%w_]*"

--- Splits "TYPE rest" where the type ends: at a blank outside of brackets and
--- quotes, but not behind "|", "async", or the ":" of a function's results and
--- the "," between them.
---@return string? kind nil: it has no end
---@return string? rest
function definitions.take_type(text)
  local depth, quoted, in_results = 0, false, false
  local stop = #text + 1
  for at = 1, #text do
    local c, head = text:sub(at, at), text:sub(1, at - 1)
    if c == '"' then
      quoted = not quoted
    elseif quoted then
      goto continue
    elseif c:find "[%(%[{<]" then
      depth = depth + 1
    elseif c:find "[%)%]}>]" then
      depth = depth - 1
    elseif c == ":" and depth == 0 then
      in_results = true
    elseif c == " " and depth == 0 and not head:find "[|:]$" and
      head ~= "async" and not (in_results and head:find ",$") then
      stop = at
      break
    end
    ::continue::
  end
  if depth ~= 0 or quoted or stop == 1 then return nil end
  return text:sub(1, stop - 1), (text:sub(stop):gsub("^%s+", ""))
end

--- Splits a list at a separator that stands outside of brackets and quotes.
function definitions.split(text, separator)
  local parts, depth, quoted, begin = {}, 0, false, 1
  for at = 1, #text do
    local c = text:sub(at, at)
    if c == '"' then
      quoted = not quoted
    elseif not quoted and c:find "[%(%[{<]" then
      depth = depth + 1
    elseif not quoted and c:find "[%)%]}>]" then
      depth = depth - 1
    elseif not quoted and depth == 0 and c == separator then
      parts[#parts + 1] = text:sub(begin, at - 1):match "^%s*(.-)%s*$"
      begin = at + 1
    end
  end
  parts[#parts + 1] = text:sub(begin):match "^%s*(.-)%s*$"
  return parts
end

--- Reads the file.
---@return table meta chapters, classes, functions, aliases: lists in its order
function definitions.read(path)
  local lines = markup.lines_of(path)
  local name = path:match "[^/]+$"
  local meta = { file = name, classes = {}, functions = {}, aliases = {} }
  local tables = {} -- the local name of a class -> the class

  local function fail(line, ...) markup.fail(name, line, string.format(...)) end

  local function need(value, line, ...)
    if not value then fail(line, ...) end
    return value
  end

  local function type_of(text, line)
    local kind, rest = definitions.take_type(text)
    need(kind, line, "no type that has an end: %s", text)
    return kind, rest
  end

  local function prose(block, from)
    return markup.parse(name, block, from)
  end

  --- A block of lines with ---: its tags, each with the prose above it.
  local function tags_of(begin)
    local tags, text, from, at = {}, {}, begin, begin
    while (lines[at] or ""):find "^%-%-%-" do
      local tag, rest = lines[at]:match "^%-%-%-@(%l+) ?(.*)$"
      if tag then
        tags[#tags + 1] =
          { tag = tag, rest = rest, line = at, text = text, from = from }
        text, from = {}, at + 1
      else
        text[#text + 1] = need(lines[at]:match "^%-%-%- ?(.*)$", at, "a tag?")
      end
      at = at + 1
    end
    return tags, text, from, at
  end

  local function read_class(tags, stop)
    local first = tags[1]
    local class = {
      name = first.rest, line = first.line, fields = {},
      blocks = prose(first.text, first.from),
    }
    need(class.name:find "^fcgi%.?%a*$", first.line, "the class %s", class.name)
    for i = 2, #tags do
      local one = tags[i]
      need(one.tag == "field", one.line, "@%s in a class", one.tag)
      local field, optional, rest =
        one.rest:match("^(" .. NAME .. ")(%??) (.+)$")
      need(field, one.line, "the field %s", one.rest)
      local kind, more = type_of(rest, one.line)
      need(more == "", one.line, "text behind the type of a field")
      table.insert(class.fields, {
        name = field, optional = optional == "?", type = kind, line = one.line,
        blocks = prose(one.text, one.from),
      })
    end
    table.insert(meta.classes, class)
    local code = lines[stop]
    if code ~= "" then
      local variable = need(code:match("^local (" .. NAME .. ") = {}$"), stop,
        "a class is followed by %s", code)
      tables[variable] = class
      class.has_functions = true
      return stop + 1
    end
    return stop
  end

  local function read_alias(tags)
    local first = tags[1]
    need(#tags == 1, first.line, "an alias has one tag")
    local alias, rest = first.rest:match "^(%S+) (.+)$"
    need(alias, first.line, "the alias %s", first.rest)
    local kind, more = type_of(rest, first.line)
    need(more == "", first.line, "text behind the type of an alias")
    table.insert(meta.aliases, {
      name = alias, type = kind, line = first.line,
      blocks = prose(first.text, first.from),
    })
  end

  local function read_function(tags, text, begin, stop)
    local owner, joint, short, args =
      lines[stop]:match("^function (" .. NAME .. ")([.:])(" .. NAME ..
        ")%(([^()]*)%) end$")
    need(owner, stop, "not understood: %s", lines[stop])
    local class = need(tables[owner], stop, "%s is no class", owner)
    local made = {
      name = short, class = class, joint = joint, line = begin,
      params = {}, results = {}, overloads = {},
      blocks = prose(tags[1] and tags[1].text or text, begin),
    }
    need(#made.blocks > 0, stop, "%s has no description", short)
    for i, one in ipairs(tags) do
      need(i == 1 or #one.text == 0, one.line, "prose between tags")
      if one.tag == "async" then
        made.waits = true
      elseif one.tag == "param" then
        local param, optional, rest = one.rest:match "^([%w_.]+)(%??) (.+)$"
        need(param, one.line, "the parameter %s", one.rest)
        local kind, more = type_of(rest, one.line)
        table.insert(made.params, {
          name = param, optional = optional == "?", type = kind, text = more,
        })
      elseif one.tag == "return" then
        local kind, more = type_of(one.rest, one.line)
        local result, rest = more:match "^([%w_.]+) ?(.*)$"
        need(result, one.line, "a result without a name")
        table.insert(made.results, { name = result, type = kind, text = rest })
      elseif one.tag == "overload" then
        table.insert(made.overloads, one.rest)
      else
        need(one.tag == "nodiscard", one.line, "the tag @%s", one.tag)
      end
    end
    local names = {}
    for i, param in ipairs(made.params) do names[i] = param.name end
    need(table.concat(names, ", ") == args, stop,
      "%s has other parameters than its @param", short)
    table.insert(meta.functions, made)
    return stop + 1
  end

  need(lines[1] == "---@meta fcgi", 1, "the first line is not ---@meta fcgi")
  local begin, stop
  for n, line in ipairs(lines) do
    if line == "--[==[" then begin = n + 1 end
    if line == "]==]" then
      stop = n - 1
      break
    end
  end
  need(begin and stop, 1, "no chapters between --[==[ and ]==]")
  meta.chapters = markup.chapters(name, lines, begin, stop)
  local at = stop + 2
  while lines[at] do
    local line = lines[at]
    if line == "" or line == "return fcgi" then
      at = at + 1
    else
      need(line:find "^%-%-%-", at, "not understood: %s", line)
      local from = at
      local tags, text, _, next_line = tags_of(at)
      local first = tags[1] and tags[1].tag
      if first == "alias" then
        read_alias(tags)
        at = next_line
      elseif first == "class" then
        at = read_class(tags, next_line)
      else
        need(#tags == 0 or #text == 0, next_line, "prose below the last tag")
        at = read_function(tags, text, from, next_line)
      end
    end
  end
  return meta
end

return definitions
