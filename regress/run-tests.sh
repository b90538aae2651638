#!/usr/bin/env bash
# run-tests.sh [installcheck | check-cluster | check-assert | soak]: all tests, or
# one kind.
#
# check-assert is what applies rows, and the attacks, on a server with assertions
# (assert-server.sh): freed memory is overwritten there.
#
# soak is the kind that "all" leaves out. SOAK chooses from it: "model", millions
# of schedules of conflicts (SCHEDULES of each kind), and "cluster", a large
# transaction, chaos, conflicts and storms (BDR_SOAK_ROWS, BDR_SOAK_MINUTES,
# BDR_SOAK_SEED, BDR_SOAK_SCHEDULES and BDR_SOAK_STORMS of each kind).
#
# Counts single tests, prints what a failing one said, names the failing ones
# at the end, and ends with "N passed, N failed" alone on a line.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

passed=0
failed=0
failures=()
work=
export TMPDIR=${TMPDIR:-/tmp}

pass() { passed=$((passed + $1)); }
fail() { failed=$((failed + 1)); failures+=("$1"); }
heading() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# check NAME COMMAND...: one test that is a command.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        pass 1
        echo "ok      $name"
    else
        fail "$name"
        printf 'FAILED  %s\n%s\n' "$name" "$out"
    fi
}

# go_run LOG ARGUMENTS...: go test -v into a file, with its status beside it.
go_run() {
    local log=$1 status=0
    shift
    "$GO" test -v -count=1 "$@" > "$log" 2>&1 || status=$?
    echo "$status" > "$log.status"
}

# go_count NAME LOG: every test and subtest of a go_run.
go_count() {
    local name=$1 log=$2 before=$failed line
    pass "$(grep -cE '^ *--- PASS: ' "$log")"
    while read -r line; do
        fail "$name: $line"
    done < <(sed -nE 's/^ *--- FAIL: ([^ ]+).*/\1/p' "$log")
    if [ "$(cat "$log.status")" -ne 0 ]; then
        [ "$failed" -gt "$before" ] || fail "$name: did not build or did not end"
        grep -vE '^ *(=== |--- PASS)|no test files' "$log"
    else
        grep -E '^(ok|FAIL|panic)' "$log"
        [ "$name" != soak ] || grep -E '^ *(--- |[a-z_]+_test.go)' "$log"
    fi
}

# go_tests NAME ARGUMENTS...: both.
go_tests() {
    local name=$1 log
    shift
    log=$(mktemp "$work/go.XXXXXX")
    go_run "$log" "$@"
    go_count "$name" "$log"
}

# Lines of pg_regress: "test a ... ok" up to 15, "ok 1 - a" from 16 on.
count_regress() {
    local name=$1 log=$2 status=$3 before=$failed line
    pass "$(grep -cE '^(test .*\.\.\. ok|ok [0-9])' "$log")"
    while read -r line; do
        fail "$name: $line"
    done < <(sed -nE 's/^test ([^ ]+) .*\.\.\. FAILED.*/\1/p; s/^not ok [0-9]+ +- ([^ ]+).*/\1/p' "$log")
    if [ "$status" -ne 0 ]; then
        [ "$failed" -gt "$before" ] || fail "$name: did not run"
        cat "$log"
        cat "$work/$name"/regression.diffs "$work/$name"/output_iso/regression.diffs 2> /dev/null
    else
        grep -E '^(test|ok) ' "$log"
    fi
}

# regress_run NAME PROGRAM PORT DATABASE TESTS...
regress_run() {
    local name=$1 program=$2 port=$3 database=$4 status
    shift 4
    mkdir -p "$work/$name"
    "$program" --use-existing --host=127.0.0.1 --port="$port" --user=postgres --dbname="$database" \
        --inputdir="$root/regress" --outputdir="$work/$name" --bindir="$(bindir)" "$@" > "$work/$name.log" 2>&1
    status=$?
    count_regress "$name" "$work/$name.log" "$status"
}

names() { find "$root/regress/$1" -name "*.$2" -printf '%f\n' | sed "s/\.$2\$//" | sort; }

