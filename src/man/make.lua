--- make -- writes the manual of the Lua API as pages for man(1), from
--- lua/fcgi/meta.lua and fcgi-lua-web.txt.  So the manual cannot tell more, or
--- less, than the definitions do, which the tests hold against the program.
---
---     lua5.4 make.lua META.lua VERSION DATE FOLDER
---
--- DATE is that of the pages, "November 23, 2026"; FOLDER has man3 and man7.
---
--- SPDX-License-Identifier: MIT
local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/?.lua;" .. package.path

local definitions = require "definitions"
local markup = require "markup"
local mdoc = require "mdoc"
local plan = require "pages"

local META, VERSION, DATE, FOLDER = table.unpack(arg)
if not FOLDER then
  io.stderr:write("Usage: lua5.4 make.lua META.lua VERSION DATE FOLDER\n")
  os.exit(64)
end
local meta = definitions.read(META)

local function fail(line, ...)
  markup.fail(meta.file, line, string.format(...))
end

-- Of the plan itself.
local function complain_of(page)
  return function(what)
    io.stderr:write("pages.lua: ", page.name, ": ", what, "\n")
    os.exit(1)
  end
end

-- --- finding things ---------------------------------------------------------

local classes, aliases, chapters = {}, {}, {}
for _, class in ipairs(meta.classes) do classes[class.name] = class end
for _, alias in ipairs(meta.aliases) do aliases[alias.name] = alias end
for _, chapter in ipairs(meta.chapters) do chapters[chapter.title] = chapter end

