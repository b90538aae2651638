#!/usr/bin/env bash
# demo.sh start | stop: three nodes on this machine, from nothing to a cluster
# under load, with every statement shown as a user would type it.
#
# Everything lives in one directory; `start` replaces an earlier demo, `stop`
# removes it.  No other cluster is touched.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

home=${TMPDIR:-/tmp}/bdr-demo
mark=$home/this-is-the-bdr-demo
database=shop
seconds=${BDR_DEMO_SECONDS:-15}
scale=${BDR_DEMO_SCALE:-5}
nodes=(node1 node2 node3)
declare -A port

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# Show a statement at its node's prompt, and run it.
say() {
    local node=$1 sql=$2
    printf '%s=# %s\n' "$node" "$sql"
    "$(bindir)/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${port[$node]}" -U postgres -d "$database" -c "$sql"
}

ask() { run_sql "${port[$1]}" "$database" "$2"; }

dsn() { echo "host=127.0.0.1 port=${port[$1]} dbname=$database user=postgres"; }

stop_demo() {
    local node
    if [ ! -d "$home" ]; then
        echo "demo: nothing runs"
        return
    fi
    if [ ! -f "$mark" ]; then
        echo "demo: $home is not a demo of ours; left alone" >&2
        exit 1
    fi
    for node in "${nodes[@]}"; do
        if server_runs "$home/$node"; then stop_server "$home/$node" immediate; fi
    done
    rm -rf "$home"
    echo "demo: the nodes are stopped and $home is removed"
}

# write_on NODE SECONDS LOG: pgbench beside the demo, mostly on accounts of its
# own choice, sometimes on the few rows that everybody wants.  It is no job of
# this shell; stop_writers finds it by its sessions.
write_on() {
    : > "$3"
    ("$(bindir)/pgbench" -n -h 127.0.0.1 -p "${port[$1]}" -U postgres -c 2 -j 1 -T "$2" -P 1 \
        -b simple-update@19 -b tpcb-like@1 "$database" > "$3" 2>&1 &)
}

stop_writers() {
    local node
    for node in "${nodes[@]}"; do
        until [ "$(ask "$node" "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                                WHERE application_name = 'pgbench'" 2> /dev/null)" = 0 ]; do
            server_runs "$home/$node" || break
            sleep 0.1
        done
    done
}

start_servers() {
    local node next=7432
    bold "Three empty servers below $home"
    mkdir -p "$home"
    chmod 755 "$home"
    echo "made by regress/demo.sh" > "$mark"
    for node in "${nodes[@]}"; do
        port[$node]=$(free_port "$next")
        next=$((port[$node] + 1))
        new_server "$home/$node" "${port[$node]}"
        start_server "$home/$node"
        run_sql "${port[$node]}" postgres "CREATE DATABASE $database"
        echo "$node listens on 127.0.0.1:${port[$node]}"
    done
}

first_node() {
    bold "The first node, with data of its own"
    echo "\$ pgbench -i -s $scale $database"
    "$(bindir)/pgbench" -i -q -s "$scale" -h 127.0.0.1 -p "${port[node1]}" -U postgres "$database" > "$home/pgbench-init.log" 2>&1
    say node1 "CREATE EXTENSION bdr"
    say node1 "SELECT bdr.create_node(node_name := 'node1', local_dsn := '$(dsn node1)')"
    say node1 "SELECT bdr.create_node_group(node_group_name := 'demo')"
    say node1 "SELECT bdr.wait_for_join_completion()"
}

join_nodes() {
    local node
    bold "Two more join while pgbench writes"
    write_on node1 600 "$home/pgbench-join-node1.log"
    for node in node2 node3; do
        say "$node" "CREATE EXTENSION bdr"
        say "$node" "SELECT bdr.create_node(node_name := '$node', local_dsn := '$(dsn "$node")')"
        say "$node" "SELECT bdr.join_node_group(join_target_dsn := '$(dsn node1)', wait_for_completion := true)"
        say "$node" "SELECT bdr.wait_for_join_completion(verbose_progress := true)"
        write_on "$node" 600 "$home/pgbench-join-$node.log"
    done
    stop_writers
    say node1 "SELECT node_name, peer_state_name, interface_connstr FROM bdr.node_summary ORDER BY node_name"
}

