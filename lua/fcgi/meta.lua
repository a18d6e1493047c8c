---@meta fcgi
-- SPDX-License-Identifier: MIT
--[==[
The Lua API of fcgi-lua: its manual, and its definitions for editors.

This file is never loaded.  lua-language-server reads it: let its setting
workspace.library name the folder that holds fcgi/meta.lua.

# The manual

Every example but those that define a hook is the body of a handler.  All of
them answer this request, which the web server calls /app plus /shoes:

    curl -H 'Content-Type: text/plain' -b 'visits=6; theme=dark' \
      --data-binary $'one\ntwo\n' \
      'http://shop.example/app/shoes?name=Ada%20L&tag=a&tag=b'

What follows `-->` is what was printed or assigned in that line:

```lua
print(req:query "name") --> "Ada L"
print(req:method(), req:host()) --> "POST", "shop.example"
```

Times are in seconds, as integers or floats.  Sizes are in bytes.  Strings are
bytes: nothing is decoded or encoded behind your back.  An integer stays an
integer.  Of accessors `NAME(key)` gives the first value or nil, `NAME_all(key)`
a list of all of them, `NAME()` a table of the first values by name; each table
is the caller's own.

# The script

A script is loaded once, then serves all requests, so its globals and upvalues
live from one request to the next.  It defines a global function `on_request`,
or returns a function, or returns a table of hooks and settings: fcgi.App.  Its
arguments from the command line are in `...`, in `arg` and in fcgi.args.
`print` and io.stdout go to the log, never into an answer.

```lua
local fcgi = require "fcgi"

function on_request(req)
  local name = req:query "name" or "world"
  req:set_status(200)
  req:set_header("Content-Type", "text/plain; charset=utf-8")
  req:write("Hello, ", name, "!\n")
  fcgi.log("info", "greeted ", name)
end
```

# The life of a worker

A worker is a process that serves.  Three hooks frame its life: `on_start` runs
once for each generation of the script, after it was loaded and before there are
workers; `on_worker` in each worker before it accepts; `on_exit` when its last
request has ended; its reason is "stop", "reload", "max-requests",
"max-memory", or "orphan" when the supervisor has died.  The last two are tasks
of the worker: they may wait, and what they spawn lives until on_exit has ended.
`--load-timeout` limits the top level, on_start and on_worker.

```lua
local fcgi = require "fcgi"
local visits

function on_worker(id)
  visits = 0
  fcgi.every(60, function() fcgi.log("info", visits, " visits") end)
end

function on_exit(id, reason)
  fcgi.log("notice", "worker ", id, " ends (", reason, "): ", visits)
end

function on_request(req)
  visits = visits + 1
  return 200, { ["Content-Type"] = "text/plain" }, visits .. "\n"
end
```

An error in on_start is an error of loading; one in on_worker ends the worker,
which does not serve then.  SIGHUP loads the script anew, beside the one that
serves: first in a child, so the top level should have no lasting effects, then
in the process itself.  When its on_worker has ended it gets all further
requests; those that have begun end with the script that they began with.  That
one's on_exit gets "reload", and its other tasks are cancelled.  When anything
fails on the way the old script serves on.  Globals are not handed over.

# The answer

A handler may return `status[, headers[, body]]`: an integer from 200 to 599, a
table of headers, and a string, a number, a list of them, an iterator function
or an open file.  Any other first result (nothing, nil, true, req) means that
it has answered by itself; the request then ends with app status 0.

```lua
return 404, { ["Content-Type"] = "text/plain" }, "No such shoe.\n"
```

An iterator is called until it gives nil, and may wait.  A file is sent from
where it stands, then closed.  Where the size is known Content-Length is set.
A status that is returned after the head has gone is logged as an error.

# The head

Whoever calls set_status, set_header, add_header or set_cookie, or returns a
status, leaves the head to the gateway: it goes with the first bytes of the
body, at a flush or at the end.  Call one of them before the first write.
Without a status it says 200, or 302 if there is a Location.  Otherwise the
first bytes that are written are the head, as in CGI: lines of `Name: value`,
then an empty line.

```lua
req:write("Content-Type: text/plain\r\n\r\n", "hello\n")
```

A head that is not one is answered with 500 and explained in the log.  A head
has at most 64 KiB, less 512 bytes.  After it has gone, or was begun by a write,
changing it raises an error.  What is written to a HEAD request, or with status
204 or 304, is thrown away.

# Forms and uploads

req:form gives the fields of a form, however it was sent (urlencoded, or as
multipart/form-data), from a body of at most 16 MiB, which it holds in memory.
req:parts is for uploads of any size: it gives the fields and files one by one
as they come, and holds none of them.  The examples about forms answer this
request, where shoes.csv has two lines:

    curl -F name=Ada -F tag=a -F tag=b -F 'list=@shoes.csv;type=text/csv' \
      'http://shop.example/app/shoes'

```lua
print(req:form "name") --> "Ada"
print(req:form_all "tag") --> { "a", "b" }
print(req:form "list") --> "boots,9\nclogs,7\n"
```

A body is taken in one way: as a form, in parts, as a whole (req:body) or as it
comes (req:read, read_line and lines).  A second way raises.

# Waiting

Functions that may wait let other requests go on meanwhile.  They are marked:
`@async` in this file, "May wait." in its pages for man.  They work inside
pcall, metamethods, iterators and coroutines.  Where Lua cannot be left (in a
comparator of table.sort, a replacement function of string.gsub) they raise
"cannot wait here"; so they do outside of tasks, that is while the script is
being loaded.  A call that need not wait does not look whether it could.
Whatever else takes time, such as os.execute or a library that blocks, stops
the whole process.

A module may wait while it is loaded by a handler, a task or on_worker.  Others
that require it meanwhile wait for the end of that; when it fails they get the
error, and whoever comes later loads it anew.  Modules that require one another
in a loop raise an error, unless they set package.loaded first.

```lua
local fcgi = require "fcgi"
package.preload.prices = function() -- stands for prices.lua
  fcgi.sleep(0.01) -- asks somebody
  return { socks = 3 }
end
print(require "prices".socks) --> 3
```

A wait passes through coroutines: coroutine.resume does not return before
the coroutine inside has yielded, returned or raised by itself.  To everybody
else the waiting coroutine is "normal".  When another task closes it its wait
ends, and the resume that was under way gives false and an error.  A task's own
coroutine cannot be closed, nor can it yield: nobody would resume it.

```lua
local fcgi = require "fcgi"
local numbers = coroutine.wrap(function()
  for n = 1, 3 do
    fcgi.sleep(0.001) -- waits; the loop below sees nothing of it
    coroutine.yield(n)
  end
end)
local sum = 0
for n in numbers do sum = sum + n end
print(sum) --> 6
```

# Failures

When the world fails, a function gives nil and a short fixed reason, such as
"timeout", "closed", "aborted" or "too large".  Misuse, such as a wrong
argument, raises an error that names the script's line.  An error that nobody
catches is logged with its traceback; the client gets a 500, or sees the answer
broken off if it had begun.  fcgi.App's on_error can answer instead.  A broken
upload raises, too, in the loop over req:parts, but that is the client's fault:
it gets a 400.

```lua
local body, err = req:body(4) --> nil, "too large"
local ok = pcall(req.param, req, {}) --> false
```

# The client goes

When the client, or the web server, ends a request early it is aborted.
Nothing is interrupted: reads and writes of that request give nil, "aborted",
the loop over req:parts raises instead of ending, functions given to
req:on_abort run, and the handler ends by itself.  In a script whose table says
`abort = "cancel"` the handler is cancelled.

# Cancelling

A task is cancelled by task:cancel, by the end of what it belongs to, by
`--timeout`, or at a stop when `--grace` is over.  The wait under way, or else
the next one, raises an error: once.  A wait that is just over still gives what
it waited for.  For 5 seconds after that waits work, so that pcall and `<close>`
variables can clean up; then every wait raises again, and at last the task is
closed without waiting.  A task that has not begun never begins.  The error is
no string, but a value whose tostring is "cancelled: REASON"; fcgi.cancelled
gives the reason:

| reason      | why                                                         |
|-------------|-------------------------------------------------------------|
| "cancelled" | task:cancel() without a reason                              |
| "closed"    | the block of `local t <close> = fcgi.spawn(f)` has ended    |
| "finished"  | the handler whose request the task belongs to has returned  |
| "timeout"   | the time of fcgi.timeout or of `--timeout` was over         |
| "abort"     | the client has gone, and the script asked for it            |
| "stop"      | the process stops, or has reloaded, and `--grace` is over   |
| "stop", "reload" | a worker's own task: after its last request and on_exit |

A handler that was cancelled before it sent anything is answered with 504 for
"timeout", else with 503.

```lua
local fcgi = require "fcgi"
local task = fcgi.spawn(function()
  local ok, err = pcall(fcgi.sleep, 60)
  print(ok, fcgi.cancelled(err)) --> false, "enough"
  error(err)
end)
fcgi.sleep(0)
task:cancel("enough")
print(task:join()) --> nil, "enough"
```

# Tasks

A handler is a task; fcgi.spawn and fcgi.every start more of them.  A task that
was started by a handler, or by a task of its request, belongs to the request:
it is cancelled when the handler has returned, not when the answer is finished
and not when the client goes.  One that is spawned just before the handler
returns never begins: join it, or detach it.  task:detach() gives it to the
worker process; there the tasks live that were started while the script was
loaded, and those that they start; they are cancelled when on_exit has ended.
Tasks take turns: one runs until it waits, so what stands between two waits is
never interrupted.

```lua
local fcgi = require "fcgi"
local log = {}
local function worker(name)
  for n = 1, 2 do
    log[#log + 1] = name .. n
    fcgi.sleep(0)
  end
end
local a, b = fcgi.spawn(worker, "a"), fcgi.spawn(worker, "b")
a:join()
b:join()
print(log) --> { "a1", "b1", "a2", "b2" }
```

# Sockets

fcgi.connect and fcgi.tcp make sockets (fcgi.Socket) whose functions have the
names and meanings of LuaSocket, and some of OpenResty's besides.  They wait as
all that waits does: only the task that calls, nobody else.  A socket belongs
to nobody's request: it may live in a module and serve one request after the
other.  One task at a time can read a socket, and one can write it; a second
one gets nil, "socket busy reading" or "socket busy writing".

Functions that fail give nil and why: "closed" (by the peer, by a reset, or by
another task), "timeout", "connection refused" or what the system says.  What
had come until then is the third result.  A task that is cancelled while it
waits leaves the socket as it is: what has come can still be received.

Sockets cannot be opened while the script is being loaded, nor in on_start:
there is no loop yet.  on_worker may.  A socket that nobody holds any more is
closed by the collector; better hold it in a `<close>` variable.

The examples of fcgi.Socket begin with this: `near` and `far` are the two ends
of a connection.

```lua
local fcgi = require "fcgi"
local server <close> = fcgi.tcp()
assert(server:bind("127.0.0.1", 0)) -- a free port
assert(server:listen())
local host, port = server:getsockname()
local near <close> = assert(fcgi.connect(host .. ":" .. port))
local far <close> = assert(server:accept())
```

# Datagrams

fcgi.udp makes sockets (fcgi.Udp) that send and receive datagrams, over UDP or
unix sockets, with LuaSocket's names and meanings; send takes lists, too, as
OpenResty's does.  What was said of fcgi.Socket holds for them as well.  Names of
hosts are looked up by fcgi.resolve.  "@NAME" stands for the abstract address of
a unix socket that is in no folder.

The examples of fcgi.Udp begin with this:

```lua
local fcgi = require "fcgi"
local server <close> = fcgi.udp()
assert(server:setsockname("127.0.0.1", 0)) -- a free port
local host, port = server:getsockname()
local client <close> = fcgi.udp()
assert(client:setpeername(host, port))
```

# Pools of connections

Connecting takes time, so a connection that is not needed any more can be put
into a pool: socket:setkeepalive() does it in place of close.  The next connect
to the same place takes it from there, which costs nothing and waits for
nothing.  Each worker has its own pools.  A pool's name is where the connection
leads to, "HOST:PORT" or "unix:/PATH" as it was given to connect, unless
fcgi.ConnectOptions names another: what must not be mixed, say connections of
different users of a database, belongs into different pools.

A connection leaves the pool, and is closed, when it has lain there for 60
seconds, when the pool is full (30 lie there, and another one comes: the one
that was used longest ago goes), and at once when its peer closes it or says
something.  Both numbers can be given to setkeepalive.

```lua
local fcgi = require "fcgi"
local server <close> = fcgi.tcp()
assert(server:bind("127.0.0.1", 0) and server:listen())
local host, port = server:getsockname()
local first = assert(fcgi.connect(host .. ":" .. port))
local _, used = first:getsockname()
print(first:setkeepalive()) --> 1
print(first:send("hello")) --> nil, "closed", 0
local second <close> = assert(fcgi.connect(host .. ":" .. port))
local _, again = second:getsockname()
print(again == used, second:getreusedtimes()) --> true, 1
```

The options pool_size and backlog limit how many connections there are at all,
used or not: fcgi.ConnectOptions.

# Libraries for LuaSocket

`require "fcgi.socket"` is LuaSocket's module with our sockets in it, so what is
written for LuaSocket runs as it is and blocks nobody: its own socket.http,
socket.smtp and socket.ftp, clients of databases, and LuaSec's ssl.https,
because ssl.wrap of one of our sockets gives one, too.  Require it first, or
later: whoever holds LuaSocket's table then has our functions in it.

```lua
local socket = require "fcgi.socket"
local server = assert(socket.bind("127.0.0.1", 0))
local host, port = server:getsockname()
local sock = assert(socket.connect(host, port))
assert(server:accept()):send("hello\n")
print(sock:receive()) --> "hello"
print(require "socket" == socket) --> true
```

There is all that LuaSocket has: tcp, udp, connect, bind (each also with 4 and
6), select, sleep, gettime, dns, try, protect, sources and sinks, socket.unix.
Only names of addresses (dns.tohostname, dns.getnameinfo) are not looked up.
LuaSocket itself need not be installed for that; its pure-Lua modules, mime and
LTN12 are its own.  Objects that were made by LuaSocket before stay what they
were: they block.  ssl.wrap verifies what its parameters say, nothing by
default; sock:sslhandshake is more careful.

# Libraries for cqueues

lua-http and others that are written for cqueues run in `run`, where cqueues'
functions wait and ours, such as fcgi.sleep and req:write, must not be called.
A cancellation of the task ends all that runs there.

```lua
local bridge = require "fcgi.cqueues"
local cqueues = require "cqueues"
local function work(a, b)
  cqueues.sleep(0.01)
  return a + b
end
print(bridge.run(work, 1, 2)) --> 3
```

`loop` runs a controller of one's own until it is empty, as its own loop does,
which would stop the process: `bridge.loop(controller)` gives true; or nil and
the error of a thread.

# Libraries for OpenResty

`require "fcgi.ngx"` gives libraries that were written for OpenResty the part of
`ngx` that they need, and sets the global `ngx`: so lua-resty-redis,
-memcached, -mysql, -http and -websocket (as a client), pgmoon, and libraries
that use no more than these, run as they are.  Its sockets have the pools above.
Its times are in milliseconds, as there, and 60 seconds where none was given.

```lua
local ngx = require "fcgi.ngx"
local sock = ngx.socket.tcp()
sock:settimeout(100) -- ms
print(sock:connect("127.0.0.1", 1)) --> nil, "connection refused"
print(ngx.encode_args { name = "Ada L" }) --> "name=Ada%20L"
print(ngx.var.arg_tag) --> "a"
```

What there is: ngx.socket (tcp, udp, connect), ngx.re, ngx.log, ngx.sleep, ngx.now and
the other clocks, ngx.thread, ngx.timer, ngx.worker, ngx.config, ngx.get_phase,
ngx.null, the constants, what codes texts (escape_uri, encode_args,
encode_base64, quote_sql_str, md5, sha1_bin, hmac_sha1, crc32_short ...); of the
request ngx.var, ngx.req, ngx.ctx, and of the answer ngx.header, ngx.status,
ngx.say, ngx.print and ngx.flush.  A request's task has its request, as have the
tasks that it starts; elsewhere what is about a request raises an error.

It offers `require` the modules table.new, table.clear, table.clone,
table.isempty, table.nkeys, bit, ngx.re, ngx.semaphore, and of lua-resty-string
resty.string, resty.random, resty.md5, resty.sha1, resty.sha224, resty.sha256,
resty.sha384, resty.sha512 (each as nginx.NAME, too: so Debian calls them),
unless the script has them itself; and it sets the global `unpack`.  There is no
LuaJIT: the module ffi knows arrays of bytes, anything else raises where it is
used.  ngx.re needs lrexlib (in Debian: lua-rex-pcre2), what digests needs
luaossl (lua-luaossl); they are loaded when they are first used.

# Programs

fcgi.run runs a program and gives what it wrote; fcgi.popen starts one that is
written to and read while it runs.  Nothing is blocked meanwhile, and no shell
is in the way: the first item is the program, looked for in the PATH of its
environment unless it has a slash, the others are its arguments, as they are.

A program sees the descriptors 0 to 2 and no other, a session of its own, and
no signal that is blocked or ignored.  It cannot outlive whoever started it: one
that a handler has started, or a task of its request, is killed when the handler
has ended, in whatever way; one of the worker's own tasks when the worker ends.
Killed is SIGKILL, and means all that the program has started besides, but for
what has left its session, and for what was running when the program itself had
ended and held none of our pipes.  (When the worker is killed so are its
programs, but what they have started only loses its pipes.)  To give a program
time, send it a signal first, and wait:

```lua
local fcgi = require "fcgi"
local sleeper <close> = assert(fcgi.popen { "sleep", "60" })
sleeper:kill("TERM")
print(sleeper:wait(5)) --> 143
```
]==]

