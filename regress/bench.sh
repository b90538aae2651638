#!/usr/bin/env bash
# bench.sh [replot]: speed against native logical replication of the same
# servers in the same run, what replication costs at rest, and values of
# sequences against the server's own.
#
# REPEATS (3)    passes of each variant; medians are printed
# SCALE (1.0)    multiplies rows and seconds, for a quick look
# WORKLOADS      some of them, by name; an unknown name prints the list
# VARIANTS       "binary bdr"; "text" is native replication in text form
# RESULTS        file of the results (docs/performance.json); the plot and the
#                page beside it are made from it, by replot without measuring
# RECORD=1       keep what is not complete or not at full scale, too
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
if [ "${1:-}" != replot ]; then
    "$root/regress/setup.sh" >&2
    build_and_install >&2
fi
exec "$GO" run ./regress/bench -repeats "${REPEATS:-3}" -scale "${SCALE:-1.0}" -workloads "${WORKLOADS:-}" \
    -variants "${VARIANTS:-binary bdr}" -results "${RESULTS:-docs/performance.json}" \
    ${RECORD:+-record} ${1:+-"$1"}
