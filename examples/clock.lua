-- A clock in the browser that goes by the server's: server-sent events, and the
-- page that shows them and asks again by itself when they break off.
-- Run: fcgi-lua --http=127.0.0.1:8080 clock.lua
-- Try: curl http://127.0.0.1:8080/                      (or in a browser)
-- Try: curl -N --max-time 3 http://127.0.0.1:8080/events
--
-- Whoever looks at it is a request that runs: mind --max-reqs.

local fcgi = require "fcgi"

local html = { ["Content-Type"] = "text/html; charset=utf-8" }
local page = [[
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Clock</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font-family: sans-serif }
body { display: grid; place-content: center; height: 90vh; text-align: center }
time { font-size: 20vw; font-variant-numeric: tabular-nums }
.stale { opacity: .3 }
</style>
<time class="stale">--:--:--</time>
<script>
const clock = document.querySelector("time")
const events = new EventSource("events")
events.onmessage = event => {
  clock.textContent = event.data
  clock.className = ""
}
events.onerror = () => { clock.className = "stale" }
</script>
]]

local function tick(req)
  req:event { retry = 1 } -- seconds until a browser that lost us asks again
  local begun = fcgi.now()
  for seconds = 1, math.huge do
    if not req:event(os.date "%H:%M:%S") then return end -- it has gone
    fcgi.sleep(math.max(0, begun + seconds - fcgi.now()))
  end
end

function on_request(req)
  if req:path() == "/events" then return tick(req) end
  if req:path() == "/" then return 200, html, page end
  return 404
end
