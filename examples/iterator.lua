-- Iterators that wait: one makes lines of the body as it arrives, one makes
-- records of the lines.  A body of any size takes the memory of a record.
-- Run: fcgi-lua --http=127.0.0.1:8080 iterator.lua
-- Try: curl -d $'item: pen\nprice: 2\n\nitem: ink' http://127.0.0.1:8080/

local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

local function lines_of(req)
  return coroutine.wrap(function()
    local rest = "" -- a line that has begun
    for piece in function() return req:read(8192) end do
      rest = rest .. piece
      local lines, last = rest:match("^(.*\n)(.*)")
      for line in (lines or ""):gmatch("(.-)\r?\n") do coroutine.yield(line) end
      rest = last or rest
      if #rest > 65536 then coroutine.yield("(a line that is too long)") end
    end
    coroutine.yield(rest)
  end)
end

-- Lines of "name: value", up to an empty one; false and the line for any other.
local function records_of(req)
  return coroutine.wrap(function()
    local record
    for line in lines_of(req) do
      local name, value = line:match("^(%w+): *(.-)\r?$")
      if name then
        record = record or {}
        record[name] = value
      elseif line:find("%S") then
        coroutine.yield(false, line)
      elseif record then
        coroutine.yield(record)
        record = nil
      end
    end
    if record then coroutine.yield(record) end
  end)
end

function on_request(req)
  local count, total = 0, 0
  for record, line in records_of(req) do
    if not record then return 400, text, "no record: " .. line .. "\n" end
    count, total = count + 1, total + (tonumber(record.price) or 0)
  end
  return 200, text, ("%d items, %.2f in all\n"):format(count, total)
end
