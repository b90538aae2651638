#!/usr/bin/env bash
# major.sh MAJOR WHAT: run-tests.sh WHAT on PostgreSQL 17 or 18, which Debian 12
# does not have; WHAT may also be bench. major.sh mixed: tests with servers of 15, 17
# and 18 at a time.
#
# The server, a compiler and make are Debian's packages of a newer release, in a
# root of their own that is made once and kept in BDR_MAJOR_DIR-MAJOR. The checkout is
# copied into it; Go, its modules and what it has compiled are this machine's.
# Mounts end with the run. Needs root, or sudo. Ends with 77 where a root cannot be
# made: without the right to mount, or without a network.
#
# Programs of an older release run with the libraries of a newer one, so the root
# of 18 also takes the servers of the others, for "mixed", with the few
# libraries that have another name now.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A releases=([17]=trixie [18]=forky)
newest=18
source=/src # the checkout in a root

# root_of MAJOR
root_of() { echo "${BDR_MAJOR_DIR:-/var/tmp/bdr-postgresql}-$1"; }

# in_root DIRECTORY MOUNTS... -- VARIABLES... COMMAND...: in a root, with folders of
# this machine in their places and no environment but the variables.
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
        exec chroot "$dir" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' bash "$@"
}

# make_root DIRECTORY RELEASE PACKAGES...
make_root() {
    local dir=$1 release=$2
    shift 2
    command -v debootstrap > /dev/null || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap > /dev/null
    as_root rm -rf "$dir"
    as_root debootstrap --variant=minbase "$release" "$dir" http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$dir/usr/sbin/policy-rc.d" > /dev/null # no service starts
    as_root chmod 755 "$dir/usr/sbin/policy-rc.d"
    as_root mkdir -p "$dir/etc/postgresql-common"
    echo 'create_main_cluster = false' | as_root tee "$dir/etc/postgresql-common/createcluster.conf" > /dev/null
    in_root "$dir" -- PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "$@"
}

# ensure_root MAJOR: make its root unless it is there.
ensure_root() {
    local major=$1 dir packages
    dir=$(root_of "$major")
    packages=("postgresql-$major" "postgresql-server-dev-$major" gcc libc6-dev make procps)
    [ "$(cat "$dir/complete" 2> /dev/null)" != "${packages[*]}" ] || return 0
    echo "major: making a root with PostgreSQL $major in $dir" >&2
    make_root "$dir" "${releases[$major]}" "${packages[@]}" > "$dir.log" 2>&1 || { tail -n 30 "$dir.log" >&2; exit 77; }
    echo "${packages[*]}" | as_root tee "$dir/complete" > /dev/null
}

# copy_server MAJOR ORIGIN DIRECTORY: what Debian's packages of a server are, from
# one root to another.
copy_server() {
    local major=$1 origin=$2 dir=$3 part library missing
    for part in lib share include; do
        [ -e "$origin/usr/$part/postgresql/$major" ] || continue
        as_root rm -rf "$dir/usr/$part/postgresql/$major"
        as_root mkdir -p "$dir/usr/$part/postgresql"
        as_root cp -a "$origin/usr/$part/postgresql/$major" "$dir/usr/$part/postgresql/"
    done
    as_root rm -f "$dir/usr/lib/postgresql/$major/lib/llvmjit.so" # for want of its LLVM
    as_root mkdir -p "$dir/usr/local/lib/postgresql"
    echo /usr/local/lib/postgresql | as_root tee "$dir/etc/ld.so.conf.d/postgresql.conf" > /dev/null
    while missing=$(missing_libraries "$major" "$dir") && [ -n "$missing" ]; do
        for library in $missing; do
            as_root cp -L "$origin"/usr/lib/*/"$library" "$dir/usr/local/lib/postgresql/"
        done
        as_root chroot "$dir" ldconfig
    done
}

# missing_libraries MAJOR DIRECTORY
missing_libraries() {
    # shellcheck disable=SC2016
    as_root chroot "$2" sh -c 'ldd /usr/lib/postgresql/$1/bin/* /usr/lib/postgresql/$1/lib/*.so 2> /dev/null || true' sh "$1" \
        | awk '/not found/ { print $1 }' | sort -u
}

# released_sources DIRECTORY: for the tests that update from them, as a root has no
# git.
released_sources() {
    local version commit archive
    as_root mkdir -p "$1"
    while read -r version commit _; do
        [ "$version" != '#' ] || continue
        archive=$1/bdr-$version.tar
        git -c safe.directory='*' -C "$root" archive "$commit" 2> /dev/null | as_root tee "$archive" > /dev/null || as_root rm -f "$archive"
    done < "$root/sql/released/versions"
}

# run_in MAJOR PATH COMMAND...: in the root of a major, with a fresh copy of the
# checkout and what Go needs of this machine.
run_in() {
    local dir goroot path=$2
    dir=$(root_of "$1")
    shift 2
    as_root rm -rf "$dir$source"
    as_root mkdir "$dir$source"
    (cd "$root" && tar cf - --exclude=.git --exclude='*.o' --exclude='*.so' .) | as_root tar xf - -C "$dir$source" --no-same-owner
    released_sources "$dir$source/tmp_check"
    goroot=$("$GO" env GOROOT)
    in_root "$dir" "$goroot" "$("$GO" env GOMODCACHE)" "$("$GO" env GOCACHE)" -- \
        PATH="$goroot/bin:$path:/usr/sbin:/usr/bin:/sbin:/bin" PG_CONFIG="$path/pg_config" \
        GOMODCACHE="$("$GO" env GOMODCACHE)" GOCACHE="$("$GO" env GOCACHE)" GOPROXY="$("$GO" env GOPROXY)" \
        TESTS="${TESTS:-}" REPEATS="${REPEATS:-}" SCALE="${SCALE:-}" WORKLOADS="${WORKLOADS:-}" VARIANTS="${VARIANTS:-}" "$@"
}

usage() {
    echo "usage: major.sh MAJOR [WHAT | bench] | major.sh mixed, a MAJOR of ${!releases[*]}" >&2
    exit 2
}

as_root unshare --mount true 2> /dev/null || { echo "major: no right to mount here" >&2; exit 77; }
major=${1:-}
what=${2:-all}
if [ "$major" = mixed ]; then
    "$root/regress/setup.sh" # this machine's own server
    for major in "${!releases[@]}"; do ensure_root "$major"; done
    copy_server 15 "" "$(root_of $newest)"
    for major in "${!releases[@]}"; do
        [ "$major" = $newest ] || copy_server "$major" "$(root_of "$major")" "$(root_of $newest)"
    done
    major=$newest
    what=mixed
else
    [ -n "${releases[$major]:-}" ] || usage
    ensure_root "$major"
fi
program=("$source/regress/run-tests.sh" "$what")
[ "$what" != bench ] || program=("$source/regress/bench.sh")
run_in "$major" "/usr/lib/postgresql/$major/bin" "${program[@]}"
