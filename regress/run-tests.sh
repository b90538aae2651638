#!/usr/bin/env bash
# run-tests.sh [installcheck | check-cluster | check-assert | check-server | mixed | soak | STAGE]: all
# tests, or one kind, or one stage; "stages" lists those of all tests.
#
# check-assert is what applies rows, and most attacks, on a server with assertions
# (assert-server.sh): freed memory is overwritten there.
#
# check-server is what touches the server's API, and loads the machine little, and a
# storm of sequences.
#
# mixed needs the servers of several majors side by side (major.sh mixed).
#
# soak is another kind that "all" leaves out. SOAK chooses from it: "model", millions
# of schedules of conflicts (SCHEDULES of each kind), and "cluster", a large
# transaction, chaos, conflicts and storms (BDR_SOAK_ROWS, BDR_SOAK_MINUTES,
# BDR_SEED, BDR_SOAK_SCHEDULES and BDR_SOAK_STORMS of each kind).
#
# TESTS='Chaos|Storm' picks tests of the stages cluster, load and assert.
#
# Counts single tests, prints what a failing one said as soon as it ends, then a
# line for each stage with its time and one for each test that failed, and ends
# with "N passed, N failed" alone on a line.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

declare -A kinds=(
    [all]="build unit fuzz regress cluster load"
    [installcheck]="build regress"
    [check-cluster]="build cluster load"
    [check-assert]="build assert"
    [check-server]="build regress cluster storm"
    [mixed]="majors mixed"
    [soak]="build soak"
)
declare -A stages=(
    [build]="packages; build with warnings as errors; install"
    [unit]="Go: layout, vet, house rules, unit tests with the race detector"
    [fuzz]="Go: short fuzz runs"
    [regress]="regression and isolation tests on one server"
    [cluster]="clusters of real servers, and attacks on them"
    [load]="clusters that measure, or load the machine, one at a time"
    [storm]="values of sequences in a storm"
    [assert]="clusters on a server with assertions"
    [majors]="build with warnings as errors and install, for each server that is here"
    [mixed]="clusters of servers of different majors, and upgrades"
    [soak]="what takes hours"
)
without_build="build unit fuzz majors"

passed=0
failed=0
failures=()
results=()
built=
work=
binaries=
memory=/dev/shm
[ -z "${TMPDIR:-}" ] || memory=$TMPDIR
export TMPDIR=${TMPDIR:-/tmp}

pass() { passed=$((passed + $1)); }
fail() { failed=$((failed + 1)); failures+=("$1"); }

# stage NAME: run stage_NAME between a heading and a line with its result. One
# with a server is left out without a build: it would load what was there before.
stage() {
    local name=$1 began=$SECONDS passed_before=$passed failed_before=$failed
    if [ -z "$built" ] && [[ " $without_build " != *" $name "* ]]; then
        results+=("$(printf '%-8s left out' "$name")")
        return
    fi
    printf '\n== %s: %s\n' "$name" "${stages[$name]}"
    "stage_$name"
    results+=("$(printf '%-8s %5d passed %3d failed %5d s' "$name" \
        $((passed - passed_before)) $((failed - failed_before)) $((SECONDS - began)))")
    echo "== ${results[-1]}"
}

# check NAME COMMAND...: one test that is a command; its status is whether it passed.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        pass 1
        echo "ok      $name"
    else
        fail "$name"
        printf 'FAILED  %s\n%s\n' "$name" "$out"
        return 1
    fi
}

# go_count NAME LOG STATUS SHOWN: every test and subtest of a run with -v. SHOWN
# is a pattern of the lines to print where nothing failed.
go_count() {
    local name=$1 log=$2 status=$3 shown=$4 before=$failed line
    pass "$(grep -cE '^ *--- PASS: ' "$log")"
    while read -r line; do
        fail "$name: $line"
    done < <(sed -nE 's/^ *--- FAIL: ([^ ]+).*/\1/p' "$log")
    if [ "$status" -ne 0 ]; then
        [ "$failed" -gt "$before" ] || fail "$name: did not build or did not end"
        grep -vE '^ *(=== |--- PASS)|^PASS|no test files' "$log"
    else
        grep -E "$shown" "$log"
    fi
}

