-- What stands before the scripts of these tests, which fill `works`.  A
-- request names the work that it wants: all of it is done in its handler, and
-- an error there is a 500.
-- SPDX-License-Identifier: MIT
works = {}

local function show(value)
  if type(value) ~= "table" then
    local text = tostring(value)
    return #text > 100 and text:sub(1, 100) .. "..." or text
  end
  local out = {}
  for k, v in pairs(value) do out[#out + 1] = show(k) .. "=" .. show(v) end
  table.sort(out)
  return "{" .. table.concat(out, ", ") .. "}"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k in pairs(a) do if not same(a[k], b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

-- expect(wanted, f()): the first value; all that came is in the error.
function expect(wanted, got, ...)
  if not same(wanted, got) then
    error(("%s, not %s"):format(show { got, ... }, show(wanted)), 2)
  end
  return got
end

-- Fails unless f raises an error whose text has the pattern.
function expect_error(pattern, f, ...)
  local ok, err = pcall(f, ...)
  if ok or not tostring(err):find(pattern) then
    error(("%s, not an error with %q"):format(ok and "no error" or
      tostring(err), pattern), 2)
  end
end

-- Bytes of all kinds that differ from number to number.
function bytes(size, number)
  local piece = {}
  for i = 0, 255 do piece[i + 1] = string.char((i * (number or 1)) % 256) end
  local text = "\r\n\0" .. table.concat(piece)
  return text:rep(size // #text + 1):sub(1, size)
end

local numbers = 0

function on_request(req)
  local name = req:param "WORK"
  if not name then return 200, {}, "hello" end
  numbers = numbers + 1
  local result = works[name](req:param "ARGUMENT", "n" .. numbers .. ":")
  return 200, {}, result == nil and "done" or tostring(result)
end
