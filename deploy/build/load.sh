#!/bin/bash
# load.sh [WHAT]: measures the attestor under load against its targets, or only WHAT: steady, first, admissions,
# extender, releases, memory or restart. Prints a table of medians and writes load.json into the target folder.
#
# Each run has a fresh attestor on SQLite, in a temporary folder on this folder's disk. The attestor has core 0 to
# itself and the load core 1, but for memory, which no core changes. RUNS=3 of steady, first, admissions, extender and
# releases; memory and restart run once, since each takes minutes. BOOT_LOG names the boot log of first rounds; by default the one of 41 KB in TOUCHSTONE_CORPUS.
# HOSTS and RESTART_HOSTS make memory and restart smaller, for a trial.
#
# Each measurement tells what one P-256 verification took in the same runs: machines differ by more than servers do,
# and what the targets are compared with is their multiple of it.
#
# Ends with 1 if a run failed. A target that is missed is told in the table, and ends with 0.
set -euo pipefail

only=${1-}
runs=${RUNS:-3}
hosts=${HOSTS:-110000}
first_hosts=10000
restart_hosts=${RESTART_HOSTS:-10000} restart_interval=${RESTART_INTERVAL:-60}
target=${CARGO_TARGET_DIR:-target}
boot_log=${BOOT_LOG:-${TOUCHSTONE_CORPUS:+$TOUCHSTONE_CORPUS/boot/quirks/keylime-secureboot.bin}}

case $only in '' | steady | first | admissions | extender | releases | memory | restart) ;; *)
    echo "load: there is no measurement \`$only\`; there are steady, first, admissions, extender, releases, memory, restart" >&2
    exit 2
    ;;
esac
for tool in jq taskset; do
    command -v "$tool" >/dev/null || {
        echo "load: $tool is missing; next: apt-get install jq util-linux" >&2
        exit 2
    }
done
(($(nproc) >= 2)) || {
    echo "load: one core alone cannot hold attestor and load apart; use a machine with two" >&2
    exit 2
}
ulimit -n "$(ulimit -Hn)"

cargo build --locked --release -p touchstone-attestor --bin touchstone
cargo build --locked --release -p touchstone-tpm-sim --no-default-features --bin tpm-sim-load

place=$(mktemp -d -p "$target" load.XXXXXX)
results=$place/results.jsonl
server='' load='' parser=''
: >"$results"

# Only what was started here.
clean() {
    [[ -z $load ]] || kill "$load" 2>/dev/null || true
    [[ -z $parser ]] || kill "$parser" 2>/dev/null || true
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    wait
    rm -rf "$place"
}
trap clean EXIT
trap 'exit 130' INT TERM

# serve CORES FOLDER ADDRESS: an attestor on these cores, once it answers; its address is in $address.
serve() {
    mkfifo "$place/said"
    taskset -c "$1" "$target/release/touchstone" serve --data "$2" --listen "$3" \
        >"$place/said" 2>>"$place/attestor.log" &
    server=$!
    read -r address <"$place/said" || { tail -5 "$place/attestor.log" >&2 && exit 1; }
    rm "$place/said"
    address=${address#listening on https://}
}

stop() {
    kill "$server"
    wait "$server" || true
    server=''
}

# measure ARGUMENTS…: a fresh attestor, and what tpm-sim-load says of it in $place/run.json.
measure() {
    local mode=() its=0 ours=1
    case $1 in
    memory) mode=(memory) its=0,1 ours=0,1 && shift ;;
    releases) mode=(releases) && shift ;;
    esac
    rm -rf "$place/data"
    serve "$its" "$place/data" 127.0.0.1:0
    taskset -c "$ours" "$target/release/tpm-sim-load" "${mode[@]}" --operator "$place/data/operator.json" \
        --policy --json "$@" >"$place/run.json" || {
        jq -c 'del(.enrolments)' "$place/run.json" >&2 || true
        echo "load: tpm-sim-load ${mode[*]} $* failed" >&2
        exit 1
    }
    stop
}

