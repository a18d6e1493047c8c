--- fcgi.tls -- sockets that read and write through LuaSec.
---
--- LuaSec works on a duplicate of the socket's descriptor, which it closes; the
--- socket keeps its own, by which tasks wait.  Nothing here blocks: LuaSec may
--- take no time at all, and says what it wants.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local _, private = ...

local wait_raw, set_tls = private.wait_raw, private.set_tls
local now, wait = fcgi.now, fcgi.wait

--- How much LuaSec gives OpenSSL at once.
local PIECE = 8192

--- How much passes before others have their turn, however fast the peer is.
--- Whole pieces.
local TURN = 1 << 20

--- What LuaSec calls the end of a connection in the middle of something.
local ends = {
  ["unexpected eof while reading"] = true,
  ["Connection reset by peer"] = true,
  ["Broken pipe"] = true,
  ["System error"] = true,
  ["Success"] = true,
}

local function reason(err)
  return ends[err] and "closed" or err or "unknown error"
end

--- What a socket reads and writes through: see lua_stream.h.
local Layer = { __name = "tls" }
Layer.__index = Layer

--- Is it what LuaSec wants, rather than why it failed?
local function is_want(err)
  return err == "wantread" or err == "wantwrite"
end

--- Waits for what LuaSec wants.
---@param side? "r"|"w" of the socket, nil: in the handshake
local function wait_for(self, want, deadline, side)
  local ok, err = wait_raw(self.sock, want == "wantread" and "r" or "w",
    deadline and math.max(deadline - now(), 0), side)
  if ok and (self.failure or not self.conn) then -- another task has seen it
    return nil, self.failure or "closed"
  end
  return ok, err
end

--- Lets others have their turn, as who reads or writes this socket.
---@param side "r"|"w"
local function give_way(self, side)
  wait_raw(self.sock, "", 0.0001, side)
end

--- Can it be read and written?  What failed is not tried again: LuaSec would
--- never return.
local function is_usable(self)
  if not self.conn then
    return nil, "closed"
  elseif self.failure then
    return nil, self.failure
  end
  return self.is_up, "socket busy connecting"
end

---@param max integer bytes
---@param seconds? number
---@return string? bytes
---@return string? err
function Layer:read(max, seconds)
  if self.taken >= TURN then
    self.taken = 0
    give_way(self, "r")
  end
  local ok, err = is_usable(self)
  if self.has_ended then
    return nil, "closed"
  end
  local deadline = seconds and now() + seconds
  while ok do
    local data, part
    data, err, part = self.conn:receive(math.min(max, 8 * PIECE))
    self.has_read = true
    if err == "closed" then -- the peer has said goodbye, and may still listen
      self.has_ended = true
    elseif err and not is_want(err) then
      self.failure = reason(err)
    end
    data = data or part
    if data and data ~= "" then
      self.taken = self.taken + #data
      return data
    elseif self.has_ended or self.failure then
      return nil, self.failure or "closed"
    end
    self.taken = 0
    ok, err = wait_for(self, err, deadline, "r")
  end
  return nil, err
end

--- Of a write that was broken off OpenSSL has a piece, which it has to send
--- before anything else.
local function is_other(self, data)
  if not self.pending then
    return false
  end
  local from = self.pending_from
  local piece = self.pending:sub(from, from + PIECE - 1)
  return data:sub(1, #piece) ~= piece
end

---@param data string
---@param seconds? number
---@return true? ok
---@return string? err
---@return integer? sent bytes
function Layer:write(data, seconds)
  local ok, err = is_usable(self)
  local deadline = seconds and now() + seconds
  local from = 1
  if ok and is_other(self, data) then
    return nil, "other data is half sent", 0
  end
  while ok do
    local last, sent
    last, err, sent = self.conn:send(data, from,
      math.min(from + TURN - 1, #data))
    from = math.tointeger(last or sent) + 1
    if last then
      self.pending = nil
      if from > #data then
        return true
      end
      give_way(self, "w")
      ok, err = is_usable(self)
    elseif is_want(err) then
      self.pending, self.pending_from = data, from
      ok, err = wait_for(self, err, deadline, "w")
    else
      self.failure = reason(err)
      return nil, self.failure, from - 1
    end
  end
  return nil, err, from - 1
end

--- Are bytes there that were not asked for?
function Layer:dirty()
  return self.conn ~= nil and self.conn:dirty()
end

--- Is it of no use to anybody else?
function Layer:is_broken()
  return not (self.conn and self.is_up) or self.pending ~= nil
    or self.failure ~= nil or self.has_ended
end

--- LuaSec would wait until its goodbye is sent: it says one only where that
--- takes no time, and where nothing is broken off.  TCP resets a connection
--- that is closed with bytes unread, so that the peer loses what we have sent:
--- such bytes are the tickets that servers send after each handshake.
function Layer:close()
  local conn = self.conn
  self.conn = nil
  if not conn then
    return
  end
  if self.is_up and not self.has_read and not self.failure then
    conn:receive(PIECE)
  end
  if self.is_up and (self.pending or not wait(self.sock, "w", 0)) then
    self.sock:shutdown "both"
  end
  conn:close()
end

--- Before that of LuaSec's object, because it is younger.
Layer.__gc = Layer.close

--- LuaSec's callbacks use the coroutine that has called dohandshake last, even
--- in a read much later, when the peer negotiates again: it must never end.
local handshaker = coroutine.wrap(function(conn)
  while true do
    conn = coroutine.yield(pcall(conn.dohandshake, conn))
  end
end)

local function pass(ran, ...)
  if not ran then
    error((...), 0)
  end
  return ...
end

--- One attempt after the other, until it is done.
---@param seconds? number
---@return true? ok
---@return string? err
---@return string? want "wantread" or "wantwrite" at a timeout
function Layer:handshake(seconds)
  local deadline = seconds and now() + seconds
  while self.conn do
    local done, want = pass(handshaker(self.conn))
    if done then
      self.is_up = true
      return true
    end
    if not is_want(want) then
      return nil, reason(want)
    end
    local ok, err = wait_for(self, want, deadline)
    if not ok then
      return nil, err, want
    end
  end
  return nil, "closed"
end

local tls = {}

--- Puts a layer on a connected socket; the handshake is still to come.
---@param context userdata of LuaSec
---@return table? layer
---@return string? err
function tls.wrap(sock, context)
  local core = require "ssl.core"
  local busy = private.busy(sock)
  if busy then
    return nil, busy
  elseif sock:dirty() then -- it came without encryption: anybody may have sent it
    return nil, "unread data in buffer"
  end
  local conn, err = core.create(context)
  if not conn then
    return nil, err
  end
  local layer = setmetatable({
    sock = sock, conn = conn, context = context, taken = 0,
  }, Layer)
  local fd
  fd, err = private.duplicate(sock:getfd())
  if not fd then
    return nil, err
  end
  core.setfd(conn, fd)
  conn:settimeout(0)
  set_tls(sock, layer)
  return layer
end

return tls
