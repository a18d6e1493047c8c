-- Counts visits in redis with redis-lua (Debian: lua-redis), which was written
-- for LuaSocket: with fcgi.socket it runs as it is and keeps nobody waiting.
-- Run: fcgi-lua --http=127.0.0.1:8080 --lua-compat=5.3 redis_client.lua
-- Try: curl 'http://127.0.0.1:8080/?page=home'

require "fcgi.socket" -- from here on LuaSocket's sockets are fcgi-lua's
local redis = require "redis"

local host = (...) or "127.0.0.1" -- fcgi-lua ... redis_client.lua HOST PORT
local port = tonumber((select(2, ...))) or 6379
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- A client is one connection, for one request at a time.  The others wait here
-- for the next, which saves it the time to connect.
local idle = {}

local function with_redis(f, ...)
  local client = table.remove(idle) or redis.connect(host, port, 2)
  local result = f(client, ...)
  table.insert(idle, client) -- after an error it is left to the collector
  return result
end

-- Of the latest ten pages that were seen, with how often each was.
local function visit(client, page)
  local replies = client:transaction(function(t)
    t:zincrby("visits", 1, page)
    t:lrem("latest", 0, page)
    t:lpush("latest", page)
    t:ltrim("latest", 0, 9)
  end)
  local lines = { ("%s: visit %d\n"):format(page, replies[1]) }
  for _, other in ipairs(client:lrange("latest", 1, -1)) do
    lines[#lines + 1] = ("%s: %d\n"):format(other,
      client:zscore("visits", other))
  end
  return lines
end

function on_request(req)
  local ok, lines = pcall(with_redis, visit, req:query "page" or "home")
  if not ok then
    idle = {} -- redis was started anew, perhaps: the others are of no use
    return 503, text, "redis: " .. tostring(lines) .. "\n"
  end
  return 200, text, lines
end
