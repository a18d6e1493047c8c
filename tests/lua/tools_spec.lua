local tools = require "fcgi.tools"

--- Raises at the line of this file that calls it, with that message.
local function refuses(message, f, ...)
  local arguments = table.pack(...)
  local ok, err = pcall(function()
    local got = f(table.unpack(arguments, 1, arguments.n))
    return got
  end)
  assert.is_false(ok)
  assert.matches("^tests/lua/tools_spec%.lua:%d+: ", err)
  assert.are.equal(message, (err:gsub("^[^:]+:%d+: ", "")))
end

--- Instructions of the Lua machine that a call takes.
local function instructions(f, ...)
  local count = 0
  debug.sethook(function() count = count + 1 end, "", 1)
  f(...)
  debug.sethook()
  return count
end

local every_byte = {}
for byte = 0, 255 do
  every_byte[byte + 1] = string.char(byte)
end
every_byte = table.concat(every_byte)

describe("what takes a string", function()
  for _, name in ipairs { "escape", "unescape", "html", "decode_query" } do
    it(("takes a number for its digits in %s"):format(name), function()
      local first = tools[name](12)
      if name == "decode_query" then
        assert.are.same({ ["12"] = "" }, first)
      else
        assert.are.equal("12", first)
      end
    end)

    it(("raises at the caller's line for anything else in %s"):format(name),
      function()
        for kind, value in pairs {
          boolean = true, table = {}, ["function"] = print,
        } do
          refuses(("bad argument #1 to '%s' (string expected, got %s)"):format(
            name, kind), tools[name], value)
        end
        refuses(("bad argument #1 to '%s' (string expected, got nil)"):format(
          name), tools[name])
      end)
  end
end)

describe("fcgi.escape", function()
  it("leaves the unreserved characters of RFC 3986 and nothing else",
    function()
      local kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        .. "0123456789-._~"
      for byte = 0, 255 do
        local char = string.char(byte)
        local expected = kept:find(char, 1, true) and char
          or ("%%%02X"):format(byte)
        assert.are.equal(expected, tools.escape(char))
      end
    end)

  it("gives one result", function()
    assert.are.equal(1, select("#", tools.escape "a b"))
    assert.are.equal("", tools.escape "")
  end)

  it("lets nothing out of a component", function()
    assert.are.equal("..%2F%3Fa%3Db%26c%23%25%0D%0A%00",
      tools.escape "../?a=b&c#%\r\n\0")
  end)
end)

describe("fcgi.unescape", function()
  it("undoes escape for every byte", function()
    assert.are.equal(every_byte, tools.unescape(tools.escape(every_byte)))
  end)

  it("takes both cases and leaves a plus", function()
    assert.are.equal("+/+\0", tools.unescape "%2b%2F+%00")
  end)

  it("leaves a % that starts no escape", function()
    for _, s in ipairs { "%", "%4", "%zz", "100%", "% 41", "%-1" } do
      assert.are.equal(s, tools.unescape(s))
    end
    assert.are.equal("%A", tools.unescape "%%41")
  end)

  it("decodes once", function()
    assert.are.equal("%41", tools.unescape "%2541")
    assert.are.equal(1, select("#", tools.unescape "%41"))
  end)
end)

