# lib.sh: what the shell scripts of this folder share.  Sourced, not run.
#
# Servers made here are throw-away ones: a directory of their own, loopback
# only, a port that nobody uses.  No function touches any other cluster.

PG_CONFIG=${PG_CONFIG:-pg_config}
GO=${GO:-go}
export PG_CONFIG GOFLAGS=-buildvcs=false
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
unset PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGDATA
command -v "$GO" > /dev/null || PATH=$PATH:/usr/local/go/bin

bindir() { "$PG_CONFIG" --bindir; }

# PostgreSQL refuses to run as root; a user runs it as himself.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        (cd / && "$@")
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Build and install into the server of PG_CONFIG.
build_and_install() {
    make -s -C "$root" -j2 all bdr_test.so bdr_go_test.so PG_CONFIG="$PG_CONFIG" || return 1
    if [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; then
        make -s -C "$root" install PG_CONFIG="$PG_CONFIG" > /dev/null
    else
        sudo env "PATH=$PATH" make -s -C "$root" install PG_CONFIG="$PG_CONFIG" > /dev/null
    fi
}

# The first port from $1 on that nobody listens on.
free_port() {
    local port=$1
    while (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do
        port=$((port + 1))
    done
    echo "$port"
}

# new_server DIRECTORY PORT [CONFIGURATION FILE]: make it; nothing runs yet.
new_server() {
    local dir=$1 port=$2 extra=${3:-$root/regress/regress.conf}
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown postgres: "$dir"
    as_server "$(bindir)/initdb" -D "$dir/data" -U postgres -E UTF8 --locale=C -A trust \
        --no-sync --no-instructions > "$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; return 1; }
    {
        cat "$extra"
        echo "port = $port"
        echo "unix_socket_directories = '$dir'"
        # A minor release that does not know the setting refuses to start with it.
        if as_server "$(bindir)/postgres" -C output_plugin_libraries -D "$dir/data" > /dev/null 2>&1; then
            echo "output_plugin_libraries = 'pgoutput, test_decoding, bdr_output'"
        fi
    } | as_server tee -a "$dir/data/postgresql.conf" > /dev/null
}

start_server() {
    as_server "$(bindir)/pg_ctl" -D "$1/data" -l "$1/log" -w -t 60 -s start || { tail -n 20 "$1/log"; return 1; }
}

stop_server() {
    as_server "$(bindir)/pg_ctl" -D "$1/data" -m "${2:-fast}" -w -t 60 -s stop
}

server_runs() {
    as_server "$(bindir)/pg_ctl" -D "$1/data" status > /dev/null 2>&1
}

# run_sql PORT DATABASE SQL: rows only, errors end with a status.
run_sql() {
    "$(bindir)/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres -d "$2" -c "$3"
}