# go_tests NAME SHOWN ARGUMENTS...: packages that go test runs.
go_tests() {
    local name=$1 shown=$2 log status=0
    shift 2
    log=$(mktemp "$work/go.XXXXXX")
    "$GO" test -v -count=1 "$@" > "$log" 2>&1 || status=$?
    go_count "$name" "$log" "$status" "$shown"
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

stage_build() {
    "$root/regress/setup.sh" || { fail "set-up"; return; }
    check "build with warnings as errors, install" build_and_install
    [ "$failed" -ne 0 ] || built=yes
}

# The folder with one folder for each major, as Debian has it. The last one that
# is built stays in the tree.
servers=/usr/lib/postgresql

stage_majors() {
    local bin
    for bin in "$servers"/*/bin; do
        rm -f "$root"/extension/*.o "$root"/extension/*/*.o "$root"/extension/*/*/*.o "$root"/bdr.so "$root"/bdr_output.so "$root"/bdr_test.so
        PG_CONFIG=$bin/pg_config check "build and install for $("$bin/pg_config" --version)" build_and_install
    done
    [ "$failed" -ne 0 ] || built=yes
}

formatted() {
    local files
    files=$(cd "$root" && gofmt -l gosrc regress ./*.go)
    [ -z "$files" ] || { echo "$files"; return 1; }
}

# The race detector needs cgo; packages that start servers go without it.
pure_packages() { "$GO" list ./gosrc/... ./regress/bench | grep -vE '/(pgtest|bdrgo)$'; }

stage_unit() {
    check "gofmt" formatted
    check "go vet" "$GO" vet ./...
    # shellcheck disable=SC2046
    go_tests "race" '^ok' -race $(pure_packages)
    go_tests "unit" '^ok' . ./gosrc/pgtest ./gosrc/bdrgo
}

# A few seconds per target: enough to find what a change broke; the seeds run
# in the unit tests already.  By number and not by time: a run that reaches its
# time now and then fails with "context deadline exceeded".
stage_fuzz() {
    local package target
    for package in $(pure_packages); do
        for target in $("$GO" test -list '^Fuzz' "$package" 2> /dev/null | grep '^Fuzz'); do
            check "$target" "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime 50000x "$package"
        done
    done
}

# A server with bdr's settings, and one as initdb makes it: refusals need both.
stage_regress() {
    local tools port plain_port
    tools=$("$PG_CONFIG" --pkglibdir)/pgxs/src/test
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

# The packages whose tests start servers, as folders of regress/.
tested=(cluster security)
cluster_packages() {
    (cd "$root/regress" && find "${tested[@]}" -name '*_test.go') | sed 's,/[^/]*$,,' | sort -u
}

# cluster_tests NAME WORKERS GREP-OPTIONS...: the tests that grep picks, each a
# process of its own, so many at a time; the longest start first, so that none of
# them runs alone at the end. What a test says is printed when it ends.
cluster_tests() {
    local name=$1 workers=$2 package test program started=0
    shift 2
    for package in $(cluster_packages); do
        program=$(program_of "$package")
        [ -x "$program" ] || check "build the tests in $package" "$GO" test -c -o "$program" "./regress/$package" || return
    done
    local -A running=()
    while read -r package test; do
        [ "${#running[@]}" -lt "$workers" ] || reap "$name"
        (cd "$root/regress/$package" && exec "$(program_of "$package")" -test.v -test.timeout 25m -test.run "^$test\$") \
            < /dev/null > "$work/$test.out" 2>&1 &
        running[$!]=$test
        started=$((started + 1))
    done < <(cluster_list "$@")
    while [ "${#running[@]}" -gt 0 ]; do reap "$name"; done
    [ "$started" -gt 0 ] || [ -n "${TESTS:-}" ] || fail "$name: no tests were found"
}

program_of() { echo "$binaries/${1//\//.}"; }

# reap NAME: wait for one of the running tests.
reap() {
    local pid status=0
    wait -n -p pid "${!running[@]}" || status=$?
    go_count "$1" "$work/${running[$pid]}.out" "$status" '^--- '
    unset "running[$pid]"
}

cluster_list() {
    local package
    for package in $(cluster_packages); do
        "$(program_of "$package")" -test.list "${TESTS:-.}" | grep '^Test' | grep -E "$@" | sed "s,^,$package ,"
    done | awk -v long="^($longest)\$" '{ print ($2 !~ long), $0 }' | sort -s -n -k 1,1 | cut -d ' ' -f 2-
}

# Tests that take twenty seconds and more.
longest='TestColumns|TestCopy|TestNewSequences|TestRewrite|TestSchedules|TestStopWhilePeerWaits|TestSlowApply|TestDeadRows|TestConflictLog|TestPartitionedTables|TestUnchangedValues'

# Tests that measure, or load the machine, have it for themselves. The others
# mostly wait for servers: three at a time are busy for half the time of two cores.
cores=$(nproc)
workers=$((cores < 3 ? cores + 1 : 4))
alone='TestStorm|TestNoValueTwice|TestSettleCost|TestChaos|TestConflictChaos|TestJoinUnderLoad|TestLatchStress|TestWALWriterIsNotWokenForEachTransaction|TestLargeTransactionNeedsLittleMemory|TestLargeRows|TestShutdownIsQuick'

stage_cluster() { cluster_tests cluster "$workers" -vx "$alone"; }

stage_load() { cluster_tests load 1 -x "$alone"; }

# Of those, what is done on each major.
stage_storm() { cluster_tests storm 1 -x TestNoValueTwice; }

# The modules are built anew for that server, beside the tree.
stage_assert() {
    local tree=$work/tree
    PG_CONFIG=$("$root/regress/assert-server.sh") || { fail "build a server with assertions"; return; }
    mkdir -p "$tree"
    (cd "$root" && tar cf - Makefile META.json bdr.control extension include sql gosrc go.mod go.sum) | tar xf - -C "$tree"
    make -s -C "$tree" clean PG_CONFIG="$PG_CONFIG" > /dev/null
    check "build for the server with assertions" make -s -C "$tree" -j2 all bdr_test.so PG_CONFIG="$PG_CONFIG"
    check "install into it" make -s -C "$tree" install PG_CONFIG="$PG_CONFIG"
    [ "$failed" -ne 0 ] || BDR_TEST_MODULE=$tree/bdr_test.so cluster_tests assert "$workers" "$assert_run"
}

# Not those that are about the manager, time or load, nor the very long ones.
assert_run='Apply|Gate|SchemaChanges|Sequences|StartOfTheNew|Setval|Look$|Calls|Copy$|Plans|IdsAscend|Galloc|Switch|KindInThe|FastPath|PagesStay|Trigger|Owner|Partition|Column|Types|Frames|Message|Truncate|Unchanged|Deferrable|Identity|Conflicts|ConflictLog|Rewrite|Vanish|Foreign|Transactions|Schedules|OfAUser|Fetch|Values|History|Storm|JoinRuns|JoinNames|JoinTells|JoinCopies|Publication'

stage_mixed() {
    tested=(mixed)
    BDR_SERVERS=$servers cluster_tests mixed "$workers" .
}

stage_soak() {
    local shown='^(ok| *--- | *[a-z_]+_test.go)'
    case " ${SOAK:=model cluster} " in *" model "*)
        BDR_SCHEDULES=${SCHEDULES:-100000} go_tests "soak" "$shown" -timeout 0 ./gosrc/conflict/model
        ;;
    esac
    case " $SOAK " in *" cluster "*)
        go_tests "soak" "$shown" -tags soak -timeout 12h -p 1 -run '^TestSoak' ./regress/cluster/...
        ;;
    esac
    case " $SOAK " in *" applications "*)
        go_tests "soak" "$shown" -tags soak -timeout 1h -v -run '^TestSoakApplications' ./regress/cluster/ddl
        ;;
    esac
}

# Servers of tests live in memory where there is much of it: they create and
# remove some hundred thousand files, which takes more time on some disks than
# the tests themselves. A run needs 2 GB of it, but soak any amount. A TMPDIR that
# is set is the place.
run_folder() {
    local free
    free=$({ df --output=avail -k "$memory" && awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo; } 2> /dev/null \
        | grep -oE '[0-9]+' | sort -n | head -n 1)
    if [ "$1" != soak ] && [ -w "$memory" ] && [ "${free:-0}" -gt $((8 << 20)) ]; then
        echo "$memory"
    else
        echo "$TMPDIR"
    fi
}

stop_servers() {
    local dir
    for dir in "$work/ready" "$work/plain"; do
        server_runs "$dir" && stop_server "$dir" immediate
    done
}

end() {
    local job
    for job in $(jobs -p); do kill "$job"; done # they ignore an interrupt from the keyboard
    wait
    stop_servers
    rm -rf "$binaries"
    [ "$failed" -ne 0 ] || rm -rf "$work"
}

# What is left of a run with failures, out of memory.
keep_work() {
    local kept=$TMPDIR/${work##*/}
    stop_servers
    rm -rf "$work/prepared"
    if [ "$work" != "$kept" ] && mv -n "$work" "$kept"; then
        echo "$work has moved"
        work=$kept
    fi
    echo "logs are kept in $work"
}

what=${1:-all}
if [ "$what" = stages ]; then
    echo "${kinds[all]}"
    exit
fi
run=${kinds[$what]:-}
[ -n "$run" ] || [ -z "${stages[$what]:-}" ] || run="build $what"
if [ -z "$run" ]; then
    echo "usage: run-tests.sh [installcheck | check-cluster | check-assert | check-server | mixed | soak | STAGE], a STAGE of ${!stages[*]}" >&2
    exit 2
fi

work=$(mktemp -d "$(run_folder "$what")/bdr-run.XXXXXX")
binaries=$(mktemp -d "$TMPDIR/bdr-binaries.XXXXXX")
chmod 755 "$work"
export BDR_TEST_DIR=$work
trap end EXIT
cd "$root" || exit 1
for name in $(tr ' ' '\n' <<< "$run" | awk '!seen[$0]++'); do stage "$name"; done

printf '\n== result\n'
printf '%s\n' "${results[@]}"
for name in "${failures[@]}"; do echo "FAILED: $name"; done
[ "$failed" -eq 0 ] || keep_work
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
