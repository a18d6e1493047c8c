-- A transaction that is rolled back whatever ends it: an error, a time limit,
-- or the client that leaves.
-- Run: fcgi-lua --http=127.0.0.1:8080 cancel.lua
-- Try: curl 'http://127.0.0.1:8080/?seconds=1'   (or 5, Ctrl-C, or &to=nobody)

local fcgi = require "fcgi"

local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- Stands for what a database library has; its calls wait.
local Transaction = {}
Transaction.__index = Transaction

function Transaction:execute(seconds)
  fcgi.log("notice", "transferring to ", self.to)
  fcgi.sleep(seconds)
  if self.to == "nobody" then error("no such account") end
end

function Transaction:commit()
  fcgi.sleep(0.01)
  self.is_committed = true
  fcgi.log("notice", "committed")
end

-- At the end of the block; with the error, if one ends it.  It may wait: a
-- task that is cancelled has 5 seconds for this.
function Transaction:__close(err)
  if self.is_committed then return end
  fcgi.sleep(0.01)
  fcgi.log("notice", "rolled back: ", err)
end

local function transfer(to, seconds)
  local tx <close> = setmetatable({ to = to }, Transaction)
  tx:execute(seconds)
  tx:commit()
  return "transferred\n"
end

local function on_request(req)
  local seconds = tonumber(req:query "seconds") or 1
  seconds = math.max(0, math.min(seconds, 60))

  local done, err = fcgi.timeout(2, transfer, req:query "to" or "Ada", seconds)
  return done and 200 or 504, text, done or "not transferred: " .. err .. "\n"
end

-- abort: when the client has left, the handler is cancelled, its tasks too.
return { on_request = on_request, abort = "cancel" }
