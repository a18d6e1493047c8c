--- fcgi.urlencoded -- application/x-www-form-urlencoded: query strings, forms.
--- Each byte is looked at a fixed number of times and no pattern can backtrack,
--- so that no input costs more than its length.  Patterns name the letters one
--- by one: what %w means is for the locale to say.
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

--- A byte -> its escape; in a form a blank is a plus.
local escapes, form_escapes = {}, {}
for byte = 0, 255 do
  local char = string.char(byte)
  escapes[char] = ("%%%02X"):format(byte)
  form_escapes[char] = escapes[char]
end
form_escapes[" "] = "+"

--- For a component of a URL: all but what RFC 3986, 2.3, calls unreserved.
---@param s string
---@return string
function urlencoded.escape(s)
  return (s:gsub("[^A-Za-z0-9._~-]", escapes))
end

--- A "%" that starts no escape stands for itself.
---@param s string
---@return string
function urlencoded.unescape(s)
  return (s:gsub("%%(%x%x)", bytes))
end

--- As browsers do it: WHATWG URL, 5.2.
local function escape(s)
  return (s:gsub("[^A-Za-z0-9*._-]", form_escapes))
end

local function decode(s)
  return urlencoded.unescape((s:gsub("+", " ")))
end

---@param list { [1]: string, [2]: string }[] names and values, in order
---@return string
function urlencoded.encode(list)
  local pieces = {}
  for i, pair in ipairs(list) do
    pieces[i] = escape(pair[1]) .. "=" .. escape(pair[2])
  end
  return table.concat(pieces, "&")
end

--- Lenient, as browsers are: a "%" that starts no escape stands for itself, a
--- piece without "=" is a name with the value "", empty pieces are skipped.
---@param s string
---@param max? integer the most pairs that there may be
---@param decode_one? fun(s: string): string decodes a name or a value; one in C
--- is much faster
---@return { [1]: string, [2]: string }[]? pairs name and value, in order; nil:
--- there are more
function urlencoded.decode(s, max, decode_one)
  local found = {}
  decode_one = decode_one or decode
  for piece in s:gmatch("[^&]+") do
    if #found == max then
      return nil
    end
    local equals = piece:find("=", 1, true) or #piece + 1
    found[#found + 1] = {
      decode_one(piece:sub(1, equals - 1)),
      decode_one(piece:sub(equals + 1)),
    }
  end
  return found
end

return urlencoded
