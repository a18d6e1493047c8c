#!/usr/bin/env bash
# demo.sh -- the examples behind a web server, with nothing to set up.
#
#   examples/demo.sh          on http://127.0.0.1:8080, until Ctrl-C
#   PORT=9090 examples/demo.sh
#
# For a Debian 12.  Installs what it needs (as root or with sudo), builds, and
# serves each example with a gateway of its own behind a lighttpd.  All it writes
# is build/ and a temporary folder that it removes.  FCGI_LUA names a program to
# use instead of building one.
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2317 # functions are called by traps and by name
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${PORT:-8080}
program=${FCGI_LUA:-$root/build/release/fcgi-lua}
PATH=$PATH:/usr/sbin:/sbin # lighttpd's place, which a user's PATH lacks
examples=(hello query env echo slow countdown stream errors parallel cancel
    background pipeline cron iterator)

# shellcheck source=../tests/tools/packages.sh
. "$root/tests/tools/packages.sh"

case $port in
'' | *[!0-9]*)
    echo "demo.sh: PORT=$port is not a number" >&2
    exit 64
    ;;
esac

install_packages build-essential cmake ninja-build pkg-config liblua5.4-dev \
    libev-dev libc-ares-dev lighttpd curl

if [ -z "${FCGI_LUA:-}" ]; then
    echo "building build/release ..."
    if ! output=$(cd "$root" && cmake --preset release 2>&1 &&
        cmake --build --preset release --target fcgi-lua 2>&1); then
        printf '%s\n' "$output" >&2
        exit 1
    fi
fi

folder=$(mktemp -d)
declare -A running=() # process id -> what it is

# Ends everything, and by force what has not ended after five seconds.
stop() {
    local pid tries=0
    trap '' INT TERM HUP
    for pid in "${!running[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${!running[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do
            if [ "$((tries += 1))" -gt 50 ]; then
                kill -KILL "$pid" 2>/dev/null || true
                break
            fi
            sleep 0.1
        done
    done
    wait
    rm -rf "$folder"
}
trap stop EXIT
trap 'echo; exit 0' INT TERM HUP

# start NAME COMMAND...
start() {
    local name=$1
    shift
    setsid "$@" </dev/null & # the terminal's Ctrl-C is for this script
    running[$!]=$name
}

# The name of a process that has ended, if one has.
ended() {
    local pid
    for pid in "${!running[@]}"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "${running[$pid]}"
            return
        fi
    done
    return 1
}

# wait_for COMMAND...: until it succeeds; the demo ends if a process has, or
# after ten seconds.
wait_for() {
    local tries name
    for ((tries = 0; tries < 200; tries++)); do
        if name=$(ended); then
            echo "demo.sh: $name did not start (see above)" >&2
            exit 1
        fi
        if "$@"; then
            return
        fi
        sleep 0.05
    done
    echo "demo.sh: not ready after ten seconds: $*" >&2
    exit 1
}

# Our own answer, not that of another server on this port.
answers() {
    [ "$(curl -s -m 2 "http://127.0.0.1:$port/hello?name=demo-$$")" = \
        "Hello, demo-$$!" ]
}

# Copies of our own: root runs no script that belongs to another user.
for name in "${examples[@]}"; do
    cp "$root/examples/$name.lua" "$folder"
    start "fcgi-lua $name.lua" "$program" --log-level=warn \
        -l "unix:$folder/$name.sock" "$folder/$name.lua"
done
for name in "${examples[@]}"; do
    wait_for test -S "$folder/$name.sock"
done

{
    cat <<EOF
server.modules = ( "mod_fastcgi" )
server.bind = "127.0.0.1"
server.port = $port
server.document-root = "$folder/www"
server.upload-dirs = ( "$folder" )
mimetype.assign = ( ".html" => "text/html; charset=utf-8" )
index-file.names = ( "index.html" )
server.stream-request-body = 2
server.stream-response-body = 2
EOF
    for name in "${examples[@]}"; do
        cat <<EOF
fastcgi.server += ( "/$name" => ((
    "socket" => "$folder/$name.sock", "check-local" => "disable"
)) )
EOF
    done
} >"$folder/lighttpd.conf"

mkdir "$folder/www"
{
    echo '<!DOCTYPE html><title>fcgi-lua</title><h1>fcgi-lua</h1><ul>'
    for path in 'hello?name=Ada' 'query?name=Ada&amp;tag=a&amp;tag=b' \
        'env/some/path?a=1' slow 'countdown?from=5' 'stream?bytes=9000' \
        'errors?case=caught' 'errors?case=raised' parallel 'cancel?seconds=1' \
        'background?to=ada@example.org' 'pipeline?pages=30' cron; do
        echo "<li><a href=\"/$path\">/$path</a>"
    done
    echo '</ul>'
} >"$folder/www/index.html"

start lighttpd lighttpd -D -f "$folder/lighttpd.conf"
wait_for answers

url=http://127.0.0.1:$port
cat <<EOF

fcgi-lua is serving examples/*.lua behind lighttpd: $url/

In another terminal, or the first two in a browser:

  curl '$url/hello?name=Ada'
  curl -N '$url/countdown?from=3'       # a line each second, as it is written
  curl -i -b visits=6 '$url/query?name=Ada&tag=a&tag=%3Cb%3E'
  curl --data-binary @/etc/os-release $url/echo
  curl -o /dev/null '$url/stream?bytes=900000000'   # while memory stays flat
  time (for i in 1 2 3 4 5; do curl $url/slow & done; wait)   # 2 s, not 10
  curl -i '$url/errors?case=raised'     # 500 for the client, a traceback here

Ctrl-C stops everything.
EOF

wait -n "${!running[@]}" || true
echo "demo.sh: $(ended || echo a process) has ended, stopping the rest" >&2
exit 1
