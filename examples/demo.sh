#!/usr/bin/env bash
# demo.sh -- the examples in a browser, with nothing to set up.
#
#   examples/demo.sh          on http://127.0.0.1:8080, until Ctrl-C
#   PORT=9090 examples/demo.sh
#
# For a Debian 12.  Installs what the build and the examples need and curl (as
# root or with sudo), builds, and serves the examples by --http: demo.lua has the
# list of them.  All it writes is build/ and a temporary folder that it removes.
# FCGI_LUA names a program to use instead of building one.
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2317 # functions are called by traps and by name
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${PORT:-8080}
program=${FCGI_LUA:-$root/build/release/fcgi-lua}

# shellcheck source=../tests/tools/packages.sh
. "$root/tests/tools/packages.sh"

case $port in
'' | *[!0-9]*)
    echo "demo.sh: PORT=$port is not a number" >&2
    exit 64
    ;;
esac

install_packages build-essential cmake ninja-build pkg-config liblua5.4-dev \
    libev-dev libc-ares-dev node-llhttp lua5.4 curl \
    lua-filesystem lua-sql-sqlite3 lua-penlight lua-dkjson

if [ -z "${FCGI_LUA:-}" ]; then
    echo "building build/release ..."
    if ! output=$(cd "$root" && cmake --preset release 2>&1 &&
        cmake --build --preset release --target fcgi-lua 2>&1); then
        printf '%s\n' "$output" >&2
        exit 1
    fi
fi

folder=$(mktemp -d)
server=

# Ends it, and by force if that takes more than five seconds.
stop() {
    local tries=0
    trap '' INT TERM HUP
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        while kill -0 "$server" 2>/dev/null; do
            if [ "$((tries += 1))" -gt 50 ]; then
                kill -KILL "$server" 2>/dev/null || true
                break
            fi
            sleep 0.1
        done
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap stop EXIT
trap 'echo; exit 0' INT TERM HUP

# Our own answer, not that of another server on this port.
answers() {
    [ "$(curl -s -m 2 "http://127.0.0.1:$port/hello/?name=demo-$$")" = \
        "Hello, demo-$$!" ]
}

# Copies of our own: root runs no script that belongs to another user.
mkdir "$folder/examples" "$folder/saved"
for example in "$root"/examples/*.lua; do
    sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/" "$example" \
        >"$folder/examples/${example##*/}"
done

# The terminal's Ctrl-C is for this script, which ends it.
setsid "$program" --http="127.0.0.1:$port" --grace=3 \
    "$folder/examples/demo.lua" "$folder/saved" </dev/null &
server=$!

for ((tries = 0; ; tries++)); do
    if ! kill -0 "$server" 2>/dev/null; then
        wait "$server" || status=$?
        echo "demo.sh: fcgi-lua did not start (see above)" >&2
        exit "${status:-1}"
    fi
    if answers; then
        break
    fi
    if [ "$tries" -ge 200 ]; then
        echo "demo.sh: http://127.0.0.1:$port/ does not answer" >&2
        exit 1
    fi
    sleep 0.05
done

url=http://127.0.0.1:$port
cat <<EOT

fcgi-lua is serving examples/*.lua: open $url/ in a browser,
or try in another terminal:

  curl '$url/hello/?name=Ada'
  curl -N '$url/countdown/?from=3'      # a line each second, as it is written
  curl -i -b visits=6 '$url/query/?name=Ada&tag=a&tag=%3Cb%3E'
  curl -F note=hello -F file=@/etc/services $url/upload/
  curl --data-binary @/etc/os-release $url/echo/
  curl -o /dev/null '$url/stream/?bytes=900000000'   # while memory stays flat
  time (for i in 1 2 3 4 5; do curl $url/slow/ & done; wait)  # 2 s, not 10
  curl -i '$url/errors/?case=raised'    # 500 for the client, a traceback here

Ctrl-C stops everything.
EOT

wait "$server" || true
echo "demo.sh: fcgi-lua has ended" >&2
exit 1