--- What is in a header's value: several values are several header lines.
---@alias fcgi.HeaderValue string|number|(string|number)[]

--- What can be written: lists may be nested, up to 64 deep.
---@alias fcgi.Text string|number|table

--- The body of a whole answer: text, an iterator that ends with nil and may
--- wait, or an open file, which is sent from where it stands and closed.
---@alias fcgi.Body fcgi.Text|(async fun(): fcgi.Text?)|file*

--- How a request ended for its handler.  "aborted": the client has gone.
--- "finished": the answer is complete, or the request's handler has ended.
---@alias fcgi.Over "aborted"|"finished"

--- What is wrong with a form: the body is neither urlencoded nor
--- multipart/form-data; it passes a limit; it is broken, or ends too early.
---@alias fcgi.FormFault "not a form"|"too many fields"|"bad multipart"

--- Why there is no form.
---@alias fcgi.FormError fcgi.FormFault|"too large"|fcgi.Over

--- What fcgi.encode_query takes: a table of names, or a list of pairs of a name
--- and a value.  A value is a string, a number, a boolean or a list of these.
---@alias fcgi.QueryTable table<string, any>|any[][]

--- The table of hooks and settings that a script may return.  Hooks may be
--- globals instead; a role whose hook is missing is refused.  Each other field
--- is a setting: a long option of the command line with `_` for `-`.  The
--- command line and the environment have priority over it.  A field that is a
--- function but no hook is an error.
---
--- ```lua
--- return {
---   on_request = function(req)
---     return 200, { ["Content-Type"] = "text/plain" }, "hello\n"
---   end,
---   timeout = 30,
---   max_body = "20M",
--- }
--- ```
---@class fcgi.App
--- Answers a request (FastCGI's role responder).  It starts as soon as the
--- parameters have come; the body may still be on its way.  May return
--- `status[, headers[, body]]`.
---@field on_request? async fun(req: fcgi.Request): ...
--- Decides for the web server whether a client may go on (role authorizer).
--- Only returning true lets it; a table behind that has variables for the web
--- server.  `status[, headers[, body]]`, with a status of 300 or more, is a
--- refusal, and so are nil and false, with 403.  Whatever else would look like
--- a permission is answered with 500.
---
--- ```lua
--- function on_authorize(req)
---   if req:cookie "theme" == "dark" then
---     return true, { TASTE = "good" }
---   end
---   return 403, { ["Content-Type"] = "text/plain" }, "No.\n"
--- end
--- ```
---@field on_authorize? async fun(req: fcgi.Request): ...
--- Answers with a file in another form (role filter): as on_request, and
--- req:data reads the file.
---@field on_filter? async fun(req: fcgi.Request): ...
--- Runs when a handler has raised an error; gets the error, whatever it is,
--- and a traceback.  May answer as a handler does, unless the head has gone.
--- The error is then not logged; if the hook does nothing it is, and the answer
--- is 500.  Not called when a handler was cancelled, nor for a broken upload
--- (see req:parts).
---
--- ```lua
--- local fcgi = require "fcgi"
---
--- function on_request()
---   error("out of cheese")
--- end
---
--- function on_error(req, err, traceback)
---   fcgi.log("warn", err, "\n", traceback)
---   local text = "Sorry.  It is in our log as " .. req.id .. ".\n"
---   return 500, { ["Content-Type"] = "text/plain" }, text
--- end
--- ```
---@field on_error? async fun(req: fcgi.Request, err: any, trace: string): ...
--- Runs once when the script has been loaded and its sockets are open, before
--- there are workers.  Cannot wait.  An error ends the start.
---
--- ```lua
--- local primes
---
--- function on_start()
---   primes = { 2, 3, 5, 7 }
--- end
---
--- function on_request(req)
---   return 200, {}, table.concat(primes, " ")
--- end
--- ```
---@field on_start? fun()
--- Runs in each worker before it accepts; gets the worker's number, from 1.
--- After an error the worker does not serve: a single process exits with 78.
---@field on_worker? async fun(id: integer)
--- Runs in a worker when its last request has ended; gets its number and the
--- reason: "stop", "reload" and, where there are several workers,
--- "max-requests", "max-memory", "upgrade" or "orphan".  It has what is left of
--- `--grace`, and a second when nothing is.
---@field on_exit? async fun(id: integer, reason: string)
--- "cancel": a handler whose client has gone is cancelled, with reason "abort".
---@field abort? "cancel"

--- Which worker a process is.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.worker.id, fcgi.worker.generation) --> 1, 1
--- ```
---@class fcgi.Worker
--- Its number, from 1; one that replaces another takes over the number.
---@field id integer
--- The process id.
---@field pid integer
--- How many workers there are.
---@field count integer
--- How often the script was loaded, so 1 until the first reload.
---@field generation integer

--- What fcgi.stats tells.  Those of the process are nil while the script is
--- being loaded.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.stats().active) --> 1
--- ```
---@class fcgi.Stats
--- Requests of this process so far.
---@field requests integer?
--- Those that have begun and not ended.
---@field active integer?
--- Connections that this process has accepted so far.
---@field accepted integer?
--- When the process began to serve, in seconds since 1970.
---@field started integer?
--- Seconds since then, with fractions.
---@field uptime number?
--- Bytes of memory that Lua uses.
---@field memory integer
--- Tasks of this script that have not ended, handlers included.
---@field tasks integer

--- The module: `local fcgi = require "fcgi"`.
---@class fcgi
--- The arguments of the script, from 1; `args[0]` is its path.  The same table
--- as the global `arg`.
---@field args string[]
--- The version of fcgi-lua, such as "0.1.0".
---@field version string
--- The worker that this is; nil at the top level and in on_start.
---@field worker fcgi.Worker?
local fcgi = {}

--- Waits; others run meanwhile.  `fcgi.sleep(0)` lets everybody else who is
--- ready have a turn first.  Raises for what is not a number of seconds.
--- Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- fcgi.sleep(0.05)
--- ```
---@async
---@param seconds number not negative
function fcgi.sleep(seconds) end

--- The time of a clock that nobody sets and that never goes back.  Only
--- differences mean something; os.time() is the time of day.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local start = fcgi.now()
--- fcgi.sleep(0.01)
--- local took = fcgi.now() - start
--- print(took >= 0.01) --> true
--- ```
---@nodiscard
---@return number seconds with fractions
function fcgi.now() end

--- Writes to the log: the script's line, the values as tostring gives them,
--- without anything between them, and the request that is being served.  What
--- follows a newline is written as an indented detail.  Below the level of
--- `--log-level` nothing happens.  Raises for a level that there is not.
--- Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- fcgi.log("notice", "a visit of ", req:remote_addr())
--- ```
---@param level "error"|"warn"|"notice"|"info"|"debug"
---@param ... any
function fcgi.log(level, ...) end

--- What the process has done so far, and what it uses.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local stats = fcgi.stats()
--- print(stats.requests > 0, stats.memory > 0) --> true, true
--- ```
---@nodiscard
---@return fcgi.Stats stats a new table each time
function fcgi.stats() end

--- Why a task was cancelled, from the error that its wait raised: for code that
--- catches errors and must tell the two apart.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local ok, err = pcall(function()
---   fcgi.sleep(0.01)
---   error("out of cheese")
--- end)
--- if not ok and fcgi.cancelled(err) then
---   error(err) -- this task is to end
--- end
--- print(fcgi.cancelled(err)) --> nil
--- ```
---@nodiscard
---@param err any what pcall gave
---@return string? reason nil: err is another error
function fcgi.cancelled(err) end

--- Starts a function as a task: it runs beside its starter, from the next turn
--- of the loop on.  A task that a handler or a task of its request starts is
--- cancelled (reason "finished") when the handler has returned; one that is
--- started while the script is loaded, or by such a task, lives as long as the
--- worker process.  An error that nobody joins is logged once, with its
--- traceback: when the handler has returned, or soon.  Raises for what cannot
--- be called.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local function price_of(shoe)
---   fcgi.sleep(0.01) -- asks somebody
---   return shoe, 99
--- end
--- local left = fcgi.spawn(price_of, "left")
--- local right = fcgi.spawn(price_of, "right")
--- print(left:join()) --> "left", 99
--- print(right:join()) --> "right", 99
--- ```
---@param f async fun(...): ...
---@param ... any the arguments of f
---@return fcgi.Task task
function fcgi.spawn(f, ...) end

