#!/usr/bin/env bash
# bdr_pg_upgrade: pg_upgrade of a server with bdr nodes, each of which stays the
# node that it is. docs/upgrade.md has the steps around it.
#
# Takes the options of pg_upgrade, runs it, and then brings along what it leaves
# behind: commit timestamps, by which conflicts are decided, and the files of each
# node in $PGDATA/bdr, with what bdr.prepare_pg_upgrade() has written down.
# bdr.finish_pg_upgrade() does the rest on the new server.
set -euo pipefail

program=${0##*/}
old_data=${PGDATAOLD:-}
new_data=${PGDATANEW:-}
old_bin=${PGBINOLD:-}
new_bin=${PGBINNEW:-}
check=

usage() {
    cat << TEXT
$program upgrades a PostgreSQL server with bdr nodes to a newer major version.

Usage:
  $program -b OLDBIN -B NEWBIN -d OLDDATA -D NEWDATA [OPTION OF pg_upgrade]...

Before, call bdr.prepare_pg_upgrade() in each database that is a node, stop the
old server, and run initdb for the new one with shared_preload_libraries, wal_level
and track_commit_timestamp set as on the old one. Afterwards, start the new server
and call bdr.finish_pg_upgrade() in each of them.

  --check    checks only, and changes nothing: also before the nodes are prepared,
             and while the old server runs
TEXT
}

die() {
    printf '%s: %s\n' "$program" "$1" >&2
    [ $# -eq 1 ] || printf 'HINT:  %s\n' "$2" >&2
    exit 1
}

# read_options OPTIONS...: what we need of those for pg_upgrade.
read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            -\? | --help) usage; exit ;;
            -b | --old-bindir) old_bin=${2:-}; shift ;;
            -B | --new-bindir) new_bin=${2:-}; shift ;;
            -d | --old-datadir) old_data=${2:-}; shift ;;
            -D | --new-datadir) new_data=${2:-}; shift ;;
            --old-bindir=*) old_bin=${1#*=} ;;
            --new-bindir=*) new_bin=${1#*=} ;;
            --old-datadir=*) old_data=${1#*=} ;;
            --new-datadir=*) new_data=${1#*=} ;;
            -c | --check) check=yes ;;
        esac
        shift
    done
}

# control DATADIR BINDIR LABEL: a value of pg_controldata.
control() { LC_ALL=C "$2/pg_controldata" -D "$1" | sed -n "s/^$3: *//p"; }

# Every node of the old server must be prepared. What is in the directory of a
# database that is no node any more is of no use.
check_nodes() {
    local node found=
    for node in "$old_data"/bdr/*/; do
        [ -e "$node/incarnation" ] || continue
        found=yes
        grep -q '"ready": true' "$node/upgrade" 2> /dev/null \
            || die "the node in the database with OID $(basename "$node") is not prepared" \
                "Start the old server, call bdr.prepare_pg_upgrade() in that database (SELECT datname FROM pg_database WHERE oid = $(basename "$node")), and stop it."
    done
    [ -n "$found" ] || die "no database of \"$old_data\" is a bdr node" "Use pg_upgrade."
    [ "$(control "$old_data" "$old_bin" "Database cluster state")" = "shut down" ] \
        || die "the old server runs, or was not shut down in an orderly way"
}

# setting NAME: as the new server will have it.
setting() { "$new_bin/postgres" -D "$new_data" -C "$1"; }

check_new_server() {
    [ -e "$("$new_bin/pg_config" --pkglibdir)/bdr.so" ] || die "bdr is not installed for the new server"
    [ "$(setting track_commit_timestamp)" = on ] || die "track_commit_timestamp must be on in \"$new_data/postgresql.conf\""
    [ "$(setting wal_level)" = logical ] || die "wal_level must be logical in \"$new_data/postgresql.conf\""
    [[ ",$(setting shared_preload_libraries | tr -d ' ')," = *,bdr,* ]] \
        || die "shared_preload_libraries must contain bdr in \"$new_data/postgresql.conf\""
}

# carry_commit_timestamps: the files. Transactions of pg_upgrade itself are in the
# last one already, behind those of the old server; a timestamp has 10 bytes, and a
# file 32 pages of whole ones. bdr.finish_pg_upgrade() lets the server believe them.
carry_commit_timestamps() {
    local next=${next_xid#*:} per_page file name bytes
    per_page=$((block / 10))
    name=$(printf '%04X' $((next / per_page / 32)))
    bytes=$((next / per_page % 32 * block + next % per_page * 10))
    for file in "$old_data"/pg_commit_ts/*; do
        if [ "${file##*/}" = "$name" ] && [ -e "$new_data/pg_commit_ts/$name" ]; then
            head -c "$bytes" "$file" | dd of="$new_data/pg_commit_ts/$name" bs="$block" iflag=fullblock conv=notrunc,fsync status=none
        else
            cp -p "$file" "$new_data/pg_commit_ts/"
        fi
    done
    sync "$new_data"/pg_commit_ts/* "$new_data/pg_commit_ts"
}

carry_nodes() {
    rm -rf "$new_data/bdr"
    cp -a "$old_data/bdr" "$new_data/bdr"
    rm -f "$new_data"/bdr/*/sock
    find "$new_data/bdr" -exec sync {} +
}

read_options "$@"
for file in "$old_bin/pg_controldata" "$new_bin/pg_upgrade" "$old_data/PG_VERSION" "$new_data/PG_VERSION"; do
    [ -e "$file" ] || die "\"$file\" does not exist" "Give -b, -B, -d and -D; $program --help explains them."
done
[ -n "$check" ] || check_nodes
check_new_server
next_xid=$(control "$old_data" "$old_bin" "Latest checkpoint's NextXID") # --link takes the file away
block=$(control "$old_data" "$old_bin" "Database block size")
"$new_bin/pg_upgrade" "$@"
[ -z "$check" ] || exit 0
carry_commit_timestamps
carry_nodes
printf '\nThe nodes are carried over. Start the new server, which takes no changes in their\ndatabases yet, and call bdr.finish_pg_upgrade() in each of them.\n'
