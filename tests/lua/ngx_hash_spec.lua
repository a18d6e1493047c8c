--- Digests over luaossl.
local hash = require "fcgi.ngx.hash"

local function unhex(digits)
  return (digits:gsub("..", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

describe("digests", function()
  it("are the known ones", function()
    assert.equal("900150983cd24fb0d6963f7d28e17f72", hash.md5 "abc")
    assert.equal(unhex "900150983cd24fb0d6963f7d28e17f72", hash.md5_bin "abc")
    assert.equal("d41d8cd98f00b204e9800998ecf8427e", hash.md5(nil))
    assert.equal(unhex "a9993e364706816aba3e25717850c26c9cd0d89d",
      hash.sha1_bin "abc")
    assert.equal(unhex "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9",
      hash.hmac_sha1("key", "The quick brown fox jumps over the lazy dog"))
  end)

  it("come as modules, too", function()
    for kind, expected in pairs {
      md5 = "900150983cd24fb0d6963f7d28e17f72",
      sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d",
      sha224 = "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
      sha256 = "ba7816bf8f01cfea414140de5dae2223" ..
        "b00361a396177a9cb410ff61f20015ad",
    } do
      local digest = hash.module(kind):new()
      assert.is_true(digest:update "a")
      digest:update "bc"
      assert.equal(expected, hash.to_hex(digest:final()))
      digest:update "x"
      assert.is_true(digest:reset())
      digest:update "abc"
      assert.equal(expected, hash.to_hex(digest:final()))
    end
  end)

  it("say what is missing", function()
    local bare = dofile "lua/fcgi/ngx/hash.lua" -- that has not loaded it yet
    local real = require
    _G.require = function(name) error("module '" .. name .. "' not found") end
    local _, err = pcall(bare.md5, "x")
    local _, module_err = pcall(bare.module("sha512").new)
    _G.require = real
    assert.matches("ngx.md5 needs luaossl %(Debian: lua%-luaossl%): .*not found",
      err)
    assert.matches("resty.sha512 needs luaossl", module_err)
  end)
end)

describe("resty.string", function()
  it("has two functions", function()
    assert.equal("00ff0a", hash.string.to_hex "\0\xff\n")
    assert.equal(12, hash.string.atoi " 12ab")
    assert.equal(-3, hash.string.atoi "-3")
    assert.equal(0, hash.string.atoi "x")
  end)
end)
