--- fcgi.socket.select -- LuaSocket's select: which of many sockets are ready.
---
--- The task waits by fcgi.wait; for more than one object, by a task for each.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local _, private = ...

local wait, now, spawn = fcgi.wait, fcgi.now, fcgi.spawn
local new_waiter = private.waiter

--- What is wanted of each object that has a descriptor: "r", "w" or "rw".
local function list_wishes(recvt, sendt)
  local wishes, by_object = {}, {}
  for mode, list in pairs { r = recvt or {}, w = sendt or {} } do
    for _, object in ipairs(list) do
      local wish = by_object[object]
      if wish then
        wish.mode = "rw"
      elseif object:getfd() >= 0 then
        wish = { object = object, mode = mode }
        by_object[object] = wish
        wishes[#wishes + 1] = wish
      end
    end
  end
  return wishes, by_object
end

--- What a library has read from the descriptor, and was not asked for.
local function has_input(object)
  return object.dirty and object:dirty()
end

local function look(wish)
  local got = wait(wish.object, wish.mode, 0) or ""
  if wish.mode:find "r" and not got:find "r" and has_input(wish.object) then
    got = got .. "r"
  end
  wish.got = got
  return got ~= ""
end

local function look_at_all(wishes)
  local found = false
  for _, wish in ipairs(wishes) do
    found = look(wish) or found
  end
  return found
end

--- The tasks that wait end with whoever started them, however that ends.
local Group = {}

function Group:__close()
  for _, task in ipairs(self) do
    task:cancel()
  end
end

local function wait_for_one(wishes, seconds)
  local waiter = new_waiter()
  local group <close> = setmetatable({}, Group)
  for i, wish in ipairs(wishes) do
    group[i] = spawn(function()
      wait(wish.object, wish.mode)
      waiter:wake()
    end)
  end
  waiter:wait(seconds)
end

--- The objects of a list that are ready, and where they stand in it.
local function ready(list, mode, by_object)
  local found = {}
  for _, object in ipairs(list or {}) do
    local wish = by_object[object]
    if wish and wish.got:find(mode) and not found[object] then
      found[#found + 1] = object
      found[object] = #found
    end
  end
  return found
end

---@param recvt? table[] objects with getfd
---@param sendt? table[]
---@param timeout? number seconds; nil or negative: no limit
---@return table[] readable
---@return table[] writable
---@return "timeout"? err
return function(recvt, sendt, timeout)
  local wishes, by_object = list_wishes(recvt, sendt)
  local deadline = timeout and timeout >= 0 and now() + timeout
  local found = look_at_all(wishes)
  while not found do
    local left = deadline and deadline - now()
    if left and left <= 0 then
      break
    elseif #wishes == 1 then
      wait(wishes[1].object, wishes[1].mode, left or nil)
    else
      wait_for_one(wishes, left or nil)
    end
    found = look_at_all(wishes)
  end
  return ready(recvt, "r", by_object), ready(sendt, "w", by_object),
    not found and "timeout" or nil
end
