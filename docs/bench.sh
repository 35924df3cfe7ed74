#!/usr/bin/env bash
# Measures every scenario of docs/BENCHMARKS.md, three runs each, and prints the tables in Markdown. About ten minutes.
#
#   docs/bench.sh [FOLDER [RUNS]]     one JSON file per scenario lands in FOLDER (target/bench by default)
#   DORMOUSE=PROGRAM docs/bench.sh    measures that program instead of building one
#   ONLY=fan-out docs/bench.sh        only the files whose names begin so
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/bench}
runs=${2:-3}
if [ -z "${DORMOUSE:-}" ]; then
  cargo build --quiet --release --package dormouse-runtime
  DORMOUSE=target/release/dormouse
fi
mkdir -p "$folder"

# A file's name, then the arguments. A scenario that fails is named, and the rest goes on.
measure() {
  local name=$1
  shift
  [[ $name == "${ONLY:-}"* ]] || return 0
  printf '%s  %s\n' "$(date +%T)" "$name" >&2
  timeout 300 "$DORMOUSE" bench "$@" --json >"$folder/$name.json" 2>"$folder/$name.log" ||
    printf '%s: status %s, see %s\n' "$name" "$?" "$folder/$name.log" >&2
}

measure fan-out-100 fan-out --clients 100 --transactions 200 --runs "$runs"
measure fan-out-1000 fan-out --clients 1000 --transactions 200 --runs "$runs"
measure fan-out-5000 fan-out --clients 5000 --transactions 100 --runs "$runs"
measure throughput-1 throughput --runs "$runs"
measure throughput-50000 throughput --transactions 6 --rows-per-transaction 50000 --runs "$runs"
measure throughput-backlog throughput --backlog --transactions 300000 --runs "$runs"
measure catch-up-1 catch-up --runs "$runs"
measure catch-up-50 catch-up --clients 50 --runs "$runs"
measure first-sync-1 first-sync --runs "$runs"
measure first-sync-10 first-sync --clients 10 --runs "$runs"
measure first-sync-100 first-sync --clients 100 --runs "$runs"
measure storm-500 storm --clients 500 --runs "$runs"
measure storm-1000 storm --clients 1000 --runs "$runs"
measure storm-5000 storm --clients 5000 --runs "$runs"
measure mixed-100 mixed --clients 100 --runs "$runs"
measure idle-15000 idle --clients 15000 --seconds 15
measure idle-nobody idle --clients 1 --seconds 60
python3 docs/bench_table.py "$folder"
