--- fcgi.request -- the part of the request class that is best said in Lua:
--- what the client's query string and cookies hold, and the body by lines.
-- SPDX-License-Identifier: MIT
local cookie = require "fcgi.cookie"
local urlencoded = require "fcgi.urlencoded"

--- By name, because that is how handlers ask: each answer then costs the same
--- however many pairs a client sends.
---@param list { [1]: string, [2]: string }[]
---@return table<string, string[]> values of each name, in order, at least one
local function group(list)
  local values = {}
  for _, pair in ipairs(list) do
    local name, value = pair[1], pair[2]
    local same = values[name]
    if same then
      same[#same + 1] = value
    else
      values[name] = { value }
    end
  end
  return values
end

--- Level 3: the errors of these two name the line of the handler, which called
--- the accessor that called them.
local function check_self(req, method)
  if req == nil or type(req) == "string" then
    error(("bad self (write req:%s, with a colon)"):format(method), 3)
  end
end

--- As for the accessors written in C, a number is taken for its digits.
local function check_name(name, method)
  if type(name) == "number" then
    return tostring(name)
  elseif type(name) ~= "string" then
    local message = "bad argument #1 to '%s' (string expected, got %s)"
    error(message:format(method, type(name)), 3)
  end
  return name
end

--- Adds `req:ONE(name)`, `req:ONE()` and `req:ONE_all(name)`.  Every table that
--- they hand out is the caller's own.
---@param methods table the request class
---@param memo fun(req: fcgi.Request): table?, string?
---@param one string the accessor's name
---@param decode fun(req: fcgi.Request): { [1]: string, [2]: string }[]
local function add_accessors(methods, memo, one, decode)
  local all = one .. "_all"

  local function values_of(req)
    local kept, err = memo(req)
    if not kept then
      return nil, err -- the request is over
    elseif not kept[one] then
      local list
      list, err = decode(req)
      if not list then
        return nil, err -- the request is over
      end
      kept[one] = group(list)
    end
    return kept[one]
  end

  --- Only a call without any argument asks for the table: a name that happens
  --- to be nil is a mistake.
  methods[one] = function(req, ...)
    check_self(req, one)
    if select("#", ...) > 0 then
      local name = check_name((...), one)
      local all_values, err = values_of(req)
      if not all_values then
        return nil, err
      end
      local values = all_values[name]
      return values and values[1]
    end
    local all_values, err = values_of(req)
    if not all_values then
      return nil, err
    end
    local first = {}
    for name, values in pairs(all_values) do
      first[name] = values[1]
    end
    return first
  end

  methods[all] = function(req, name)
    check_self(req, all)
    name = check_name(name, all)
    local all_values, err = values_of(req)
    if not all_values then
      return nil, err
    end
    local values = all_values[name] or {}
    return table.move(values, 1, #values, 1, {})
  end
end

---@param methods table the request class, to which the accessors are added
---@param memo fun(req: fcgi.Request): table?, string? a private table for each
--- request, the same one each time; nil and why once the request is over
return function(methods, memo)
  add_accessors(methods, memo, "query", function(req)
    local query, err = req:query_string()
    if not query then
      return nil, err
    end
    return urlencoded.decode(query)
  end)

  add_accessors(methods, memo, "cookie", function(req)
    local header, err = req:header("cookie")
    if err then
      return nil, err
    end
    return cookie.decode(header or "")
  end)

  --- The lines of the body, without their newlines; ends where `read_line`
  --- does.  A carriage return is left, as io.lines leaves it.
  ---@param req fcgi.Request
  ---@return fun(): string?
  function methods.lines(req)
    check_self(req, "lines")
    return function()
      local line = req:read_line()
      if line and line:byte(-1) == 10 then
        return line:sub(1, -2)
      end
      return line
    end
  end
end
