--- fcgi.accessors -- `req:ONE(name)`, `req:ONE()` and `req:ONE_all(name)`: what
--- the query string, the cookies and forms have in common.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

local accessors = {}

--- By name, because that is how handlers ask: each answer then costs the same
--- however many pairs a client sends.
---@param list { [1]: string, [2]: string }[]
---@return table<string, string[]> values of each name, in order, at least one
function accessors.group(list)
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
--- the accessor that called them.  As for the accessors written in C, a number
--- is taken for its digits.
local function check_name(name, method)
  if type(name) == "number" then
    return tostring(name)
  elseif type(name) ~= "string" then
    local message = "bad argument #1 to '%s' (string expected, got %s)"
    error(message:format(method, type(name)), 3)
  end
  return name
end

local function check_max(max, method)
  if max ~= nil and (math.type(max) ~= "integer" or max < 0) then
    error(("bad argument #2 to '%s' (not a number of bytes)"):format(method), 3)
  end
  return max
end

--- Adds both methods.  Every table that they hand out is the caller's own.
---@param methods table the request class
---@param one string the accessor's name
---@param values_of fun(req: fcgi.Request, max: integer?): table?, string? all
--- values by name, as of group; nil and why
---@param begin? fun(req: fcgi.Request) raises if they cannot be had; then a
--- second argument is the most bytes that may be taken
function accessors.add(methods, one, values_of, begin)
  local all = one .. "_all"

  --- Only a call without any argument asks for the table: a name that happens
  --- to be nil is a mistake.  (nil before another argument is none.)
  methods[one] = function(req, ...)
    misuse.check_self(req, one)
    local count, name, max = select("#", ...), ...
    local wants_one = count > 0 and not (begin and count > 1 and name == nil)
    if wants_one then
      name = check_name(name, one)
    end
    if begin then
      max = check_max(max, one)
      misuse.pass_on(pcall(begin, req))
    end
    local values, err = values_of(req, max)
    if not values then
      return nil, err
    elseif wants_one then
      local same = values[name]
      return same and same[1]
    end
    local first = {}
    for key, same in pairs(values) do
      first[key] = same[1]
    end
    return first
  end

  methods[all] = function(req, name, max)
    misuse.check_self(req, all)
    name = check_name(name, all)
    if begin then
      max = check_max(max, all)
      misuse.pass_on(pcall(begin, req))
    end
    local values, err = values_of(req, max)
    if not values then
      return nil, err
    end
    local same = values[name] or {}
    return table.move(same, 1, #same, 1, {})
  end
end

return accessors
