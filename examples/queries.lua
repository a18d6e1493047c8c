-- Three queries to PostgreSQL take as long as the slowest of them.  They go
-- over sockets from a pool, for logins without a password (peer, trust).
-- Run: fcgi-lua --http=127.0.0.1:8080 queries.lua
-- Try: curl http://127.0.0.1:8080/

local fcgi = require "fcgi"

local address, user = ... -- fcgi-lua ... queries.lua ADDRESS USER
address = address or "unix:/run/postgresql/.s.PGSQL.5432"
user = user or os.getenv "USER"

local function send(sock, kind, body) -- a letter, the length, the rest
  assert(sock:send { kind, string.pack(">I4", #body + 4), body })
end

-- What comes up to "ready for query": the first value of the last row.
local function value_of(sock)
  local value, failure
  repeat
    local kind, size = string.unpack(">c1I4", assert(sock:receive(5)))
    local body = assert(sock:receive(size - 4))
    if kind == "D" then
      value = string.unpack(">s4", body, 3)
    elseif kind == "E" then
      failure = body:match "\0M([^\0]*)"
      if body:find "^SFATAL" then error(failure, 0) end
    elseif kind == "R" and body ~= "\0\0\0\0" then
      error("a password is wanted", 0)
    end
  until kind == "Z"
  return value, failure
end

local function query(sql)
  local start = fcgi.now()
  local sock <close> = assert(fcgi.connect(address, { pool_size = 10 }))
  if sock:getreusedtimes() == 0 then
    send(sock, "", string.pack(">I4zzzzz", 196608, "user", user, "database",
      "postgres", ""))
    value_of(sock)
  end
  send(sock, "Q", sql .. "\0")
  local value, failure = value_of(sock)
  sock:setkeepalive(60)
  return value or "sorry: " .. failure, fcgi.now() - start
end

local QUERIES = {
  "select 'the longest: ' || pg_sleep(0.3)",
  "select count(*) || ' tables' from pg_class, pg_sleep(0.2)",
  "select version() from pg_sleep(0.1)",
}

function on_request(req)
  local start, sum, tasks = fcgi.now(), 0, {}
  for i, sql in ipairs(QUERIES) do tasks[i] = fcgi.spawn(query, sql) end
  req:set_header("Content-Type", "text/plain; charset=utf-8")
  for _, task in ipairs(tasks) do
    local value, took = assert(task:join())
    sum = sum + took
    req:write(value, "\n")
  end
  req:write(("%.1f seconds of queries took %.1f\n"):format(sum,
    fcgi.now() - start))
end
