--- fcgi.mime -- the media type of a file by its name, as the system knows it.
-- SPDX-License-Identifier: MIT
local mime = {}

--- What a website is made of; the system's list says more, if it is there.
local types = {
  css = "text/css", csv = "text/csv", gif = "image/gif", gz = "application/gzip",
  htm = "text/html", html = "text/html", ico = "image/vnd.microsoft.icon",
  jpeg = "image/jpeg", jpg = "image/jpeg", js = "text/javascript",
  json = "application/json", md = "text/markdown", mjs = "text/javascript",
  mp3 = "audio/mpeg", mp4 = "video/mp4", pdf = "application/pdf",
  png = "image/png", svg = "image/svg+xml", txt = "text/plain",
  wasm = "application/wasm", webmanifest = "application/manifest+json",
  webm = "video/webm", webp = "image/webp", woff = "font/woff",
  woff2 = "font/woff2", xml = "text/xml", zip = "application/zip",
}

--- Where systems keep theirs.
mime.files = { "/etc/mime.types", "/usr/share/misc/mime.types" }

local is_read = false

--- A line names a type and the ends of names; what is known already stays.
local function read(path)
  local file = io.open(path)
  if not file then
    return false
  end
  for line in file:lines() do
    local kind, ends = line:match("^([^%s#]+/[^%s]+)%s+([^#]+)")
    if kind then
      for ending in ends:gmatch("%S+") do
        types[ending] = types[ending] or kind
      end
    end
  end
  file:close()
  return true
end

--- Of text the coding is told: without it browsers guess.
local function with_charset(kind)
  if kind:find("^text/") then
    return kind .. "; charset=utf-8"
  end
  return kind
end

--- The type of what is called so; "application/octet-stream" when nobody knows.
---@param name string
---@return string
function mime.type(name)
  local ending = (name:match("[^/]%.([^./]+)$") or ""):lower()
  if not types[ending] and not is_read then
    is_read = true
    for _, path in ipairs(mime.files) do
      if read(path) then break end
    end
  end
  return with_charset(types[ending] or "application/octet-stream")
end

return mime
