--- fcgi.ngx.bit -- the module `bit` of LuaJIT, by the operators of Lua 5.4.
--- Numbers are taken modulo 2^32, results are from -2^31 to 2^31 - 1.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

local math_type = math.type

local bit = {}

--- Adding this leaves no bits for a fraction: rounds half to even.
local rounder = 2.0 ^ 52 + 2.0 ^ 51

local function round(x, position, name)
  local number = tonumber(x)
  if not number then
    misuse.bad_type(position, name, "number", x)
  elseif math_type(number) == "integer" then
    return number
  end
  local rounded = math.tointeger(number + rounder - rounder)
  return rounded or misuse.bad_argument(position, name, "no 32-bit integer")
end

local function integer(x, position, name)
  return math_type(x) == "integer" and x or round(x, position, name)
end

--- Integers are nearly always given, and then nothing else is called.
local function signed(x)
  return ((x & 0xffffffff) ~ 0x80000000) - 0x80000000
end

function bit.tobit(x)
  return signed(integer(x, 1, "tobit"))
end

function bit.bnot(x)
  return signed(~integer(x, 1, "bnot"))
end

function bit.band(a, b, ...)
  local x = integer(a, 1, "band")
  if b ~= nil then
    x = x & integer(b, 2, "band")
  end
  for i = 1, select("#", ...) do
    x = x & integer((select(i, ...)), i + 2, "band")
  end
  return signed(x)
end

function bit.bor(a, b, ...)
  local x = integer(a, 1, "bor")
  if b ~= nil then
    x = x | integer(b, 2, "bor")
  end
  for i = 1, select("#", ...) do
    x = x | integer((select(i, ...)), i + 2, "bor")
  end
  return signed(x)
end

function bit.bxor(a, b, ...)
  local x = integer(a, 1, "bxor")
  if b ~= nil then
    x = x ~ integer(b, 2, "bxor")
  end
  for i = 1, select("#", ...) do
    x = x ~ integer((select(i, ...)), i + 2, "bxor")
  end
  return signed(x)
end

--- Of the number of bits only the lower five count.
function bit.lshift(x, n)
  x = integer(x, 1, "lshift")
  return signed(x << (integer(n, 2, "lshift") & 31))
end

function bit.rshift(x, n)
  x = integer(x, 1, "rshift")
  return signed((x & 0xffffffff) >> (integer(n, 2, "rshift") & 31))
end

function bit.arshift(x, n)
  x = integer(x, 1, "arshift")
  return signed(x) // (1 << (integer(n, 2, "arshift") & 31))
end

local function rotate(x, n)
  x, n = x & 0xffffffff, n & 31
  return signed(x << n | x >> (32 - n))
end

function bit.rol(x, n)
  x = integer(x, 1, "rol")
  return rotate(x, integer(n, 2, "rol"))
end

function bit.ror(x, n)
  x = integer(x, 1, "ror")
  return rotate(x, -integer(n, 2, "ror"))
end

function bit.bswap(x)
  x = integer(x, 1, "bswap")
  return (string.unpack(">i4", string.pack("<I4", x & 0xffffffff)))
end

--- n: how many digits, 8 by default; negative: in capital letters.
function bit.tohex(x, n)
  x = integer(x, 1, "tohex") & 0xffffffff
  n = n == nil and 8 or integer(n, 2, "tohex")
  local digits = (n < 0 and "%08X" or "%08x"):format(x)
  return digits:sub(9 - math.min(math.abs(n), 8))
end

return bit