describe("fcgi.html", function()
  it("escapes what has a meaning in HTML", function()
    assert.are.equal("&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;",
      tools.html [[<a b="c" d='e'>&amp;]])
  end)

  it("leaves every other byte", function()
    local plain = every_byte:gsub("[&<>\"']", "")
    assert.are.equal(plain, tools.html(plain))
    assert.are.equal(251, #plain)
  end)

  it("gives one result", function()
    assert.are.equal(1, select("#", tools.html "<"))
    assert.are.equal(1, select("#", tools.html ""))
  end)

  it("costs a search when there is nothing to escape", function()
    local s = ("x"):rep(1 << 20)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, 10 do
      tools.html(s)
    end
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(grown < 10) -- KiB; a copy each would be 10 MiB
  end)
end)

describe("fcgi.encode_query", function()
  local encode = tools.encode_query

  it("sorts the names of a table", function()
    assert.are.equal("B=4&a=1&b=2&c=3", encode { c = 3, a = 1, b = 2, B = 4 })
  end)

  it("repeats a name whose value is a list", function()
    assert.are.equal("a=3&a=1&a=2&b=0", encode { b = 0, a = { 3, 1, "2" } })
    assert.are.equal("b=0", encode { a = {}, b = 0 })
  end)

  it("keeps the order of a list of pairs", function()
    assert.are.equal("b=1&a=2&b=3&c=4&c=5",
      encode { { "b", 1 }, { "a", 2 }, { "b", 3 }, { "c", { 4, 5 } } })
  end)

  it("takes a pair's name for its digits", function()
    assert.are.equal("7=x", encode { { 7, "x" } })
  end)

  it("sends booleans as words and numbers as Lua shows them", function()
    assert.are.equal("f=false&i=3&t=true&x=2.0",
      encode { t = true, f = false, i = 3, x = 2.0 })
  end)

  it("is empty for an empty table", function()
    assert.are.equal("", encode {})
  end)

  it("encodes as browsers do", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      local expected = char:find "[A-Za-z0-9*._-]" and char
        or char == " " and "+" or ("%%%02X"):format(byte)
      assert.are.equal(expected .. "=" .. expected, encode { [char] = char })
    end
  end)

  it("keeps a value from adding a pair", function()
    assert.are.equal("a=1%26admin%3D1%23%0D%0A", encode { a = "1&admin=1#\r\n" })
  end)

  it("is undone by decode_query", function()
    local all = { [""] = { "" }, [every_byte] = { every_byte, "+ %41" } }
    assert.are.same(all, (select(2, tools.decode_query(encode(all)))))
  end)

  it("raises at the caller's line for what is no query", function()
    local function bad(why, t)
      refuses("bad argument #1 to 'encode_query' (" .. why .. ")", encode, t)
    end
    bad("table expected, got nil", nil)
    bad("table expected, got string", "a=1")
    bad("the value of 'a' is a function", { a = print })
    bad("the list of 'a' holds a table", { a = { {} } })
    bad("the value of 'a' is a table that is no list", { a = { b = 1 } })
    bad("the value of 'a' is a table that is no list", { a = { 1, b = 1 } })
    bad("the value of 'a' is a table that is no list", { a = { 1, nil, 3 } })
    bad("a name is a boolean", { [true] = 1 })
    bad("a name is a number", { [0] = 1 })
    bad("item 1 is not {name, value}", { "a=1" })
    bad("item 2 is not {name, value}", { { "a", 1 }, {} })
    bad("the value of 'a' is a nil", { { "a" } })
    bad("a list of {name, value} has holes, or names besides",
      { { "a", 1 }, b = 2 })
  end)
end)

describe("fcgi.decode_query", function()
  it("gives first values and all values", function()
    local first, all = tools.decode_query "a=1&b=+%32&a=3&c"
    assert.are.same({ a = "1", b = " 2", c = "" }, first)
    assert.are.same({ a = { "1", "3" }, b = { " 2" }, c = { "" } }, all)
    assert.are.equal(2, select("#", tools.decode_query ""))
  end)

  it("knows no names but those sent", function()
    local first, all = tools.decode_query "__index=x"
    assert.are.same({ __index = "x" }, first)
    assert.are.same({ __index = { "x" } }, all)
    assert.is_nil(getmetatable(first))
  end)

  it("is linear in the number of equal names", function()
    local function cost(n)
      return instructions(tools.decode_query, ("a=1&"):rep(n))
    end
    local few, many = cost(1000), cost(10000)
    assert.is_true(many < 12 * few)
  end)
end)

describe("fcgi.date", function()
  it("is the date of RFC 9110", function()
    assert.are.equal("Sun, 06 Nov 1994 08:49:37 GMT", tools.date(784111777))
    assert.are.equal("Thu, 01 Jan 1970 00:00:00 GMT", tools.date(0))
    assert.are.equal("Tue, 29 Feb 2000 23:59:59 GMT", tools.date(951868799))
  end)

  it("names every day and month", function()
    for i, day in ipairs { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" } do
      assert.are.equal(day, tools.date((i - 1) * 86400):sub(1, 3))
    end
    for i, month in ipairs {
      "Jan", "Feb", "Mar", "Apr", "May", "Jun",
      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    } do
      local t = os.time { year = 2001, month = i, day = 15, hour = 12 }
      assert.are.equal(month, tools.date(t):sub(9, 11))
    end
  end)

  it("cuts fractions off", function()
    assert.are.equal(tools.date(5), tools.date(5.999))
    assert.are.equal(tools.date(-1), tools.date(-0.5))
    assert.are.equal("Wed, 31 Dec 1969 23:59:59 GMT", tools.date(-1))
  end)

  it("is that of now by default", function()
    local before = os.time()
    local text = tools.date()
    local found = false
    for t = before, os.time() do
      found = found or tools.date(t) == text
    end
    assert.is_true(found)
    assert.are.equal(#text, #tools.date(nil))
  end)

  it("reaches from the year 1 to 9999", function()
    assert.are.equal("Mon, 01 Jan 0001 00:00:00 GMT", tools.date(-62135596800))
    assert.are.equal("Fri, 31 Dec 9999 23:59:59 GMT", tools.date(253402300799))
    assert.are.equal("Fri, 31 Dec 9999 23:59:59 GMT",
      tools.date(253402300799.5))
    for _, t in ipairs {
      -62135596801, 253402300800, 0 / 0, math.huge, -math.huge,
      math.maxinteger, math.mininteger, 1e300,
    } do
      refuses("bad argument #1 to 'date' (not a time in the years 1 to 9999)",
        tools.date, t)
    end
  end)

  it("raises at the caller's line for what is no time", function()
    refuses("bad argument #1 to 'date' (number expected, got string)",
      tools.date, "0")
    refuses("bad argument #1 to 'date' (number expected, got boolean)",
      tools.date, false)
  end)

  it("does not depend on the locale", function()
    local date = os.date
    os.date = function(format, ...) -- luacheck: ignore
      assert.are.equal("!*t", format)
      return date(format, ...)
    end
    local text = tools.date(784111777)
    os.date = date -- luacheck: ignore
    assert.are.equal("Sun, 06 Nov 1994 08:49:37 GMT", text)
  end)
end)

describe("join", function()
  it("stays below the folder", function()
    for path, joined in pairs {
      [""] = "/r/", ["/"] = "/r/", ["a"] = "/r/a", ["/a/b"] = "/r/a/b",
      ["a//b/"] = "/r/a/b", ["./a/./b/."] = "/r/a/b", ["a/../b"] = "/r/b",
      ["a/b/../../c"] = "/r/c", ["..."] = "/r/...", ["..a"] = "/r/..a",
      ["a\\..\\b"] = "/r/a\\..\\b",
    } do
      assert.are.equal(joined, tools.join("/r", path))
      assert.are.equal(joined, tools.join("/r//", path))
    end
    assert.are.equal("/a", tools.join("/", "a"))
  end)

  it("gives nil for what leaves it", function()
    for _, path in ipairs { "..", "../a", "a/../..", "/../r/a", "a/../../r",
      "a\0", "\0" } do
      assert.is_nil(tools.join("/r", path))
    end
  end)

  it("refuses what is no string", function()
    refuses("bad argument #1 to 'join' (string expected, got nil)",
      tools.join)
    refuses("bad argument #2 to 'join' (string expected, got number)",
      tools.join, "/r", 1)
  end)

  it("does not take no folder for the root of the system", function()
    refuses("bad argument #1 to 'join' (a folder expected, got an empty string)",
      tools.join, "", "etc/passwd")
  end)
end)
