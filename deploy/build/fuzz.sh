#!/bin/bash
# fuzz.sh RUNS SECONDS [TARGET]: builds the fuzz targets with the stable
# toolchain and runs each, or the one named, for so many executions *and* so
# many seconds of CPU time. One line a target: what it did, what its corpus
# covers, and how many of the corpus's inputs parse.
#
# SANITIZER=address builds with AddressSanitizer instead, which watches what the libraries in C do with our
# inputs; the compiler must then be told that it may use what is not stable yet.
#
# Ends with 1 if a target crashed, hung or took too much memory.
set -euo pipefail

runs=$1 seconds=$2 only=${3-}
sanitizer=${SANITIZER:-none}
memory=512
if [[ $sanitizer != none ]]; then
    export RUSTC_BOOTSTRAP=1
    memory=2048 # its shadow of the memory counts too
fi
limits=(-rss_limit_mb=$memory -timeout=5 -print_final_stats=1 -verbosity=1)

cargo fuzz --version >/dev/null 2>&1 || {
    echo "fuzz: cargo-fuzz is missing; next: cargo install --locked cargo-fuzz" >&2
    exit 2
}
command -v g++ >/dev/null || {
    echo "fuzz: g++ is missing, which builds libFuzzer; next: apt-get install g++" >&2
    exit 2
}
host=$(rustc -vV | sed -n 's/^host: //p')

# dictionary FOLDER TARGET: the option that names it, if there is one.
dictionary() {
    local name=$2
    case $2 in wire | join_token | result_token | audit_export | tree_proofs | keyprovider | layer_annotation | oci_manifest | image_signatures | secret)
        name=json ;;
    esac
    if [[ -e $1/dict/$name.dict ]]; then echo "-dict=$1/dict/$name.dict"; fi
}

# seeds FOLDER TARGET: the folders to start from.
seeds() {
    echo "$1/seeds/$2"
    case $2 in manifests) printf '%s\n' policies/samples/*/ ;; esac
}

at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a >= b) }'; }

# built FOLDER: where its programs are, apart for each sanitizer.
built() {
    local folder=${CARGO_TARGET_DIR:-$1/target}
    if [[ $sanitizer == none ]]; then echo "$folder"; else echo "$folder/$sanitizer"; fi
}

# fuzz FOLDER TARGET
fuzz() {
    local program
    program=$(built "$1")/$host/release/$2
    local corpus=$1/corpus/$2 artifacts=$1/artifacts/$2/ log=$1/corpus/$2.log
    local ran=0 cpu=0 left bound folders options outcome=0
    mkdir -p "$corpus" "$artifacts"
    mapfile -t folders < <(seeds "$1" "$2")
    mapfile -t options < <(dictionary "$1" "$2")
    options+=("${limits[@]}" "-artifact_prefix=$artifacts")
    while ! { ((ran >= runs)) && at_least "$cpu" "$seconds"; }; do
        # First the executions, then whatever time is left.
        left=$(awk -v a="$seconds" -v b="$cpu" 'BEGIN { printf "%d", a - b + 1 }')
        bound=-max_total_time=$left
        ((ran >= runs)) || bound=-runs=$((runs - ran))
        TIMEFORMAT='CPU %U %S'
        { time "$program" "${options[@]}" "$bound" "$corpus" "${folders[@]}"; } >"$log" 2>&1 ||
            outcome=$?
        ran=$((ran + $(sed -n 's/^stat::number_of_executed_units: //p' "$log")))
        cpu=$(awk -v a="$cpu" '/^CPU / { a += $2 + $3 } END { print a }' "$log")
        ((outcome == 0)) || break
    done
    report "$program" "$2" "$ran" "$cpu" "$corpus" "${folders[@]}"
    ((outcome == 0)) && return
    echo "fuzz: $2 failed; its input is in $artifacts, its last words:" >&2
    grep -E "panicked|ERROR|^artifact|^SUMMARY|Test unit" "$log" | head -20 >&2
    return 1
}

# report PROGRAM TARGET EXECUTIONS CPU CORPUS SEEDS...: one line of the table.
report() {
    local log=$5.log edges features share
    edges=$(grep -o ' cov: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
    features=$(grep -o ' ft: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
    # A target that fails on its own corpus has no share.
    share=$(SHARE=$(IFS=: && echo "${*:5}") "$1" 2>/dev/null) || share=0/1
    awk -v share="$share" 'BEGIN { split(share, n, "/"); printf "%d %.1f\n", n[2], 100 * n[1] / n[2] }' |
        { read -r inputs percent &&
            printf '%-15s %11d %8.0f %6d %9d %7d %6.1f%%\n' \
                "$2" "$3" "$4" "${edges:-0}" "${features:-0}" "$inputs" "$percent"; }
}

failed=0 found=0
printf '%-15s %11s %8s %6s %9s %7s %7s\n' target executions 'CPU s' edges features corpus parse
for folder in evidence/fuzz policies/fuzz; do
    mapfile -t targets < <(cargo fuzz list --fuzz-dir "$folder" 2>/dev/null)
    for target in "${targets[@]}"; do
        [[ -z $only || $only == "$target" ]] || continue
        if ((found++ == 0)) || [[ -z $only && $target == "${targets[0]}" ]]; then
            cargo metadata --locked --format-version 1 --manifest-path "$folder/Cargo.toml" >/dev/null
            cargo fuzz build -s "$sanitizer" --fuzz-dir "$folder" --target-dir "$(built "$folder")" ${only:+"$only"} 2>"$folder/build.log" || {
                tail -n 40 "$folder/build.log" >&2
                exit 1
            }
        fi
        fuzz "$folder" "$target" || failed=1
    done
done
((found)) || { echo "fuzz: there is no target \`$only\`" >&2 && exit 2; }
exit "$failed"
