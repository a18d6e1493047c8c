-- Keeps what takes long to make in memcached, with lua-resty-memcached: one of
-- OpenResty's libraries, which runs as it is on the `ngx` that fcgi.ngx gives.
-- Run: fcgi-lua --http=127.0.0.1:8080 --lua-compat=5.1 cache.lua
-- Try: curl 'http://127.0.0.1:8080/?city=Oslo'                (and once more)

local fcgi = require "fcgi"
require "fcgi.ngx" -- sets the global ngx
-- So Debian calls it (lua-nginx-memcached); elsewhere it is resty.memcached.
local memcached = require "nginx.memcached"

local host = (...) or "127.0.0.1" -- fcgi-lua ... cache.lua HOST PORT
local port = tonumber((select(2, ...))) or 11211
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- Stands for what takes long.
local function make_report(city)
  fcgi.sleep(0.5)
  return "Rain in " .. city .. ", reported at " .. os.date "%T" .. ".\n"
end

-- From the cache, or made and put there for a minute.  A cache that does not
-- answer costs time, but no request fails for it.
local function get_report(city)
  local cache = memcached:new()
  cache:set_timeout(500) -- ms: ngx counts these
  local ok, err = cache:connect(host, port)
  if not ok then
    fcgi.log("warn", "memcached: ", err)
    return make_report(city)
  end
  local report, _, failure = cache:get(city)
  if not report then
    report = make_report(city)
    if not failure then failure = select(2, cache:set(city, report, 60)) end
  end
  if failure then
    fcgi.log("warn", "memcached: ", failure)
  else
    cache:set_keepalive(60000, 10) -- for the next, for a minute, 10 at most
  end
  return report
end

function on_request(req)
  return 200, text, get_report(req:query "city" or "Oslo")
end
