--- What of LuaJIT's ffi is there, and what the rest says.
local ffi = require "fcgi.ngx.ffi"

describe("ffi", function()
  it("has arrays of bytes", function()
    local Bytes = ffi.typeof "char[?]"
    local bytes = ffi.new(Bytes, 4)
    for i, byte in ipairs { 104, 105, 255, 256 + 33 } do
      bytes[i - 1] = byte
    end
    assert.equal("hi\xff!", ffi.string(bytes, 4))
    assert.equal("hi", ffi.string(bytes, 2))
    assert.equal("", ffi.string(bytes, 0))
    assert.equal("\0\0", ffi.string(ffi.new("uint8_t[?]", 2), 2))
    assert.equal("\0", ffi.string(ffi.typeof(Bytes)(1), 1))
    local long = Bytes(5000)
    for i = 0, 4999 do
      long[i] = i % 251
    end
    local text = ffi.string(long, 5000)
    assert.equal(5000, #text)
    assert.equal(4999 % 251, text:byte(5000))
  end)

  it("raises where anything else is used, not where it is loaded", function()
    local gc, cast, C = ffi.gc, ffi.cast, ffi.C
    for name, f in pairs {
      gc = gc, cast = cast, cdef = ffi.cdef,
      ["C.RAND_bytes"] = function() return C.RAND_bytes end,
      ["typeof%(\"int%[1%]\"%)"] = function() ffi.typeof "int[1]" end,
      ["new%(\"SHA_CTX\"%)"] = function() ffi.new("SHA_CTX") end,
      string = function() ffi.string({}, 1) end,
    } do
      assert.error_matches(f, "ffi%." .. name .. ": there is no LuaJIT here")
    end
    assert.error_matches(function() ffi.new "char[?]" end, "needs its size")
  end)
end)
