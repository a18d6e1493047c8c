-- Counts visits in redis with redis-lua, a library written for LuaSocket: with
-- fcgi.socket it runs as it is, and waits without holding anybody up.
-- Run: fcgi-lua -l 127.0.0.1:9000 --lua-compat=5.3 redis.lua
-- Try: curl 'http://127.0.0.1:8080/?page=home'                (and once more)

local fcgi = require "fcgi"
require "fcgi.socket" -- from here on LuaSocket's names are our sockets
local redis = require "redis"

local host = (...) or "127.0.0.1" -- fcgi-lua ... redis.lua HOST PORT
local port = tonumber((select(2, ...))) or 6379

-- Clients that nobody uses: a connection serves one request at a time.
local idle = {}

-- f(client) with a client that answers.  One whose call failed is not used
-- again: who knows what is still on its way.
local function with_client(f)
  local client = table.remove(idle)
  if client and not pcall(client.ping, client) then client = nil end
  client = client or redis.connect(host, port)
  local results = table.pack(f(client))
  if #idle < 10 then idle[#idle + 1] = client else client:quit() end
  return table.unpack(results, 1, results.n)
end

function on_request(req)
  local page = req:query "page" or "home"
  local visits, most = with_client(function(client)
    local n = client:hincrby("visits", page, 1)
    client:zincrby("popular", 1, page)
    return n, client:zrevrange("popular", 0, 2)
  end)
  return 200, { ["Content-Type"] = "text/plain; charset=utf-8" },
    { ("%s was seen %d times.\n"):format(page, visits),
      "Most seen: ", table.concat(most, ", "), "\n" }
end

return { on_request = on_request, on_error = function(req, err)
  fcgi.log("error", tostring(err))
  req:send(503, nil, "Nobody counts at the moment.\n")
end }
