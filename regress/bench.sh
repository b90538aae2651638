#!/usr/bin/env bash
# bench.sh [footprint]: throughput against native logical replication of the
# same server in the same run, and what an idle cluster costs.
#
# REPEATS (3) is the number of runs of each variant; the medians are printed.
# SCALE (1.0) multiplies the number of rows, for a quick look.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
"$root/regress/setup.sh" >&2
build_and_install >&2
cd "$root"
exec "$GO" run ./regress/bench -repeats "${REPEATS:-3}" -scale "${SCALE:-1.0}" ${1:+-"$1"}
