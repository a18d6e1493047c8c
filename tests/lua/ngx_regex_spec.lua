--- ngx.re over lrexlib.
local re = require "fcgi.ngx.regex"

describe("match", function()
  it("gives the whole match, the groups and the names", function()
    local m = re.match("hello, 1234 x", [[([0-9])(?<rest>[0-9]+)]])
    assert.equal("1234", m[0])
    assert.equal("1", m[1])
    assert.equal("234", m[2])
    assert.equal("234", m.rest)
    assert.is_nil(re.match("hello", "[0-9]"))
    assert.equal("12", re.match(312, "[12]+")[0])
  end)

  it("has false for a group that took no part", function()
    local m = re.match("b", "(a)|(b)(c)?")
    assert.is_false(m[1])
    assert.equal("b", m[2])
    assert.is_false(m[3])
  end)

  it("knows the options", function()
    assert.equal("ABC", re.match("xABC", "abc", "i")[0])
    assert.is_nil(re.match("xABC", "abc", "ai"))
    assert.equal("b", re.match("a\nb", "^b", "m")[0])
    assert.is_nil(re.match("a\nb", "a.b"))
    assert.equal("a\nb", re.match("a\nb", "a.b", "s")[0])
    assert.equal("ab", re.match("ab", "a b", "x")[0])
    assert.equal("\xc3\xa9", re.match("\xc3\xa9", ".", "u")[0])
    assert.equal("\xc3", re.match("\xc3\xa9", ".")[0])
    assert.equal("ab", re.match("ab", "a|ab", "d")[0])
    assert.equal("a", re.match("ab", "a|ab", "jo")[0])
    assert.error_matches(function() re.match("a", "a", "q") end,
      'unknown flag "q" %(flags "q"%)')
  end)

  it("goes on where ctx says", function()
    local ctx = {}
    assert.equal("12", re.match("12ab34", "[0-9]+", "", ctx)[0])
    assert.equal(3, ctx.pos)
    assert.is_nil(re.match("12ab34", "[0-9]+", "a", ctx))
    assert.equal(3, ctx.pos)
    assert.equal("34", re.match("12ab34", "[0-9]+", "", ctx)[0])
    assert.equal(7, ctx.pos)
    assert.is_nil(re.match("12ab34", "[0-9]*x", "", ctx))
    assert.is_nil(re.match("12", "", "", { pos = 4 }))
    assert.equal("", re.match("12", "", "", { pos = 3 })[0])
    assert.equal("1", re.match("12", ".", "", { pos = -5 })[0])
  end)

  it("fills a table that it is given", function()
    local result = { 1, 2, 3, x = 1 }
    assert.equal(result, re.match("ab", "(a)(b)", "", nil, result))
    assert.same({ [0] = "ab", "a", "b" }, result)
  end)

  it("gives nil and why for a bad expression", function()
    local m, err = re.match("a", "(a")
    assert.is_nil(m)
    assert.matches("parenthesis", err)
    m, err = re.match("\xff", ".", "u")
    assert.is_nil(m)
    assert.is_string(err)
  end)

  it("raises for what is no text", function()
    assert.error_matches(function() re.match(nil, "a") end,
      "bad argument #1 to 'match' %(string expected, got nil")
    assert.error_matches(function() re.match("a", nil) end, "must be strings")
    assert.error_matches(function() re.match("a", "a", 1) end,
      "must be strings")
  end)

  it("forgets expressions when there are many", function()
    for i = 1, 3000 do
      assert.equal(i .. "", re.match(i, "^" .. i .. "$")[0])
    end
  end)
end)

describe("find", function()
  it("says where", function()
    assert.same({ 3, 4 }, { re.find("abcd", "c(d)") })
    assert.same({ 4, 4 }, { re.find("abcd", "c(d)", "", nil, 1) })
    assert.is_nil((re.find("abcd", "x")))
    assert.is_nil((re.find("abcd", "(x)?d", "", nil, 1)))
    assert.equal("nth out of bound", select(3, re.find("a", "a", "", nil, 1)))
    local ctx = { pos = 2 }
    assert.same({ 3, 3 }, { re.find("aba", "a", "", ctx) })
    assert.equal(4, ctx.pos)
    assert.is_nil((re.find("a", "a", "", { pos = 3 })))
    assert.is_string(select(3, re.find("a", "(")))
  end)
end)

