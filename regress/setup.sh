#!/usr/bin/env bash
# setup.sh: install what building and testing needs, on Debian.
#
# Says what it installs, installs only what is missing, and does nothing when
# all is there.  Go and git are expected to be present.  Existing clusters are
# never touched; where the server's package is new on this machine, its habit
# of creating a cluster "main" on port 5432 is switched off for this one
# installation, by the package's own switch.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=${BDR_PG_MAJOR:-15}
packages=(gcc make libc6-dev "postgresql-$version" "postgresql-client-$version" "postgresql-server-dev-$version")

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

# A PG_CONFIG of the user's own is his choice of server: nothing to install for it.
has_own_server() {
    [ "$PG_CONFIG" != pg_config ] && [ -x "$(command -v "$PG_CONFIG")" ] \
        && [ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]
}

missing() {
    local package
    for package in "${packages[@]}"; do
        is_installed "$package" || echo "$package"
    done
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

install_packages() {
    apt_get update -qq
    if ! is_installed "postgresql-$version" && [ ! -d "/etc/postgresql/$version" ]; then
        install_server
    fi
    apt_get install -y -qq --no-install-recommends "$@" > /dev/null
}

# postgresql-common first, then the server without a cluster: the switch goes
# into its configuration file for this one installation, and the file is put
# back as it was.
install_server() {
    local conf=/etc/postgresql-common/createcluster.conf saved
    apt_get install -y -qq --no-install-recommends postgresql-common > /dev/null
    saved=$(mktemp)
    cp "$conf" "$saved"
    echo 'create_main_cluster = false' | as_root tee -a "$conf" > /dev/null
    apt_get install -y -qq --no-install-recommends "postgresql-$version" > /dev/null \
        || { as_root cp "$saved" "$conf"; rm -f "$saved"; return 1; }
    as_root cp "$saved" "$conf"
    rm -f "$saved"
}

command -v "$GO" > /dev/null || { echo "setup: Go is missing; see https://go.dev/dl" >&2; exit 1; }
if ! has_own_server; then
    if ! command -v apt-get > /dev/null; then
        echo "setup: no apt-get here; set PG_CONFIG to a server with its headers" >&2
        exit 1
    fi
    mapfile -t wanted < <(missing)
    if [ "${#wanted[@]}" -gt 0 ]; then
        echo "setup: installing ${wanted[*]}"
        install_packages "${wanted[@]}"
    fi
fi
echo "setup: $("$PG_CONFIG" --version), $("$GO" env GOVERSION): all there"