# row WHAT UNIT TARGET VALUES…: one line of the table, of the median of the values.
row() {
    local what=$1 unit=$2 target=$3
    shift 3
    printf '%s\n' "$@" | jq -cs --arg measurement "$measurement" --arg what "$what" --arg unit "$unit" --argjson target "$target" '
        (sort | .[(length - 1) / 2 | floor]) as $median |
        {measurement: $measurement, what: ($what | sub("^ +"; "")), unit: $unit, target: $target, value: $median, runs: .,
         met: (if $target == null then null else $median != null and $median <= $target end)}' >>"$results"
    tail -1 "$results" | jq -r --arg what "$what" '
        def shown: if . == null then "-" elif . < 10 then . * 100 | round / 100 else round end;
        [$what, "\(.value | shown) \(.unit)", (if .target == null then "" else "\(.target | shown)" end),
         (if .met == null then "" elif .met then "met" else "MISSED" end)] | @tsv' |
        awk -F '\t' '{ printf "%-64s %14s %10s  %s\n", $1, $2, $3, $4 }'
}

# repeated FILTERS… -- ARGUMENTS…: that many runs; the values of each filter, one run a line, in $place/values.N.
repeated() {
    local filters=()
    while [[ $1 != -- ]]; do filters+=("$1") && shift; done
    shift
    rm -f "$place"/values.*
    for ((run = 0; run < runs; run++)); do
        measure "$@"
        jq .p256_verification_micros "$place/run.json" >>"$place/values.p256"
        for n in "${!filters[@]}"; do jq "${filters[n]}" "$place/run.json" >>"$place/values.$n"; done
    done
}

# verification: the row of the machine's own speed in the last `repeated`.
verification() { row '  meanwhile, a P-256 verification takes' µs null $(values p256); }

# values N: of the last `repeated`, or p256.
values() { cat "$place/values.$1"; }

steady() {
    repeated .steady.server_cpu_micros_each .steady.commit_group_size .steady.rounds_per_second -- \
        --hosts 200 --rate 0 --duration 15
    row 'steady round, 200 hosts, as fast as answered: server CPU' µs 250 $(values 0)
    row '  changes in one commit' '' null $(values 1)
    row '  rounds a second' '' null $(values 2)
    verification
    repeated .steady.server_cpu_micros_each .steady.latency_milliseconds.p99 -- \
        --hosts 1000 --rate 1000 --duration 15
    row 'steady round, 1000 hosts, 1000/s: server CPU' µs null $(values 0)
    row '  latency, p99' ms null $(values 1)
}

first() {
    local log=(--boot-log "$boot_log") size
    [[ -n $boot_log && -r $boot_log ]] || {
        echo 'SKIPPED: first rounds with a boot log of 41 KB; name one with BOOT_LOG, or TOUCHSTONE_CORPUS'
        return
    }
    size=$(stat -c %s "$boot_log")
    repeated .first.server_cpu_micros_each -- --hosts 1000 --duration 0 "${log[@]}"
    row "first round, boot log of $size bytes, known: server CPU" µs 1000 $(values 0)
    verification
    repeated .first.server_cpu_micros_each -- --hosts 1000 --duration 0 --distinct-logs "${log[@]}"
    row "first round, each a log of its own of $size bytes: server CPU" µs 1000 $(values 0)
}

# A webhook that only parses, on the attestor's core; how it is reached is in $place/parser.json.
parse() {
    mkfifo "$place/said"
    taskset -c 0 "$target/release/tpm-sim-load" parse --credential "$place/parser.json" >"$place/said" &
    parser=$!
    read -r _ <"$place/said"
    rm "$place/said"
}

