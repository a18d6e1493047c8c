-- Fetches a page from another server with LuaSocket's http, which waits for it
-- without keeping anybody waiting, and says how long that took.
-- Run: fcgi-lua --http=127.0.0.1:8080 http_client.lua
-- Try: curl http://127.0.0.1:8080/index.html

local fcgi = require "fcgi"
require "fcgi.socket" -- from here on LuaSocket's sockets are fcgi-lua's
local http = require "socket.http"
local ltn12 = require "ltn12"

local base = (...) or "http://127.0.0.1:8000" -- never let a client choose it
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

http.TIMEOUT = 5 -- of each step: connecting, sending, each piece that comes

function on_request(req)
  local start, pieces = fcgi.now(), {}
  local ok, status, headers = http.request {
    url = base .. req:path(),
    headers = { ["User-Agent"] = "fcgi-lua/" .. fcgi.version },
    sink = ltn12.sink.table(pieces),
    redirect = false, -- else it goes wherever that server sends it
  }
  if not ok then -- "connection refused", "timeout", "closed", ...
    return status == "timeout" and 504 or 502, text, status .. "\n"
  end
  fcgi.log("notice", req:path(), ": ", status, (" after %.3f s"):format(
    fcgi.now() - start))
  return status, {
    ["Content-Type"] = headers["content-type"],
    ["Location"] = headers.location,
  }, pieces
end
