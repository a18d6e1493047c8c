#!/usr/bin/env bash
# unpack.sh -- Debian packages as files in a folder, for what tests need of
# packages that cannot be installed here, because of what they depend on.
#
#   unpack.sh FOLDER NAME...   unpacks those that are not there yet
#
# Needs no network when none is missing.
# SPDX-License-Identifier: MIT
set -euo pipefail

folder=$1
shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/.lock"
flock 9 # others may want the same
for package in "$@"; do
    if [ -e "$folder/.$package" ]; then
        continue
    fi
    echo "unpacking $package" >&2
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    # As root apt-get would want to give the folder to a user of its own.
    (cd "$temporary" && apt-get -q -o APT::Sandbox::User=root \
        -o Acquire::Retries=3 download "$package") >&2
    dpkg-deb --extract "$temporary"/*.deb "$folder"
    rm -rf "$temporary"
    touch "$folder/.$package"
done
