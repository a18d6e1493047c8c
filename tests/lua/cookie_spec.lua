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
