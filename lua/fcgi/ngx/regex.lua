--- fcgi.ngx.regex -- `ngx.re` over lrexlib's PCRE2, which is loaded when the
--- first expression is compiled.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

local re = {}

--- Both fill when first needed: the library, and its flags for our letters.
local rex, flags, exec_flags

local function load_rex()
  local ok, loaded = pcall(require, "rex_pcre2")
  if not ok then
    if type(loaded) ~= "string" then
      error(loaded, 0) -- a cancellation
    end
    misuse.raise("ngx.re needs lrexlib over PCRE2 (Debian: lua-rex-pcre2): " ..
      loaded:match("^[^\n]*"))
  end
  local names = loaded.flags()
  rex = loaded
  flags = {
    a = names.ANCHORED, i = names.CASELESS, m = names.MULTILINE,
    s = names.DOTALL, x = names.EXTENDED, u = names.UTF,
    U = names.UTF | names.NO_UTF_CHECK, D = names.DUPNAMES,
    d = 0, j = 0, o = 0, J = 0, -- see compile
  }
  exec_flags = { U = names.NO_UTF_CHECK }
end

--- An expression as it is kept: with what lrexlib has to be told of each match.
local function compile(regex, options)
  if not rex then
    load_rex()
  end
  local cflags, eflags = 0, 0
  for letter in options:gmatch "." do
    local flag = flags[letter]
    if not flag then
      misuse.raise(("unknown flag \"%s\" (flags \"%s\")"):format(letter,
        options))
    end
    cflags = cflags | flag
    eflags = eflags | (exec_flags[letter] or 0)
  end
  local ok, compiled = pcall(rex.new, regex, cflags)
  if not ok then
    return nil, compiled
  end
  local is_utf = options:find("[uU]") ~= nil
  if options:find("j", 1, true) and compiled.jit_compile then
    compiled:jit_compile()
  end
  return {
    rex = compiled, eflags = eflags, is_utf = is_utf,
    is_dfa = options:find("d", 1, true) ~= nil,
  }
end

--- By options, then by expression.  With and without "o", since nothing tells
--- them apart but time.  A program that makes up expressions starts afresh.
local CACHE_MAX = 1024
local cache, cached = {}, 0

local function find_compiled(regex, options)
  options = options or ""
  local of_options = cache[options]
  local found = of_options and of_options[regex]
  if found then
    return found
  end
  if type(regex) ~= "string" or type(options) ~= "string" then
    misuse.raise(("the expression and its options must be strings, got %s " ..
      "and %s"):format(type(regex), type(options)))
  end
  local err
  found, err = compile(regex, options)
  if not found then
    return nil, err
  end
  if cached >= CACHE_MAX then
    cache, cached, of_options = {}, 0, nil
  end
  if not of_options then
    of_options = {}
    cache[options] = of_options
  end
  of_options[regex] = found
  cached = cached + 1
  return found
end

local function check_subject(subject, name)
  if type(subject) == "number" then
    return tostring(subject)
  elseif type(subject) ~= "string" then
    misuse.bad_type(1, name, "string", subject)
  end
  return subject
end

--- Where the first match from init on is, and its groups (a list, and by name;
--- false for one that took no part); nil when there is none; nil and an error.
local function search(compiled, subject, init)
  local ok, from, to, groups
  if compiled.is_dfa then
    ok, from, to = pcall(compiled.rex.dfa_exec, compiled.rex, subject, init,
      compiled.eflags)
    if ok and from then
      to, groups = to[1], {} -- of all that begin there the longest is first
    end
  else
    ok, from, to, groups = pcall(compiled.rex.tfind, compiled.rex, subject,
      init, compiled.eflags)
  end
  if not ok then
    return nil, from
  elseif not from then
    return nil
  end
  return from, to, groups
end

--- Where to look for the next match: behind this one, and when it is empty one
--- character on.
local function next_init(compiled, subject, from, to)
  if to >= from then
    return to + 1
  end
  return compiled.is_utf and utf8.offset(subject, 2, from) or from + 1
end

local function init_of(ctx)
  local pos = ctx and ctx.pos or 1
  return pos < 1 and 1 or pos
end

--- Adds the whole match to its groups.
local function captures_of(subject, from, to, groups, result)
  if result then
    for key in pairs(result) do
      result[key] = nil
    end
    for key, value in pairs(groups) do
      result[key] = value
    end
    groups = result
  end
  groups[0] = subject:sub(from, to)
  return groups
end

--- ctx.pos is where to begin; it becomes where to go on.
---@return table? captures [0] is the whole match; false: took no part
---@return string? err
function re.match(subject, regex, options, ctx, result)
  subject = check_subject(subject, "match")
  local compiled, err = find_compiled(regex, options)
  if not compiled then
    return nil, err
  end
  local init = init_of(ctx)
  if init > #subject + 1 then
    return nil
  end
  local from, to, groups = search(compiled, subject, init)
  if not from then
    return nil, to
  end
  if ctx then
    ctx.pos = to + 1
  end
  return captures_of(subject, from, to, groups, result)
end

--- Where group number nth is; the whole match by default.
---@return integer? from
---@return integer? to
---@return string? err
function re.find(subject, regex, options, ctx, nth)
  subject = check_subject(subject, "find")
  local compiled, err = find_compiled(regex, options)
  if not compiled then
    return nil, nil, err
  end
  local init = init_of(ctx)
  if init > #subject + 1 then
    return nil
  end
  local from, to, groups = search(compiled, subject, init)
  if not from then
    return nil, nil, to
  end
  if ctx then
    ctx.pos = to + 1
  end
  if (nth or 0) == 0 then
    return from, to
  elseif groups[nth] == nil then
    return nil, nil, "nth out of bound"
  elseif not groups[nth] then
    return nil
  end
  local _, _, offsets = compiled.rex:exec(subject, init, compiled.eflags)
  return offsets[2 * nth - 1], offsets[2 * nth]
