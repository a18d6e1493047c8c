describe("the type of a name", function()
  local mime

  before_each(function()
    package.loaded["fcgi.mime"] = nil
    mime = require "fcgi.mime"
  end)

  it("follows its ending", function()
    mime.files = {}
    for name, type in pairs {
      ["a.html"] = "text/html; charset=utf-8", ["A.CSS"] =
        "text/css; charset=utf-8", ["/x.y/a.png"] = "image/png",
      ["a.tar.gz"] = "application/gzip", ["a"] = "application/octet-stream",
      ["/a.html/b"] = "application/octet-stream",
      [".html"] = "application/octet-stream",
      ["a."] = "application/octet-stream", [""] = "application/octet-stream",
      ["a.nonsense"] = "application/octet-stream",
      ["a.json"] = "application/json",
    } do
      assert.are.equal(type, mime.type(name))
    end
  end)

  it("may be in the system's list", function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write("# a comment\napplication/x-one\tone uno\n",
      "application/x-none\n", "text/x-two two # not three\n",
      "image/x-other png\nbroken\n")
    file:flush()
    mime.files = { path .. ".none", path }
    assert.are.equal("application/x-one", mime.type("a.uno"))
    assert.are.equal("text/x-two; charset=utf-8", mime.type("a.two"))
    assert.are.equal("application/octet-stream", mime.type("a.three"))
    assert.are.equal("image/png", mime.type("a.png"))
    os.remove(path)
  end)
end)