# A server with bdr's settings, and one as initdb makes it: refusals need both.
one_server_tests() {
    local tools port plain_port
    tools=$("$PG_CONFIG" --pkglibdir)/pgxs/src/test
    heading "regression and isolation tests on one server"
    port=$(free_port 15432)
    new_server "$work/ready" "$port" && start_server "$work/ready" || { fail "start the test server"; return; }
    plain_port=$(free_port $((port + 1)))
    echo "listen_addresses = '127.0.0.1'" > "$work/plain.conf"
    new_server "$work/plain" "$plain_port" "$work/plain.conf" && start_server "$work/plain" || { fail "start the plain server"; return; }
    run_sql "$port" postgres 'CREATE DATABASE regression'
    run_sql "$plain_port" postgres 'CREATE DATABASE regression'
    # shellcheck disable=SC2046
    regress_run regress "$tools/regress/pg_regress" "$port" regression $(names sql sql | grep -v '^plain_')
    # shellcheck disable=SC2046
    regress_run plain "$tools/regress/pg_regress" "$plain_port" regression $(names sql sql | grep '^plain_')
    prepare_isolation "$port" || { fail "two nodes for the isolation tests"; tail -n 30 "$work/ready/log"; return; }
    # shellcheck disable=SC2046
    regress_run isolation "$tools/isolation/pg_isolation_regress" "$port" iso_a $(names specs spec)
}

# Two databases of one server are two nodes; specs reach the other by dblink.
prepare_isolation() {
    local port=$1 database
    for database in iso_a iso_b; do
        run_sql "$port" postgres "CREATE DATABASE $database" || return 1
        run_sql "$port" "$database" 'CREATE EXTENSION bdr' || return 1
        run_sql "$port" "$database" "SELECT bdr.create_node(node_name := '$database',
            local_dsn := 'host=127.0.0.1 port=$port dbname=$database user=postgres')" > /dev/null || return 1
    done
    run_sql "$port" iso_a "SELECT bdr.create_node_group(node_group_name := 'iso')" > /dev/null || return 1
    run_sql "$port" iso_a "SELECT bdr.wait_for_join_completion()" > /dev/null || return 1
    run_sql "$port" iso_b "SELECT bdr.join_node_group(
        join_target_dsn := 'host=127.0.0.1 port=$port dbname=iso_a user=postgres')" > /dev/null 2>&1 || return 1
    run_sql "$port" iso_b "SELECT bdr.wait_for_join_completion()" > /dev/null || return 1
    run_sql "$port" iso_a "CREATE EXTENSION dblink" || return 1
}

formatted() {
    local files
    files=$(cd "$root" && gofmt -l gosrc regress ./*.go)
    [ -z "$files" ] || { echo "$files"; return 1; }
}

go_unit_tests() {
    local pure=() others=() package
    heading "Go: layout, vet, unit tests"
    check "gofmt" formatted
    check "go vet" "$GO" vet ./...
    # The race detector needs cgo; packages that start servers go without it.
    while read -r package; do
        case $package in
            */pgtest | */bdrgo | bdr) others+=("$package") ;;
            *) pure+=("$package") ;;
        esac
    done < <("$GO" list . ./gosrc/... ./regress/bench)
    go_tests "race" -race "${pure[@]}"
    go_tests "unit" "${others[@]}"
    fuzz_all "${pure[@]}"
}

# A few seconds per target: enough to find what a change broke; the seeds run
# in the unit tests already.  By number and not by time: a run that reaches its
# time now and then fails with "context deadline exceeded".
fuzz_all() {
    local package target
    heading "Go: short fuzz runs"
    for package in "$@"; do
        for target in $("$GO" test -list '^Fuzz' "$package" 2> /dev/null | grep '^Fuzz'); do
            check "$target" "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime 50000x "$package"
        done
    done
}

# Tests that measure, or load the machine, have it for themselves.
alone='TestStorm|TestSettleCost|TestChaos|TestConflictChaos|TestJoinUnderLoad|TestLatchStress|TestWALWriterIsNotWokenForEachTransaction|TestLargeTransactionNeedsLittleMemory|TestLargeRows|TestShutdownIsQuick'

