-- SPDX-License-Identifier: MIT

--- A lock that is never waited for: one coroutine runs here.
local function fake_channel()
  local channel = { held = false }
  function channel:put()
    assert(not self.held, "it would wait for ever")
    self.held = true
  end
  function channel:get()
    self.held = false
  end
  return channel
end

--- A class of requests whose bodies are tables: type, text or parts, length.
local function new_class()
  local kept = setmetatable({}, { __mode = "k" })
  local methods, private = {}, { methods = {} }
  methods.__index = methods

  function methods:param(name)
    return name == "CONTENT_TYPE" and self.type or nil
  end

  function methods:content_length()
    return self.length
  end

  function private.use_form(req)
    if req.used then
      error("the body is already being taken by req:read")
    end
  end

  function private.form_text(req, max)
    req.asked = (req.asked or 0) + 1
    if #req.text > max then
      return nil, "too large"
    end
    return req.text
  end

  function private.decode(s)
    return (s:gsub("+", " "))
  end

  function private.drop_body(req)
    req.dropped = true
  end

  function private.open_parts(req, max)
    req.max, req.at = max, 0
    return req
  end

  function private.next_part(req)
    req.at = req.at + 1
    local part = req.parts[req.at]
    if part == "interrupt" then
      error("interrupted")
    elseif part == "broken" then
      return nil, "bad multipart"
    end
    return part
  end

  function private.read_part(part, max)
    if #part.value > max then
      return nil, "too large"
    end
    return part.value
  end

  function private.methods.read_line(part)
    return table.remove(part, 1)
  end

  local loaded = package.loaded.fcgi
  package.loaded.fcgi = { channel = fake_channel }
  require "fcgi.form"(methods, function(req)
    if req.over then
      return nil, "finished"
    end
    kept[req] = kept[req] or {}
    return kept[req]
  end, private)
  package.loaded.fcgi = loaded
  return methods, private
end

local Class, private = new_class()

local function urlencoded(text)
  return setmetatable({
    type = "application/x-www-form-urlencoded", text = text,
  }, Class)
end

local function multipart(parts)
  return setmetatable({
    type = "multipart/form-data; boundary=b", parts = parts,
  }, Class)
end

local function field(name, value)
  return { name = name, value = value }
end

local function file(name, filename, value)
  return { name = name, filename = filename, value = value }
end

describe("req:form", function()
  it("gives values, lists and a table", function()
    for _, req in ipairs {
      urlencoded "a=1&b=x+y&a=2",
      multipart { field("a", "1"), field("b", "x y"), field("a", "2") },
    } do
      assert.are.equal("1", req:form "a")
      assert.are.same({ "1", "2" }, req:form_all "a")
      assert.are.same({ a = "1", b = "x y" }, req:form())
      assert.is_nil(req:form "c")
      assert.are.same({}, req:form_all "c")
    end
  end)

  it("asks for the body once", function()
    local req = urlencoded "a=1"
    for _ = 1, 3 do
      assert.are.equal("1", req:form "a")
    end
    assert.are.equal(1, req.asked)
  end)

  it("leaves out files that were not chosen", function()
    local req = multipart {
      file("a", "", ""), file("b", "", "x"), file("c", "c", ""),
    }
    assert.are.same({ b = "x", c = "" }, req:form())
  end)

  it("counts fields and files, each by themselves", function()
    local parts = {}
    for i = 1, 1000 do
      parts[2 * i - 1], parts[2 * i] = field("a", ""), file("f", "f", "x")
    end
    assert.are.equal(1000, #multipart(parts):form_all "f")
    for _, part in ipairs { field("a", ""), file("f", "", "") } do
      parts[2001] = part
      local req = multipart(parts)
      assert.are.same({ nil, "too many fields" }, { req:form() })
      assert.is_true(req.dropped)
    end
    assert.are.same({ nil, "too many fields" },
      { urlencoded(("a&"):rep(1001)):form() })
  end)

  it("limits what fields hold, not files", function()
    local most = ("x"):rep((1 << 20) - 1)
    assert.are.equal(most, multipart { field("a", most) }:form "a")
    assert.are.same({ nil, "too large" },
      { multipart { field("ab", most) }:form "ab" })
    assert.are.same({ nil, "too large" },
      { multipart { field("a", most), field("", "x") }:form "a" })
    local req = multipart { field("a", most), file("f", "f", most .. "xyz") }
    assert.are.equal(most .. "xyz", req:form "f")
    assert.are.equal(most, urlencoded("a=" .. most):form "a")
    assert.are.same({ nil, "too large" },
      { urlencoded("a=" .. most .. "x"):form "a" })
  end)

  it("limits the body", function()
    local req = multipart { file("f", "f", "123") }
    req.length = 100
    assert.are.same({ nil, "too large" }, { req:form("f", 99) })
    assert.are.equal(nil, req.max) -- nothing was begun
    assert.are.same({ nil, "too large" }, { req:form("f", 1000) }) -- no more
    req = multipart { file("f", "f", "123") }
    req.length = 100
    assert.are.equal("123", req:form("f", 100))
    assert.are.equal(100, req.max)
    req = multipart {}
    assert.are.same({}, req:form())
    assert.are.equal(16 << 20, req.max)
    assert.are.same({ nil, "too large" }, { urlencoded("a=1"):form("a", 2) })
  end)

  it("goes on where it was interrupted", function()
    local req = multipart { field("a", "1"), "interrupt", field("b", "2") }
    assert.is_false((pcall(req.form, req, "a")))
    assert.are.same({ a = "1", b = "2" }, req:form())
  end)

  it("keeps its errors", function()
    local req = multipart { field("a", "1"), "broken", field("b", "2") }
    for _ = 1, 2 do
      assert.are.same({ nil, "bad multipart" }, { req:form "a" })
      assert.are.same({ nil, "bad multipart" }, { req:form_all "a" })
    end
    assert.is_true(req.dropped)
  end)

  it("is not taken for a form when it is none", function()
    for _, kind in ipairs {
      "", "text/plain", "multipart/form-data2", "multipart/mixed; boundary=b",
    } do
      local req = setmetatable({ type = kind, used = true }, Class)
      assert.are.same({ nil, "not a form" }, { req:form "a" })
    end
    assert.are.same({ nil, "not a form" }, { setmetatable({}, Class):form() })
    local req = urlencoded "a=1"
    req.type = " Application/X-WWW-FORM-urlencoded\t;charset=utf-8"
    assert.are.equal("1", req:form "a")
  end)

  it("raises when the body is taken", function()
    local req = urlencoded "a=1"
    req.used = true
    assert.has_error(function() req:form "a" end)
  end)

  it("is over with its request", function()
    local req = urlencoded "a=1"
    req.over = true
    assert.are.same({ nil, "finished" }, { req:form "a" })
    assert.are.same({ nil, "finished" }, { req:form() })
  end)
end)

describe("part:lines", function()
  it("takes the newlines off", function()
    local lines = {}
    for line in private.methods.lines { "one\n", "two\r\n", "\n", "end" } do
      lines[#lines + 1] = line
    end
    assert.are.same({ "one", "two\r", "", "end" }, lines)
  end)

  it("wants a part", function()
    assert.has_error(function() private.methods.lines() end,
      "bad self (write part:lines, with a colon)")
  end)
end)
