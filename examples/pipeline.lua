-- A pipeline of tasks: one produces, several work, the handler sends what comes
-- out.  Channels hold a few values only: a slow client slows all of it down.
-- Run: fcgi-lua --http=127.0.0.1:8080 pipeline.lua
-- Try: curl -N 'http://127.0.0.1:8080/?pages=30'     (or ?pages=30&broken=7)

local fcgi = require "fcgi"

local function list_pages(count, pages)
  local out <close> = pages -- closed at the end, after an error too: who gets
  for page = 1, count do    -- from it sees that end, after the last page
    out:put(page) -- waits while the channel is full
  end
end

-- Stands for a call of another service.
local function fetch(page, broken)
  fcgi.sleep(0.1)
  if page == broken then error("page " .. page .. " cannot be read", 0) end
  return "page " .. page .. " fetched\n"
end

local function work(pages, results, broken)
  for page in function() return pages:get() end do
    results:put(fetch(page, broken))
  end
  return true
end

-- Ends the results when all have ended that put into them.
local function close_after(workers, results)
  for _, worker in ipairs(workers) do
    local ok, err = worker:join()
    if not ok then results:put("a worker failed: " .. err .. "\n") end
  end
  results:close()
end

function on_request(req)
  local count = math.tointeger(tonumber(req:query "pages")) or 10
  local broken = math.tointeger(tonumber(req:query "broken"))
  local pages, results, workers = fcgi.channel(4), fcgi.channel(4), {}
  fcgi.spawn(list_pages, math.min(count, 1000), pages)
  for i = 1, 3 do workers[i] = fcgi.spawn(work, pages, results, broken) end
  fcgi.spawn(close_after, workers, results)

  req:set_header("Content-Type", "text/plain; charset=utf-8")
  for line in function() return results:get() end do
    if not (req:write(line) and req:flush()) then return end -- ends the tasks
  end
end
