--- fcgi.cookie -- the headers Cookie (RFC 6265, 4.2) and Set-Cookie.
--- Values go as they are, both ways: whoever encoded one decodes it.
-- SPDX-License-Identifier: MIT
local tools = require "fcgi.tools"

local cookie = {}

--- Without blanks at both ends.  Not in one pattern: "^[ \t]*(.-)[ \t]*$" tries
--- the whole tail at every blank, and the client chooses how many there are.
local function trim(s)
  local first = s:find("[^ \t]")
  return first and s:match(".*[^ \t]", first) or ""
end

--- Only ";" separates: a comma is a common, if improper, part of values.  What
--- has no "=" or no name is skipped.
---@param header string
---@return { [1]: string, [2]: string }[] pairs name and value, in order
function cookie.decode(header)
  local found = {}
  for piece in header:gmatch("[^;]+") do
    local equals = piece:find("=", 1, true) or 1
    local name = trim(piece:sub(1, equals - 1))
    if name ~= "" then
      local value = trim(piece:sub(equals + 1))
      found[#found + 1] = { name, value:match('^"(.*)"$') or value }
    end
  end
  return found
end

--- Raises for misuse, without a position: the caller knows the script's line.
local function misuse(message, ...)
  error(message:format(...), 0)
end

--- A ";" would begin an attribute, a newline another header.
local function check_text(text, what)
  if text:find("[;\0-\31\127]") then
    misuse("%s has a ';' or a control byte", what)
  end
  return text
end

local function check_type(value, kind, option)
  if type(value) ~= kind then
    misuse("the option %s is a %s, not a %s", option, kind, type(value))
  end
  return value
end

local same_sites = { lax = "Lax", strict = "Strict", none = "None" }

--- What each option may be; each gives what it stands for, or nil for nothing.
local checks = {}

--- A browser would put its own path in place of one that is none.
function checks.path(value)
  if value == false then
    return nil
  end
  check_text(check_type(value, "string", "path"), "the path")
  if value:sub(1, 1) ~= "/" then
    misuse("the path of a cookie begins with '/'; false: none")
  end
  return value
end

function checks.domain(value)
  check_text(check_type(value, "string", "domain"), "the domain")
  if value == "" then
    misuse("the domain is empty")
  end
  return value
end

function checks.max_age(value)
  local seconds = math.tointeger(check_type(value, "number", "max_age"))
  if not seconds then
    misuse("the option max_age is an integer, in seconds")
  end
  return seconds
end

function checks.expires(value)
  check_type(value, "number", "expires")
  local ok, date = pcall(tools.date, value)
  if not ok then
    misuse("the option expires is not a time in the years 1 to 9999")
  end
  return date
end

function checks.same_site(value)
  if value == false then
    return nil
  end
  local name = same_sites[check_type(value, "string", "same_site"):lower()]
  if not name then
    misuse("the option same_site is \"Lax\", \"Strict\", \"None\" or false")
  end
  return name
end

for _, option in ipairs { "secure", "http_only", "partitioned" } do
  checks[option] = function(value)
    return check_type(value, "boolean", option)
  end
end

local known = {}
for option in pairs(checks) do
  known[#known + 1] = option
end
table.sort(known)

--- A typo must not weaken a cookie.
local function check_options(options)
  local given = { path = "/", http_only = true, same_site = "Lax" }
  if type(options) ~= "table" then
    misuse("options are a table, not a %s", type(options))
  end
  for option, value in pairs(options) do
    if not checks[option] then
      misuse("unknown option '%s'; known are %s", tostring(option),
        table.concat(known, ", "))
    end
    given[option] = checks[option](value)
  end
  return given
end

--- Browsers drop a cookie that breaks one of these rules, and say nothing.
local function check_rules(name, given)
  local prefix = name:lower()
  if given.same_site == "None" and not given.secure then
    misuse("same_site = \"None\" needs secure = true")
  elseif given.partitioned and not given.secure then
    misuse("partitioned needs secure = true")
  elseif prefix:find("^__secure%-") and not given.secure then
    misuse("a cookie named __Secure-... needs secure = true")
  elseif prefix:find("^__host%-")
    and not (given.secure and given.path == "/" and not given.domain) then
    misuse("a cookie named __Host-... needs secure = true, the path '/' and "
      .. "no domain")
  end
end

---@class fcgi.CookieOptions
---@field path? string|false "/" by default; false: none
---@field domain? string
---@field max_age? integer seconds
---@field expires? number seconds since the epoch
---@field secure? boolean
---@field http_only? boolean true by default
---@field same_site? "Lax"|"Strict"|"None"|false "Lax" by default; false: none
---@field partitioned? boolean

--- The value of a Set-Cookie header.  Raises for misuse, without a position.
---@param name string
---@param value string|number|nil nil: the browser is to delete it
---@param options? fcgi.CookieOptions
---@return string
function cookie.encode(name, value, options)
  if type(name) ~= "string"
    or not name:find("^[A-Za-z0-9!#$%%&'*+.^_`|~-]+$") then
    misuse("the name of a cookie is a token")
  elseif value ~= nil and type(value) ~= "string"
    and type(value) ~= "number" then
    misuse("the value of a cookie is a string, a number or nil, not a %s",
      type(value))
  end
  local given = check_options(options == nil and {} or options)
  check_rules(name, given)
  if value == nil then
    value, given.max_age, given.expires = "", 0, tools.date(0)
  end

  local line = { name .. "=" .. check_text(tostring(value), "the value") }
  local function add(attribute, text)
    if text then
      line[#line + 1] = text == true and attribute or attribute .. "=" .. text
    end
  end
  add("Path", given.path)
  add("Domain", given.domain)
  add("Max-Age", given.max_age)
  add("Expires", given.expires)
  add("Secure", given.secure)
  add("HttpOnly", given.http_only)
  add("SameSite", given.same_site)
  add("Partitioned", given.partitioned)
  return table.concat(line, "; ")
end

return cookie
