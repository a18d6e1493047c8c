-- Hello, world: an answer of plain text that reads one value from the URL.
-- Run: fcgi-lua --http=127.0.0.1:8080 hello.lua
-- Try: curl 'http://127.0.0.1:8080/?name=Ada'

function on_request(req)
  local name = req:query "name" or "world"
  req:set_status(200):set_header("Content-Type", "text/plain; charset=utf-8")
  req:write("Hello, ", name, "!\n")
end
