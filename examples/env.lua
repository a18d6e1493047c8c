-- Everything the web server tells about a request: its parameters, sorted.
-- (Passwords and cookies too, so this is for looking, not for the public.)
-- Run: fcgi-lua --http=127.0.0.1:8080 env.lua
-- Try: curl -H 'X-Color: blue' 'http://127.0.0.1:8080/some/path?a=1'

function on_request(req)
  local params, names, lines = req:param(), {}, {}
  for name in pairs(params) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    lines[i] = name .. "=" .. params[name] .. "\n"
  end
  return 200, { ["Content-Type"] = "text/plain" }, lines
end
