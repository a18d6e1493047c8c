-- A page from templates, by a library that exists: Penlight's pl.template
-- (Debian: lua-penlight), told to make everything safe for HTML.
-- Run: fcgi-lua --http=127.0.0.1:8080 template.lua
-- Try: curl 'http://127.0.0.1:8080/?q=%3Cmoon%3E'

local fcgi = require "fcgi"
local template = require "pl.template"

-- What is HTML already says so; anything else is text.
local function raw(html) return { html = html } end

local function safe(value)
  if type(value) == "table" then return value.html end
  return value == nil and "" or fcgi.html(tostring(value))
end

-- A function that makes HTML of a table of values.  In the template lines that
-- begin with # are Lua, and $(expression) is what it gives, made safe.  It must
-- not wait: have the values ready.
local function compile(name, text)
  text = text:gsub("%$(%b())", "$(safe%1)")
  local compiled = assert(template.compile(text, { chunk_name = name }))
  local known = { safe = safe, ipairs = ipairs, escape = fcgi.escape }
  return function(values)
    return raw(assert(compiled:render(values, known)))
  end
end

local layout = compile("layout", [[
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>$(title)</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font-family: sans-serif }
body { max-width: 36em; margin: 2em auto; padding: 0 1em; line-height: 1.5 }
input, button { font: inherit; padding: .3em .6em }
li { margin: .5em 0 } small { opacity: .7 }
</style>
<h1>$(title)</h1>
$(body)
]])

local books = compile("books", [[
<form><input type="search" name="q" value="$(query)"> <button>Search</button>
</form>
# if #found == 0 then
<p>Nothing has <q>$(query)</q> in its title.</p>
# else
<ul>
#   for _, book in ipairs(found) do
<li><a href="?q=$(escape(book.title))">$(book.title)</a>
<small>$(book.author), $(book.year)</small></li>
#   end
</ul>
# end
]])

local shelf = {
  { title = "Programming in Lua", author = "R. Ierusalimschy", year = 2016 },
  { title = "From the Earth to the Moon", author = "J. Verne", year = 1865 },
  { title = "Around the Moon", author = "J. Verne", year = 1869 },
  { title = "x < y & y > z", author = "D. E. Mo", year = 2026 },
}

function on_request(req)
  local query, found = req:query "q" or "", {}
  for _, book in ipairs(shelf) do
    if book.title:lower():find(query:lower(), 1, true) then
      found[#found + 1] = book
    end
  end
  local body = books { query = query, found = found }
  return 200, { ["Content-Type"] = "text/html; charset=utf-8" },
    layout({ title = "Books", body = body }).html
end