describe("gmatch", function()
  local function all(...)
    local found = {}
    for m in re.gmatch(...) do
      found[#found + 1] = m[0]
    end
    return found
  end

  it("finds all of them", function()
    assert.same({ "a", "b", "c" }, all("a,b,c", "[^,]+"))
    assert.same({}, all("abc", "x"))
    assert.same({ "", "aa", "", "" }, all("baac", "a*"))
    assert.same({ "", "", "" }, all("\xc3\xa9\xc3\xa9", "", "u"))
    local iterate, err = re.gmatch("a", "(")
    assert.is_nil(iterate)
    assert.is_string(err)
  end)

  it("ends with an error", function()
    local iterate = re.gmatch("a\xff", ".", "u")
    local m, err = iterate()
    assert.is_nil(m)
    assert.is_string(err)
    assert.is_nil(iterate())
  end)
end)

describe("sub and gsub", function()
  it("replace by a template", function()
    assert.same({ "hello, [12][1]34", 1 }, { re.sub("hello, 1234", "([0-9])[0-9]",
      "[$0][$1]") })
    assert.same({ "a1b", 1 }, { re.sub("ab", "(a)", "${1}1") })
    assert.same({ "$b", 1 }, { re.sub("ab", "a", "$$") })
    assert.same({ "-", 1 }, { re.sub("b", "(a)?b", "-$1") })
    assert.same({ "abc", 0 }, { re.sub("abc", "x", "y") })
    assert.same({ "1b", 1 }, { re.sub("ab", "a", 1) })
    assert.same({ "xbxb", 2 }, { re.gsub("abab", "a", "x") })
    assert.same({ "-b-c-", 3 }, { re.gsub("bc", "", "-") })
    assert.same({ "-b--c-", 4 }, { re.gsub("baac", "a*", "-") })
    assert.error_matches(function() re.sub("a", "a", "$x") end,
      "bad replacement \"$x\"")
  end)

  it("replace by what a function returns", function()
    assert.same({ "<a><b>", 2 }, { re.gsub("ab", "(.)", function(m)
      assert(m[0] == m[1])
      return "<" .. m[1] .. ">"
    end) })
    assert.same({ "$1b", 1 }, { re.sub("ab", "a", function() return "$1" end) })
    assert.error_matches(function() re.sub("a", "a", function() end) end,
      "replacement must be a string, got nil")
    assert.error_matches(function() re.sub("a", "a", {}) end,
      "must be a string or a function, got table")
  end)

  it("give nil and why for a bad expression", function()
    local new, count, err = re.gsub("a", "(", "")
    assert.is_nil(new)
    assert.is_nil(count)
    assert.is_string(err)
    assert.is_string(select(3, re.gsub("a\xff", ".", "", "u")))
  end)

  it("let the replacement wait", function()
    local co = coroutine.wrap(function()
      return re.gsub("ab", ".", function(m)
        return coroutine.yield(m[0])
      end)
    end)
    assert.equal("a", co())
    assert.equal("b", co "1")
    assert.equal("12", (co "2"))
  end)
end)

describe("split", function()
  local split = re.module.split

  it("gives what lies between matches", function()
    assert.same({ "a", "b", "c" }, split("a,b,c", ","))
    assert.same({ "abc" }, split("abc", ","))
    assert.same({ "", "a", "" }, split(",a,", ","))
    assert.same({ "a", "b", "c" }, split("abc", ""))
    assert.same({ "a", ";", "b" }, split("a;b", "(;)"))
    assert.same({ "a", "b,c" }, split("a,b,c", ",", "", nil, 2))
    assert.same({ "b", "c" }, split("a,b,c", ",", "", { pos = 3 }))
    local result = { 1, 2, 3, 4 }
    assert.equal(result, split("a,b", ",", "", nil, nil, result))
    assert.same({ "a", "b" }, result)
    local pieces, err = split("a", "(")
    assert.is_nil(pieces)
    assert.is_string(err)
  end)
end)

describe("without lrexlib", function()
  it("says what is missing", function()
    local bare = dofile "lua/fcgi/ngx/regex.lua"
    local real = require
    _G.require = function(name) error("module '" .. name .. "' not found") end
    local ok, err = pcall(bare.match, "a", "a")
    _G.require = real
    assert.is_false(ok)
    assert.matches("ngx.re needs lrexlib over PCRE2 %(Debian: lua%-rex%-pcre2%)",
      err)
  end)
end)
