#!/usr/bin/env bash
# run.sh -- installs what the tests need, builds, runs all of them.
#
#   tests/run.sh          everything
#   tests/run.sh --fast   without the builds that only look for warnings
#
# For a Debian 12, as root or with sudo.  Ends with 0 only if all went well;
# with CI=true a test that was skipped has not gone well.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/packages.sh
. tests/tools/packages.sh

packages=(
    build-essential clang clang-format clang-tidy cmake ninja-build pkg-config
    liblua5.4-dev libev-dev libcmocka-dev libfcgi-dev node-llhttp lua5.4
    lua-filesystem lua-lpeg lua-busted lua-check lua-socket lua-penlight
    libc-ares-dev
    lua-cjson lua-luaossl lua-rex-pcre2 python3 python3-pytest
    python3-prometheus-client
    nginx-light apache2 libapache2-mod-fcgid lighttpd haproxy caddy
    libfcgi-bin spawn-fcgi systemd logrotate curl strace valgrind git
    ca-certificates chromium chromium-driver python3-selenium
    redis-server memcached postgresql mariadb-server-core python3-aiosmtpd
    man-db groff-base mandoc lua-dkjson
    openssl lua-redis lua-sql-postgres lua-sql-mysql lua-sec lua-http
    lua-sql-sqlite3 python3-cryptography
)

fast=no
for arg in "$@"; do
    case $arg in
    --fast) fast=yes ;;
    -h | --help)
        sed -n '2,/^# SPDX/{/^# SPDX/d;s/^# \{0,1\}//;p}' "$0"
        exit 0
        ;;
    *)
        echo "run.sh: unknown option $arg (--fast, --help)" >&2
        exit 64
        ;;
    esac
done

strict=OFF
if [ "${CI:-}" = true ]; then
    strict=ON
fi

failed=()

# step NAME COMMAND...: runs it, says how long it took, remembers a failure.
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    if "$@"; then
        printf '=== %s: ok, %d s\n' "$name" $((SECONDS - start))
    else
        printf '=== %s: FAILED, %d s\n' "$name" $((SECONDS - start))
        failed+=("$name")
        return 1
    fi
}

# build FOLDER CMAKE-ARGUMENT...
build() {
    local folder=$1
    shift
    cmake -B "$folder" "$@" && cmake --build "$folder"
}

# Without the packages all the rest would fail in less clear ways.
step "packages" install_packages "${packages[@]}" || exit 1
step "libraries" tests/tools/unpack.sh build/unpacked \
    lua-nginx-redis lua-nginx-memcached lua-nginx-websocket \
    lua-wsapi lua-wsapi-doc lua-orbit lua-cosmo || exit 1

if step "build (gcc, ASan, UBSan)" build build/dev --preset dev \
    -DCMAKE_C_COMPILER=gcc -DFCGI_LUA_REQUIRE_TOOLS="$strict"; then
    # They wait more than they compute.
    step "tests" ctest --preset dev -j "$(($(nproc) * 2))" || true
fi

# Compilers warn about different things, and about more when they optimise.
if [ "$fast" = no ]; then
    step "build (clang)" build build/clang -G Ninja \
        -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DFCGI_LUA_WERROR=ON -DFCGI_LUA_LTO=OFF || true
    step "build (gcc, release)" build build/gcc -G Ninja \
        -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DFCGI_LUA_WERROR=ON || true
fi

echo
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo "all passed"
