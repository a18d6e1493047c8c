--- For which hosts a certificate is good.
local hostname = require "fcgi.hostname"

local function certificate(names, addresses)
  return { ["2.5.29.17"] = {
    name = "X509v3 Subject Alternative Name",
    dNSName = names, iPAddress = addresses,
  } }
end

local function is_for(name, names, addresses)
  return (hostname.check(name, certificate(names, addresses))) == true
end

describe("a certificate", function()
  it("is for the names it lists, whatever their case", function()
    assert.is_true(is_for("a.example", { "b.example", "a.example" }))
    assert.is_true(is_for("A.example", { "a.EXAMPLE" }))
    assert.is_true(is_for("a.example.", { "a.example" }))
    assert.is_true(is_for("a.example", { "a.example." }))
    assert.is_true(is_for("localhost", { "localhost" }))
    assert.is_true(is_for("_x.a-b.example", { "_x.a-b.example" }))
  end)

  it("is for no other name", function()
    for _, other in ipairs {
      "", ".", "example", "b.example", "a.example.com", "xa.example",
      "a-example", "aXexample", ".a.example", "a..example", "a.example..",
      "a.example\0", "a.example\0.evil.test", "a.example/", "a.example:443",
    } do
      assert.is_false(is_for(other, { "a.example" }), other)
    end
    assert.is_false(is_for("a.example", { "a.example\0.evil.test" }))
    assert.is_false(is_for("", { "" }))
    assert.is_false(is_for(".", { "." }))
  end)

  it("may stand for all hosts of a domain", function()
    assert.is_true(is_for("a.example.test", { "*.example.test" }))
    assert.is_true(is_for("A.Example.Test.", { "*.example.TEST" }))
    assert.is_true(is_for("xn--bcher-kva.example.test", { "*.example.test" }))
  end)

  it("knows a wildcard as the whole first label only", function()
    for pattern, name in pairs {
      ["*.example.test"] = "example.test",
      ["*.b.example.test"] = "a.c.example.test",
      ["*.*.test"] = "a.b.test",
      ["a.*.test"] = "a.b.test",
      ["a*.example.test"] = "ab.example.test",
      ["*a.example.test"] = "ba.example.test",
      ["a.example.*"] = "a.example.test",
      ["*.test"] = "a.test",
      ["*"] = "localhost",
      ["*."] = "a.",
      ["**.example.test"] = "a.example.test",
    } do
      assert.is_false(is_for(name, { pattern }), pattern)
    end
    assert.is_false(is_for("a.b.example.test", { "*.example.test" }))
    assert.is_false(is_for(".example.test", { "*.example.test" }))
    assert.is_false(is_for("*.example.test", { "*.*.test" }))
    assert.is_false(is_for("*", { "*" }))
  end)

  it("is for the addresses it lists, however they are written", function()
    assert.is_true(is_for("127.0.0.1", nil, { "127.0.0.1" }))
    assert.is_true(is_for("::1", nil, { "0:0:0:0:0:0:0:1" }))
    assert.is_true(is_for("2001:DB8::1", nil, { "2001:db8:0:0:0:0:0:1" }))
    assert.is_true(is_for("::ffff:10.0.0.1", nil, { "::ffff:a00:1" }))
    assert.is_true(is_for("fe80::1%eth0", nil, { "fe80::1" }))
    assert.is_true(is_for("::", nil, { "0:0:0:0:0:0:0:0" }))
  end)

  it("is for no other address, and tells addresses from names", function()
    assert.is_false(is_for("127.0.0.1", nil, { "127.0.0.2" }))
    assert.is_false(is_for("127.0.0.1", { "127.0.0.1" }))
    assert.is_false(is_for("10.0.0.1", { "*.0.0.1" }))
    assert.is_false(is_for("::1", { "::1" }))
    assert.is_false(is_for("a.example", nil, { "a.example" }))
    assert.is_false(is_for("1.2.3", nil, { "1.2.3.0" }))
    assert.is_false(is_for("10.0.0.1", nil, { "::ffff:10.0.0.1" }))
  end)

  it("without alternative names is for nobody", function()
    assert.is_false(is_for("a.example"))
    for _, extensions in ipairs { {}, { ["2.5.29.17"] = {} } } do
      assert.is_nil((hostname.check("a.example", extensions)))
    end
    assert.is_nil((hostname.check("a.example", nil)))
  end)

  it("is named by the error, safely", function()
    assert.are.same({ nil, "host name does not match: the certificate is for "
      .. "b.example, *.c.example, 10.0.0.1, not a.example" },
      { hostname.check("a.example", certificate({ "b.example", "*.c.example" },
        { "10.0.0.1" })) })
    assert.are.same({ nil, "host name does not match: the certificate is for "
      .. "a?b, 2, 3, ..., not x" },
      { hostname.check("x", certificate { "a\nb", "2", "3", "4" }) })
    assert.are.same({ nil, "host name does not match: the certificate is for "
      .. "no host, not x" }, { hostname.check("x", {}) })
  end)
end)

describe("an address", function()
  it("is 4 or 16 bytes", function()
    assert.are.equal("\1\2\3\4", hostname.address "1.2.3.4")
    assert.are.equal("\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\8",
      hostname.address "1:2:3:4:5:6:7:8")
    assert.are.equal("\0\1" .. ("\0"):rep(12) .. "\0\8",
      hostname.address "1::8")
    assert.are.equal(("\0"):rep(12) .. "\1\2\3\4",
      hostname.address "::1.2.3.4")
    assert.are.equal("\0\1" .. ("\0"):rep(14), hostname.address "1::")
    assert.are.equal(("\0\1"):rep(6) .. "\1\2\3\4",
      hostname.address "1:1:1:1:1:1:1.2.3.4")
  end)

  it("is nothing else", function()
    for _, text in ipairs {
      "", ".", ":", ":::", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.a",
      "1.2.3.4 ", " 1.2.3.4", "1.2.3.0004", "localhost", "a.b.c.d", "1::2::3",
      "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::",
      "g::", ":1", "1:", "1.2.3.4::", "::1.2.3.4:5", "::a1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
    } do
      assert.is_nil(hostname.address(text), text)
    end
  end)
end)
