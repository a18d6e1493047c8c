-- The handlers that sockets measures.  The parameter REQUEST_URI picks one:
-- /NAME/ARGUMENTS with commas between these.  Arguments of the script: redis's
-- host, its port, its unix socket, the bytes of the value.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"

local host, port, path, value_size = ...
port, value_size = math.tointeger(port), math.tointeger(value_size)

local HEAD = "Content-Type: text/plain\r\n\r\n"
local GET = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
local POOL = 64

local handlers = {}

function handlers.hello(req)
  req:write(HEAD, "Hello\n")
end

local function check(value)
  if not value or #value ~= value_size then
    error("not the value: " .. tostring(value))
  end
end

-- ---- n GETs, one after the other ----

local sides = {}

local function get(sock)
  local ok, err = sock:send(GET)
  if not ok then error(err) end
  local head, why = sock:receive()
  if not head or head:byte() ~= 36 then error(head or why) end -- "$"
  local value, problem = sock:receive(tonumber(head:sub(2)) + 2)
  if not value then error(problem) end
  check(value:sub(1, -3))
end

-- From the pool and back into it, each time.
function sides.pooled(n, address)
  for _ = 1, n do
    local sock, err = fcgi.connect(address)
    if not sock then error(err) end
    get(sock)
    sock:setkeepalive()
  end
end

-- A connection that stays.
function sides.kept(n, address)
  local sock <close> = assert(fcgi.connect(address))
  for _ = 1, n do
    get(sock)
  end
end

-- lua-resty-redis on fcgi.ngx, as its manual says.
function sides.resty(n, address)
  require "fcgi.ngx"
  local resty = require "nginx.redis" -- so Debian calls it
  local unix = address:find "^unix:"
  for _ = 1, n do
    local red = resty:new()
    if unix then
      assert(red:connect(address))
    else
      assert(red:connect(host, port))
    end
    check(assert(red:get "key"))
    assert(red:set_keepalive(60000, POOL))
  end
end

-- redis-lua on fcgi.socket: it has no pools, its connection stays.
function sides.redis_lua(n, address)
  require "fcgi.socket"
  local unix = address:match "^unix:(.*)"
  local client = require "redis".connect(unix and { scheme = "unix", path = unix } or
    { host = host, port = port })
  for _ = 1, n do
    check(client:get "key")
  end
  client:quit()
end

-- CPU seconds of the process for n GETs by `company` tasks, in which the
-- connections are not counted that are opened before.
function handlers.get(req, side, kind, n, company)
  n, company = tonumber(n), tonumber(company)
  local address = kind == "unix" and "unix:" .. path or host .. ":" .. port
  local function run(each)
    local tasks = {}
    for i = 1, company do
      tasks[i] = fcgi.spawn(function() sides[side](each, address) return true end)
    end
    for i = 1, company do
      assert(tasks[i]:join())
    end
  end
  run(10) -- fills the pool
  local start = os.clock()
  run(n // company)
  req:write(HEAD, n // company * company, " ", os.clock() - start, "\n")
end

-- ---- requests that wait for a server ----

local waiting = 0

-- Waits that many seconds for an element that does not come.
function handlers.wait(req, seconds)
  local sock <close> = assert(fcgi.connect("unix:" .. path))
  waiting = waiting + 1
  assert(sock:send { "BLPOP nothing ", seconds, "\r\n" })
  local answer = assert(sock:receive())
  waiting = waiting - 1
  req:write(HEAD, answer, "\n")
end

-- How many wait, and the bytes that Lua holds: all, or those in use.
function handlers.state(req, what)
  if what == "in-use" then
    collectgarbage()
  end
  req:write(HEAD, waiting, " ", collectgarbage "count" * 1024 // 1 | 0, "\n")
end

function on_request(req)
  local name, rest = req:param "REQUEST_URI":match "^/(%w+)/?(.*)$"
  local arguments = {}
  for word in rest:gmatch "[^,]+" do arguments[#arguments + 1] = word end
  return handlers[name](req, table.unpack(arguments))
end