# What pgbench said last: transactions per second.
latest_tps() { sed -nE 's/^progress: .* s, ([0-9.]+) tps.*/\1/p' "$1" | tail -n 1; }

largest_lag() {
    local node
    for node in "${nodes[@]}"; do
        ask "$node" "SELECT coalesce(max(replay_lag_bytes), 0) FROM bdr.node_slots"
    done | sort -n | tail -n 1
}

progress_line() {
    local node
    printf '%3ss' "$1"
    for node in "${nodes[@]}"; do
        printf '   %s %7s tps' "$node" "$(latest_tps "$home/pgbench-$node.log")"
    done
    printf '   largest lag %s bytes\n' "$(largest_lag)"
}

write_everywhere() {
    local node began=$SECONDS
    bold "Writes on all three at once, $seconds seconds"
    for node in "${nodes[@]}"; do write_on "$node" "$seconds" "$home/pgbench-$node.log"; done
    for node in "${nodes[@]}"; do
        until grep -qE '^tps = ' "$home/pgbench-$node.log"; do
            if grep -E 'aborted|error' "$home/pgbench-$node.log"; then exit 1; fi
            sleep 1 # the display's pace
            progress_line $((SECONDS - began))
        done
    done
}

report() {
    local node
    bold "Throughput"
    for node in "${nodes[@]}"; do
        printf '%s: %s\n' "$node" "$(grep -E '^tps = ' "$home/pgbench-$node.log")"
    done
    bold "Lag of each link, right after the load"
    for node in "${nodes[@]}"; do
        ask "$node" "SELECT format('%s -> %s: %s bytes, %s', origin_name, target_name, replay_lag_bytes,
            coalesce('replay lag ' || replay_lag, 'nothing outstanding')) FROM bdr.node_slots ORDER BY target_name"
    done
    bold "Conflicts"
    for node in "${nodes[@]}"; do
        ask "$node" "SELECT format('%s: %s %s -> %s', '$node', count(*), conflict_type, conflict_resolution)
            FROM bdr.conflict_history GROUP BY conflict_type, conflict_resolution ORDER BY count(*) DESC"
    done
}

# One line per table: name, number of rows, a sum of hashes of all rows.
contents() {
    local table
    ask "$1" "SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname" \
        | while read -r table; do
            ask "$1" "SELECT '$table', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM $table t"
        done
}

compare() {
    local node first other
    bold "Every row on every node"
    for node in "${nodes[@]}"; do ask "$node" "SELECT bdr.wait_slot_confirm_lsn(NULL, NULL)" > /dev/null; done
    first=$(contents node1)
    for node in node2 node3; do
        other=$(contents "$node")
        if [ "$first" != "$other" ]; then
            printf 'DIFFERENT: node1\n%s\n%s\n%s\n' "$first" "$node" "$other"
            exit 1
        fi
    done
    echo "$first" | awk -F '|' '{ printf "%-18s %8s rows, equal on all three\n", $1, $2 }'
}

farewell() {
    local node
    bold "The cluster goes on running; play with it"
    for node in "${nodes[@]}"; do
        echo "psql -h 127.0.0.1 -p ${port[$node]} -U postgres $database"
    done
    echo "make demo-stop ends it"
}

case ${1:-} in
    start)
        "$root/regress/setup.sh"
        bold "Build and install"
        build_and_install
        [ ! -d "$home" ] || stop_demo
        start_servers
        trap stop_writers EXIT
        first_node
        join_nodes
        write_everywhere
        report
        compare
        farewell
        ;;
    stop) stop_demo ;;
    *) echo "usage: demo.sh start | stop" >&2; exit 2 ;;
esac
