--- fcgi.urlencoded -- application/x-www-form-urlencoded: query strings, forms.
--- Each byte is looked at a fixed number of times and no pattern can backtrack,
--- so that no input costs more than its length.
-- SPDX-License-Identifier: MIT
local urlencoded = {}

--- Two hex digits, in any case -> their byte.  As a table, because gsub looks
--- that up without calling back into Lua.
local bytes = {}
local digits = "0123456789abcdefABCDEF"
for high in digits:gmatch(".") do
  for low in digits:gmatch(".") do
    bytes[high .. low] = string.char(tonumber(high .. low, 16))
  end
end

local function unescape(s)
  return (s:gsub("+", " "):gsub("%%(%x%x)", bytes))
end

--- Lenient, as browsers are: a "%" that starts no escape stands for itself, a
--- piece without "=" is a name with the value "", empty pieces are skipped.
---@param s string
---@return { [1]: string, [2]: string }[] pairs name and value, in order
function urlencoded.decode(s)
  local found = {}
  for piece in s:gmatch("[^&]+") do
    local equals = piece:find("=", 1, true) or #piece + 1
    found[#found + 1] = {
      unescape(piece:sub(1, equals - 1)),
      unescape(piece:sub(equals + 1)),
    }
  end
  return found
end

return urlencoded