--- Calls f, as a task of its own, for a limited time.  When the time is over f
--- is cancelled, with reason "timeout"; when fcgi.timeout returns f has ended,
--- its `<close>` variables included.  If f raises an error so does
--- fcgi.timeout.  Should f catch its cancellation and return, its results are
--- returned.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.timeout(5, math.max, 3, 4)) --> 4
--- print(fcgi.timeout(0.01, fcgi.sleep, 60)) --> nil, "timeout"
--- ```
---@async
---@param seconds number not negative
---@param f async fun(...): ...
---@param ... any the arguments of f
---@return any ... the results of f, or nil and "timeout"
function fcgi.timeout(seconds, f, ...) end

--- Starts a task that calls f again and again, the first time after `seconds`.
--- Rounds never overlap: those that a long call of f misses are skipped.  An
--- error of f is logged, and the next round comes.  The task belongs to whom
--- one of fcgi.spawn would, and never ends by itself.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local rounds = 0
--- local function count() rounds = rounds + 1 end
--- local task <close> = fcgi.every(0.001, count)
--- while rounds < 3 do fcgi.sleep(0.001) end
--- ```
---@param seconds number positive
---@param f async fun(...)
---@param ... any the arguments of f, each time
---@return fcgi.Task task
function fcgi.every(seconds, f, ...) end

--- Makes a channel, through which tasks of one process hand values to one
--- another, in order.  Its capacity is how many values it holds before put
--- waits; without one a put waits until a get takes its value.  Who gets from a
--- channel that is never closed waits for ever, so let who puts hold it in a
--- `<close>` variable: an error closes it, too.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local jobs = fcgi.channel(8)
--- fcgi.spawn(function()
---   local out <close> = jobs -- closed at the end, after an error too
---   for n = 1, 3 do out:put(n) end
--- end)
--- local sum = 0
--- for n in function() return jobs:get() end do sum = sum + n end
--- print(sum) --> 6
--- ```
---@nodiscard
---@param capacity? integer values, not negative; default: 0
---@return fcgi.Channel channel
function fcgi.channel(capacity) end

--- Waits until a descriptor is ready: what libraries need that open files and
--- sockets of their own.  An object with a method getfd, such as a socket of
--- LuaSocket, stands for its descriptor.  Errors and a peer that has closed
--- count as ready: the next read or write says what there is.  Files are always
--- ready.  Any number of tasks may wait for one descriptor.  With 0 seconds it
--- only looks and does not wait.  err is "closed" when no such descriptor is
--- open, or is any more: one that is closed under a wait is noticed within a
--- second.  It may also be what the system says, such as "Too many open files".
--- Raises for a mode that there is not, and for what has no descriptor.
---
--- ```lua
--- local fcgi, socket = require "fcgi", require "socket"
--- local server = assert(socket.bind("127.0.0.1", 0))
--- print(fcgi.wait(server, "r", 0.01)) --> nil, "timeout"
--- local host, port = server:getsockname()
--- local client = assert(socket.connect(host, port))
--- print(fcgi.wait(server, "r")) --> "r"
--- print(fcgi.wait(client:getfd(), "rw", 5)) --> "w"
--- server:close()
--- print(fcgi.wait(server, "r")) --> nil, "closed"
--- client:close()
--- ```
---@async
---@param fd integer|{ getfd: fun(self): integer }
---@param mode "r"|"w"|"rw" to read, to write, or one of both
---@param seconds? number not negative; default: no limit
---@return "r"|"w"|"rw"|nil ready what it is ready for
---@return "timeout"|"closed"|string|nil err
function fcgi.wait(fd, mode, seconds) end

--- Connects to a server, and returns the socket: "HOST:PORT", "[V6]:PORT" or
--- "unix:/PATH".  HOST is an address or a name, whose addresses are tried in
--- turn; each gets its share of the time that is left, or 10 seconds where there
--- is no limit.  Raises for an address of another form.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local sock, err = fcgi.connect "unix:/no/such/socket"
--- print(err) --> "No such file or directory"
--- ```
---@async
---@param address string
---@param options? fcgi.ConnectOptions
---@return fcgi.Socket? socket
---@return string? err
function fcgi.connect(address, options) end

--- Makes a socket that is not connected yet: its own connect does that, or
--- bind and listen make it a server.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local sock <close> = fcgi.tcp()
--- sock:settimeout(2)
--- print(sock:connect("127.0.0.1", 1)) --> nil, "connection refused"
--- ```
---@nodiscard
---@return fcgi.Socket socket
function fcgi.tcp() end

--- Makes a socket for datagrams, which has no address yet: setpeername, sendto or
--- setsockname give it one.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local udp <close> = fcgi.udp()
--- udp:settimeout(0.01)
--- udp:setsockname("127.0.0.1", 0)
--- print(udp:receive()) --> nil, "timeout"
--- ```
---@nodiscard
---@return fcgi.Udp socket
function fcgi.udp() end

--- Looks up the addresses of a host: in the hosts file, then with the name
--- servers and search domains of /etc/resolv.conf, or with those that
--- `--resolver` names.  Answers are remembered for as long as they allow, an
--- hour at most, that there is no such name for 5 seconds; tasks that ask for
--- the same name share one query.  localhost and what ends with it is this
--- machine; an address stands for itself, and then nothing waits.
---
--- The order is the one in which to try them (RFC 6724).  err is "not found" for
--- what cannot be a name, too, such as one with letters outside of ASCII;
--- "server failure" when the name servers fail or cannot be reached; "timeout"
--- after 30 seconds, if not before; "built without c-ares" where the program
--- can look up nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.resolve("localhost")) --> { "127.0.0.1", "::1" }
--- print(fcgi.resolve("localhost", "inet6")) --> { "::1" }
--- print(fcgi.resolve("192.0.2.1", 6)) --> nil, "not found"
--- print(fcgi.resolve("no name")) --> nil, "not found"
--- ```
---@async
---@param name string
---@param family? "unspec"|"inet"|"inet6"|4|6 default: both
---@param seconds? number not negative; default: 30, which is the most
---@return string[]? addresses one at least
---@return "not found"|"timeout"|"server failure"|"built without c-ares"|nil err
function fcgi.resolve(name, family, seconds) end

--- Runs a program to its end, and gives what it wrote and its exit status; a
--- signal that ended it is 128 + its number.  Whatever the program does with its
--- input and its outputs, nothing blocks.  It has ended when all who hold its
--- outputs have: a process that it has left in the background counts.
---
--- Else nil and why: "not found", "permission denied", "not a program" (neither
--- a binary nor a script with #!), "arguments too long", "too many processes",
--- "too many open files", "not enough memory" or what the system says, with
--- "cwd: " in front when it is about that folder; then nothing was run.  After
--- "timeout" and "too large" it was killed, and the third result is what it had
--- written; after "unknown" a library has taken its status away.
---
--- Raises for options that there are not, or that are of another type.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local env = { LC_ALL = "C" }
--- local sorted = fcgi.run { "sort", "-r", stdin = "a\nb\n", env = env }
--- print(sorted) --> { status = 0, stdout = "b\na\n", stderr = "" }
--- local failed = fcgi.run { "sh", "-c", "echo no >&2; exit 3" }
--- print(failed.status, failed.stderr) --> 3, "no\n"
--- print(fcgi.run { "no-such-program" }) --> nil, "not found"
--- local limited = { "sleep", "9", timeout = 0.05 }
--- local r, err = fcgi.run(limited) --> nil, "timeout"
--- ```
---@async
---@param program fcgi.RunOptions
---@return fcgi.RunResult? result
---@return string? err
---@return fcgi.RunResult? partial
function fcgi.run(program) end

--- Starts a program that is written to and read while it runs.  Else nil and
--- why, as fcgi.run says it.  It does not wait, but cannot be called while the
--- script is being loaded, nor in on_start.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local program <close> = assert(fcgi.popen { "tr", "a-z", "A-Z" })
--- program:write("shoes\n")
--- program:close_write()
--- for line in program:lines() do
---   print(line) --> "SHOES"
--- end
--- print(program:wait()) --> 0
--- ```
---@nodiscard
---@param program fcgi.PopenOptions
---@return fcgi.Process? process
---@return string? err
function fcgi.popen(program) end

--- A number that only grows, on the status page (`--status`) beside the
--- program's own.  It belongs to the whole service: all workers add to it, and
--- it outlives them and reloads.  The same name, with the same labels, is the
--- same counter wherever it is made; the first help stays.
---
--- Names have letters, digits, _ and :, and none begins with fcgi_lua_.  Labels
--- make a number of its own of each set of values, so let there be few values:
--- 512 metrics can be made.  Raises for what is no name, for what OpenMetrics
--- could not tell from another metric, and when there is no room.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local sold = fcgi.counter("sold", "Things sold.", { kind = "socks" })
--- sold:inc()
--- sold:inc(2)
--- ```
---@param name string
---@param help? string a line that says what is counted
---@param labels? table<string, string|number> at most 8
---@return fcgi.Counter counter
function fcgi.counter(name, help, labels) end

--- A number that goes up and down, otherwise like fcgi.counter.  It is one for
--- all workers: the last value set is the one that is shown.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local stock = fcgi.gauge("stock", "Socks on the shelf.")
--- stock:set(40)
--- stock:inc(-1)
--- ```
---@param name string
---@param help? string a line that says what it is
---@param labels? table<string, string|number> at most 8
---@return fcgi.Gauge gauge
function fcgi.gauge(name, help, labels) end

--- Encodes a string for a component of a URL, such as one name in a path:
--- everything but letters, digits and `-._~` becomes %XX.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.escape "Ada & co/1") --> "Ada%20%26%20co%2F1"
--- ```
---@nodiscard
---@param s string|number
---@return string escaped
function fcgi.escape(s) end

--- Decodes %XX.  A "+" stays one: only forms and query strings mean a blank by
--- it, see fcgi.decode_query.  A "%" that starts no escape stays, too.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.unescape "Ada%20%26+co") --> "Ada &+co"
--- ```
---@nodiscard
---@param s string|number
---@return string unescaped
function fcgi.unescape(s) end

--- A path below a folder: "." and ".." are resolved by their names alone.  nil
--- when it leads out of the folder.  Links are not looked at; req:send_file's
--- option root does that, too.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.join("/srv/www", "/css/../a.css")) --> "/srv/www/a.css"
--- print(fcgi.join("/srv/www", "../passwd")) --> nil
--- ```
---@nodiscard
---@param root string "" raises
---@param path string
---@return string? joined
function fcgi.join(root, path) end

--- Makes text safe to stand in HTML, between tags or in an attribute in quotes:
--- `& < > " '` become entities.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.html "<b> & 'co'") --> "&lt;b&gt; &amp; &#39;co&#39;"
--- ```
---@nodiscard
---@param s string|number
---@return string html
function fcgi.html(s) end

--- Makes a query string, or the body of a form.  Of a table of names its names
--- are sorted, a list of pairs keeps its order; a list as value repeats the
--- name; true and false become these words.  Raises for other values.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local query = fcgi.encode_query { name = "Ada L", tag = { "a", "b" } }
--- print(query) --> "name=Ada+L&tag=a&tag=b"
--- print(fcgi.encode_query { { "b", 2 }, { "a", 1 } }) --> "b=2&a=1"
--- ```
---@nodiscard
---@param values fcgi.QueryTable
---@return string query
function fcgi.encode_query(values) end

--- Decodes a query string, or the body of a form, as req:query does.  Two
--- tables: the first value of each name, and the list of all of them.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local first, all = fcgi.decode_query "name=Ada+L&tag=a&tag=b"
--- print(first) --> { name = "Ada L", tag = "a" }
--- print(all) --> { name = { "Ada L" }, tag = { "a", "b" } }
--- ```
---@nodiscard
---@param query string|number
---@return table<string, string> first
---@return table<string, string[]> all
function fcgi.decode_query(query) end

--- A date as HTTP's headers want it.  Raises outside of the years 1 to 9999.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(fcgi.date(784111777)) --> "Sun, 06 Nov 1994 08:49:37 GMT"
--- req:set_header("Last-Modified", fcgi.date())
--- ```
---@nodiscard
---@param time? number seconds since 1970, fractions are cut off; default: now
---@return string date
function fcgi.date(time) end