local function functions_of(class)
  local found = {}
  for _, one in ipairs(meta.functions) do
    if one.class == class then found[#found + 1] = one end
  end
  return found
end

local function function_of(class, name)
  for _, one in ipairs(functions_of(class)) do
    if one.name == name then return one end
  end
end

local function variable_of(class)
  return plan.variables[class.name] or
    fail(class.line, "pages.lua has no variable for %s", class.name)
end

local function full_name(one)
  return variable_of(one.class) .. one.joint .. one.name
end

-- --- words for types --------------------------------------------------------

local show_type

-- "a", "b or c", "a, b or c"
local function either(list)
  if #list == 1 then return list[1] end
  return table.concat(list, ", ", 1, #list - 1) .. " or " .. list[#list]
end

-- async fun(a: T): R1, R2
local function show_function(kind)
  local waits, args, rest = kind:match "^(a?s?y?n?c? ?)fun(%b())(.*)$"
  if not args then return nil end
  local shown = "function" .. args
  local results = rest:match "^: (.+)$"
  if results == "..." then results = nil end
  if results then
    shown = shown .. " that gives " ..
      (results:find "[,(]" and results or show_type(results))
  end
  if waits ~= "" then
    shown = shown .. (results and " and may wait" or " that may wait")
  end
  return shown
end

-- The alternatives of a type, each in words.
local function alternatives(kind)
  local shown, is_nil = {}, false
  for _, one in ipairs(definitions.split(kind, "|")) do
    local bare = one:match "^(.+)%?$"
    if bare then one, is_nil = bare, true end
    local inner = one:match "^(%b())$"
    if one == "nil" then
      is_nil = true
    elseif inner then
      shown[#shown + 1] = show_type(inner:sub(2, -2))
    else
      shown[#shown + 1] = show_function(one) or one
    end
  end
  if is_nil then shown[#shown + 1] = "nil" end
  return shown
end

-- A type as people read it: "string?" is "string or nil".
function show_type(kind)
  if show_function(kind) and #definitions.split(kind, "|") == 1 then
    return show_function(kind)
  end
  return either(alternatives(kind))
end

-- Names of classes and aliases in a type.
local function each_name(kind)
  return kind:gsub('"[^"]*"', ""):gmatch "fcgi%.%u%a*"
end

-- --- headings ---------------------------------------------------------------

-- (a[, b[, c]]); optional ones come last.
local function show_args(params)
  local out, open = {}, 0
  for i, param in ipairs(params) do
    local comma = i > 1 and ", " or ""
    if param.optional then
      out[#out + 1] = "[" .. comma .. param.name
      open = open + 1
    else
      out[#out + 1] = comma .. param.name
    end
  end
  return "(" .. table.concat(out) .. ("]"):rep(open) .. ")"
end

-- fun(self: C, path: string): T  ->  its arguments, and what it gives
local function show_overload(one, kind)
  local args, results = kind:match "fun(%b()): (.+)$"
  if not args then fail(one.line, "not understood: %s", kind) end
  local shown = {}
  for i, arg in ipairs(definitions.split(args:sub(2, -2), ",")) do
    if i > 1 then shown[#shown + 1] = arg end
  end
  local gives = {}
  if results:find "^%b()$" then results = results:sub(2, -2) end
  for i, result in ipairs(definitions.split(results, ",")) do
    gives[i] = show_type(result)
  end
  return ("`%s(%s)` gives %s."):format(full_name(one),
    table.concat(shown, ", "), table.concat(gives, ", "))
end

-- --- the pages --------------------------------------------------------------

local placed = {} -- what stands on a page already -> true

local function place(what)
  if placed[what] then
    fail(what.line, "%s stands on two pages", what.title or what.name)
  end
  placed[what] = true
end

-- The text behind a name: its type, and what there is to say.
local function describe(one)
  local kind = show_type(one.type)
  if one.optional then kind = kind .. ", optional" end
  if (one.text or "") ~= "" then kind = kind .. "; " .. one.text end
  return kind
end

-- A field and its type; hooks are shown as they are called.
local function field_title(field)
  local args = field.type:match "^a?s?y?n?c? ?fun(%b())"
  if not args then
    return ("\\fI%s\\fR: %s"):format(field.name, mdoc.code(describe(field)))
  end
  local names = {}
  for name in args:gmatch "([%w_]+)%??:" do names[#names + 1] = name end
  return ("\\fB%s\\fR(%s)"):format(field.name, table.concat(names, ", "))
end

local function fields(page, class)
  if #class.fields == 0 then return end
  local list = {}
  for i, field in ipairs(class.fields) do
    list[i] = { field_title(field), function()
      if field.type:find "^async fun%(" then page:line(".Em May wait .") end
      page.after = "head"
      page:blocks(field.blocks, meta.file, markup.fail)
    end }
  end
  page:tags(list, { hang = true, raw = true })
end

-- The tables and other types that a type is about are needed on this page.
local function note_types(page, kind)
  for name in each_name(kind) do
    if aliases[name] then
      if not page.aliases[name] then
        page.aliases[name] = true
        note_types(page, aliases[name].type)
      end
    elseif not classes[name] then
      fail(1, "the type %s is not defined", name)
    end
  end
end

-- Tables that parameters, results or fields name, and that stand nowhere yet.
local function tables_of(...)
  local found = {}
  for _, list in ipairs { ... } do
    for _, item in ipairs(list) do
      for name in each_name(item.type) do
        local class = classes[name]
        if class and not class.has_functions and not placed[class] then
          place(class)
          found[#found + 1] = class
        end
      end
    end
  end
  return found
end

local function table_section(page, class)
  page:subsection(class.name)
  page:blocks(class.blocks, meta.file, markup.fail)
  for _, field in ipairs(class.fields) do note_types(page, field.type) end
  fields(page, class)
end

-- Text up to the first block of code, and the rest.
local function cut(blocks)
  local before, after = {}, {}
  for _, block in ipairs(blocks) do
    local is_first = #after == 0 and block.kind ~= "code"
    table.insert(is_first and before or after, block)
  end
  return before, after
end

local function function_section(page, one)
  place(one)
  page:subsection(full_name(one) .. show_args(one.params))
  local before, after = cut(one.blocks)
  if one.waits then
    page:line(".Em May wait .")
  end
  page.after = "head"
  page:blocks(before, meta.file, markup.fail)
  local list = {}
  for _, param in ipairs(one.params) do
    note_types(page, param.type)
    list[#list + 1] = { param.name, describe(param) }
  end
  if #list > 0 then
    page:paragraph()
    page:tags(list, { italic = true, compact = true })
  end
  list = {}
  for _, result in ipairs(one.results) do
    note_types(page, result.type)
    list[#list + 1] = { result.name, describe(result) }
  end
  if #list > 0 then
    page:paragraph()
    page:line("Gives")
    page:tags(list, { italic = true, compact = true })
  end
  for _, kind in ipairs(one.overloads) do
    note_types(page, kind)
    page:text(show_overload(one, kind))
  end
  page:blocks(after, meta.file, markup.fail)
  for _, class in ipairs(tables_of(one.params, one.results)) do
    table_section(page, class)
  end
end

-- The parts of a section of the plan, in order: title, chapter, class,
-- functions.  Groups of a class are parts of their own.
local function parts_of(page, rest)
  local parts = {}
  local complain = complain_of(page)
  for _, section in ipairs(page.sections) do
    local part = { title = section.title or section.chapter, functions = {} }
    if section.chapters then
      for _, chapter in ipairs(rest.chapters) do
        parts[#parts + 1] =
          { title = chapter.title, chapter = chapter, functions = {} }
      end
    else
      parts[#parts + 1] = part
    end
    if section.chapter then
      part.chapter = chapters[section.chapter] or
        complain("no chapter " .. section.chapter)
    end
    for _, name in ipairs(section.functions or {}) do
      table.insert(part.functions, function_of(classes["fcgi"], name) or
        complain("no function fcgi." .. name))
    end
    if section.rest then
      for _, one in ipairs(rest.functions) do
        table.insert(part.functions, one)
      end
    end
    if section.class then
      part.class = classes[section.class] or complain("no " .. section.class)
      local starts = {}
      for _, group in ipairs(section.groups or {}) do
        if not function_of(part.class, group[2]) then
          complain(("no function %s of %s"):format(group[2], section.class))
        end
        starts[group[2]] = group[1]
      end
      if section.class ~= "fcgi" then
        for _, one in ipairs(functions_of(part.class)) do
          if starts[one.name] then
            part = { title = starts[one.name], functions = {} }
            parts[#parts + 1] = part
          end
          table.insert(part.functions, one)
        end
      end
    end
  end
  if page.index then -- the first page has what no other has
    for _, class in ipairs(rest.classes) do
      parts[#parts + 1] = {
        title = class.name, class = class, functions = functions_of(class),
      }
    end
  end
  return parts
end

-- What no section of the plan names.
local function rest_of_plan()
  local named = {}
  for _, page in ipairs(plan.pages) do
    for _, section in ipairs(page.sections) do
      if section.chapter then named[section.chapter] = true end
      if section.class then named[section.class] = true end
      for _, name in ipairs(section.functions or {}) do
        named["fcgi." .. name] = true
      end
    end
  end
  local rest = { chapters = {}, classes = {}, functions = {} }
  for _, chapter in ipairs(meta.chapters) do
    if not named[chapter.title] then table.insert(rest.chapters, chapter) end
  end
  for _, class in ipairs(meta.classes) do
    if class.has_functions and not named[class.name] then
      table.insert(rest.classes, class)
    end
  end
  for _, one in ipairs(functions_of(classes["fcgi"])) do
    if not named["fcgi." .. one.name] then table.insert(rest.functions, one) end
  end
  return rest
end

-- What a part of a page has, for lists of contents.
local function contents_of(part)
  local names = {}
  local class = part.class
  for _, field in ipairs(class and class.fields or {}) do
    names[#names + 1] = class.has_functions and
      variable_of(class) .. "." .. field.name or field.name
  end
  for _, one in ipairs(part.functions) do names[#names + 1] = full_name(one) end
  return table.concat(names, ", ")
end

local function head(out, name, section, about)
  out:line('.\\" Made of %s by src/man/make.lua.', meta.file)
  out:line(".Dd %s", DATE)
  out:line(".Dt %s %s", name:upper(), section)
  out:line(".Os fcgi\\-lua %s", VERSION)
  out:line(".nr doc-hyphen-flags 0")
  out:section("Name")
  out:line(".Nm %s", mdoc.code(name))
  out:line(".Nd %s", about)
end

-- Every page leads to all others.
local function see_also(out, name)
  local all = { { "fcgi-lua", 1 } }
  for _, page in ipairs(plan.pages) do all[#all + 1] = { page.name, 3 } end
  all[#all + 1] = { "fcgi-lua-web", 7 }
  table.sort(all, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local others = {}
  for _, one in ipairs(all) do
    if one[1] .. one[2] ~= name then others[#others + 1] = one end
  end
  out:section("See also")
  for i, one in ipairs(others) do
    out:line(".Xr %s %d%s", mdoc.code(one[1]), one[2],
      i < #others and " ," or "")
  end
end

local function index(out, page, all_parts)
  out:section(page.index)
  local list = {}
  for _, other in ipairs(plan.pages) do
    if other ~= page then
      local names = {}
      for _, part in ipairs(all_parts[other]) do
        local contents = contents_of(part)
        if contents ~= "" then names[#names + 1] = contents end
      end
      list[#list + 1] = { other.name .. "(3)",
        other.about:gsub("^%l", string.upper) .. ": " ..
        table.concat(names, ", ") .. "." }
    end
  end
  list[#list + 1] = { "fcgi-lua-web(7)", "Web applications from nothing: " ..
    "forms, uploads, files, events; while developing, in tests, and behind " ..
    "a web server." }
  list[#list + 1] = { "fcgi-lua(1)", "The program: its options, signals, " ..
    "logs and exit codes." }
  out:tags(list, { hang = true })
end

local function write(name, section, out)
  local path = ("%s/man%d/%s.%d"):format(FOLDER, section, name, section)
  local file = assert(io.open(path, "w"))
  assert(file:write(out:source()))
  assert(file:close())
end

local function write_page(page, all_parts)
  local out = mdoc.page(complain_of(page))
  local parts = all_parts[page]
  out.aliases = {}
  head(out, page.name, 3, page.about)
  out:section("Synopsis")
  out:code(page.synopsis or { 'local fcgi = require "fcgi"' })
  out:section("Description")
  for _, text in ipairs(page.intro) do out:text(text) end
  local list = {}
  for _, part in ipairs(parts) do
    list[#list + 1] = { part.title, contents_of(part) }
  end
  out:paragraph()
  out:tags(list, { hang = true, compact = true })
  if page.index then index(out, page, all_parts) end
  for _, part in ipairs(parts) do
    out:section(part.title)
    if part.chapter then
      place(part.chapter)
      out:blocks(part.chapter.blocks, meta.file, markup.fail)
    end
    if part.class then
      place(part.class)
      for _, field in ipairs(part.class.fields) do
        note_types(out, field.type)
      end
      out:blocks(part.class.blocks, meta.file, markup.fail)
      fields(out, part.class)
      for _, class in ipairs(tables_of(part.class.fields)) do
        table_section(out, class)
      end
    end
    for _, one in ipairs(part.functions) do function_section(out, one) end
  end
  list = {}
  for _, alias in ipairs(meta.aliases) do
    if out.aliases[alias.name] then
      placed[alias] = true
      list[#list + 1] = {
        ("\\fB%s\\fR: %s"):format(alias.name,
          mdoc.code(show_type(alias.type))),
        function() out:blocks(alias.blocks, meta.file, markup.fail) end,
      }
    end
  end
  if #list > 0 then
    out:section("Types")
    out:tags(list, { hang = true, raw = true })
  end
  see_also(out, page.name .. 3)
  write(page.name, 3, out)
end

local function write_web()
  local path = here .. "/fcgi-lua-web.txt"
  local lines = markup.lines_of(path)
  local out = mdoc.page(complain_of { name = "fcgi-lua-web" })
  head(out, "fcgi-lua-web", 7, "web applications with fcgi-lua, from nothing")
  for _, chapter in ipairs(markup.chapters(path, lines, 1, #lines)) do
    out:section(chapter.title)
    out:blocks(chapter.blocks, path, markup.fail)
  end
  see_also(out, "fcgi-lua-web7")
  write("fcgi-lua-web", 7, out)
end

local rest, all_parts = rest_of_plan(), {}
for _, page in ipairs(plan.pages) do all_parts[page] = parts_of(page, rest) end
for _, page in ipairs(plan.pages) do write_page(page, all_parts) end
for _, list in ipairs { meta.chapters, meta.functions, meta.aliases,
  meta.classes } do
  for _, one in ipairs(list) do
    if not placed[one] then
      fail(one.line, "%s: no page has it", one.title or one.name)
    end
  end
end
write_web()
