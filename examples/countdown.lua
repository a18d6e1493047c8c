-- An answer that arrives bit by bit: a line each second, flushed.
-- Run: fcgi-lua --http=127.0.0.1:8080 countdown.lua
-- Try: curl -N 'http://127.0.0.1:8080/?from=3'

local fcgi = require "fcgi"

function on_request(req)
  local from = math.tointeger(tonumber(req:query "from")) or 10

  req:set_header("Content-Type", "text/plain; charset=utf-8")
  req:set_header("X-Accel-Buffering", "no") -- nginx: pass each line on at once
  for n = math.min(from, 60), 1, -1 do
    req:write(n, "\n")
    if not req:flush() then
      return -- the client has gone
    end
    fcgi.sleep(1)
  end
  req:write("Lift-off!\n")
end
