-- Asks other web servers with LuaSocket's own socket.http: all at once, and
-- while they take their time other requests are served.
-- Run: fcgi-lua -l 127.0.0.1:9000 http_client.lua
-- Try: curl http://127.0.0.1:8080/

local fcgi = require "fcgi"
require "fcgi.socket" -- from here on LuaSocket's names are our sockets
local http = require "socket.http"
local ltn12 = require "ltn12"

local urls = { ... } -- fcgi-lua ... http_client.lua URL...
if #urls == 0 then urls[1] = "http://www.lua.org/" end
http.TIMEOUT = 5     -- s, for each step

local function fetch(url)
  local started, pieces = fcgi.now(), {}
  local ok, status, headers = http.request {
    url = url, sink = ltn12.sink.table(pieces),
    headers = { ["user-agent"] = "fcgi-lua example" },
  }
  if not ok then
    return ("%s: %s\n"):format(url, status) -- it is the error then
  end
  return ("%s: %d, %s, %d bytes, %.1f s\n"):format(url, status,
    headers["content-type"] or "no type", #table.concat(pieces),
    fcgi.now() - started)
end

function on_request()
  local tasks, lines = {}, {}
  for i, url in ipairs(urls) do tasks[i] = fcgi.spawn(fetch, url) end
  for i, task in ipairs(tasks) do lines[i] = assert(task:join()) end
  return 200, { ["Content-Type"] = "text/plain; charset=utf-8" }, lines
end
