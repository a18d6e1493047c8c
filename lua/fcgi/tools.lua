--- fcgi.tools -- small tools that become functions of the module fcgi.
-- SPDX-License-Identifier: MIT
local urlencoded = require "fcgi.urlencoded"

local tools = {}

--- Level 3: the error names the line that called the tool that calls this.
local function bad_argument(tool, why)
  error(("bad argument #1 to '%s' (%s)"):format(tool, why), 3)
end

--- As for Lua's string functions, a number is taken for its digits.
local function is_text(value)
  local kind = type(value)
  return kind == "string" or kind == "number"
end

local function expected(what, got)
  return ("%s expected, got %s"):format(what, type(got))
end

--- For a component of a URL's path or query.
---@param s string|number
---@return string
function tools.escape(s)
  if not is_text(s) then
    bad_argument("escape", expected("string", s))
  end
  return urlencoded.escape(tostring(s))
end

--- The inverse: a "+" stays one, a "%" that starts no escape stays, too.
---@param s string|number
---@return string
function tools.unescape(s)
  if not is_text(s) then
    bad_argument("unescape", expected("string", s))
  end
  return urlencoded.unescape(tostring(s))
end

--- A path below a folder, as a URL's path names it: "." and ".." are resolved
--- by their names alone.  nil when it leads out of the folder.  Links are not
--- looked at: req:send_file's option root does that.
---@param root string
---@param path string
---@return string?
function tools.join(root, path)
  if type(root) ~= "string" then
    bad_argument("join", expected("string", root))
  elseif root == "" then -- the path would be one of the whole system
    bad_argument("join", "a folder expected, got an empty string")
  elseif type(path) ~= "string" then
    error(("bad argument #2 to 'join' (%s)"):format(expected("string", path)), 2)
  elseif path:find("\0", 1, true) then
    return nil
  end
  local names = {}
  for name in path:gmatch("[^/]+") do
    if name == ".." then
      if #names == 0 then return nil end
      names[#names] = nil
    elseif name ~= "." then
      names[#names + 1] = name
    end
  end
  return root:gsub("/+$", "") .. "/" .. table.concat(names, "/")
end

local entities = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;",
}

--- For the text of an HTML element, or for an attribute in quotes.
---@param s string|number
---@return string
function tools.html(s)
  if not is_text(s) then
    bad_argument("html", expected("string", s))
  end
  s = tostring(s)
  if not s:find("[&<>\"']") then
    return s -- nearly always
  end
  return (s:gsub("[&<>\"']", entities))
end

--- A list without holes and without anything else in it.
local function is_list(t)
  local count = 0
  for key in pairs(t) do
    if math.type(key) ~= "integer" then
      return false
    end
    count = count + 1
  end
  return count == #t
end

--- Appends a name with its value, or with each of a list of values.
---@return string? why when the value is none
local function add_pairs(list, name, value)
  local kind = type(value)
  if is_text(value) or kind == "boolean" then
    list[#list + 1] = { tostring(name), tostring(value) }
    return nil
  elseif kind ~= "table" then
    return ("the value of '%s' is a %s"):format(name, kind)
  end
  if not is_list(value) then
    return ("the value of '%s' is a table that is no list"):format(name)
  end
  for _, item in ipairs(value) do
    if not is_text(item) and type(item) ~= "boolean" then
      return ("the list of '%s' holds a %s"):format(name, type(item))
    end
    list[#list + 1] = { tostring(name), tostring(item) }
  end
  return nil
end

--- { { name, value }, ... }
local function from_list(t)
  local list = {}
  if not is_list(t) then
    return nil, "a list of {name, value} has holes, or names besides"
  end
  for i, pair in ipairs(t) do
    if type(pair) ~= "table" or not is_text(pair[1]) then
      return nil, ("item %d is not {name, value}"):format(i)
    end
    local why = add_pairs(list, pair[1], pair[2])
    if why then
      return nil, why
    end
  end
  return list
end

--- { name = value, ... }
local function from_map(t)
  local names, list = {}, {}
  for name in pairs(t) do
    if type(name) ~= "string" then
      return nil, ("a name is a %s"):format(type(name))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local why = add_pairs(list, name, t[name])
    if why then
      return nil, why
    end
  end
  return list
end

--- A query string, or the body of a form.  Names are sorted; a list of pairs
--- keeps its order.  true and false are sent as these words.
---@alias fcgi.QueryValue string|number|boolean
---@param t table<string, fcgi.QueryValue|fcgi.QueryValue[]>|{ [1]: string, [2]: fcgi.QueryValue }[]
---@return string
function tools.encode_query(t)
  if type(t) ~= "table" then
    bad_argument("encode_query", expected("table", t))
  end
  local list, why = (t[1] ~= nil and from_list or from_map)(t)
  if not list then
    bad_argument("encode_query", why)
  end
  return urlencoded.encode(list)
end

---@param s string|number
---@return table<string, string> first name -> its first value
---@return table<string, string[]> all name -> all its values, in order
function tools.decode_query(s)
  if not is_text(s) then
    bad_argument("decode_query", expected("string", s))
  end
  local first, all = {}, {}
  for _, pair in ipairs(urlencoded.decode(tostring(s))) do
    local name, value = pair[1], pair[2]
    local same = all[name]
    if same then
      same[#same + 1] = value
    else
      first[name], all[name] = value, { value }
    end
  end
  return first, all
end

--- os.date would name them in the language of the locale.
local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = {
  "Jan", "Feb", "Mar", "Apr", "May", "Jun",
  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
}

--- What four digits can say: the years 1 to 9999.
local first_second, last_second = -62135596800, 253402300799

--- An HTTP date (IMF-fixdate; RFC 9110, 5.6.7).  Fractions are cut off.
---@param t? number seconds since the epoch; the time now by default
---@return string
function tools.date(t)
  if t == nil then
    t = os.time()
  elseif type(t) ~= "number" then
    bad_argument("date", expected("number", t))
  end
  if not (t >= first_second and t < last_second + 1) then -- nor NaN
    bad_argument("date", "not a time in the years 1 to 9999")
  end
  local utc = os.date("!*t", math.floor(t)) --[[@as osdate]]
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[utc.wday],
    utc.day, months[utc.month], utc.year, utc.hour, utc.min, utc.sec)
end

return tools
