-- The handlers that waits measures.  The parameter REQUEST_URI picks one:
-- /NAME, or /NAME/ARGUMENTS with commas between these.
local fcgi = require "fcgi"
-- SPDX-License-Identifier: MIT

local HEAD = "Content-Type: text/plain\r\n\r\n"

local handlers = {}

function handlers.hello(req)
  req:write(HEAD, "Hello\n")
end

-- ---- requests that sleep ----

local asleep = 0

function handlers.sleep(req, seconds)
  asleep = asleep + 1
  fcgi.sleep(tonumber(seconds))
  asleep = asleep - 1
  req:write(HEAD, "slept\n")
end

-- How many sleep, and the bytes that Lua holds: all, or those in use.
function handlers.state(req, what)
  if what == "in-use" then
    collectgarbage()
  end
  local bytes = collectgarbage "count" * 1024 // 1 | 0
  req:write(HEAD, asleep, " ", bytes, "\n")
end

-- ---- tasks ----

local function nothing()
  return true
end

local function nap(seconds)
  asleep = asleep + 1
  fcgi.sleep(seconds)
  asleep = asleep - 1
  return true
end

-- CPU seconds of n tasks that are spawned, sleep for at most that long each
-- (nil: return at once), and are joined.
function handlers.tasks(req, n, seconds)
  n, seconds = tonumber(n), tonumber(seconds)
  local f = seconds and nap or nothing
  local tasks, joined = {}, 0
  local start = os.clock()
  for i = 1, n do
    tasks[i] = fcgi.spawn(f, seconds and math.random() * seconds)
  end
  for i = 1, n do
    joined = joined + (tasks[i]:join() == true and 1 or 0)
  end
  local spent = os.clock() - start
  req:write(HEAD, joined, " ", spent, "\n")
end

-- The same one after the other: never more than one task.
function handlers.pairs(req, n)
  n = tonumber(n)
  local start = os.clock()
  for _ = 1, n do
    fcgi.spawn(nothing):join()
  end
  local spent = os.clock() - start
  req:write(HEAD, n, " ", spent, "\n")
end

-- Answers when n tasks sleep, and leaves them asleep.
function handlers.hold(req, n)
  local tasks = {}
  for i = 1, tonumber(n) do
    tasks[i] = fcgi.spawn(nap, 1000)
  end
  while asleep < #tasks do
    fcgi.sleep(0.01)
  end
  req:write(HEAD, asleep, "\n")
  req:finish()
  fcgi.sleep(1000) -- its tasks end with it
end

-- ---- waits that pass through coroutines ----

local function wait(n)
  for _ = 1, n do
    fcgi.sleep(0)
  end
end

local function items(n, pause)
  return coroutine.wrap(function()
    for i = 1, n do
      if pause then
        fcgi.sleep(0)
      end
      coroutine.yield(i)
    end
  end)
end

local SIDES = {
  { "direct", wait },
  { "one", function(n) coroutine.wrap(wait)(n) end },
  { "two", function(n)
    coroutine.wrap(function() coroutine.wrap(wait)(n) end)()
  end },
  { "consumer", function(n)
    for _ in items(n, false) do
      fcgi.sleep(0)
    end
  end },
  { "generator", function(n)
    for _ in items(n, true) do -- luacheck: ignore 542
    end
  end },
}

local arrived = 0
local order -- of the sides, in each round

local function shuffle(rounds)
  order = {}
  for round = 1, rounds do
    local turn = {}
    for i = 1, #SIDES do
      table.insert(turn, math.random(i), i)
    end
    order[round] = turn
  end
end

-- `company` requests do the same at the same time, so that a turn of the loop
-- serves them all: each round, every side makes n waits.  The first to come
-- answers the process's CPU per wait in us, a line per side, a round per
-- column.
function handlers.wrap(req, company, rounds, n)
  company, rounds, n = tonumber(company), tonumber(rounds), tonumber(n)
  arrived = arrived + 1
  local is_first = arrived == 1
  if is_first then
    shuffle(rounds)
  end
  while arrived < company do
    fcgi.sleep(0)
  end
  local found = {}
  for i = 1, #SIDES do
    found[i] = {}
  end
  for _, turn in ipairs(order) do
    for _, i in ipairs(turn) do
      local start = os.clock()
      SIDES[i][2](n)
      local spent = os.clock() - start
      if is_first then
        table.insert(found[i], spent / (n * company) * 1e6)
      end
    end
  end
  req:write(HEAD)
  for i = 1, #SIDES do
    req:write(SIDES[i][1], " ", table.concat(found[i], " "), "\n")
  end
end

function on_request(req)
  local name, rest = req:param("REQUEST_URI"):match "^/(%w+)/?(.*)$"
  local a, b, c = rest:match "^([^,]+),?([^,]*),?([^,]*)$"
  return handlers[name](req, a, b, c)
end
