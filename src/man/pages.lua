--- pages -- what stands on which page of the manual, and in what order.  What
--- is named nowhere stands on the first page, so nothing is ever lost.
---
--- A section has a chapter of meta.lua, or a title, or both; then, as far as
--- they are named here: a class, functions of the module (in this order; rest
--- stands for all that no section names), and groups, each with the name of the
--- class's function that it begins with: which are in it is the order of
--- meta.lua.  Tables stand below the first function that takes or gives them.
---
--- SPDX-License-Identifier: MIT

-- What a value of a class is called in headings.
local variables = {
  ["fcgi"] = "fcgi",
  ["fcgi.Channel"] = "channel",
  ["fcgi.Counter"] = "counter",
  ["fcgi.File"] = "file",
  ["fcgi.Gauge"] = "gauge",
  ["fcgi.Part"] = "part",
  ["fcgi.Process"] = "process",
  ["fcgi.Reader"] = "reader",
  ["fcgi.Request"] = "req",
  ["fcgi.Socket"] = "sock",
  ["fcgi.Task"] = "task",
  ["fcgi.Udp"] = "udp",
}

local pages = {
  {
    name = "fcgi-lua",
    about = "the Lua API of fcgi-lua",
    intro = {
      "Scripts that `fcgi-lua` runs answer requests by this interface: " ..
        "the object `req`, which handlers get, and the module `fcgi`.",
      "This page has what all scripts share, the small tools of the " ..
        "module, and a list of what stands on which page.  Whoever begins " ..
        "may rather begin with fcgi-lua-web(7), which leads from nothing to " ..
        "a form with uploads.",
    },
    synopsis = {
      'local fcgi = require "fcgi"',
      "",
      "function on_request(req)",
      '  return 200, { ["Content-Type"] = "text/plain" }, "hello\\n"',
      "end",
    },
    index = "The pages",
    sections = {
      { chapter = "The manual", title = "How to read the manual" },
      { chapter = "The script", class = "fcgi.App" },
      { chapter = "The life of a worker" },
      { chapter = "Failures" },
      { chapters = true },
      { title = "The module", class = "fcgi",
        functions = { "log", "now", "stats" } },
      { title = "Numbers for the status page",
        functions = { "counter", "gauge" } },
      { title = "Counters", class = "fcgi.Counter" },
      { title = "Gauges", class = "fcgi.Gauge" },
      { title = "Small tools", rest = true },
    },
  },
  {
    name = "fcgi-lua-request",
    about = "requests and their answers in Lua",
    intro = {
      "A handler gets a request, `req`: what the web server says of it, its " ..
        "body, and the answer.",
    },
    synopsis = {
      "function on_request(req)",
      '  local name = req:query "name" or "world"',
      '  req:set_header("Content-Type", "text/plain; charset=utf-8")',
      '  req:write("Hello, ", name, "!\\n")',
      "end",
    },
    sections = {
      { chapter = "The answer" },
      { chapter = "The head" },
      { chapter = "Forms and uploads" },
      { chapter = "The client goes" },
      { title = "The request", class = "fcgi.Request", groups = {
        { "What the web server says", "param" },
        { "Query, cookies", "query" },
        { "The body", "read" },
        { "Fields and files of a form", "form" },
        { "The file of a filter", "data" },
        { "Whether the client is there", "is_aborted" },
        { "The head of the answer", "set_status" },
        { "The answer as it is written", "write" },
        { "Whole answers", "send" },
        { "Events", "event" },
        { "The end", "finish" },
      } },
      { title = "Parts of a form", class = "fcgi.Part" },
      { title = "Requests as files", class = "fcgi.File" },
    },
  },
  {
    name = "fcgi-lua-tasks",
    about = "waiting, tasks and channels in Lua",
    intro = {
      "Each handler is a task.  What waits lets all other tasks run, and a " ..
        "handler with several things to wait for starts a task for each.",
    },
    sections = {
      { chapter = "Waiting" },
      { chapter = "Cancelling" },
      { chapter = "Tasks" },
      { title = "Time", functions = { "sleep", "timeout", "cancelled" } },
      { title = "Making tasks", functions = { "spawn", "every" } },
      { title = "The task", class = "fcgi.Task" },
      { title = "Channels", functions = { "channel" },
        class = "fcgi.Channel" },
    },
  },
  {
    name = "fcgi-lua-sockets",
    about = "sockets, and libraries that connect, in Lua",
    intro = {
      "Sockets with the names and meanings of LuaSocket, for which only the " ..
        "task waits that calls; and ways to run libraries that were written " ..
        "for LuaSocket, LuaSec, cqueues or OpenResty.",
    },
    sections = {
      { chapter = "Sockets" },
      { chapter = "Pools of connections" },
      { chapter = "Libraries for LuaSocket" },
      { chapter = "Libraries for cqueues" },
      { chapter = "Libraries for OpenResty" },
      { title = "Making sockets",
        functions = { "connect", "tcp", "udp", "resolve", "wait" } },
      { title = "The socket", class = "fcgi.Socket", groups = {
        { "Opening", "connect" },
        { "Receiving and sending", "receive" },
        { "Limits of time", "settimeout" },
        { "TLS", "sslhandshake" },
        { "Options", "setoption" },
        { "Closing, keeping", "close" },
        { "Descriptor, addresses, numbers", "getfd" },
      } },
      { chapter = "Datagrams", class = "fcgi.Udp" },
    },
  },
  {
    name = "fcgi-lua-programs",
    about = "programs that Lua scripts run",
    intro = {
      "os.execute and io.popen keep every request waiting until the program " ..
        "has ended.  These functions keep nobody waiting.",
    },
    sections = {
      { chapter = "Programs", functions = { "run", "popen" } },
      { title = "The process", class = "fcgi.Process" },
      { title = "Its outputs", class = "fcgi.Reader" },
    },
  },
}

return { pages = pages, variables = variables }
