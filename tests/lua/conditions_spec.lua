local conditions = require "fcgi.conditions"
local tools = require "fcgi.tools"

--- A request with these headers.
local function request(headers)
  return { header = function(_, name) return headers[name] end }
end

--- CPU seconds of one call.
local function cost(f, ...)
  collectgarbage()
  local start = os.clock()
  f(...)
  return os.clock() - start
end

describe("fcgi.conditions.date", function()
  local date = conditions.date

  it("reads what fcgi.date writes", function()
    for _, time in ipairs { 0, 1, 951782400, 1000000000, 4102444799, -1,
      -62135596800, 253402300799 } do
      assert.are.equal(time, date(tools.date(time)))
    end
  end)

  it("gives nil for what is no date", function()
    for _, text in ipairs {
      "", "yesterday", "Sun, 09 Sep 2001 01:46:40", "Sun 09 Sep 2001 01:46:40 GMT",
      "Sun, 9 Sep 2001 01:46:40 GMT", "Sun, 09 sep 2001 01:46:40 GMT",
      " Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:40 GMT ",
      "Sunday, 09-Sep-01 01:46:40 GMT", "Sun Sep  9 01:46:40 2001",
    } do
      assert.is_nil(date(text), text)
    end
    assert.is_nil(date(nil))
  end)

  it("knows no 31st of February and no 25th hour", function()
    for _, text in ipairs {
      "Sat, 31 Feb 2001 01:46:40 GMT", "Thu, 29 Feb 2001 01:46:40 GMT",
      "Sun, 00 Sep 2001 01:46:40 GMT", "Sun, 32 Sep 2001 01:46:40 GMT",
      "Sun, 09 Sep 2001 24:46:40 GMT", "Sun, 09 Sep 2001 01:60:40 GMT",
      "Sun, 09 Sep 2001 01:46:61 GMT", "Sat, 01 Jan 0000 00:00:00 GMT",
      "Mon, 09 Sep 2001 01:46:40 GMT", "Xyz, 09 Sep 2001 01:46:40 GMT",
    } do
      assert.is_nil(date(text), text)
    end
  end)
end)

describe("fcgi.conditions.range", function()
  local about = { size = 45, mtime = 1000000000, etag = '"v"' }

  local function range(text, condition)
    return conditions.range(request { Range = text, ["If-Range"] = condition },
      about)
  end

  it("gives the first and the last byte", function()
    for text, wanted in pairs {
      ["bytes=0-3"] = { 0, 3 }, ["bytes=4-"] = { 4, 44 },
      ["bytes=-5"] = { 40, 44 }, ["bytes=-1000"] = { 0, 44 },
      ["bytes=40-1000"] = { 40, 44 }, [" Bytes = 44 - 44 "] = { 44, 44 },
      ["bytes=0-999999999999999999999"] = { 0, 44 },
      ["bytes=-999999999999999999999"] = { 0, 44 },
    } do
      assert.are.same(wanted, { range(text) })
    end
  end)

  it("gives false for what is behind the end", function()
    for _, text in ipairs { "bytes=45-", "bytes=45-50", "bytes=-0",
      "bytes=999999999999999999999-" } do
      assert.is_false(range(text))
    end
    about.size = 0
    assert.is_false(range "bytes=0-")
    assert.is_false(range "bytes=-1")
    about.size = 45
  end)

  it("gives nil for the whole file", function()
    for _, text in ipairs { "", "bytes", "bytes=", "bytes=-", "bytes=--1",
      "bytes=5-4", "bytes=1-2-3", "bytes=0-1,3-4", "lines=0-1", "bytes=1 2-3",
      "bytes=0x0-1", "bytes=+1-2", "bytes=1-2\0", "bytes 0-1" } do
      assert.is_nil(range(text), text)
    end
    assert.is_nil(range(nil))
  end)

  it("asks for a version", function()
    assert.are.equal(0, range("bytes=0-3", '"v"'))
    assert.are.equal(0, range("bytes=0-3", "Sun, 09 Sep 2001 01:46:40 GMT"))
    assert.is_nil(range("bytes=0-3", 'W/"v"'))
    assert.is_nil(range("bytes=0-3", "Sun, 09 Sep 2001 01:46:39 GMT"))
    assert.is_nil(range("bytes=0-3", ""))
  end)

  for _, shape in ipairs { "%s", "bytes%s", "bytes=%s", "bytes=%sx", "bytes=1%sx",
    "bytes=1%s-%sx", "bytes=-%sx", "bytes=-1%sx", "bytes=1-%s2%sx" } do
    for _, filler in ipairs { " ", "\t", "0", "-", "1 ", "1-2," } do
      it(("is linear in 64 KiB of %q as %q"):format(filler, shape), function()
        local text = shape:gsub("%%s", (filler:rep((1 << 16) // #filler)))
        assert.is_true(cost(range, text) < 0.5)
      end)
    end
  end
end)

describe("fcgi.conditions.judge", function()
  local judge = conditions.judge
  local about = { size = 45, mtime = 1000000000, etag = '"v"' }
  local same = "Sun, 09 Sep 2001 01:46:40 GMT"
  local before = "Sun, 09 Sep 2001 01:46:39 GMT"

  it("tells what the client has already, and what it would not have", function()
    for _, case in ipairs {
      { { ["If-None-Match"] = '"v"' }, 304 },
      { { ["If-None-Match"] = '"x","v"' }, 304 },
      { { ["If-None-Match"] = 'W/"v"' }, 304 },
      { { ["If-None-Match"] = " * " }, 304 },
      { { ["If-None-Match"] = '"x"', ["If-Modified-Since"] = same } },
      { { ["If-None-Match"] = "v" } },
      { { ["If-Modified-Since"] = same }, 304 },
      { { ["If-Modified-Since"] = before } },
      { { ["If-Modified-Since"] = "Mon, 09 Sep 2001 01:46:40 GMT" } },
      { { ["If-Match"] = '"v"' } },
      { { ["If-Match"] = "*" } },
      { { ["If-Match"] = 'W/"v"' }, 412 },
      { { ["If-Match"] = "" }, 412 },
      { { ["If-Match"] = '"v"', ["If-Unmodified-Since"] = before } },
      { { ["If-Unmodified-Since"] = same } },
      { { ["If-Unmodified-Since"] = before }, 412 },
      { { ["If-Match"] = '"x"', ["If-None-Match"] = '"v"' }, 412 },
      { {} },
    } do
      assert.are.equal(case[2], judge(request(case[1]), about))
    end
    assert.is_nil(judge(request { ["If-None-Match"] = '"v"' }, { mtime = 0 }))
  end)

  for _, name in ipairs { "If-Match", "If-None-Match" } do
    for _, filler in ipairs { " ", '"', 'W/', 'W/"', '"" ', "*", "/" } do
      it(("is linear in 64 KiB of %q in %s"):format(filler, name), function()
        local list = filler:rep((1 << 16) // #filler)
        assert.is_true(cost(judge, request { [name] = list .. "x" }, about) < 0.5)
        assert.is_true(cost(judge, request { [name] = '"' .. list }, about) < 0.5)
      end)
    end
  end
end)
