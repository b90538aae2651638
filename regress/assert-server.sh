#!/usr/bin/env bash
# assert-server.sh: build a PostgreSQL with assertions, and print its pg_config.
#
# Freed memory is overwritten there, and what the server takes for granted is
# checked: mistakes with memory that pass unnoticed on the distribution's server
# end in a crash.  The source is Debian's, as it came from upstream; it is fetched
# and built once and kept in BDR_ASSERT_DIR.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=${BDR_PG_MAJOR:-15}
dir=${BDR_ASSERT_DIR:-/var/tmp/bdr-assert-$version}
options=(--enable-cassert --enable-debug --with-openssl --with-libxml --with-lz4 --with-icu --without-readline "CFLAGS=-O1 -g")
packages=(pkg-config libssl-dev libxml2-dev liblz4-dev libicu-dev zlib1g-dev xz-utils bzip2)

missing() {
    local package
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || echo "$package"
    done
}

# A list of sources of our own: the machine's has no deb-src lines.
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$dir/lists" -o APT::Sandbox::User= "$@"
}

# The newest version that is still there: the archive drops old ones from time to
# time before the list does.
fetch() {
    local release candidate
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mkdir -p "$dir/lists/partial"
    {
        echo "deb-src http://deb.debian.org/debian $release main"
        echo "deb-src http://deb.debian.org/debian-security $release-security main"
    } > "$dir/sources.list"
    apt update
    for candidate in $(apt_versions); do
        (cd "$dir" && apt source --download-only "postgresql-$version=$candidate") > "$dir/fetch.log" 2>&1 && return
    done
    cat "$dir/fetch.log" >&2
    return 1
}

apt_versions() {
    apt-cache -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$dir/lists" showsrc "postgresql-$version" 2> /dev/null | sed -n 's/^Version: //p' | sort -rVu
}

build() {
    local source=$dir/source
    rm -rf "$source"
    mkdir -p "$source"
    tar xf "$dir"/postgresql-"$version"_*.orig.tar.* -C "$source" --strip-components=1 || return 1
    (
        cd "$source" && ./configure --prefix="$dir/server" "${options[@]}" \
            && make -s -j2 && make -s install && make -s -C contrib install
    ) > "$dir/build.log" 2>&1 || return 1
    rm -rf "$source"
}

if [ "$(cat "$dir/complete" 2> /dev/null)" != "${options[*]}" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    chmod 755 "$dir"
    mapfile -t wanted < <(missing)
    if [ "${#wanted[@]}" -gt 0 ]; then
        echo "assert-server: installing ${wanted[*]}" >&2
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" > /dev/null
    fi
    echo "assert-server: building PostgreSQL $version with assertions in $dir" >&2
    fetch
    build || { tail -n 30 "$dir/build.log" >&2; exit 1; }
    echo "${options[*]}" > "$dir/complete"
fi
echo "$dir/server/bin/pg_config"
