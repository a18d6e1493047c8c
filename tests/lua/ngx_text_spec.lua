--- Strings as nginx codes them.
local text = require "fcgi.ngx.text"

describe("URLs", function()
  it("are escaped as components or whole", function()
    assert.equal("a%20%2Fb%3F%26-._~%C3%A9", text.escape_uri "a /b?&-._~\xc3\xa9")
    assert.equal("a%20/b%3F%23&%25", text.escape_uri("a /b?#&%", 0))
    assert.equal("%00%1F%7F", text.escape_uri("\0\31\127", 0))
    assert.equal("a%3D", text.escape_uri("a=", 2))
    assert.equal("", text.escape_uri(nil))
    assert.equal("12", text.escape_uri(12))
    assert.error_matches(function() text.escape_uri("a", 1) end, "0 or 2 exp")
  end)

  it("are unescaped, a plus to a blank", function()
    assert.equal("b r56 7", text.unescape_uri "b%20r56+7")
    assert.equal("try %search% %again%", text.unescape_uri
      "try %search%%20%again%")
    assert.equal("/\0", text.unescape_uri "%2f%00")
  end)
end)

describe("arguments", function()
  it("are encoded, sorted by name", function()
    assert.equal("b%20r=hello%20world&foo=3", text.encode_args {
      foo = 3, ["b r"] = "hello world" })
    assert.equal("a=1&a=x&a&b&d=", text.encode_args {
      a = { 1, "x", true }, b = true, c = false, d = "", e = {} })
    assert.equal("", text.encode_args {})
  end)

  it("are refused when they are none", function()
    for _, wrong in ipairs { { a = print }, { a = { {} } }, { "x" } } do
      assert.error_matches(function() text.encode_args(wrong) end,
        "bad argument #1 to 'encode_args'")
    end
    assert.error_matches(function() text.encode_args "a=b" end,
      "table expected, got string")
  end)

  it("are decoded", function()
    assert.same({ a = { "1", "2 ", true }, b = "", c = true, ["d e"] = "=" },
      (text.decode_args "a=1&a=2+&a&b=&c&=x&&d%20e=%3D"))
    assert.same({}, (text.decode_args ""))
    assert.same({ ["a=b"] = "c=d" }, (text.decode_args "a%3Db=c=d"))
  end)

  it("are no more than so many", function()
    local args, err = text.decode_args("a=1&b=2&c=3", 2)
    assert.same({ a = "1", b = "2" }, args)
    assert.equal("truncated", err)
    args, err = text.decode_args(("a=1&"):rep(101))
    assert.equal(100, #args.a)
    assert.equal("truncated", err)
    args, err = text.decode_args(("a=1&"):rep(101), 0)
    assert.equal(101, #args.a)
    assert.is_nil(err)
  end)
end)

describe("base64", function()
  it("is what RFC 4648 says", function()
    local vectors = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=",
      "Zm9vYmFy" }
    for i, encoded in ipairs(vectors) do
      local plain = ("foobar"):sub(1, i - 1)
      assert.equal(encoded, text.encode_base64(plain))
      assert.equal((encoded:gsub("=", "")), text.encode_base64(plain, true))
      assert.equal(plain, text.decode_base64(encoded))
      assert.equal(plain, text.decode_base64((encoded:gsub("=", ""))))
    end
    assert.equal("+/+/", text.encode_base64 "\xfb\xff\xbf")
    assert.equal("MTI=", text.encode_base64(12))
  end)

  it("takes strings of any length", function()
    for _, size in ipairs { 3071, 3072, 3073, 10000 } do
      local plain = ("x"):rep(size - 1) .. "\0"
      assert.equal(plain, text.decode_base64(text.encode_base64(plain)))
    end
  end)

  it("gives nil for what it is not", function()
    for _, wrong in ipairs { "A", "ab*d", "ab d", "AAAAA" } do
      assert.is_nil(text.decode_base64(wrong))
    end
    assert.equal("f", text.decode_base64 "Zg=a=!") -- it ends at the "="
    assert.error_matches(function() text.decode_base64(nil) end,
      "string expected, got nil")
  end)
end)

describe("quote_sql_str", function()
  it("escapes what MySQL does not take as it is", function()
    assert.equal([['a\0\b\t\n\r\Z\\\'\"z']],
      text.quote_sql_str "a\0\b\t\n\r\26\\'\"z")
    assert.equal("'%1'", text.quote_sql_str "%1")
  end)
end)

describe("crc32", function()
  it("is the usual one", function()
    assert.equal(0xcbf43926, text.crc32 "123456789")
    assert.equal(0, text.crc32 "")
  end)
end)
