#!/bin/bash
# unwrap.sh [COUNT]: how long a host takes to open one layer (50 times), from its annotation to the layer's key, on swtpm:
# a challenge, a round of evidence with a release key, the attestor's answer, and its opening in the TPM; and how much of
# that is the TPM's. By the agent's own clock, on a host of the demo with encrypted images, with optimised programs.
set -euo pipefail

count=${1:-50}
target=${CARGO_TARGET_DIR:-target}
bin=$target/release
cargo build --locked --release --bins -p touchstone-attestor -p touchstone-agent -p touchstone-tpm-sim

trap '"$bin/tpm-sim" demo-stop >/dev/null' EXIT
"$bin/tpm-sim" demo --encrypted --keep >"$target/unwrap.log" || {
    tail -5 "$target/unwrap.log" >&2
    exit 1
}
on() { "$bin/tpm-sim" on "$@"; }
on operator touchstone key create unwrap --policy payments >/dev/null
on build 'skopeo copy --quiet --encryption-key provider:touchstone:unwrap docker://$REGISTRY/hello:v1 docker://$REGISTRY/unwrap:v1'
copy=$(mktemp -d -p "$target" unwrap.XXXXXX)
trap '"$bin/tpm-sim" demo-stop >/dev/null; rm -rf "$copy"' EXIT
for ((n = 0; n < count; n++)); do
    on de-1 "skopeo copy --quiet --decryption-key provider:touchstone:node docker://\$REGISTRY/unwrap:v1 dir:$PWD/$copy"
done
log=$(on de-1 'echo $TOUCHSTONE_STATE')/../agent.log
# whole=23.4ms tpm=17.8ms
milliseconds() { sed -E 's/µs$/ 0.001/; s/ms$/ 1/; s/([0-9])s$/\1 1000/' | awk '{ print $1 * $2 }' | sort -n; }
for what in whole tpm; do
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep 'the question of a key is answered' | tail -n "$count" |
        sed -E "s/.* $what=([^ ]+).*/\1/" | milliseconds |
        awk -v what=$what '{ t[NR] = $1 } END { printf "%s: median %.1f ms, p90 %.1f ms, of %d\n", what, t[int((NR + 1) / 2)], t[int(NR * 0.9 + 0.5)], NR }'
done
