-- A handler that waits keeps nobody else waiting: five requests of two seconds
-- each take two seconds, not ten.
-- Run: fcgi-lua --http=127.0.0.1:8080 slow.lua
-- Try: time (for i in 1 2 3 4 5; do curl http://127.0.0.1:8080/ & done; wait)

local fcgi = require "fcgi"

function on_request(req)
  local seconds = tonumber(req:query "seconds") or 2
  seconds = math.max(0, math.min(seconds, 60))

  local start = fcgi.now()
  fcgi.sleep(seconds)
  local took = fcgi.now() - start

  return 200, { ["Content-Type"] = "text/plain" },
    ("waited %.1f seconds\n"):format(took)
end
