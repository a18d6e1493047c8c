--- The numbers that LuaJIT's bit operations give.
local bit = require "fcgi.ngx.bit"

describe("bit", function()
  it("gives signed 32-bit integers", function()
    assert.equal(-1, bit.tobit(0xffffffff))
    assert.equal(-2147483648, bit.tobit(0x80000000))
    assert.equal(2147483647, bit.tobit(0x7fffffff))
    assert.equal(0x12345678, bit.tobit(0xff12345678))
    assert.equal(-1, bit.bnot(0))
    assert.equal("integer", math.type(bit.tobit(3.0)))
  end)

  it("rounds fractions half to even", function()
    for x, expected in pairs { [0.5] = 0, [1.5] = 2, [2.5] = 2, [-0.5] = 0,
      [-1.5] = -2, [2.4] = 2, [1e6 + 0.75] = 1000001, [4294967295.5] = 0 } do
      assert.equal(expected, bit.tobit(x))
    end
  end)

  it("takes numbers from text, and nothing else", function()
    assert.equal(5, bit.band("7", 13))
    assert.equal(255, bit.bor("0xf0", "15"))
    for _, wrong in ipairs { {}, true, "x", "" } do
      assert.error_matches(function() bit.bxor(1, wrong) end,
        "bad argument #2 to 'bxor' %(number expected, got " .. type(wrong))
    end
    assert.error_matches(function() bit.band() end,
      "bad argument #1 to 'band' %(number expected, got nil")
    assert.error_matches(function() bit.band(1, 2, 3, {}) end,
      "bad argument #4 to 'band'")
    assert.error_matches(function() bit.tobit(0 / 0) end, "no 32%-bit integer")
    assert.error_matches(function() bit.tobit(1 / 0) end, "no 32%-bit integer")
  end)

  it("joins any number of arguments", function()
    assert.equal(7, bit.band(7))
    assert.equal(8, bit.band(0xf, 0xffe8, 0x18))
    assert.equal(0x1f, bit.bor(1, 2, 4, 8, 16))
    assert.equal(0, bit.bxor(3, 5, 6))
    assert.equal(-1, bit.bor(0xffff0000, 0xffff))
  end)

  it("shifts by the lower five bits of the number", function()
    assert.equal(256, bit.lshift(1, 8))
    assert.equal(256, bit.lshift(1, 40))
    assert.equal(-2147483648, bit.lshift(1, 31))
    assert.equal(16777215, bit.rshift(-256, 8))
    assert.equal(-1, bit.arshift(-256, 8))
    assert.equal(-1, bit.arshift(-2147483648, 31))
    assert.equal(0x7f, bit.arshift(0x7fff, 8))
    assert.equal(-2147483648, bit.lshift(1, -1))
  end)

  it("rotates and swaps", function()
    assert.equal(0x23456781, bit.rol(0x12345678, 4))
    assert.equal(bit.tobit(0x81234567), bit.ror(0x12345678, 4))
    assert.equal(0x12345678, bit.rol(0x12345678, 0))
    assert.equal(0x12345678, bit.ror(0x12345678, 32))
    assert.equal(0x78563412, bit.bswap(0x12345678))
    assert.equal(bit.tobit(0xf0debc9a), bit.bswap(0x9abcdef0))
  end)

  it("writes hex digits", function()
    assert.equal("00000001", bit.tohex(1))
    assert.equal("ffffffff", bit.tohex(-1))
    assert.equal("FFFFFFFF", bit.tohex(-1, -8))
    assert.equal("21", bit.tohex(0x87654321, 2))
    assert.equal("", bit.tohex(5, 0))
    assert.equal("00000005", bit.tohex(5, 100))
  end)
end)