admissions() {
    parse
    repeated .admissions.server_cpu_micros_each .admissions.latency_milliseconds.p99 \
        .admissions.latency_bound_milliseconds .admissions.fdatasync_milliseconds.p99 \
        '.admissions.latency_milliseconds.p99 / .admissions.latency_bound_milliseconds' \
        .admissions.server_cpu_micros_each_creation .admissions.trials.server_cpu_micros_each \
        .admissions.trials.latency_milliseconds.p99 \
        '.admissions.trials.server_cpu_micros_each / .admissions.server_cpu_micros_each' \
        .admissions.parsing.server_cpu_micros_each \
        '.admissions.server_cpu_micros_each / .admissions.parsing.server_cpu_micros_each' -- \
        --hosts 1000 --duration 0 --admissions 2000 --admissions-for 10 --fdatasync-in "$place" \
        --beside "$place/parser.json"
    kill "$parser"
    parser=''
    row 'binding review with its entry, 2000/s: server CPU' µs 60 $(values 0)
    row '  latency, p99' ms null $(values 1)
    row '  fdatasync meanwhile, p99' ms null $(values 3)
    row '  1 ms + 2 × that' ms null $(values 2)
    row '  latency divided by it' '' 1 $(values 4)
    row '  the same for trial, writing nothing: server CPU' µs null $(values 6)
    row '  latency, p99' ms null $(values 7)
    row '  trial divided by review' '' null $(values 8)
    row '  the same at a webhook that only parses: CPU' µs null $(values 9)
    row '  review divided by that' '' 2.5 $(values 10)
    row 'creation review, as fast as answered: server CPU' µs null $(values 5)
    verification
}

extender() {
    repeated .admissions.filtering.latency_milliseconds.p99 .admissions.filtering.latency_milliseconds.p50 \
        .admissions.filtering.server_cpu_micros_each -- \
        --hosts 5000 --duration 0 --admissions 100 --admissions-for 5
    row "extender's filter, 5000 nodes: latency, p99" ms 5 $(values 0)
    row '  p50' ms null $(values 1)
    row '  server CPU' µs null $(values 2)
}

releases() {
    repeated .server_cpu_micros_beyond_appraisal .releases.seconds .releases.due .releases.latency_milliseconds.p99 -- \
        releases --hosts 1000 --layers 20
    row "release of a layer's key, beyond the appraisal: server CPU" µs 150 $(values 0)
    row '  1000 hosts pull 20 layers at once: all of them after' s null $(values 1)
    row '  releases, none failed' '' null $(values 2)
    row '  latency, p99' ms null $(values 3)
    verification
}

memory() {
    measure memory --hosts "$hosts" --first "$((first_hosts < hosts ? first_hosts : hosts / 2))"
    local filters=(.bytes_each '.first_resident_bytes / 1048576' '.resident_bytes / 1048576' .hosts_per_second)
    row "idle host, of $hosts: server memory" bytes 1024 "$(jq "${filters[0]}" "$place/run.json")"
    row "  after $(jq .first "$place/run.json") hosts" MiB null "$(jq "${filters[1]}" "$place/run.json")"
    row "  after $hosts hosts" MiB null "$(jq "${filters[2]}" "$place/run.json")"
    row '  hosts enrolled and attested a second' '' null "$(jq "${filters[3]}" "$place/run.json")"
}

restart() {
    rm -rf "$place/data"
    serve 0 "$place/data" 127.0.0.1:0
    mkfifo "$place/news"
    taskset -c 1 "$target/release/tpm-sim-load" outage --operator "$place/data/operator.json" --policy --json \
        --hosts "$restart_hosts" --interval "$restart_interval" >"$place/run.json" 2>"$place/news" &
    load=$!
    while read -r news; do
        echo "$news" >&2
        case $news in
        steady*) kill -KILL "$server" && { wait "$server" 2>/dev/null || true; } && serve 0 "$place/data" "$address" ;;
        esac
    done <"$place/news"
    wait "$load" || { cat "$place/run.json" >&2 && echo 'load: not every host came back' >&2 && exit 1; }
    load=''
    rm "$place/news"
    stop
    local two=$((2 * restart_interval))
    row "$restart_hosts hosts fresh again after a kill, interval $restart_interval s" s "$two" \
        "$(jq .seconds_until_all_fresh "$place/run.json")"
    row '  the attestor answered again' s null "$(jq .seconds_until_up "$place/run.json")"
}

printf '%-64s %14s %10s\n' what median target
for measurement in ${only:-steady first admissions extender releases memory restart}; do "$measurement"; done

jq -s --arg date "$(date -u +%FT%TZ)" --arg cpu "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)" \
    --arg disk "$(stat -f -c %T "$place")" --argjson cores "$(nproc)" --argjson runs "$runs" \
    '{date: $date, cpu: $cpu, cores: $cores, file_system: $disk, runs: $runs, results: .}' \
    "$results" >"$target/load.json"
echo "written to $target/load.json"