--- Compares two strings in a time that depends on their lengths only, so that
--- nobody can guess a secret byte by byte.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local key = req:header "X-Key"
--- if not (key and fcgi.equal(key, "s3cret")) then
---   return 403
--- end
--- ```
---@nodiscard
---@param a string|number
---@param b string|number
---@return boolean equal
function fcgi.equal(a, b) end

--- Random bytes that nobody can foretell: for keys and session names.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local token = fcgi.random(16):gsub(".", function(c)
---   return ("%02x"):format(c:byte())
--- end)
--- print(#token) --> 32
--- ```
---@nodiscard
---@param n integer how many bytes, from 0 to 1 MiB
---@return string bytes
function fcgi.random(n) end

--- A function that runs beside others: see fcgi.spawn.  A task may be the value
--- of a `<close>` variable: at the end of the block it is cancelled, with
--- reason "closed" (or that for which the block is left, if it is left by a
--- cancellation), and the block is left when it has ended.
---
--- ```lua
--- local fcgi = require "fcgi"
--- do
---   local ticker <close> = fcgi.spawn(function()
---     while true do fcgi.sleep(1) end
---   end)
--- end -- here it has ended
--- ```
---@class fcgi.Task
local Task = {}

--- Waits until the task has ended, and gives the function's results.  For one
--- that raised an error, nil and that error, whatever it is; for one that was
--- cancelled, nil and the reason, "cancelled" by default; when the time is over
--- before, nil and "timeout".  A task that was cancelled, caught that and
--- returned gives its results.  Joining again gives the same.  A task that
--- joins itself, and tasks that join in a circle, raise an error.
---
--- A function without results should return true: then `assert(task:join())`
--- and `if task:join()` tell success from failure.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local task = fcgi.spawn(function() error("out of cheese", 0) end)
--- print(task:join()) --> nil, "out of cheese"
--- ```
---@async
---@param timeout? number seconds; default: no limit; 0: does not wait
---@return any ... the function's results; or nil and why
function Task:join(timeout) end

--- Cancels the task: its wait, or else its next one, raises an error.  The
--- first reason stays.  Does not wait for its end: join does.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local task = fcgi.spawn(fcgi.sleep, 60)
--- print(task:cancel("no longer needed")) --> true
--- print(task:join()) --> nil, "no longer needed"
--- print(task:cancel()) --> false
--- ```
---@param reason? string default: "cancelled"
---@return boolean was_running true if it had not ended
function Task:cancel(reason) end

--- Gives the task to the worker process: it no longer ends with its request.
--- The request answers "finished" once its handler has returned, so take from
--- it what the task needs before.
---
--- ```lua
--- local fcgi = require "fcgi"
--- fcgi.spawn(function()
---   fcgi.sleep(0.01)
---   fcgi.log("notice", "the client has its answer long since")
--- end):detach()
--- return 202
--- ```
---@return fcgi.Task task itself
function Task:detach() end

--- A number that only grows: see fcgi.counter.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(tostring(fcgi.counter "logins")) --> "counter (logins)"
--- ```
---@class fcgi.Counter
local Counter = {}

--- Adds to it.  Raises for what is less than 0 and for what is no number.
--- Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local logins = fcgi.counter "logins"
--- logins:inc()
--- ```
---@param n? number default: 1
function Counter:inc(n) end

--- A number that goes up and down: see fcgi.gauge.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(tostring(fcgi.gauge "queued")) --> "gauge (queued)"
--- ```
---@class fcgi.Gauge
local Gauge = {}

--- Sets it.  Raises for what is no number.  Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local queued = fcgi.gauge "queued"
--- queued:set(12)
--- ```
---@param value number
function Gauge:set(value) end

--- Adds to it, or takes from it what is less than 0.  Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local queued = fcgi.gauge "queued"
--- queued:inc()
--- queued:inc(-1)
--- ```
---@param n? number default: 1
function Gauge:inc(n) end

--- Hands values from task to task: see fcgi.channel.  Each value goes to one of
--- those who get, and whoever waited longest comes first.  A channel may be the
--- value of a `<close>` variable: it is closed at the end of the block.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local ready <close> = fcgi.channel()
--- fcgi.spawn(function() ready:put("now") end)
--- print(ready:get(5)) --> "now"
--- ```
---@class fcgi.Channel
local Channel = {}

--- Puts a value into the channel; waits while it is full.  Raises for nil.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local channel = fcgi.channel(1)
--- print(channel:put("a")) --> true
--- print(channel:put("b", 0)) --> nil, "timeout"
--- channel:close()
--- print(channel:put("c")) --> nil, "closed"
--- ```
---@async
---@param value any not nil
---@param timeout? number seconds; default: no limit; 0: does not wait
---@return true? done
---@return "closed"|"timeout"|nil err the value was not put
function Channel:put(value, timeout) end

--- Takes the oldest value out of the channel; waits while it is empty.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local channel = fcgi.channel(2)
--- channel:put("a")
--- channel:close()
--- print(channel:get()) --> "a"
--- print(channel:get()) --> nil, "closed"
--- ```
---@async
---@param timeout? number seconds; default: no limit; 0: does not wait
---@return any value nil: see err
---@return "closed"|"timeout"|nil err "closed": and nothing is left in it
function Channel:get(timeout) end

--- Closes the channel: whoever waits in put, or puts something later, gets nil,
--- "closed"; what is in it can still be taken.  Closing it again does nothing.
--- Returns nothing.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local channel = fcgi.channel()
--- channel:close()
--- print(channel:get()) --> nil, "closed"
--- ```
function Channel:close() end

--- What fcgi.connect may be told.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local sock, err = fcgi.connect("127.0.0.1:1", { timeout = 2 })
--- print(err) --> "connection refused"
--- ```
---@class fcgi.ConnectOptions
--- Seconds for connecting; then it is the socket's settimeout.
---@field timeout? number
--- The name of the pool; false: none, a new connection is made.
---@field pool? string|false
--- How many connections can lie in the pool.  Whoever makes a pool says that: a
--- pool is there as long as it has connections.
---@field pool_size? integer
--- Given this the pool has no more than pool_size connections, those that are
--- used included.  Who wants one more waits until one is put into the pool or
--- closed, no longer than connecting may take: "timeout".  But no more than so
--- many wait: "too many waiting connect operations".
---@field backlog? integer

