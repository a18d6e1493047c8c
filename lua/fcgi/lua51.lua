--- fcgi.lua51 -- what Lua 5.1 had and 5.4 has not, for libraries that were
--- written then: module, setfenv, getfenv, unpack, loadstring and their like.
---
--- Only what is missing is set.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 142 143

--- The function that runs at a level above the caller of who calls this.
local function function_at(level, name)
  if type(level) == "function" then
    return level
  elseif math.type(level) ~= "integer" or level < 1 then
    error(("bad argument #1 to '%s' (a function or a level expected)"):format(
      name), 3)
  end
  local info = debug.getinfo(level + 2, "f")
  if not info then
    error(("bad argument #1 to '%s' (invalid level)"):format(name), 3)
  end
  return info.func
end

--- The upvalue in which 5.4 keeps what globals are fields of.
local function environment_of(f)
  local i = 1
  while true do
    local name, value = debug.getupvalue(f, i)
    if name == "_ENV" then
      return i, value
    elseif not name then
      return nil
    end
    i = i + 1
  end
end

local function setfenv(f, env)
  if f == 0 then
    error("setfenv(0) is not known here", 2)
  end
  f = function_at(f, "setfenv")
  local i = environment_of(f)
  if i then -- else it names no global; one in C cannot be told apart
    debug.upvaluejoin(f, i, function() return env end, 1)
  end
  return f
end

local function getfenv(f)
  if f == 0 then
    return _G
  end
  local _, env = environment_of(function_at(f == nil and 1 or f, "getfenv"))
  return env or _G
end

local function seeall(module)
  local meta = getmetatable(module) or {}
  meta.__index = _G
  setmetatable(module, meta)
end

--- The table that a dotted name names below a table; made where it is not.
local function find_table(at, name)
  for part in name:gmatch("[^.]+") do
    local next = rawget(at, part)
    if next == nil then
      next = {}
      at[part] = next
    elseif type(next) ~= "table" then
      error(("name conflict for module '%s'"):format(name), 3)
    end
    at = next
  end
  return at
end

local function module(name, ...)
  local found = package.loaded[name]
  if type(found) ~= "table" then
    found = find_table(_G, name)
    package.loaded[name] = found
  end
  if found._NAME == nil then
    found._M, found._NAME = found, name
    found._PACKAGE = name:match("^(.*%.)[^.]*$") or ""
  end
  local caller = debug.getinfo(2, "f").func
  local i = environment_of(caller)
  if i then
    debug.upvaluejoin(caller, i, function() return found end, 1)
  end
  for _, option in ipairs { ... } do
    option(found)
  end
  return found
end

local globals = {
  setfenv = setfenv, getfenv = getfenv, module = module,
  unpack = table.unpack, loadstring = load,
}
for name, value in pairs(globals) do
  if rawget(_G, name) == nil then
    rawset(_G, name, value)
  end
end
package.seeall = package.seeall or seeall
package.loaders = package.loaders or package.searchers
table.maxn = table.maxn or function(t)
  local most = 0
  for key in pairs(t) do
    if type(key) == "number" and key > most then most = key end
  end
  return most
end
table.getn = table.getn or function(t) return #t end
string.gfind = string.gfind or string.gmatch
math.pow = math.pow or function(x, y) return x ^ y end
math.mod = math.mod or math.fmod
math.log10 = math.log10 or function(x) return math.log(x, 10) end

return globals