end

---@return (fun(): table?, string?)? next
---@return string? err
function re.gmatch(subject, regex, options)
  subject = check_subject(subject, "gmatch")
  local compiled, err = find_compiled(regex, options)
  if not compiled then
    return nil, err
  end
  local init = 1
  return function()
    if init > #subject + 1 then
      return nil
    end
    local from, to, groups = search(compiled, subject, init)
    if not from then
      init = #subject + 2 -- the end, or an error
      return nil, to
    end
    init = next_init(compiled, subject, from, to)
    return captures_of(subject, from, to, groups)
  end
end

-- --- sub and gsub -----------------------------------------------------------

--- A replacement with "$1", "${1}", "$$" becomes a list of texts and numbers of
--- groups.
local function parse_template(template)
  local pieces, at = {}, 1
  while true do
    local dollar = template:find("$", at, true)
    if not dollar then
      pieces[#pieces + 1] = template:sub(at)
      return pieces
    end
    pieces[#pieces + 1] = template:sub(at, dollar - 1)
    local number, behind = template:match("^(%d%d?)()", dollar + 1)
    if not number then
      number, behind = template:match("^{(%d%d?)}()", dollar + 1)
    end
    if number then
      pieces[#pieces + 1] = math.tointeger(tonumber(number))
      at = behind
    elseif template:sub(dollar + 1, dollar + 1) == "$" then
      pieces[#pieces + 1] = "$"
      at = dollar + 2
    else
      misuse.raise(("bad replacement \"%s\": \"$\" is followed by a group's " ..
        "number or by \"$\""):format(template))
    end
  end
end

local function fill_template(pieces, groups, whole)
  local out = {}
  for i, piece in ipairs(pieces) do
    if piece == 0 then
      piece = whole
    elseif type(piece) == "number" then
      piece = groups[piece] or ""
    end
    out[i] = piece
  end
  return table.concat(out)
end

--- What replaces a match: fun(groups, whole).
local function replacer(replace)
  if type(replace) == "number" then
    replace = tostring(replace)
  end
  if type(replace) == "function" then
    return function(groups, whole)
      groups[0] = whole
      local text = replace(groups)
      if type(text) ~= "string" and type(text) ~= "number" then
        misuse.raise(("the replacement must be a string, got %s"):format(
          type(text)))
      end
      return text
    end
  elseif type(replace) ~= "string" then
    misuse.raise(("the replacement must be a string or a function, got %s")
      :format(type(replace)))
  elseif not replace:find("$", 1, true) then
    return function() return replace end
  end
  local pieces = parse_template(replace)
  return function(groups, whole)
    return fill_template(pieces, groups, whole)
  end
end

--- The replacement may wait: no C function is under way when it is called.
local function substitute(subject, regex, replace, options, max)
  local compiled, err = find_compiled(regex, options)
  if not compiled then
    return nil, nil, err
  end
  local replacement = replacer(replace)
  local out, done, init, count = {}, 0, 1, 0
  while init <= #subject + 1 and count < max do
    local from, to, groups = search(compiled, subject, init)
    if not from then
      if to then
        return nil, nil, to
      end
      break
    end
    out[#out + 1] = subject:sub(done + 1, from - 1)
    out[#out + 1] = replacement(groups, subject:sub(from, to))
    done, count = to, count + 1
    init = next_init(compiled, subject, from, to)
  end
  if count == 0 then
    return subject, 0
  end
  out[#out + 1] = subject:sub(done + 1)
  return table.concat(out), count
end

---@return string? new
---@return integer? count
---@return string? err
function re.sub(subject, regex, replace, options)
  subject = check_subject(subject, "sub")
  local new, count, err = substitute(subject, regex, replace, options, 1)
  return new, count, err
end

function re.gsub(subject, regex, replace, options)
  subject = check_subject(subject, "gsub")
  local new, count, err =
    substitute(subject, regex, replace, options, math.huge)
  return new, count, err
end

-- --- the module ngx.re ------------------------------------------------------

re.module = {}

--- The pieces between matches, and the groups of each match.
---@param max? integer how many pieces at most; the last one has the rest
---@return string[]? pieces
---@return string? err
function re.module.split(subject, regex, options, ctx, max, result)
  subject = check_subject(subject, "split")
  local compiled, err = find_compiled(regex, options)
  if not compiled then
    return nil, err
  end
  local pieces, n = result or {}, 0
  local done = init_of(ctx)
  local init = done
  max = max and max > 0 and max or math.huge
  local count = 1
  while count < max and init <= #subject do
    local from, to, groups = search(compiled, subject, init)
    if not from then
      if to then
        return nil, to
      end
      break
    end
    init = next_init(compiled, subject, from, to)
    if to >= from or (from > done and from <= #subject) then
      pieces[n + 1] = subject:sub(done, from - 1)
      n, count, done = n + 1, count + 1, to + 1
      for _, group in ipairs(groups) do
        if group then
          n = n + 1
          pieces[n] = group
        end
      end
    end
  end
  pieces[n + 1] = subject:sub(done)
  for i = #pieces, n + 2, -1 do
    pieces[i] = nil -- what a list that is used again had
  end
  return pieces
end

--- nginx can be told of the sizes of its tables here; there is nothing to say.
function re.module.opt() end

return re