--- Options of sock:sslhandshake.  Files are read once, by the first handshake
--- that names them.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local tls = {
---   cafile = "/etc/ssl/ours.pem",
---   certificate = "/etc/ssl/me.pem", key = "/etc/ssl/me.key",
--- }
--- local sock = fcgi.tcp() -- which is not connected
--- print(sock:sslhandshake(nil, "shop.test", true, tls)) --> nil, "closed"
--- ```
---@class fcgi.TlsOptions
--- A file with the certificates of the authorities that are trusted, in PEM.
--- Without it and capath the variables SSL_CERT_FILE and SSL_CERT_DIR name
--- them, and without these they are the system's.
---@field cafile? string
--- A folder of them, under hashed names; several with ":" between.
---@field capath? string
--- A file with a certificate of our own, and the chain to its authority, in PEM.
---@field certificate? string
--- A file with its key, in PEM.
---@field key? string
--- What that is encrypted with.
---@field password? string
--- What to propose by ALPN: a name, or a list of them.
---@field alpn? string|string[]
--- The ciphers of TLS 1.2, as OpenSSL lists them.
---@field ciphers? string
--- Those of TLS 1.3.
---@field ciphersuites? string

--- A connection to a server, or a server's socket: see the chapter "Sockets",
--- whose two ends `near` and `far` the examples are about.  It may be the value
--- of a `<close>` variable: it is closed at the end of the block.
---
--- ```lua
--- near:send("GET shoes\r\n")
--- print(far:receive()) --> "GET shoes"
--- ```
---@class fcgi.Socket
local Socket = {}

--- Connects to a host's port, or to a unix socket: "unix:/PATH".  A socket that
--- failed to connect, or was closed, can be connected again.  A connection that
--- lies in the pool of that place is taken from there.  The timeout of the
--- options is not looked at: call settimeout before.
---
--- ```lua
--- near:close()
--- print(near:connect(host, port)) --> 1
--- print(near:connect(host, port)) --> nil, "already connected"
--- ```
---@async
---@param host string
---@param port? integer
---@param options? fcgi.ConnectOptions
---@return 1? done
---@return string? err
---@overload fun(self: fcgi.Socket, path: string, options: fcgi.ConnectOptions): 1?, string?
function Socket:connect(host, port, options) end

--- Gives a new socket an address of this machine: "*" is every address, port 0
--- a free one, "unix:/PATH" a socket in the file system.
---
--- ```lua
--- local sock <close> = fcgi.tcp()
--- print(sock:bind(host, port)) --> nil, "address already in use"
--- ```
---@param host string
---@param port? integer
---@return 1? done
---@return string? err
function Socket:bind(host, port) end

--- Makes a socket that is bound a server, which others can connect to.
---
--- ```lua
--- local sock <close> = fcgi.tcp()
--- sock:bind("127.0.0.1", 0)
--- print(sock:listen()) --> 1
--- ```
---@param backlog? integer connections that may wait for accept; default: 128
---@return 1? done
---@return string? err
function Socket:listen(backlog) end

--- Waits for the next connection to a server.  Its limits of time are those of
--- receiving; the new socket has none.
---
--- ```lua
--- server:settimeout(0.01)
--- print(server:accept()) --> nil, "timeout"
--- ```
---@async
---@return fcgi.Socket? socket
---@return string? err
function Socket:accept() end

--- Receives a line ("*l", the default), all until the peer closes ("*a"), or a
--- number of bytes.  A line comes without its newline and without any carriage
--- returns, and has 16 MiB at most: else the result is nil, "too large", and the
--- bytes stay where they are.  "*a" gives nil, "closed", "" when nothing has
--- come.  The prefix is put in front of what is received, and counts for a
--- number of bytes: give what the third result of a failed call was, and it goes
--- on where that ended.
---
--- ```lua
--- far:send("HTTP/1.1 200 OK\r\n\r\nhel")
--- print(near:receive()) --> "HTTP/1.1 200 OK"
--- print(near:receive()) --> ""
--- near:settimeout(0.01)
--- local body, err, begun = near:receive(5) --> nil, "timeout", "hel"
--- far:send("lo")
--- print(near:receive(5, begun)) --> "hello"
--- ```
---@async
---@param pattern? "*l"|"*a"|"l"|"a"|integer
---@param prefix? string|number
---@return string? data
---@return string? err
---@return string? partial what had come; data is nil
function Socket:receive(pattern, prefix) end

--- Receives what is there: as soon as there is something, and at most max bytes.
---
--- ```lua
--- far:send("hello")
--- print(near:receiveany(3)) --> "hel"
--- print(near:receiveany(4096)) --> "lo"
--- ```
---@async
---@param max integer
---@return string? data
---@return string? err
function Socket:receiveany(max) end

--- Returns a function that receives all up to a pattern, which is plain text,
--- and drops that.  With a size it gives no more bytes than that at a time, and
--- after the last ones nil alone; then it begins anew.  Between two patterns may
--- be 16 MiB, unless there is a size.
---
--- ```lua
--- far:send("one, two, three--")
--- local next_word = near:receiveuntil(", ")
--- print(next_word(), next_word()) --> "one", "two"
--- local next_part = near:receiveuntil("--")
--- print(next_part(4)) --> "thre"
--- print(next_part(4)) --> "e"
--- print(next_part(4)) --> nil, nil, nil
--- ```
---@nodiscard
---@param pattern string
---@param options? {inclusive: boolean} inclusive: with the pattern
---@return async fun(size?: integer): string?, string?, string? iterator
function Socket:receiveuntil(pattern, options) end

--- Sends a string, a number or a list of them, of lists as well, and returns
--- when the system has taken all of it.  The indices choose a part, as those of
--- string.sub.  The result is the index of the last byte that was sent.
---
--- ```lua
--- print(near:send { "SET ", { "shoes", " ", 2 }, "\n" }) --> 12
--- print(far:receive()) --> "SET shoes 2"
--- print(near:send("hello\n", 5)) --> 6
--- print(far:receive()) --> "o"
--- ```
---@async
---@param data fcgi.Text
---@param first? integer default: 1
---@param last? integer default: -1
---@return integer? sent
---@return string? err
---@return integer? sent_before the index of the last byte that was sent
function Socket:send(data, first, last) end

--- Is something there that has come and was not received?
---
--- ```lua
--- far:send("one\ntwo\n")
--- near:receive()
--- print(near:dirty()) --> true
--- ```
---@nodiscard
---@return boolean is_dirty
function Socket:dirty() end

--- Limits how long each wait of connect, send and receive may take: a call that
--- goes on getting bytes may take longer ("b", the default).  With mode "t" it
--- limits whole calls; both can be set.  0: calls do not wait.  nil or a negative
--- number: no limit, as at first.
---
--- ```lua
--- near:settimeout(0.01)
--- print(near:receive()) --> nil, "timeout", ""
--- ```
---@param seconds? number
---@param mode? "b"|"t"
---@return 1 done
function Socket:settimeout(seconds, mode) end

--- The same for connect, send and receive each.
---
--- ```lua
--- near:settimeouts(1, 10, 60)
--- print(near:gettimeout()) --> 60.0, -1.0
--- ```
---@param connect? number seconds
---@param send? number
---@param receive? number
---@return 1 done
function Socket:settimeouts(connect, send, receive) end

--- The limits of a wait and of a whole receive, in seconds; -1: there is none.
---
--- ```lua
--- near:settimeout(2)
--- print(near:gettimeout()) --> 2.0, -1.0
--- ```
---@nodiscard
---@return number wait
---@return number total
function Socket:gettimeout() end

--- Lets the socket speak TLS from now on, as a client; needs LuaSec (Debian's
--- lua-sec).  The peer must show a certificate that is valid, comes from an
--- authority that is trusted and is for `name`; unless verify is false.  Without
--- a name that is the host or the address that the socket was connected to.  The
--- peer is told the name, too.  A handshake may take as long as a connect.  When
--- it fails the socket is closed.
---
--- ```lua
--- local function open(name) -- https, say
---   local sock = assert(fcgi.connect(name .. ":443", { timeout = 5 }))
---   assert(sock:sslhandshake(nil, name))
---   return sock
--- end
---
--- near:settimeout(0.01) -- far does not answer
--- print(near:sslhandshake(nil, "shop.example")) --> nil, "timeout"
--- ```
---
--- A socket from a pool that was encrypted before is ready at once, if it was
--- for the same name and with the same options: else "encrypted for another
--- name", "encrypted with other options" or "encrypted, but not verified".
---
--- Other errors: "closed", "certificate verify failed: ...", "host name does not
--- match: ...", "handshake failed: ...".  TLS 1.2 and 1.3 are spoken.  Of a
--- socket that speaks it getstats counts the bytes inside, and shutdown is a
--- break to the peer: there is no goodbye in one direction.  There are
--- no sessions to be resumed, because LuaSec has none: whatever is given for one
--- is taken, and the result is true.
---@async
---@param session? any
---@param name? string whose certificate it is to be
---@param verify? boolean default: true
---@param options? fcgi.TlsOptions
---@return true? done
---@return string? err or, when it is done, what ALPN has agreed on
function Socket:sslhandshake(session, name, verify, options) end

--- Sets an option of the socket.  One that is not open yet, and one that
--- connects again, gets it then.  "linger" takes `{ on = true, timeout = 2 }`,
--- the others a boolean or a number: "keepalive", "reuseaddr", "reuseport",
--- "recv-buffer-size", "send-buffer-size", "tcp-nodelay" (which is on, unless it
--- is set), "tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl", "tcp-defer-accept",
--- "tcp-fastopen", "tcp-fastopen-connect" and "ipv6-v6only".
---
--- ```lua
--- print(near:setoption("keepalive", true)) --> 1
--- print(near:setoption("tcp-keepidle", 60)) --> 1
--- ```
---@param name string
---@param value boolean|integer|{on: boolean, timeout: integer}
---@return 1? done
---@return string? err
function Socket:setoption(name, value) end

--- The value of an option, as setoption takes it.  "error" is what has failed
--- since it was asked for last, or nil.
---
--- ```lua
--- print(near:getoption("tcp-nodelay")) --> true
--- near:setoption("linger", { on = true, timeout = 2 })
--- print(near:getoption("linger")) --> { on = true, timeout = 2 }
--- print(near:getoption("error")) --> nil
--- ```
---@nodiscard
---@param name string
---@return boolean|integer|string|table|nil value
---@return string? err
function Socket:getoption(name) end

--- Closes the socket: tasks that wait for it get nil, "closed", and so does who
--- uses it later.
---
--- ```lua
--- near:close()
--- print(far:receive()) --> nil, "closed", ""
--- print(near:send("hello")) --> nil, "closed", 0
--- ```
---@return 1 done
function Socket:close() end

--- Puts the connection into its pool, from where a connect to the same place
--- takes it: see the chapter "Pools of connections".  The socket is closed then;
--- it may be connected again.  When err is "unread data in buffer" or "closed"
--- the connection is closed; with "socket busy reading" and "socket busy writing"
--- another task has it.  "no pool": it was not made by a connect.
---
--- ```lua
--- print(near:setkeepalive(10, 100)) --> 1
--- print(near:connect(host, port), near:getreusedtimes()) --> 1, 1
--- far:send("unasked")
--- near:receive(2)
--- print(near:setkeepalive()) --> nil, "unread data in buffer"
--- ```
---@param seconds? number that it may lie there; default: 60; 0: any time
---@param size? integer how many can lie there, if there is no such pool yet; default: 30
---@return 1? done
---@return string? err
function Socket:setkeepalive(seconds, size) end

--- How often the connection was taken from a pool; 0: it is a new one.
---
--- ```lua
--- print(near:getreusedtimes()) --> 0
--- near:close()
--- print(near:getreusedtimes()) --> nil, "closed"
--- ```
---@return integer? times
---@return "closed"? err
function Socket:getreusedtimes() end

--- Ends one direction, or both.  After "send" the peer gets the end of what was
--- sent, and can still answer.
---
--- ```lua
--- near:send("question")
--- near:shutdown("send")
--- far:send(far:receive("*a") .. " and answer")
--- far:close()
--- print(near:receive("*a")) --> "question and answer"
--- ```
---@param mode? "both"|"send"|"receive" default: "both"
---@return 1? done
---@return string? err
function Socket:shutdown(mode) end

--- The number of the descriptor; -1: the socket is not open.
---
--- ```lua
--- near:close()
--- print(near:getfd()) --> -1
--- ```
---@nodiscard
---@return integer fd
function Socket:getfd() end

--- Makes the socket one of an open descriptor, which it then owns; -1: it lets go
--- of its own, without closing it, and is closed itself.
---
--- ```lua
--- local other <close> = fcgi.tcp()
--- local fd = near:getfd()
--- near:setfd(-1)
--- other:setfd(fd)
--- other:send("hello\n")
--- print(far:receive()) --> "hello"
--- ```
---@param fd integer
---@return 1? done
---@return string? err it is no open descriptor
function Socket:setfd(fd) end

--- The address of the peer, or the path of its unix socket.
---
--- ```lua
--- print(near:getpeername()) --> host, port, "inet"
--- ```
---@nodiscard
---@return string? address
---@return integer|string? port nil: a unix socket; or why it failed
---@return "inet"|"inet6"|"unix"|nil family
function Socket:getpeername() end

--- The socket's own address, or path.
---
--- ```lua
--- print(far:getsockname()) --> host, port, "inet"
--- ```
---@nodiscard
---@return string? address
---@return integer|string? port nil: a unix socket; or why it failed
---@return "inet"|"inet6"|"unix"|nil family
function Socket:getsockname() end

--- What has gone through the socket.
---
--- ```lua
--- near:send("hello\n")
--- local received, sent = near:getstats()
--- print(received, sent) --> 0, 6
--- ```
---@nodiscard
---@return integer received bytes
---@return integer sent bytes
---@return number age seconds since it was connected
function Socket:getstats() end

--- Sets what getstats gives; nil leaves a value alone.
---
--- ```lua
--- near:setstats(0, 100)
--- near:send("hello\n")
--- local received, sent = near:getstats()
--- print(received, sent) --> 0, 106
--- ```
---@param received? integer
---@param sent? integer
---@param age? number
---@return 1? done
---@return string? err
function Socket:setstats(received, sent, age) end

--- A socket for datagrams: see the chapter "Datagrams", whose `client` and
--- `server` the examples are about.  It may be the value of a `<close>` variable:
--- it is closed at the end of the block.
---
--- ```lua
--- client:send("time?")
--- local question, address, from = server:receivefrom()
--- server:sendto("12:00", address, from)
--- print(client:receive()) --> "12:00"
--- ```
---@class fcgi.Udp
local Udp = {}

--- Gives a socket an address of this machine, to be found there: "*" is every
--- address, port 0 a free one, "unix:/PATH" a socket in the file system.
---
--- ```lua
--- local other <close> = fcgi.udp()
--- print(other:setsockname(host, port)) --> nil, "address already in use"
--- print(other:setsockname("*", 0)) --> 1
--- ```
---@async
---@param host string
---@param port? integer
---@return 1? done
---@return string? err
function Udp:setsockname(host, port) end

--- From now on the socket sends to that peer, and hears nobody else.  "*" alone
--- ends that.  Nothing is sent by this.
---
--- ```lua
--- print(client:setpeername("*")) --> 1
--- print(client:send("hello")) --> nil, "not connected"
--- print(client:setpeername("localhost", port)) --> 1
--- print(client:send("hello")) --> 1
--- ```
---@async
---@param host string
---@param port? integer
---@return 1? done
---@return string? err "host not found", or what fcgi.resolve says
function Udp:setpeername(host, port) end

--- Sends one datagram to the peer: a string, a number or a list of them, of
--- lists as well.  Nobody says whether it comes.  "connection refused" is about
--- one before: nobody listens there.
---
--- ```lua
--- print(client:send { "SET ", { "shoes", " ", 2 } }) --> 1
--- print(server:receive()) --> "SET shoes 2"
--- ```
---@async
---@param data fcgi.Text
---@return 1? done
---@return string? err
function Udp:send(data) end

--- Sends one datagram to anybody: a host's port, or "unix:/PATH".
---
--- ```lua
--- local other <close> = fcgi.udp()
--- print(other:sendto("hello", host, port)) --> 1
--- print(server:receive()) --> "hello"
--- ```
---@async
---@param data fcgi.Text
---@param host string
---@param port? integer
---@return 1? done
---@return string? err
function Udp:sendto(data, host, port) end

--- Receives one datagram.  What of it is beyond size is lost.
---
--- ```lua
--- client:send("hello")
--- client:send("")
--- print(server:receive(4)) --> "hell"
--- print(server:receive()) --> ""
--- server:settimeout(0.01)
--- print(server:receive()) --> nil, "timeout"
--- ```
---@async
---@param size? integer bytes; default: 65535, no datagram is longer
---@return string? data
---@return string? err
function Udp:receive(size) end

--- The same, and from whom it comes.
---
--- ```lua
--- client:send("hello")
--- local _, number = client:getsockname()
--- print(server:receivefrom()) --> "hello", "127.0.0.1", number
--- ```
---@async
---@param size? integer
---@return string? data
---@return string? address the path of a unix socket; or why there is no data
---@return integer? port nil: a unix socket
function Udp:receivefrom(size) end

--- The socket's own address, or path.
---
--- ```lua
--- print(server:getsockname()) --> host, port, "inet"
--- ```
---@nodiscard
---@return string? address
---@return integer|string? port nil: a unix socket; or why it failed
---@return "inet"|"inet6"|"unix"|nil family
function Udp:getsockname() end

--- The address of the peer, or its path.
---
--- ```lua
--- print(client:getpeername()) --> host, port, "inet"
--- print(server:getpeername()) --> nil, "not connected"
--- ```
---@nodiscard
---@return string? address
---@return integer|string? port nil: a unix socket; or why it failed
---@return "inet"|"inet6"|"unix"|nil family
function Udp:getpeername() end

--- What kind of addresses the socket has; "unspec": none yet.
---
--- ```lua
--- local other <close> = fcgi.udp()
--- print(other:getfamily(), server:getfamily()) --> "unspec", "inet4"
--- ```
---@nodiscard
---@return "inet4"|"inet6"|"unix"|"unspec" family
function Udp:getfamily() end

--- Limits how long each call may wait.  0: calls do not wait.  nil or a negative
--- number: no limit, as at first.  LuaSocket's modes are two limits of the same.
---
--- ```lua
--- client:settimeout(0)
--- print(client:receive()) --> nil, "timeout"
--- ```
---@param seconds? number
---@param mode? "b"|"t"
---@return 1 done
function Udp:settimeout(seconds, mode) end

--- The limits, in seconds; -1: there is none.
---
--- ```lua
--- client:settimeout(2)
--- print(client:gettimeout()) --> 2.0, -1.0
--- ```
---@nodiscard
---@return number wait
---@return number total
function Udp:gettimeout() end

--- Sets an option of the system, by LuaSocket's names: "broadcast", "dontroute",
--- "reuseaddr", "reuseport", "recv-buffer-size", "send-buffer-size",
--- "bindtodevice", "ip-multicast-if", "ip-multicast-ttl", "ip-multicast-loop",
--- "ip-add-membership", "ip-drop-membership", "ipv6-v6only",
--- "ipv6-unicast-hops", "ipv6-multicast-hops", "ipv6-multicast-loop",
--- "ipv6-add-membership", "ipv6-drop-membership".  A socket that has no address
--- yet becomes one of IPv4, or of IPv6 for these.  Raises for a name that there is
--- not, and for a value of another type.
---
--- ```lua
--- print(client:setoption("broadcast", true)) --> 1
--- local group = { multiaddr = "192.0.2.1", interface = "*" }
--- print(server:setoption("ip-add-membership", group)) -- it is no group's
--- ```
---@param name string
---@param value boolean|integer|string|table
---@return 1? done
---@return string? err
function Udp:setoption(name, value) end

--- Asks for an option.  "error" is what failed last, and then forgotten.
---
--- ```lua
--- print(client:getoption("broadcast")) --> false
--- print(client:getoption("error")) --> nil
--- ```
---@param name string
---@return boolean|integer|string|table|nil value
---@return string? err
function Udp:getoption(name) end

--- The number of the descriptor; -1: the socket is not open.
---
--- ```lua
--- client:close()
--- print(client:getfd()) --> -1
--- ```
---@nodiscard
---@return integer fd
function Udp:getfd() end

--- Makes the socket one of an open descriptor, which it then owns; -1: it lets go
--- of its own, without closing it, and is closed itself.
---
--- ```lua
--- local other <close> = fcgi.udp()
--- local fd = client:getfd()
--- client:setfd(-1)
--- other:setfd(fd)
--- print(other:getpeername()) --> host, port, "inet"
--- ```
---@param fd integer
---@return 1? done
---@return string? err it is no open descriptor of datagrams
function Udp:setfd(fd) end

--- Is something kept here that has come?  Never: it stays with the system.
---
--- ```lua
--- print(client:dirty()) --> false
--- ```
---@nodiscard
---@return false is_dirty
function Udp:dirty() end

--- Closes the socket: tasks that wait for it get nil, "closed", and so does who
--- uses it later.
---
--- ```lua
--- client:close()
--- print(client:send("hello")) --> nil, "closed"
--- ```
---@return 1 done
function Udp:close() end

--- What fcgi.run is given.  The list items are the program and its arguments,
--- strings or numbers.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local r = fcgi.run {
---   "sh", "-c", "pwd; echo $GREETING; exec cat", cwd = "/",
---   env = { GREETING = "hello" }, stdin = { "one", " ", 2 },
--- }
--- print(r.stdout) --> "/\nhello\none 2"
--- ```
---@class fcgi.RunOptions
--- Strings, numbers and nested lists of them.  Default: it reads nothing.
---@field stdin? string|number|table
--- Added to the environment; false takes a name out.
---@field env? table<string, string|number|false>
--- Is env all of it?
---@field clear_env? boolean
--- Its folder; a program with a slash is looked for there.
---@field cwd? string
--- Seconds after which it is killed.
---@field timeout? number
--- Bytes of an output above which it is killed; default: 16 MiB.
---@field max? number
--- "pipe" collects it, and is the default; "inherit" leaves it where that of
--- fcgi-lua goes, "null" nowhere.
---@field stdout? "pipe"|"inherit"|"null"
--- The same; "merge": where stdout goes.
---@field stderr? "pipe"|"inherit"|"null"|"merge"

