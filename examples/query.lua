-- The query string and cookies in a page; a cookie counts the visits.
-- Run: fcgi-lua --http=127.0.0.1:8080 query.lua
-- Try: curl -i -b visits=6 'http://127.0.0.1:8080/?name=Ada&tag=a&tag=%3Cb%3E'

local fcgi = require "fcgi"

local page = [[
<!DOCTYPE html>
<title>Query</title>
<h1>Hello, %s!</h1>
<p>This is your visit number %d.</p>
<ul>
%s</ul>
]]

function on_request(req)
  local visits = math.tointeger(tonumber(req:cookie "visits")) or 0
  visits = visits + 1

  local items = {}
  for i, tag in ipairs(req:query_all "tag") do
    items[i] = "<li>" .. fcgi.html(tag) .. "</li>\n"
  end

  req:set_header("Content-Type", "text/html; charset=utf-8")
  req:set_cookie("visits", visits) -- path=/, HttpOnly, SameSite=Lax
  -- fcgi.html: what a client sent must not become part of the page's markup.
  req:write(page:format(fcgi.html(req:query "name" or "world"), visits,
    table.concat(items)))
end