# The others mostly wait for servers, so half of them run beside the other half.
cluster_tests() {
    local tests half=([0]= [1]=) i=0 test
    heading "cluster tests on real servers"
    mapfile -t tests < <("$GO" test -list '^Test' ./regress/cluster | grep '^Test' | grep -vxE "$alone")
    for test in "${tests[@]}"; do
        half[i]+="${half[i]:+|}$test"
        i=$((1 - i))
    done
    go_run "$work/cluster.0" -timeout 20m -run "^(${half[0]})\$" ./regress/cluster &
    {
        go_run "$work/cluster.1" -timeout 20m -run "^(${half[1]})\$" ./regress/cluster
        go_run "$work/security" -timeout 20m ./regress/security
    } &
    wait
    go_run "$work/cluster.alone" -timeout 20m -run "^($alone)\$" ./regress/cluster
    for i in cluster.0 cluster.1 security cluster.alone; do
        go_count "${i%%.*}" "$work/$i"
    done
}

# The modules are built anew for that server, beside the tree.
assert_tests() {
    local tree=$work/tree
    heading "server with assertions"
    PG_CONFIG=$("$root/regress/assert-server.sh") || { fail "build a server with assertions"; return; }
    mkdir -p "$tree"
    (cd "$root" && tar cf - Makefile META.json bdr.control extension include sql gosrc go.mod go.sum) | tar xf - -C "$tree"
    make -s -C "$tree" clean PG_CONFIG="$PG_CONFIG" > /dev/null
    check "build for the server with assertions" make -s -C "$tree" -j2 all PG_CONFIG="$PG_CONFIG"
    check "install into it" make -s -C "$tree" install PG_CONFIG="$PG_CONFIG"
    [ "$failed" -eq 0 ] || return
    heading "cluster tests on a server with assertions"
    go_tests "assert" -p 2 -timeout 25m -run "$assert_run" ./regress/cluster ./regress/security
}

# Not those that are about the manager, time or load, nor the very long ones.
assert_run='Apply|Trigger|Owner|Partition|Column|Types|Frames|Message|Truncate|Unchanged|Deferrable|Identity|Conflicts|ConflictLog|Rewrite|Vanish|Foreign|Transactions|Schedules|OfAUser|Fetch|Values|History|Storm|JoinRuns|JoinNames|JoinTells|JoinCopies|Publication'

soak_tests() {
    case " ${SOAK:=model cluster} " in *" model "*)
        heading "soak: the conflict model"
        BDR_SCHEDULES=${SCHEDULES:-100000} go_tests "soak" -timeout 0 ./gosrc/conflict/model
        ;;
    esac
    case " $SOAK " in *" cluster "*) ;; *) return ;; esac
    heading "soak: real servers"
    go_tests "soak" -tags soak -timeout 12h -run '^TestSoak' ./regress/cluster
}

end() {
    local dir
    for dir in "$work/ready" "$work/plain"; do
        server_runs "$dir" && stop_server "$dir" immediate
    done
    [ "$failed" -ne 0 ] || rm -rf "$work"
}

work=$(mktemp -d "$TMPDIR/bdr-run.XXXXXX")
chmod 755 "$work"
trap end EXIT
cd "$root" || exit 1

what=${1:-all}
heading "set-up and build"
"$root/regress/setup.sh" || { echo '0 passed, 1 failed'; exit 1; }
check "build with warnings as errors, install" build_and_install
installed=$((failed == 0)) # otherwise servers would load what was there before
[ "$what" != all ] || go_unit_tests
if [ "$installed" -eq 1 ]; then
    case $what in
        all) one_server_tests; cluster_tests ;;
        installcheck) one_server_tests ;;
        check-cluster) cluster_tests ;;
        check-assert) assert_tests ;;
        soak) soak_tests ;;
        *) echo "usage: run-tests.sh [installcheck | check-cluster | check-assert | soak]" >&2; exit 2 ;;
    esac
fi

heading "result"
for name in "${failures[@]}"; do echo "FAILED: $name"; done
[ "$failed" -eq 0 ] || echo "logs are kept in $work"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