--- What a program came to.  An output that was not collected is "".
---
--- ```lua
--- local fcgi = require "fcgi"
--- local r = fcgi.run { "echo", "x" }
--- print(r) --> { status = 0, stdout = "x\n", stderr = "" }
--- ```
---@class fcgi.RunResult
--- Its exit code, or 128 + the signal that ended it; nil: it was killed by us.
---@field status integer?
--- What it wrote to its standard output.
---@field stdout string
--- ... and to its standard error output.
---@field stderr string

--- What fcgi.popen is given.  The list items are the program and its arguments,
--- strings or numbers.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local program <close> = fcgi.popen { "sh", "-c", "echo a; echo b >&2",
---   stdin = "null", stderr = "merge" }
--- print(program:read()) --> "a\nb\n"
--- ```
---@class fcgi.PopenOptions
--- Added to the environment; false takes a name out.
---@field env? table<string, string|number|false>
--- Is env all of it?
---@field clear_env? boolean
--- Its folder; a program with a slash is looked for there.
---@field cwd? string
--- "pipe" is for process:write, and the default; with "null" it reads nothing.
---@field stdin? "pipe"|"null"
--- "pipe" is for process:read, and the default; "inherit" leaves it where that
--- of fcgi-lua goes, "null" nowhere.
---@field stdout? "pipe"|"inherit"|"null"
--- "pipe" is for process.stderr:read; "inherit" is the default; "merge": where
--- stdout goes.
---@field stderr? "pipe"|"inherit"|"null"|"merge"

--- A program that fcgi.popen has started.  Any task may use it; one at a time
--- reads an output and one writes, a second one gets nil, "socket busy reading"
--- or "socket busy writing".  It may be the value of a `<close>` variable: it is
--- killed at the end of the block if it has not ended.  One that nobody holds any
--- more is killed by the collector.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "cat" }
--- print(program:write("ab")) --> true
--- print(program:read(1), program:read(100)) --> "a", "b"
--- ```
---@class fcgi.Process
--- Its number, which is that of its session, too.
---@field pid integer
--- What its functions read; nil: no pipe.
---@field stdout fcgi.Reader?
--- With stderr = "pipe".
---@field stderr fcgi.Reader?
local Process = {}

--- The same as process.stdout:read.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "printf", "a\nb\nc" }
--- print(program:read "l", program:read()) --> "a", "b\nc"
--- ```
---@async
---@param what? integer|"l"|"L"|"a"
---@return string? data nil at the end
---@return string? err
function Process:read(what) end

--- The same as process.stdout:read_line.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "printf", "a\nb" }
--- print(program:read_line(), program:read_line()) --> "a\n", "b"
--- ```
---@async
---@param max? integer bytes of it at most; default: 1 MiB
---@return string? line nil at the end
---@return string? err
function Process:read_line(max) end

--- The same as process.stdout:lines.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "printf", "a\nb" }
--- local lines = {}
--- for line in program:lines() do lines[#lines + 1] = line end
--- print(lines) --> { "a", "b" }
--- ```
---@return async fun(): string? next_line
function Process:lines() end

--- Writes to its stdin; waits while it does not read.  err is "closed" when it
--- has closed that, or has ended.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "cat" }
--- print(program:write("a", 1, { "b", { 2 } })) --> true
--- program:close_write()
--- print(program:read()) --> "a1b2"
--- print(program:write("c")) --> nil, "closed"
--- ```
---@async
---@param ... string|number|table and nested lists of these
---@return true? done
---@return string? err
function Process:write(...) end

--- The end of its input.  May be called again.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "wc", "-c" }
--- print(program:close_write()) --> true
--- print(program:read "l") --> "0"
--- ```
---@return true done
function Process:close_write() end

--- Waits for its end.  Of an output that is a pipe it can write some 128 KiB
--- before somebody must read.  err is "timeout", "closed" when it was closed
--- first, or "unknown" when a library has taken its status away.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local program <close> = fcgi.popen { "sh", "-c", "read x; exit 3" }
--- print(program:wait(0.01)) --> nil, "timeout"
--- program:write("go\n")
--- print(program:wait()) --> 3
--- print(program:wait()) --> 3
--- ```
---@async
---@param seconds? number not negative; default: no limit
---@return integer? status its exit code, or 128 + the signal that ended it
---@return string? err
function Process:wait(seconds) end

