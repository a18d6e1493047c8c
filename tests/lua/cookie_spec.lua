local cookie = require "fcgi.cookie"

--- As one string, since most cases are easier to read so.
local function decoded(header)
  local parts = {}
  for _, pair in ipairs(cookie.decode(header)) do
    assert.are.equal(2, #pair)
    parts[#parts + 1] = ("[%s]=[%s]"):format(pair[1], pair[2])
  end
  return table.concat(parts, " ")
end

--- CPU seconds of one call.
local function cost(header)
  collectgarbage()
  local start = os.clock()
  cookie.decode(header)
  return os.clock() - start
end

describe("fcgi.cookie.decode", function()
  it("gives names and values in order, repeated ones too", function()
    assert.are.equal("[b]=[1] [a]=[2] [b]=[3]", decoded "b=1; a=2; b=3")
  end)

  it("gives an empty list for an empty header", function()
    assert.are.same({}, cookie.decode "")
    assert.are.same({}, cookie.decode " \t ")
    assert.are.same({}, cookie.decode ";; ;")
  end)

  it("needs no blank after the semicolon", function()
    assert.are.equal("[a]=[1] [b]=[2]", decoded "a=1;b=2;")
  end)

  it("drops blanks and tabs around names and values only", function()
    assert.are.equal("[a]=[x  y] [b]=[]", decoded " \ta\t= x  y \t;\tb = ")
  end)

  it("strips a pair of quotes, and nothing else", function()
    assert.are.equal('[a]=[1] [b]=[] [c]=["] [d]=["x] [e]=[x"]',
      decoded 'a="1"; b=""; c="; d="x; e=x"')
    assert.are.equal('[a]=[ x ] [b]=["x"]', decoded 'a=" x "; b=""x""')
  end)

  it("splits at the first = only", function()
    assert.are.equal("[a]=[b=c==]", decoded "a=b=c==")
  end)

  it("keeps commas, escapes and pluses as they are", function()
    assert.are.equal("[a]=[1, b=2] [c]=[%41+x]", decoded "a=1, b=2; c=%41+x")
  end)

  it("skips what has no = or no name", function()
    assert.are.equal("[a]=[1]", decoded "flag; =x; a=1; ; =;  = y")
  end)

  it("tells names apart by case", function()
    assert.are.equal("[a]=[1] [A]=[2]", decoded "a=1; A=2")
  end)

  it("passes every byte that has no meaning through", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      if not char:find('[;=" \t]') then
        assert.are.same({ { char, char } },
          cookie.decode(char .. "=" .. char))
      end
    end
  end)

  it("decodes many cookies", function()
    local pieces = {}
    for i = 1, 50000 do
      pieces[i] = ('name%d="%d"'):format(i, i)
    end
    local found = cookie.decode(table.concat(pieces, "; "))
    assert.are.equal(50000, #found)
    for i, pair in ipairs(found) do
      if pair[1] ~= "name" .. i or pair[2] ~= tostring(i) then
        error(("pair %d is %q, %q"):format(i, pair[1], pair[2]))
      end
    end
  end)

  -- A quadratic decoder would need a minute for these.
  for _, piece in ipairs {
    ";", "=", " ", "\t", '"', "a", "\0", "a;", "a=;", " ;", "a =", 'a="" ',
  } do
    local filler = piece:rep((1 << 18) // #piece)
    for _, shape in ipairs { "%s", "a=%s", "a=%sx", 'a="%s', "%s=x", "x%sx" } do
      it(("is linear in 256 KiB of %q as %s"):format(piece, shape), function()
        assert.is_true(cost((shape:gsub("%%s", function()
          return filler
        end))) < 2)
      end)
    end
  end
end)

describe("fcgi.cookie.encode", function()
  local encode = cookie.encode

  local function refuses(why, ...)
    local ok, err = pcall(encode, ...)
    assert.is_false(ok)
    assert.are.equal(why, err)
  end

  it("is careful by default", function()
    assert.are.equal("a=1; Path=/; HttpOnly; SameSite=Lax", encode("a", "1"))
    assert.are.equal("a=1; Path=/; HttpOnly; SameSite=Lax",
      encode("a", 1, {}))
    assert.are.equal("a=; Path=/; HttpOnly; SameSite=Lax", encode("a", ""))
  end)

  it("writes every option", function()
    assert.are.equal("a=b; Path=/x; Domain=example.org; Max-Age=60; "
      .. "Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; HttpOnly; "
      .. "SameSite=Strict; Partitioned", encode("a", "b", {
        path = "/x", domain = "example.org", max_age = 60.0,
        expires = 784111777, secure = true, http_only = true,
        same_site = "Strict", partitioned = true,
      }))
  end)

  it("leaves out what is switched off", function()
    assert.are.equal("a=b", encode("a", "b", {
      path = false, http_only = false, same_site = false, secure = false,
      partitioned = false,
    }))
  end)

  it("takes same_site in any case", function()
    for _, given in ipairs { "strict", "STRICT", "sTrict" } do
      assert.are.equal("a=b; Path=/; HttpOnly; SameSite=Strict",
        encode("a", "b", { same_site = given }))
    end
    assert.are.equal("a=b; Path=/; Secure; HttpOnly; SameSite=None",
      encode("a", "b", { same_site = "none", secure = true }))
  end)

  it("deletes with the attributes that name the cookie", function()
    assert.are.equal("a=; Path=/; Max-Age=0; "
      .. "Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax",
      encode("a", nil))
    assert.are.equal("__Secure-a=; Path=/x; Domain=example.org; Max-Age=0; "
      .. "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; "
      .. "SameSite=Lax", encode("__Secure-a", nil, {
        path = "/x", domain = "example.org", secure = true, max_age = 60,
        expires = 784111777,
      }))
  end)

  it("lets no byte begin another attribute or header", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      if byte < 32 or byte == 127 or char == ";" then
        local why = " has a ';' or a control byte"
        refuses("the value" .. why, "a", "b" .. char .. "c")
        refuses("the value" .. why, "a", char)
        refuses("the path" .. why, "a", "b", { path = "/" .. char })
        refuses("the domain" .. why, "a", "b", { domain = "x" .. char })
      else
        assert.are.equal("a=" .. char .. "; Path=/" .. char
          .. "; HttpOnly; SameSite=Lax",
          encode("a", char, { path = "/" .. char }))
      end
    end
  end)

  it("takes tokens as names only", function()
    local token = "!#$%&'*+-.^_`|~"
    for byte = 0, 255 do
      local char = string.char(byte)
      if char:find "[A-Za-z0-9]" or token:find(char, 1, true) then
        assert.are.equal("x" .. char .. "=; Path=/; HttpOnly; SameSite=Lax",
          encode("x" .. char, ""))
      else
        refuses("the name of a cookie is a token", "x" .. char, "")
        refuses("the name of a cookie is a token", char .. "x", "")
      end
    end
    refuses("the name of a cookie is a token", "", "x")
    refuses("the name of a cookie is a token", nil, "x")
    refuses("the name of a cookie is a token", 1, "x")
  end)

  it("refuses what a browser would drop", function()
    refuses('same_site = "None" needs secure = true', "a", "b",
      { same_site = "None" })
    refuses("partitioned needs secure = true", "a", "b",
      { partitioned = true })
    for _, name in ipairs { "__Secure-a", "__secure-a", "__SECURE-" } do
      refuses("a cookie named __Secure-... needs secure = true", name, "b")
      assert.matches("; Secure", encode(name, "b",
        { secure = true, path = "/x", domain = "example.org" }))
    end
    for _, name in ipairs { "__Host-a", "__host-a", "__HOST-" } do
      for _, options in ipairs {
        {}, { secure = true, path = "/x" }, { secure = true, path = false },
        { secure = true, domain = "example.org" },
      } do
        refuses("a cookie named __Host-... needs secure = true, the path '/' "
          .. "and no domain", name, "b", options)
      end
      assert.are.equal(name .. "=b; Path=/; Secure; HttpOnly; SameSite=Lax",
        encode(name, "b", { secure = true }))
    end
    assert.matches("^_Host%-a=b", encode("_Host-a", "b"))
    assert.matches("^a__Secure%-=b", encode("a__Secure-", "b"))
  end)

  it("refuses options that it does not know", function()
    for _, option in ipairs { "http-only", "HttpOnly", "Secure", "maxage", 1 } do
      refuses(("unknown option '%s'; known are domain, expires, http_only, "
        .. "max_age, partitioned, path, same_site, secure"):format(option),
        "a", "b", { [option] = true })
    end
    refuses("options are a table, not a string", "a", "b", "secure")
    refuses("options are a table, not a boolean", "a", "b", false)
  end)

  it("refuses options of the wrong kind", function()
    local wrong = {
      { "secure", "yes", "a boolean, not a string" },
      { "secure", 1, "a boolean, not a number" },
      { "http_only", "false", "a boolean, not a string" },
      { "partitioned", {}, "a boolean, not a table" },
      { "path", true, "a string, not a boolean" },
      { "domain", false, "a string, not a boolean" },
      { "max_age", "60", "a number, not a string" },
      { "expires", "Sun, 06 Nov 1994", "a number, not a string" },
      { "same_site", true, "a string, not a boolean" },
    }
    for _, case in ipairs(wrong) do
      refuses(("the option %s is %s"):format(case[1], case[3]), "a", "b",
        { [case[1]] = case[2] })
    end
    for _, seconds in ipairs { 1.5, 0 / 0, math.huge } do
      refuses("the option max_age is an integer, in seconds", "a", "b",
        { max_age = seconds })
      if seconds ~= 1.5 then
        refuses("the option expires is not a time in the years 1 to 9999",
          "a", "b", { expires = seconds })
      end
    end
    for _, name in ipairs { "", "Laxx", "Lax; Domain=x", "lax\n" } do
      refuses('the option same_site is "Lax", "Strict", "None" or false',
        "a", "b", { same_site = name })
    end
    for _, path in ipairs { "", "x", " /" } do
      refuses("the path of a cookie begins with '/'; false: none", "a", "b",
        { path = path })
    end
    refuses("the domain is empty", "a", "b", { domain = "" })
    refuses("the value of a cookie is a string, a number or nil, not a table",
      "a", {})
    refuses("the value of a cookie is a string, a number or nil, not a "
      .. "boolean", "a", false)
  end)

  it("changes no table that it was given", function()
    local options = { secure = true }
    encode("a", nil, options)
    assert.are.same({ secure = true }, options)
  end)
end)
