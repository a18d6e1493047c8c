local urlencoded = require "fcgi.urlencoded"

--- As one string, since most cases are easier to read so.
local function decoded(s)
  local parts = {}
  for _, pair in ipairs(urlencoded.decode(s)) do
    assert.are.equal(2, #pair)
    parts[#parts + 1] = ("[%s]=[%s]"):format(pair[1], pair[2])
  end
  return table.concat(parts, " ")
end

--- CPU seconds of one call.
local function cost(s)
  collectgarbage()
  local start = os.clock()
  urlencoded.decode(s)
  return os.clock() - start
end

describe("fcgi.urlencoded.decode", function()
  it("gives names and values in order, repeated ones too", function()
    assert.are.equal("[b]=[1] [a]=[2] [b]=[3]", decoded "b=1&a=2&b=3")
  end)

  it("gives an empty list for an empty string", function()
    assert.are.same({}, urlencoded.decode "")
  end)

  it("skips empty pieces", function()
    assert.are.equal("", decoded "&")
    assert.are.equal("[a]=[1] [b]=[2]", decoded "&&a=1&&&b=2&")
  end)

  it("takes a piece without = for a name", function()
    assert.are.equal("[a]=[] [b]=[] [c]=[]", decoded "a&b=&c")
  end)

  it("keeps an empty name", function()
    assert.are.equal("[]=[1] []=[]", decoded "=1&=")
  end)

  it("splits at the first = only", function()
    assert.are.equal("[a]=[b=c=]", decoded "a=b=c=")
  end)

  it("does not take ; for a separator", function()
    assert.are.equal("[a]=[1;b=2]", decoded "a=1;b=2")
  end)

  it("reads + as a space, %2B as a plus", function()
    assert.are.equal("[a b]=[ c+d ]", decoded "a+b=+c%2Bd+")
  end)

  it("decodes after it has split", function()
    assert.are.equal("[a=b]=[c&d]", decoded "a%3Db=c%26d")
  end)

  it("decodes once", function()
    assert.are.equal("[a]=[%41]", decoded "a=%2541")
  end)

  it("leaves bad escapes as they are", function()
    for _, bad in ipairs { "%", "%%", "%4", "%g1", "%1g", "% 41", "%-1" } do
      assert.are.equal(("[a]=[%s]"):format(bad), decoded("a=" .. bad))
    end
    assert.are.equal("[a]=[%A]", decoded "a=%%41")
    assert.are.equal("[a]=[%4%4A]", decoded "a=%4%4%41")
  end)

  it("decodes every byte in every spelling", function()
    for byte = 0, 255 do
      local lower = ("%02x"):format(byte)
      for _, hex in ipairs {
        lower, lower:upper(),
        lower:sub(1, 1):upper() .. lower:sub(2),
        lower:sub(1, 1) .. lower:sub(2):upper(),
      } do
        local pair = urlencoded.decode("%" .. hex .. "=x%" .. hex)[1]
        assert.are.equal(string.char(byte), pair[1])
        assert.are.equal("x" .. string.char(byte), pair[2])
      end
    end
  end)

  it("passes every byte that has no meaning through", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      if not char:find("[&=+%%]") then
        assert.are.same({ { char, char } },
          urlencoded.decode(char .. "=" .. char))
      end
    end
  end)

  it("decodes many pairs", function()
    local pieces = {}
    for i = 1, 50000 do
      pieces[i] = ("name%d=%%41+%d"):format(i, i)
    end
    local pairs_found = urlencoded.decode(table.concat(pieces, "&"))
    assert.are.equal(50000, #pairs_found)
    for i, pair in ipairs(pairs_found) do
      if pair[1] ~= "name" .. i or pair[2] ~= "A " .. i then
        error(("pair %d is %q, %q"):format(i, pair[1], pair[2]))
      end
    end
  end)

  it("gives up when there are more pairs than are wanted", function()
    assert.is_nil(urlencoded.decode("a&b&&c&", 2))
    assert.are.same({ { "a", "" }, { "b", "" } }, urlencoded.decode("a&b", 2))
    assert.are.same({ { "a", "" } }, urlencoded.decode("&&a&&", 1))
    assert.are.same({}, urlencoded.decode("&&", 0))
    assert.is_nil(urlencoded.decode("a", 0))
  end)

  -- A quadratic decoder would need a minute for these.
  for _, piece in ipairs {
    "&", "=", "+", "%", "%4", "%41", "a", " ", "\0", "a&", "=&", "a=&", "%&",
  } do
    it(("is linear in 256 KiB of %q"):format(piece), function()
      assert.is_true(cost(piece:rep((1 << 18) // #piece)) < 2)
    end)
  end
end)