--- Sends it a signal, and all that it has started in its session.  err is
--- "ended", "closed" or "permission denied".  Raises for what is no signal.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "sleep", "60" }
--- print(program:kill("HUP")) --> true
--- print(program:wait()) --> 129
--- print(program:kill()) --> nil, "ended"
--- ```
---@param signal? integer|string its number or name; default: "TERM"
---@return true? sent
---@return string? err
function Process:kill(signal) end

--- Closes its pipes, and kills it if it has not ended; who waits for it gets nil,
--- "closed".  Does not wait.  May be called again.
---
--- ```lua
--- local program = require "fcgi".popen { "sleep", "60" }
--- print(program:close()) --> true
--- print(program:wait()) --> nil, "closed"
--- ```
---@return true done
function Process:close() end

--- An output of a program.  It may be the value of a `<close>` variable: its pipe
--- is closed at the end of the block.
---
--- ```lua
--- local fcgi = require "fcgi"
--- local program <close> = fcgi.popen { "sh", "-c", "echo a; echo b >&2",
---   stderr = "pipe" }
--- print(program.stdout:read "l", program.stderr:read "l") --> "a", "b"
--- ```
---@class fcgi.Reader
local Reader = {}

--- Reads 1 to n bytes as soon as there are any; without n all the rest.  As io's
--- read does: "l" a line, "L" one with its newline, "a" all the rest, which is ""
--- at the end.  err is "closed" when the process was closed, or the reader.
---
--- ```lua
--- local output = require "fcgi".popen { "printf", "abc" }.stdout
--- print(output:read(2), output:read(), output:read()) --> "ab", "c", nil
--- print(output:read "a") --> ""
--- ```
---@async
---@param what? integer|"l"|"L"|"a"
---@return string? data nil at the end
---@return string? err
function Reader:read(what) end

--- Reads a line with its newline, which the last may lack, or max bytes of one.
---
--- ```lua
--- local output = require "fcgi".popen { "printf", "abc\nd" }.stdout
--- print(output:read_line(2), output:read_line(2)) --> "ab", "c\n"
--- print(output:read_line(), output:read_line()) --> "d", nil
--- ```
---@async
---@param max? integer bytes of it at most; default: 1 MiB
---@return string? line nil at the end
---@return string? err
function Reader:read_line(max) end

--- The lines, whole and without their newlines.
---
--- ```lua
--- local output = require "fcgi".popen { "printf", "a\nb\r\n" }.stdout
--- local lines = {}
--- for line in output:lines() do lines[#lines + 1] = line end
--- print(lines) --> { "a", "b\r" }
--- ```
---@return async fun(): string? next_line
function Reader:lines() end

--- Closes the pipe: a program that writes on gets SIGPIPE.  May be called again.
---
--- ```lua
--- local program <close> = require "fcgi".popen { "yes" }
--- print(program.stdout:close()) --> true
--- print(program:wait()) --> 141
--- ```
---@return true done
function Reader:close() end

--- A stream of a request as an object that behaves like one of Lua's files, for
--- libraries that want one: req.input reads the body, req.out writes the
--- answer, req.err the web server's error log.  What a library reads or writes
--- here and what is read and written by the request's own functions is one
--- stream.  A call in the wrong direction gives nil, "Bad file descriptor", 9.
--- Using one that was closed raises.  It may be the value of a `<close>`
--- variable.
---
--- ```lua
--- local function copy(from, to) -- knows nothing of requests
---   for line in from:lines "L" do
---     to:write(line)
---   end
--- end
--- req:set_header("Content-Type", "text/plain")
--- copy(req.input, req.out)
--- ```
---@class fcgi.File
local File = {}

--- Reads as Lua's file:read does: "l" a line without its newline, "L" with it,
--- "n" a number, "a" all the rest, or a number of bytes; a result for each
--- format.  Raises for other formats, and after req:body.
---
--- ```lua
--- print(req.input:read("l", 2)) --> "one", "tw"
--- print(req.input:read "a") --> "o\n"
--- print(req.input:read "l") --> nil
--- ```
---@async
---@param ... "n"|"a"|"l"|"L"|integer default: "l"
---@return any ... nil at the end; nil, "aborted" or "finished", and a number
function File:read(...) end

--- An iterator that reads these formats each time, until the first result is
--- nil.  The iterator may wait.
---
--- ```lua
--- local lines = {}
--- for line in req.input:lines() do
---   lines[#lines + 1] = line
--- end
--- print(lines) --> { "one", "two" }
--- ```
---@nodiscard
---@param ... "n"|"a"|"l"|"L"|integer default: "l"
---@return async fun(): any next_values
function File:lines(...) end

--- Writes strings and numbers, as req:write or req:write_err does; waits when
--- they do.  Raises for anything else, lists too.
---
--- ```lua
--- req:set_header("Content-Type", "text/plain")
--- req.out:write("The answer is ", 42, ".\n")
--- print(req.err:write("asked for the answer\n") == req.err) --> true
--- ```
---@async
---@param ... string|number
---@return fcgi.File? file itself, so that calls chain
---@return string? err "aborted": the client has gone; "finished": the answer is
---@return integer? code of the error
function File:write(...) end

--- Of req.out: sends what was written, as req:flush does.  Of the others it
--- does nothing.
---
--- ```lua
--- req:set_header("Content-Type", "text/plain")
--- req.out:write("hello\n")
--- print(req.out:flush()) --> true
--- ```
---@async
---@return true? done
---@return string? err "aborted" or "finished"
---@return integer? code of the error
function File:flush() end

--- Closes the object; closing req.out ends the answer, as req:finish does.
---
--- ```lua
--- req:set_header("Content-Type", "text/plain")
--- req.out:write("bye\n")
--- print(req.out:close()) --> true
--- print(req:write("more")) --> nil, "finished"
--- ```
---@return true? done
---@return string? err "aborted" or "finished"
---@return integer? code of the error
function File:close() end

--- Streams cannot be positioned: this is for libraries that ask.
---
--- ```lua
--- print(req.input:seek("set", 0)) --> nil, "not seekable", 29
--- ```
---@param whence? "set"|"cur"|"end"
---@param offset? integer
---@return nil position
---@return string err "not seekable"
---@return integer code of the error
function File:seek(whence, offset) end

--- Does nothing: what was written goes when the task waits, whatever the mode.
---
--- ```lua
--- print(req.out:setvbuf "line") --> true
--- ```
---@param mode "no"|"full"|"line"
---@param size? integer
---@return true done
function File:setvbuf(mode, size) end

--- How a browser is to treat a cookie: see req:set_cookie.  A cookie whose name
--- begins with `__Secure-` or `__Host-` must be what it promises.
---
--- ```lua
--- local session = { secure = true, same_site = "Strict" }
--- req:set_cookie("__Host-session", "8f3a", session)
--- ```
---@class fcgi.CookieOptions
--- The paths that the cookie is for; default: "/"; false: the browser's choice.
---@field path? string|false
--- The domain whose hosts get it; default: only the host that set it.
---@field domain? string
--- How long it lives, in seconds; default: until the browser ends.
---@field max_age? integer
--- When it ends, in seconds since 1970.
---@field expires? number
--- Sent over https only; default: false.
---@field secure? boolean
--- Hidden from the page's own scripts; default: true.
---@field http_only? boolean
--- Whether requests from other sites carry it; default: "Lax"; false: the
--- browser's choice.  "None" needs `secure`.
---@field same_site? "Lax"|"Strict"|"None"|false
--- Kept apart for each site that embeds this one; needs `secure`.
---@field partitioned? boolean

--- A part of a form, as the loop over req:parts gives it: a field, or a file.
--- It can be read while the loop is at it; when that has gone on, reading
--- raises.  None of its fields can be set.
---
--- ```lua
--- for part in req:parts() do
---   if part.filename then
---     print(part.name, part.filename) --> "list", "shoes.csv"
---     print(part.type) --> "text/csv"
---     print(part.headers["content-type"]) --> "text/csv"
---   end
--- end
--- ```
---@class fcgi.Part
--- The name of the field.
---@field name string
--- Of a file its name as the client chose it, without a path; nil: it is no
--- file.  Empty: no file was chosen.  It may be of any bytes and in use
--- already, so it is no good name for a file of yours.
---@field filename string?
--- The Content-Type, as the client sent it; "text/plain" if it sent none.
---@field type string
--- All headers of the part, by names in lower case.
---@field headers table<string, string>
--- How many bytes of it were taken so far, whoever takes them: for another task
--- that tells of the progress.  nil: the loop has gone on.
---@field received integer?
local Part = {}

--- Reads the part as it comes.  With a number: that many bytes at most, as soon
--- as there are any.  Without: all the rest, of 16 MiB at most, which may be ""
--- the first time.
---
--- ```lua
--- for part in req:parts() do
---   if part.name == "list" then
---     print(part:read(5)) --> "boots"
---     print(part:read()) --> ",9\nclogs,7\n"
---     print(part:read()) --> nil
---   end
--- end
--- ```
---@async
---@nodiscard
---@param max? integer bytes, positive; default: all
---@return string? bytes nil: the part has ended, or see err
---@return string? err "bad multipart", "too large", "aborted", "finished"
function Part:read(max) end

--- Reads a line of the part, with its newline, which the last line may lack.
--- Of a longer line `max` bytes, and its rest the next time.
---
--- ```lua
--- for part in req:parts() do
---   if part.filename then
---     print(part:read_line()) --> "boots,9\n"
---   end
--- end
--- ```
---@async
---@nodiscard
---@param max? integer bytes, positive; default: 1 MiB
---@return string? line nil: the part has ended, or see err
---@return string? err as of read
function Part:read_line(max) end

--- An iterator over the lines of the part, without their newlines; a carriage
--- return is left.  The iterator may wait.  It ends with the part, or when that
--- is broken: then the loop over the parts raises.
---
--- ```lua
--- local stock = {}
--- for part in req:parts() do
---   if part.type == "text/csv" then
---     for line in part:lines() do
---       local name, count = line:match "^(%a+),(%d+)$"
---       stock[name] = math.tointeger(count)
---     end
---   end
--- end
--- print(stock) --> { boots = 9, clogs = 7 }
--- ```
---@nodiscard
---@return async fun(): string? next_line
function Part:lines() end

--- Saves the part as a file, bit by bit as it comes: it never is in memory.
--- The file appears under its name, in place of a former one, when all of it
--- has come; if that fails, or is cancelled, there never was one.  Its mode is
--- what the umask leaves of 0666.  A link gives way to the file; whatever else
--- is there and no file stays.  Only a worker that is killed may leave something
--- behind, and only on a file system without O_TMPFILE (NFS, say): a file named
--- `.16 hex digits.part`.  Do not let the client choose the path.  Raises when
--- some of the part was read before.  Should the disk be slow, all other
--- requests wait for it, too.
---
--- ```lua
--- local fcgi = require "fcgi"
--- for part in req:parts() do
---   if part.filename then
---     local path = os.tmpname()
---     local size, err = part:save(path)
---     if not size then
---       return 507, {}, err
---     end
---     fcgi.log("notice", size, " bytes of ", part.filename, " in ", path)
---     os.remove(path)
---   end
--- end
--- ```
---@async
---@param path string
---@return integer? size bytes
---@return string? err as of read, or the system's: "no space left on device"
function Part:save(path) end

--- A request: what the web server says of it, its body, and its answer.
---
--- Names of parameters, queries and cookies are compared exactly, those of
--- headers without regard to case, and `_` is `-`.
---
--- A request that is kept beyond the end of its handler answers every call with
--- nil and "finished", or "aborted" if its client had gone; its fields are nil,
--- but for ctx, input, out and err.  While the handler runs, other tasks may
--- use the request too.
---
--- ```lua
--- print(req:method(), req:path()) --> "POST", "/app/shoes"
--- return 200, { ["Content-Type"] = "text/plain" }, req:body()
--- ```
---@class fcgi.Request
--- What the web server wants: one hook serves each role.
---@field role "responder"|"authorizer"|"filter"
--- The name of the request in the log: the header X-Request-Id if the web
--- server sent one that is at most 64 printable characters long, else a number
--- in hexadecimal digits.
---@field id string
--- When it began, on the clock of fcgi.now.
---@field started number
--- A free table for whoever works on the request.  Another table can be
--- assigned; nothing else of a request can.
---@field ctx table
--- Of a filter: the size of the file that req:data reads.
---@field data_length integer?
--- Of a filter: when that file was changed, in seconds since 1970.
---@field data_mtime integer?
--- The body as a file-like object.
---@field input fcgi.File
--- The answer as a file-like object.
---@field out fcgi.File
--- The web server's error log as a file-like object.
---@field err fcgi.File
local Request = {}

--- A FastCGI parameter, exactly as the web server sent it; without a name a
--- table of all.  If one was sent twice the first counts.
---
--- ```lua
--- print(req:param "SERVER_PROTOCOL") --> "HTTP/1.1"
--- print(req:param().REQUEST_METHOD) --> "POST"
--- ```
---@nodiscard
---@param name string
---@return string? value nil: there is none
---@overload fun(self: fcgi.Request): table<string, string>
function Request:param(name) end

--- All parameters by name, as `req:param()`.
---
--- ```lua
--- for name, value in pairs(req:params()) do
---   req:write_err(name, "=", value, "\n")
--- end
--- ```
---@nodiscard
---@return table<string, string> params
function Request:params() end

--- The request's method.
---
--- ```lua
--- if req:method() ~= "POST" then
---   return 405, { Allow = "POST" }
--- end
--- ```
---@nodiscard
---@return string method "GET" if the web server does not say
function Request:method() end

--- The path of the URL: the script's name and what comes after it, decoded by
--- the web server.
---
--- ```lua
--- print(req:path()) --> "/app/shoes"
--- ```
---@nodiscard
---@return string path "/" if the web server does not say
function Request:path() end

--- The part of the path that led the web server to this application.
---
--- ```lua
--- print(req:script_name()) --> "/app"
--- ```
---@nodiscard
---@return string? path
function Request:script_name() end

--- The part of the path after the script's name.
---
--- ```lua
--- print(req:path_info()) --> "/shoes"
--- ```
---@nodiscard
---@return string? path
function Request:path_info() end

--- What stands behind the question mark of the URL, still encoded.
---
--- ```lua
--- print(req:query_string()) --> "name=Ada%20L&tag=a&tag=b"
--- ```
---@nodiscard
---@return string query "" if there is none
function Request:query_string() end

--- The path and the query string as the client sent them, still encoded.
---
--- ```lua
--- print(req:uri()) --> "/app/shoes?name=Ada%20L&tag=a&tag=b"
--- ```
---@nodiscard
---@return string? uri
function Request:uri() end

--- The protocol that the client speaks.
---
--- ```lua
--- print(req:protocol()) --> "HTTP/1.1"
--- ```
---@nodiscard
---@return string? protocol
function Request:protocol() end

--- How the client reached the web server.
---
--- ```lua
--- print(req:scheme()) --> "http"
--- ```
---@nodiscard
---@return string scheme "http" or "https", unless the web server says otherwise
function Request:scheme() end

--- The host that the client asked for, with a port if it named one; the web
--- server's own name if it named none.  The client chooses it.  (The nginx of
--- Debian 12 leaves the port out.)
---
--- ```lua
--- print(req:host()) --> "shop.example"
--- ```
---@nodiscard
---@return string? host
function Request:host() end

--- The address of the client, or of the proxy before the web server.
---
--- ```lua
--- print(req:remote_addr()) --> "192.0.2.7"
--- ```
---@nodiscard
---@return string? address
function Request:remote_addr() end

--- The user whom the web server has authenticated.
---
--- ```lua
--- if not req:user() then
---   return 401, { ["WWW-Authenticate"] = 'Basic realm="shop"' }
--- end
--- ```
---@nodiscard
---@return string? name nil: nobody was
function Request:user() end

--- The size of the body as the client announced it.  That it is unknown does
--- not mean that there is no body.
---
--- ```lua
--- print(req:content_length()) --> 8
--- ```
---@nodiscard
---@return integer? bytes nil: unknown
function Request:content_length() end

--- A header of the request; without a name a table of all, whose keys are in
--- lower case with dashes.  Content-Type and Content-Length are included, Proxy
--- never is.  Repeated headers are joined by ", ", cookies by "; ".
---
--- ```lua
--- print(req:header "Content-Type") --> "text/plain"
--- print(req:header()["content-type"]) --> "text/plain"
--- ```
---@nodiscard
---@param name string
---@return string? value nil: there is none
---@overload fun(self: fcgi.Request): table<string, string>
function Request:header(name) end

--- The first value of a name in the query string, decoded; without a name a
--- table of the first values.  What is no escape stands for itself.
---
--- ```lua
--- print(req:query "name") --> "Ada L"
--- print(req:query "colour") --> nil
--- print(req:query()) --> { name = "Ada L", tag = "a" }
--- ```
---@nodiscard
---@param name string
---@return string? value nil: there is none
---@overload fun(self: fcgi.Request): table<string, string>
function Request:query(name) end

--- All values of a name in the query string, decoded, in order.
---
--- ```lua
--- print(req:query_all "tag") --> { "a", "b" }
--- print(req:query_all "colour") --> {}
--- ```
---@nodiscard
---@param name string
---@return string[] values empty if there is none
function Request:query_all(name) end

--- The first cookie of a name: without its quotes, otherwise as sent; without
--- a name a table of the first values.
---
--- ```lua
--- print(req:cookie "theme") --> "dark"
--- print(req:cookie()) --> { visits = "6", theme = "dark" }
--- ```
---@nodiscard
---@param name string
---@return string? value nil: there is none
---@overload fun(self: fcgi.Request): table<string, string>
function Request:cookie(name) end

--- All cookies of a name, in order.
---
--- ```lua
--- print(req:cookie_all "visits") --> { "6" }
--- ```
---@nodiscard
---@param name string
---@return string[] values empty if there is none
function Request:cookie_all(name) end

--- Reads the body as it comes.  With a number: that many bytes at most, as soon
--- as there are any, and never more than 1 MiB.  Without: all the rest, or what
--- had come when the client went.  Raises after req:body, which takes the body
--- as a whole.
---
--- ```lua
--- local size = 0
--- for piece in function() return req:read(65536) end do
---   size = size + #piece
--- end
--- print(size) --> 8
--- ```
---@async
---@nodiscard
---@param max? integer bytes, positive; default: all
---@return string? bytes never empty; nil: the body has ended, or see err
---@return fcgi.Over? err
function Request:read(max) end

--- Reads a line of the body, with its newline, which the last line may lack.
--- Of a longer line `max` bytes, and its rest the next time.  Raises after
--- req:body.
---
--- ```lua
--- print(req:read_line()) --> "one\n"
--- print(req:read_line(2)) --> "tw"
--- print(req:read_line()) --> "o\n"
--- print(req:read_line()) --> nil
--- ```
---@async
---@nodiscard
---@param max? integer bytes, positive; default: 1 MiB
---@return string? line nil: the body has ended, or see err
---@return fcgi.Over? err
function Request:read_line(max) end

--- An iterator over the lines of the body, without their newlines; a carriage
--- return is left.  The iterator may wait.  It ends with the body, or when the
--- client goes: req:is_aborted() tells.  Lines over 1 MiB come in pieces.
---
--- ```lua
--- local lines = {}
--- for line in req:lines() do
---   lines[#lines + 1] = line
--- end
--- print(lines) --> { "one", "two" }
--- ```
---@nodiscard
---@return async fun(): string? next_line
function Request:lines() end

--- The whole body, in one string.  It may be asked for again; after req:read,
--- read_line or lines have begun to take it, it raises.  What is larger than
--- `max` is thrown away: 16 MiB by default, or `--max-body` if that is more.
---
--- ```lua
--- local text, err = req:body(1 << 20)
--- if not text then
---   return 413, {}, err
--- end
--- print(text) --> "one\ntwo\n"
--- ```
---@async
---@nodiscard
---@param max? integer bytes, not negative; default: 16 MiB or more
---@return string? body "" if there is none; nil: see err
---@return "too large"|fcgi.Over|nil err
function Request:body(max) end

--- The first value of a name in a form that was sent as the body, urlencoded or
--- multipart/form-data; without a name a table of the first values.  Of a file
--- the value is what is in it; one that was not chosen has none.  May be asked
--- again and again; raises when the body was taken in another way.
---
--- The body may have `max` bytes, of which the first call decides
--- (`req:form(nil, max)` for the table); fields that are not files 1 MiB
--- together, and there may be 1,000 of them, and as many files.  After an error
--- the rest of the body is thrown away, but what is "not a form" can still be
--- taken in another way.
---
--- ```lua
--- local name, err = req:form "name" --> "Ada", nil
--- if err then
---   return 400, {}, err
--- end
--- print(req:form "colour") --> nil
--- ```
---@async
---@nodiscard
---@param name string
---@param max? integer bytes, not negative; default: 16 MiB
---@return string? value nil: there is none, or see err
---@return fcgi.FormError? err
---@overload fun(self: fcgi.Request): (table<string, string>?, fcgi.FormError?)
function Request:form(name, max) end

--- All values of a name in a form, in order; otherwise as req:form.
---
--- ```lua
--- print(req:form_all "tag") --> { "a", "b" }
--- print(req:form_all "colour") --> {}
--- ```
---@async
---@nodiscard
---@param name string
---@param max? integer bytes, not negative; default: 16 MiB
---@return string[]? values empty if there is none; nil: see err
---@return fcgi.FormError? err
function Request:form_all(name, max) end

--- An iterator over the parts of a multipart/form-data body: the fields and
--- files of a form in the order in which they come, which may be of any size
--- and number.  The iterator may wait.  Going on skips what was not read of a
--- part.  When the loop has ended all of the form has come: the iterator raises
--- when the body is broken, and when the client goes before its end.  The error
--- is no string, but a value whose tostring says why.  When nobody catches it
--- the client gets a 400, and 415 for a body of another type; on_error is not
--- called for it.
---
--- ```lua
--- local fields, size = {}, 0
--- for part in req:parts() do
---   if part.filename then
---     for piece in function() return part:read(65536) end do
---       size = size + #piece
---     end
---   else
---     fields[part.name] = assert(part:read())
---   end
--- end
--- print(fields, size) --> { name = "Ada", tag = "b" }, 16
--- ```
---@nodiscard
---@return async fun(): fcgi.Part? next_part
function Request:parts() end

--- Of a filter: reads the file that it is to answer with, as req:read reads the
--- body.  Read the body first: the web server sends it before the file.  Raises
--- in other roles.
---
--- ```lua
--- function on_filter(req)
---   req:set_header("Content-Type", "text/plain")
---   req:set_header("Content-Length", req.data_length)
---   for piece in function() return req:data(65536) end do
---     req:write(piece:upper())
---   end
--- end
--- ```
---@async
---@nodiscard
---@param max? integer bytes, positive; default: all
---@return string? bytes never empty; nil: the file has ended, or see err
---@return fcgi.Over? err
function Request:data(max) end

--- Has the client gone?  Web servers differ in when they tell: some do at once,
--- some only when something is written.
---
--- ```lua
--- local fcgi = require "fcgi"
--- for _ = 1, 10 do
---   if req:is_aborted() then return end
---   fcgi.sleep(0.001) -- works on something
--- end
--- ```
---@nodiscard
---@return boolean aborted
function Request:is_aborted() end

--- Lets a function run, as a task of its own, when the client goes; at once if
--- it has gone.  Several may be given.  They do not run when the handler ends
--- before.
---
--- ```lua
--- local query = { stop = function() end } -- something that takes long
--- req:on_abort(function() query:stop() end)
--- ```
---@param f async fun()
---@return fcgi.Request req itself, so that calls chain
function Request:on_abort(f) end

--- Sets the status of the answer.  Raises when the head has gone or was begun
--- by a write, and for what is no status.
---
--- ```lua
--- req:set_status(201):set_header("Location", "/app/shoes/7")
--- ```
---@param code integer from 200 to 599
---@param reason? string at most 128 bytes; default: the usual one
---@return fcgi.Request req itself, so that calls chain
function Request:set_status(code, reason) end

--- Sets a header of the answer in place of those of its name; nil removes them.
--- `Status` sets the status.  Raises when the head has gone or was begun by a
--- write, for a name that is none, and for control bytes in a value.
---
--- ```lua
--- req:set_header("Content-Type", "text/html; charset=utf-8")
--- req:set_header("Vary", { "Cookie", "Accept" })
--- req:set_header("X-Price", 99):set_header("X-Price", nil)
--- ```
---@param name string
---@param value fcgi.HeaderValue|nil
---@return fcgi.Request req itself, so that calls chain
function Request:set_header(name, value) end

--- Adds a header to the answer beside those of its name.  Raises as set_header
--- does, and for nil.
---
--- ```lua
--- req:add_header("Link", "</a.css>; rel=preload")
--- req:add_header("Link", "</b.css>; rel=preload")
--- ```
---@param name string
---@param value fcgi.HeaderValue
---@return fcgi.Request req itself, so that calls chain
function Request:add_header(name, value) end

--- Sets a cookie of the client, or deletes it (nil).  Name and value go as
--- they are: for a value that may be anything take fcgi.escape.  Raises for a
--- name that is no token, a ";" or a control byte in a value, for an unknown
--- option, for a cookie that browsers would drop, and as add_header does.
---
--- ```lua
--- local visits = math.tointeger(req:cookie "visits") or 0
--- req:set_cookie("visits", visits + 1, { max_age = 30 * 24 * 3600 })
--- req:set_cookie("theme", nil)
--- ```
---@param name string
---@param value string|number|nil
---@param options? fcgi.CookieOptions
---@return fcgi.Request req itself, so that calls chain
function Request:set_cookie(name, value, options) end

--- Writes a piece of the answer; the first one sends the head, or is the head.
--- Waits while the client is slow to take what was written.  All arguments are
--- checked before the first byte is taken; raises for what is no text.
---
--- ```lua
--- req:set_header("Content-Type", "text/plain")
--- local items = { "shoes", { " and ", "socks" } }
--- print(req:write("We have ", 2, " things: ", items, ".\n")) --> true
--- ```
---@async
---@param ... fcgi.Text
---@return true? done
---@return fcgi.Over? err
function Request:write(...) end

--- Writes to the log and, unless `--stderr=log`, to the error log of the web
--- server.  Waits while that is slow to take it.  Raises for what is no text.
---
--- ```lua
--- local theme = req:cookie "theme"
--- print(req:write_err("The visitor likes it ", theme, ".\n")) --> true
--- ```
---@async
---@param ... fcgi.Text
---@return true? done
---@return fcgi.Over? err
function Request:write_err(...) end

--- Sends what was written, or the head alone, and waits until the system has
--- taken it.  Many web servers hold it back all the same, unless told not to.
---
--- ```lua
--- req:set_header("Content-Type", "text/plain")
--- for n = 3, 1, -1 do
---   req:write(n, "\n")
---   if not req:flush() then return end -- the client has gone
--- end
--- ```
---@async
---@return true? done
---@return fcgi.Over? err
function Request:flush() end

--- Answers as a whole, and finishes.  Headers set before stay, unless they are
--- set anew here.  Raises when the head has gone or was begun by a write, and
--- for what is no status, no headers or no body.
---
--- ```lua
--- req:send(200, { ["Content-Type"] = "text/plain" }, "Thank you.\n")
--- -- The client has its answer; what follows keeps nobody waiting.
--- ```
---@async
---@param status integer from 200 to 599
---@param headers? table<string, fcgi.HeaderValue>
---@param body? fcgi.Body default: none
---@return true? done
---@return fcgi.Over? err
function Request:send(status, headers, body) end

--- Sends the client to another URL, and finishes.  Raises for a URL with blanks
--- or control bytes (see fcgi.escape), and when the head has gone or was begun
--- by a write.
---
--- ```lua
--- req:redirect("/app/socks", 303)
--- ```
---@param url string
---@param status? 301|302|303|307|308 default: 302
---@return true? done
---@return fcgi.Over? err
function Request:redirect(url, status) end

--- What req:send_file may be told.
---
--- ```lua
--- local options = { type = "application/x-tar", root = "/nowhere" }
--- print(req:send_file("a.tar", options)) --> nil, "not found"
--- ```
---@class fcgi.SendFileOptions
--- The media type; by default that of the name's ending.
---@field type? string
--- A tag of your own; false: none.
---@field etag? string|false
--- A folder that the path is in, whatever links say.
---@field root? string

--- Answers with a file and finishes.  ETag, Last-Modified, Accept-Ranges,
--- Content-Type and Content-Length are set unless the script has done it; Range,
--- If-Range, If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since
--- are heeded, for GET and HEAD and while no status was set; several ranges are
--- answered with the whole.  What is no regular file is "not found", and so is a
--- path that leaves the root.  An open file is sent from where it stands on, and
--- stays open; one that was opened for writing only is "not open for reading".
---
--- ```lua
--- local fcgi = require "fcgi"
--- local file <close> = assert(io.tmpfile())
--- file:write("0123456789")
--- file:seek("set", 2)
--- print(req:send_file("etc/x", { root = "/tmp" })) --> nil, "not found"
--- print(req:send_file(file, { type = "text/plain" })) --> true
--- ```
---@async
---@param source string|file* a path, or an open file
---@param options? fcgi.SendFileOptions
---@return true? done
---@return "not found"|fcgi.Over|string|nil err
function Request:send_file(source, options) end

--- What req:event sends.
---
--- ```lua
--- req:event { event = "tick", id = 7, data = "two\nlines", retry = 2.5 }
--- ```
---@class fcgi.Event
--- Lines, each of which is a line of the event's data.
---@field data? string|number
--- What kind of event it is; "message" for browsers.
---@field event? string|number
--- Sent back as Last-Event-ID when a browser reconnects.
---@field id? string|number
--- Seconds until it does.
---@field retry? number

--- Sends a server-sent event and flushes it.  The first one sends the head:
--- Content-Type text/event-stream, Cache-Control no-cache, and X-Accel-Buffering,
--- so that nginx passes each on at once; what the script has set stays.  While
--- the handler is silent a comment goes out every 15 seconds, so that proxies
--- keep the connection.  nil, "aborted" ends loops.  Several tasks of a request
--- may send events; one that is cancelled on its way is completed before the
--- next.
---
--- ```lua
--- local fcgi = require "fcgi"
--- print(req:event "hello") --> true
--- print(req:event { event = "tick", id = 7, data = "a\nb" }) --> true
--- ```
---@async
---@param event string|number|fcgi.Event
---@return true? sent
---@return fcgi.Over? err
function Request:event(event) end

--- Ends the answer; the handler goes on.  Doing it again is no mistake; what is
--- written later gives nil, "finished".  The app status is a number for the web
--- server's log, 0 by custom if all went well.
---
--- ```lua
--- req:send(202)
--- print(req:finish()) --> true
--- print(req:write("more")) --> nil, "finished"
--- ```
---@param app_status? integer from 0 to 4294967295; default: 0
---@return true? done
---@return fcgi.Over? err
function Request:finish(app_status) end

return fcgi
