--- fcgi.ngx.text -- strings coded and decoded as nginx does it: components of
--- URLs, arguments, base64, literals of SQL, CRC-32.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"
local urlencoded = require "fcgi.urlencoded"

local text = {}

--- What these functions take for a string: a missing one is empty.
local function to_text(value)
  if type(value) == "string" then
    return value
  end
  return value and tostring(value) or ""
end
text.to_text = to_text

-- --- URLs and arguments -----------------------------------------------------

--- kind 2: a component (the default); 0: a URI, of which only what cannot
--- stand in one is escaped.
---@param kind? 0|2
function text.escape_uri(s, kind)
  s = to_text(s)
  if kind == 0 then
    return (s:gsub("[\0-\32#%%?\127-\255]", function(c)
      return ("%%%02X"):format(c:byte())
    end))
  elseif kind ~= nil and kind ~= 2 then
    misuse.bad_argument(2, "escape_uri", ("0 or 2 expected, got %s"):format(
      tostring(kind)))
  end
  return urlencoded.escape(s)
end

--- A plus is a blank.
function text.unescape_uri(s)
  return urlencoded.unescape((to_text(s):gsub("+", " ")))
end

--- true is a name without a value; false is nothing.
local function add_argument(pieces, name, value)
  local kind = type(value)
  if value == true then
    pieces[#pieces + 1] = name
  elseif kind == "string" or kind == "number" then
    pieces[#pieces + 1] = name .. "=" .. urlencoded.escape(tostring(value))
  elseif value then
    return kind
  end
end

--- Names are sorted; a list is one argument for each of its items.
---@param args table<string, string|number|boolean|table>
function text.encode_args(args)
  if type(args) ~= "table" then
    misuse.bad_type(1, "encode_args", "table", args)
  end
  local names, pieces = {}, {}
  for name in pairs(args) do
    if type(name) ~= "string" then
      misuse.bad_argument(1, "encode_args", ("a name is a %s"):format(
        type(name)))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value, wrong = args[name], nil
    local escaped = urlencoded.escape(name)
    if type(value) == "table" then
      for _, item in ipairs(value) do
        wrong = wrong or add_argument(pieces, escaped, item)
      end
    else
      wrong = add_argument(pieces, escaped, value)
    end
    if wrong then
      misuse.bad_argument(1, "encode_args", ("the value of '%s' is a %s")
        :format(name, wrong))
    end
  end
  return table.concat(pieces, "&")
end

local function add_value(args, name, value)
  local before = args[name]
  if before == nil then
    args[name] = value
  elseif type(before) == "table" then
    before[#before + 1] = value
  else
    args[name] = { before, value }
  end
end

--- A name without "=" has the value true, one that comes again a list.  Names
--- that are empty are dropped.
---@param max? integer how many at most; 0: all; 100 by default
---@return table args
---@return "truncated"? err there were more
function text.decode_args(s, max)
  local args, count = {}, 0
  max = max or 100
  for piece in to_text(s):gmatch("[^&]+") do
    if max > 0 and count == max then
      return args, "truncated"
    end
    local equals = piece:find("=", 1, true)
    local name = text.unescape_uri(piece:sub(1, (equals or 0) - 1))
    local value = not equals or text.unescape_uri(piece:sub(equals + 1))
    if name ~= "" then
      add_value(args, name, value)
      count = count + 1
    end
  end
  return args
end

-- --- base64 -----------------------------------------------------------------

local alphabet =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Twelve bits -> two letters; a letter -> six bits.  Made when first needed.
local pairs_of, bits_of

local function make_tables()
  pairs_of, bits_of = {}, {}
  for i = 0, 63 do
    local high = alphabet:sub(i + 1, i + 1)
    bits_of[high:byte()] = i
    for k = 0, 63 do
      pairs_of[i << 6 | k] = high .. alphabet:sub(k + 1, k + 1)
    end
  end
end

--- Pieces this long are joined with the rest, so that lists stay short.
local PIECE = 3 * 1024

local function encode_piece(s)
  local out, n = {}, 0
  for i = 1, #s - 2, 3 do
    local a, b, c = s:byte(i, i + 2)
    local bits = a << 16 | b << 8 | c
    out[n + 1], out[n + 2] = pairs_of[bits >> 12], pairs_of[bits & 0xfff]
    n = n + 2
  end
  local rest = #s % 3
  if rest > 0 then
    local a, b = s:byte(#s - rest + 1, #s)
    local bits = a << 16 | (b or 0) << 8
    out[n + 1] = pairs_of[bits >> 12]
    out[n + 2] = rest == 2 and pairs_of[bits & 0xfff]:sub(1, 1) .. "=" or "=="
  end
  return table.concat(out)
end

---@param no_padding? boolean
function text.encode_base64(s, no_padding)
  s = to_text(s)
  if not pairs_of then
    make_tables()
  end
  local out = {}
  for from = 1, #s, PIECE do
    out[#out + 1] = encode_piece(s:sub(from, from + PIECE - 1))
  end
  local encoded = table.concat(out)
  return no_padding and encoded:match("^[^=]*") or encoded
end

--- The padding may lack.
---@return string? s nil when that is no base64
function text.decode_base64(s)
  if type(s) ~= "string" then
    misuse.bad_type(1, "decode_base64", "string", s)
  end
  s = s:match("^[^=]*")
  if #s % 4 == 1 or s:find("[^A-Za-z0-9+/]") then
    return nil
  end
  if not bits_of then
    make_tables()
  end
  local out, n = {}, 0
  for i = 1, #s, 4 do
    local a, b, c, d = s:byte(i, i + 3)
    local bits = bits_of[a] << 18 | bits_of[b] << 12 |
      (c and bits_of[c] or 0) << 6 | (d and bits_of[d] or 0)
    local bytes = (">I3"):pack(bits)
    n = n + 1
    out[n] = d and bytes or bytes:sub(1, c and 2 or 1)
  end
  return table.concat(out)
end

-- --- SQL --------------------------------------------------------------------

local sql_escapes = {
  ["\0"] = "\\0", ["\b"] = "\\b", ["\t"] = "\\t", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\26"] = "\\Z", ["\\"] = "\\\\", ["'"] = "\\'",
  ['"'] = '\\"',
}

--- A string literal for MySQL.
function text.quote_sql_str(s)
  return "'" .. to_text(s):gsub("[\0\b\t\n\r\26\\'\"]", sql_escapes) .. "'"
end

-- --- CRC-32 -----------------------------------------------------------------

local crc_table

local function make_crc_table()
  crc_table = {}
  for byte = 0, 255 do
    local crc = byte
    for _ = 1, 8 do
      crc = crc & 1 == 1 and 0xedb88320 ~ crc >> 1 or crc >> 1
    end
    crc_table[byte] = crc
  end
end

function text.crc32(s)
  s = to_text(s)
  if not crc_table then
    make_crc_table()
  end
  local crc = 0xffffffff
  for i = 1, #s do
    crc = crc_table[(crc ~ s:byte(i)) & 0xff] ~ crc >> 8
  end
  return crc ~ 0xffffffff
end

return text
