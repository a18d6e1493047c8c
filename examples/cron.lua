-- A job that runs every few seconds beside the requests, and a page that shows
-- what it left.  When it fails the log says so, and the next round comes.
-- Run: fcgi-lua --http=127.0.0.1:8080 cron.lua
-- Try: curl http://127.0.0.1:8080/

local fcgi = require "fcgi"

local every = tonumber((...)) or 10 -- fcgi-lua ... cron.lua SECONDS
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- Stands for a call of another service, which fails every third time.
local calls = 0
local function ask_exchange()
  calls = calls + 1
  fcgi.sleep(every / 10)
  if calls % 3 == 0 then
    error("the exchange does not answer, as every third time")
  end
  return 1.1 + calls / 1000
end

local rate, rounds -- what the job leaves
local function refresh()
  rate = ask_exchange()
  rounds = (rounds or 0) + 1
end

-- The first round at once, then one every so often.  While a round still runs
-- no other begins.
fcgi.spawn(refresh)
fcgi.every(every, refresh)

function on_request()
  if not rate then
    return 503, { ["Retry-After"] = math.ceil(every) }, "No rate yet.\n"
  end
  return 200, text, ("1 EUR is %.3f USD (round %d)\n"):format(rate, rounds)
end
