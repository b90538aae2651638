#!/usr/bin/env bash
# major.sh MAJOR WHAT: run-tests.sh WHAT on PostgreSQL 17 or 18, which Debian 12
# does not have.
#
# The server, a compiler and make are Debian's packages of a newer release, in a
# root of their own that is made once and kept in BDR_MAJOR_DIR-MAJOR. The checkout is
# copied into it; Go, its modules and what it has compiled are this machine's.
# Mounts end with the run. Needs root, or sudo.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A releases=([17]=trixie [18]=forky)

major=$1
what=${2:-all}
release=${releases[$major]:-}
if [ -z "$release" ]; then
    echo "usage: major.sh MAJOR [WHAT], a MAJOR of ${!releases[*]}" >&2
    exit 2
fi
dir=${BDR_MAJOR_DIR:-/var/tmp/bdr-postgresql}-$major
packages=("postgresql-$major" "postgresql-server-dev-$major" gcc libc6-dev make procps)
pg_bin=/usr/lib/postgresql/$major/bin

# in_root COMMAND...: in the root, with its mounts, and an environment of its own.
in_root() {
    as_root unshare --mount bash -euo pipefail -c '
        dir=$1; shift
        mount -t proc proc "$dir/proc"
        mount --rbind /dev "$dir/dev"
        while [ "$1" != -- ]; do
            mkdir -p "$dir$1"
            mount --bind "$1" "$dir$1"
            shift
        done
        shift
        exec chroot "$dir" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' bash "$dir" "$@"
}

make_root() {
    command -v debootstrap > /dev/null || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap > /dev/null
    as_root rm -rf "$dir"
    as_root debootstrap --variant=minbase "$release" "$dir" http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$dir/usr/sbin/policy-rc.d" > /dev/null # no service starts
    as_root chmod 755 "$dir/usr/sbin/policy-rc.d"
    as_root mkdir -p "$dir/etc/postgresql-common"
    echo 'create_main_cluster = false' | as_root tee "$dir/etc/postgresql-common/createcluster.conf" > /dev/null
    in_root -- PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}"
}

if [ "$(cat "$dir/complete" 2> /dev/null)" != "${packages[*]}" ]; then
    echo "major: making a root with PostgreSQL $major in $dir" >&2
    make_root > "$dir.log" 2>&1 || { tail -n 30 "$dir.log" >&2; exit 1; }
    echo "${packages[*]}" | as_root tee "$dir/complete" > /dev/null
fi

as_root rm -rf "$dir/src"
as_root mkdir "$dir/src"
(cd "$root" && tar cf - --exclude=.git --exclude='*.o' --exclude='*.so' .) | as_root tar xf - -C "$dir/src" --no-same-owner
# Released versions, for the tests that update from them: the root has no git.
as_root mkdir -p "$dir/src/tmp_check"
while read -r version commit _; do
    [ "$version" != '#' ] || continue
    archive=$dir/src/tmp_check/bdr-$version.tar
    git -c safe.directory='*' -C "$root" archive "$commit" 2> /dev/null | as_root tee "$archive" > /dev/null || as_root rm -f "$archive"
done < "$root/sql/released/versions"
goroot=$("$GO" env GOROOT)
in_root "$goroot" "$("$GO" env GOMODCACHE)" "$("$GO" env GOCACHE)" -- \
    PATH="$goroot/bin:$pg_bin:/usr/sbin:/usr/bin:/sbin:/bin" PG_CONFIG="$pg_bin/pg_config" \
    GOMODCACHE="$("$GO" env GOMODCACHE)" GOCACHE="$("$GO" env GOCACHE)" GOPROXY="$("$GO" env GOPROXY)" \
    TESTS="${TESTS:-}" /src/regress/run-tests.sh "$what"
