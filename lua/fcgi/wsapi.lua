--- fcgi.wsapi -- applications written for WSAPI (wsapi.github.io): what they are
--- given and what they give back, over a request.
---
---     return require "fcgi.wsapi".handler "myapp"
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local misuse = require "fcgi.misuse"

local wsapi = {}

--- WSAPI's libraries are of Lua 5.1's time.
require "fcgi.lua51"

--- Applications count on CONTENT_LENGTH: of a body that came without one all is
--- taken, of 16 MiB at most.
local function whole_body(req)
  local method = req:method()
  if req:content_length() or method == "GET" or method == "HEAD" then
    return nil
  end
  local body, err = req:body()
  if not body then
    error("the body: " .. err, 0)
  end
  return body
end

--- As their read: n bytes, fewer at the end, nil when there are none.
local function read(req, n)
  local pieces, left = {}, n
  while left > 0 do
    local piece, err = req:read(left)
    if not piece then
      if err then error("the body: " .. err, 0) end
      break
    end
    pieces[#pieces + 1] = piece
    left = left - #piece
  end
  return #pieces > 0 and table.concat(pieces) or nil
end

--- Each variable is a string, empty when there is none, and stays once it was
--- asked for.
local function environment(req)
  local body, at = whole_body(req), 1
  local input = { length = body and #body or req:content_length() or 0 }
  function input:read(n)
    n = math.tointeger(tonumber(n)) or self.length or 0
    if n > 0 and body then
      local piece = body:sub(at, at + n - 1)
      at = at + #piece
      return piece ~= "" and piece or nil
    elseif n > 0 then
      return read(req, n)
    end
    return nil
  end
  local err = {}
  function err:write(...)
    req:write_err(...)
    return self
  end
  local script = fcgi.args[0]
  local folder = script:match("^(.*)/[^/]*$") or "."
  return setmetatable({
    input = input, error = err, APP_PATH = folder, SCRIPT_FILENAME =
      req:param "SCRIPT_FILENAME" or script,
    REQUEST_METHOD = req:method(),
    CONTENT_LENGTH = body and tostring(#body) or nil,
  }, {
    __index = function(env, name)
      local value = type(name) == "string" and req:param(name) or ""
      rawset(env, name, value)
      return value
    end,
  })
end

--- What an application gave back is wrong; no line of its own is to blame.
local function blame(what, ...)
  error("the WSAPI application gave " .. what:format(...), 0)
end

--- "404 Not Found", "404" or 404; nil is a 500.
local function set_status(req, status)
  local number = math.tointeger(status)
  local code, reason = tostring(number or status):match("^(%d%d%d)%s*(.*)$")
  number = math.tointeger(tonumber(code))
  if not number or number < 200 or number > 599 then
    blame("the status %s: 200 to 599 expected, as a number or in front of a "
      .. "reason", tostring(status))
  elseif reason ~= "" then
    req:set_status(number, reason)
  else
    req:set_status(number)
  end
end

local function set_header(req, name, value)
  if type(value) == "boolean" then
    value = tostring(value)
  end
  local ok, err = pcall(function() req:set_header(name, value) end)
  if not ok then
    blame("the header %s: %s", tostring(name),
      (tostring(err):gsub("^fcgi/wsapi%.lua:%d+: ", "")))
  end
end

local function answer(req, status, headers, body)
  if status == nil and headers == nil and body == nil then
    blame("nothing: a status, headers and an iterator are expected")
  elseif headers ~= nil and type(headers) ~= "table" then
    blame("a %s instead of a table of headers", type(headers))
  end
  set_status(req, status == nil and 500 or status)
  for name, value in pairs(headers or {}) do
    set_header(req, name, value)
  end
  if type(body) == "function" then
    local piece = body()
    while piece and req:write(piece) do -- else the client has gone
      piece = body()
    end
  elseif body ~= nil then
    req:write(body)
  end
end

--- The function of an application: itself, its field run, or that of a module.
local function run_of(app)
  local kind = type(app)
  if kind == "function" then
    return app
  elseif kind == "table" and type(app.run) == "function" then
    return app.run
  elseif kind == "string" then
    return run_of(require(app))
  end
  error("bad argument #1 to 'handler' (a WSAPI application expected: a "
    .. "function, a table with run, or the name of a module)", 0)
end

--- Makes an on_request of a WSAPI application.
---@param app string|function|table a module's name, or what it returns
---@return fun(req: fcgi.Request)
function wsapi.handler(app)
  local run = misuse.pass_on(pcall(run_of, app))
  return function(req)
    answer(req, run(environment(req)))
  end
end

return wsapi
