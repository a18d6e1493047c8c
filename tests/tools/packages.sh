# shellcheck shell=bash
# packages.sh -- sourced by tests/run.sh and examples/demo.sh: installs Debian
# packages and starts nothing.
# SPDX-License-Identifier: MIT

# Prints those of the named packages that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || printf '%s\n' "$package"
    done
}

# A server that is installed for its program only must not take its port at the
# next boot; one that was there before is left as it is.
disable_services() {
    local package unit
    for package in "$@"; do
        unit=${package%-light}.service # nginx-light brings nginx.service
        if [ -e "/lib/systemd/system/$unit" ] &&
            command -v systemctl >/dev/null; then
            "${AS_ROOT[@]}" systemctl --quiet disable "$unit" || true
        fi
    done
}

# install_packages NAME...: installs what is missing, as root or with sudo.
# Needs no network when nothing is missing.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    AS_ROOT=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "these packages are missing, and this is neither root nor is" \
                "there sudo: ${missing[*]}" >&2
            return 1
        fi
        AS_ROOT=(sudo)
    fi
    echo "installing ${missing[*]}"
    # A subshell: its trap takes the policy away however this ends.
    (
        policy=/usr/sbin/policy-rc.d # asked before any service is started
        if [ ! -e "$policy" ]; then
            trap '"${AS_ROOT[@]}" rm -f "$policy"' EXIT
            trap 'exit 1' HUP INT TERM
            printf '#!/bin/sh\nexit 101\n' |
                "${AS_ROOT[@]}" tee "$policy" >/dev/null
            "${AS_ROOT[@]}" chmod 755 "$policy"
        fi
        apt=("${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q
            -o Acquire::Retries=3)
        # Old lists may still do.
        "${apt[@]}" update || echo "apt-get update failed, going on" >&2
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
    ) || return 1
    disable_services "${missing[@]}"
}
