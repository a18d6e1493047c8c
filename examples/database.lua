-- Queries by a library that blocks (LuaSQL; Debian: lua-sql-postgres) without
-- blocking anybody: it runs in a few child processes, each with a connection.
-- Run: fcgi-lua --http=127.0.0.1:8080 database.lua
-- Try: curl 'http://127.0.0.1:8080/?name=tables'

local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- Parents and children write Lua values to each other, one in each line.
local function encode(value)
  if type(value) ~= "table" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  end
  local out = {}
  for i = 1, value.n or #value do out[i] = encode(value[i]) end
  return "{" .. table.concat(out, ", ") .. "}"
end

local function decode(line)
  return assert(load("return " .. line, "=line", "t", {}))()
end

-- This file is the program of the children, too: there is no fcgi there.
local found, fcgi = pcall(require, "fcgi")
if not found then
  local driver = ... -- and what its connect takes
  local db = assert(require("luasql." .. driver)[driver]():connect(
    select(2, ...)))
  local function run(sql, ...) -- each ? stands for one of the values
    local values, i, rows = { ... }, 0, {}
    local cursor = assert(db:execute((sql:gsub("%?", function()
      i = i + 1
      return "'" .. db:escape(values[i]) .. "'"
    end))))
    if type(cursor) == "number" then return cursor end -- so many rows changed
    local n = #cursor:getcolnames()
    for row in function() return cursor:fetch { n = n } end do
      table.insert(rows, row)
    end
    return rows
  end
  for line in io.lines() do
    io.write(encode { pcall(run, table.unpack(decode(line))) }, "\n"):flush()
  end
  os.exit()
end

local settings = #fcgi.args > 0 and fcgi.args or { "postgres", "postgres" }
local jobs = fcgi.channel() -- taken by the first child that is free

local function work()
  local child <close> = assert(fcgi.popen { "lua5.4", arg[0],
    table.unpack(settings) })
  for job in function() return jobs:get() end do
    local answer <close> = job.answer -- closed, whatever happens
    assert(child:write(encode(job), "\n"))
    answer:put(decode(assert(child:read "l", "a child has ended")))
  end
end

for _ = 1, 3 do fcgi.every(0.1, work) end -- when one has failed: again

local function query(...)
  local answer <close> = fcgi.channel(1)
  jobs:put { answer = answer, ... }
  local done = answer:get() or { false, "the database does not answer" }
  if not done[1] then error(done[2], 0) end
  return done[2]
end

function on_request(req)
  local rows = query("select table_schema, table_type from "
    .. "information_schema.tables where table_name = ?", req:query "name" or "")
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = row[1] .. ": " .. row[2] .. "\n" end
  return #rows > 0 and 200 or 404, text, lines
end
