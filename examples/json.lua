-- A JSON API: objects to list, add, get, replace and delete, and an error that
-- says why for everything else.
-- Run: fcgi-lua --http=127.0.0.1:8080 json.lua
-- Try: curl --json '{"big": 9007199254740993}' http://127.0.0.1:8080/
--
-- dkjson (Debian: lua-dkjson) keeps what it reads: integers all their 64 bits,
-- 1 and 1.0 apart, [] and {} apart, null.  It takes a comma too many, or few.
-- With lua-cjson all numbers are floats, of which it writes 14 digits: that one
-- comes back as 9.007199254741e+15, and [] as {}.

local json = require "dkjson"

local ITEM_MAX, ITEMS_MAX = 16 * 1024, 1000
local items, count, last = {}, 0, 0 -- of this process, until it ends

local function answer(status, text, headers)
  headers = headers or {}
  headers["Content-Type"] = "application/json"
  return status, headers, { text, "\n" }
end

local function refuse(status, why, headers)
  return answer(status, json.encode { error = why }, headers)
end

-- The object in the body; or nil, a status and why.
local function read_object(req)
  local media_type = (req:header "Content-Type" or ""):match "^[^;%s]*"
  if media_type:lower() ~= "application/json" then
    return nil, 415, "Content-Type is not application/json"
  end
  local body = req:body(ITEM_MAX)
  if not body then return nil, 413, "more than " .. ITEM_MAX .. " bytes" end
  local value, rest, err = json.decode(body, 1, json.null)
  if err or body:find("%S", rest) or not utf8.len(body) then
    return nil, 400, err or "not JSON"
  elseif (getmetatable(value) or {}).__jsontype ~= "object" then
    return nil, 400, "not an object"
  elseif not utf8.len(json.encode(value)) then -- as in "\ud800"
    return nil, 400, "half a character"
  end
  return value
end

local function all_items()
  local ids, all = {}, {}
  for id in pairs(items) do ids[#ids + 1] = id end
  table.sort(ids)
  for i, id in ipairs(ids) do all[i] = items[id] end
  return "[" .. table.concat(all, ",") .. "]"
end

function on_request(req)
  local method, path = req:method(), req:path()
  local id = tonumber(path:match "^/(%d+)$")
  if path ~= "/" and not items[id] then
    return refuse(404, "not found")
  elseif method == "GET" or method == "HEAD" then
    return answer(200, items[id] or all_items())
  elseif method == "DELETE" and id then
    items[id], count = nil, count - 1
    return 204
  elseif method ~= (id and "PUT" or "POST") then
    return refuse(405, "not allowed", {
      Allow = id and "DELETE, GET, HEAD, PUT" or "GET, HEAD, POST" })
  end
  local value, status, why = read_object(req)
  if not value then return refuse(status, why) end
  if not id then
    if count == ITEMS_MAX then return refuse(507, "full") end
    count, last = count + 1, last + 1
  elseif not items[id] then -- deleted while its new value came
    return refuse(404, "not found")
  end
  value.id = id or last
  items[value.id] = json.encode(value, { keyorder = { "id" } })
  return answer(id and 200 or 201, items[value.id],
    { Location = value.id }) -- relative, so wherever this is mounted
end
