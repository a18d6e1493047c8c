--- fcgi.ngx.ffi -- stands in for LuaJIT's `ffi`: libraries that load it and use
--- it only now and then run.  Arrays of bytes are real, which is what WebSocket
--- libraries build their frames in; the rest raises where it is used.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

local function refuse(what)
  misuse.raise(("ffi.%s: there is no LuaJIT here, and no ffi: only arrays of " ..
    "bytes (\"char[?]\") are known"):format(what))
end

local byte_arrays = {
  ["char[?]"] = true, ["unsigned char[?]"] = true, ["uint8_t[?]"] = true,
  ["int8_t[?]"] = true, ["signed char[?]"] = true,
}

--- Bytes with indices from 0, zero until they are set.
local Bytes = { __name = "ffi.bytes", __index = function() return 0 end }

--- A type that can be called to make one.
local Type = { __name = "ffi.type" }

function Type:__call(size)
  if math.type(size) ~= "integer" or size < 0 then
    misuse.raise "an array of bytes needs its size"
  end
  return setmetatable({}, Bytes)
end

local ffi = {}

function ffi.typeof(declaration)
  if getmetatable(declaration) == Type then
    return declaration
  elseif not byte_arrays[declaration] then
    refuse(("typeof(%q)"):format(tostring(declaration)))
  end
  return setmetatable({}, Type)
end

function ffi.new(declaration, size)
  if getmetatable(declaration) == Type then
    return declaration(size)
  elseif not byte_arrays[declaration] then
    refuse(("new(%q)"):format(tostring(declaration)))
  end
  return Type.__call(nil, size)
end

--- How many bytes become characters at once: each is an argument of a call.
local PIECE = 200

local function piece_of(bytes, from, to)
  local values = {}
  for i = from, to do
    values[i - from + 1] = bytes[i] & 0xff
  end
  return string.char(table.unpack(values))
end

function ffi.string(bytes, size)
  if getmetatable(bytes) ~= Bytes then
    refuse "string"
  end
  local pieces = {}
  for from = 0, size - 1, PIECE do
    pieces[#pieces + 1] = piece_of(bytes, from, math.min(from + PIECE, size) - 1)
  end
  return table.concat(pieces)
end

return setmetatable(ffi, {
  __index = function(_, name)
    if name == "C" then
      return setmetatable({}, {
        __index = function(_, symbol)
          refuse("C." .. tostring(symbol))
        end,
      })
    end
    return function()
      refuse(tostring(name))
    end
  end,
})
