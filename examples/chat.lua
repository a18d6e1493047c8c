-- A chat: what one says all hear, on any worker of any machine, through redis.
-- Each worker has one connection that listens, and a pool of those that speak.
-- Run: fcgi-lua --http=127.0.0.1:8080 chat.lua
-- Try: curl -N http://127.0.0.1:8080/ & curl -d 'Hello!' http://127.0.0.1:8080/

local fcgi = require "fcgi"

local address = (...) or "127.0.0.1:6379"

-- A reply: a string or a list of replies.
local function receive(sock)
  local kind, rest = assert(sock:receive()):match "^(.)(.*)$"
  if kind == "-" then error(rest, 0) end
  if kind == "$" then return assert(sock:receive(rest + 2)):sub(1, -3) end
  if kind ~= "*" then return rest end
  local list = {}
  for i = 1, tonumber(rest) do list[i] = receive(sock) end
  return list
end

local inboxes = {} -- a channel for each client that listens

local function listen()
  local sock <close> = assert(fcgi.connect(address))
  assert(sock:send "SUBSCRIBE chat\r\n")
  while true do
    local message = receive(sock) -- "message", "chat", the text
    for inbox in pairs(inboxes) do inbox:put(message[3], 0) end -- full: not him
  end
end

fcgi.spawn(function()
  while true do
    local _, err = fcgi.spawn(listen):join()
    fcgi.log("warn", "redis: ", err)
    fcgi.sleep(1)
  end
end)

local function say(text)
  local sock <close> = assert(fcgi.connect(address, { pool_size = 10 }))
  assert(sock:send { "*3\r\n$7\r\nPUBLISH\r\n$4\r\nchat\r\n$", #text, "\r\n",
    text, "\r\n" })
  receive(sock)
  sock:setkeepalive(60)
end

local function hear(req)
  local inbox = fcgi.channel(16)
  local _ <close> = setmetatable({}, { __close = function()
    inboxes[inbox] = nil
  end })
  inboxes[inbox] = true
  req:set_header("Content-Type", "text/event-stream")
  req:set_header("X-Accel-Buffering", "no")
  local event = ":" -- a comment, as a sign of life
  while req:write(event, "\n\n") and req:flush() do
    local text = inbox:get(20)
    event = text and "data: " .. text:gsub("[\r\n]+", "\ndata: ") or ":"
  end
end

local function on_request(req)
  if req:method() ~= "POST" then return hear(req) end
  say(req:body(4096) or "(a long speech)")
  return 204
end

-- abort: who has left is not waited for.
return { on_request = on_request, abort = "cancel" }
