-- A page that asks three services at once: it takes as long as the slowest of
-- them, not as all together, and does without one that fails.
-- Run: fcgi-lua --http=127.0.0.1:8080 parallel.lua
-- Try: curl 'http://127.0.0.1:8080/?user=7&city=Oslo'     (or another city)

local fcgi = require "fcgi"

-- These stand for a query and for calls of other services: they wait.
local function load_user(id)
  fcgi.sleep(0.2)
  return "user " .. id
end

local function load_orders(id)
  fcgi.sleep(0.4)
  return "orders of user " .. id
end

local function load_weather(city)
  fcgi.sleep(0.3)
  if city ~= "Oslo" then error("no weather for " .. city, 0) end
  return "rain in Oslo"
end

-- What f returns, and how long it took.
local function measure(f, ...)
  local start = fcgi.now()
  return f(...), fcgi.now() - start
end

function on_request(req)
  local start, parts = fcgi.now(), 0
  local user = req:query "user" or "1"
  local tasks = {
    fcgi.spawn(measure, load_user, user),
    fcgi.spawn(measure, load_orders, user),
    fcgi.spawn(measure, load_weather, req:query "city" or "Oslo"),
  }
  req:set_header("Content-Type", "text/plain; charset=utf-8")
  for _, task in ipairs(tasks) do
    local result, took = task:join() -- or nil and the error
    parts = parts + (result and took or 0)
    req:write(result or "sorry: " .. took, "\n")
  end
  req:write(("%.1f seconds of work took %.1f\n"):format(parts,
    fcgi.now() - start))
end
