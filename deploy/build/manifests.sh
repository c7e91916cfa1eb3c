#!/bin/bash
# manifests.sh [--check]: plain manifests in deploy/kubernetes, for who does
# without Helm: what the chart renders with the settings of its values.yaml.
# With --check it says what would differ, and changes nothing.
#
# The webhooks are not rendered: they need the CA of a running attestor. What
# stands in deploy/kubernetes/webhooks.yaml is written by hand, and a test
# compares it with the chart. helm is that of kubernetes-tools.sh, or HELM.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
chart=$checkout/deploy/helm/touchstone
manifests=$checkout/deploy/kubernetes
helm=${HELM:-${CARGO_TARGET_DIR:-$checkout/target}/kubernetes-tools/helm}

main() {
    [[ -x $helm ]] || {
        echo "manifests: helm is missing; next: make deps, or set HELM" >&2
        exit 2
    }
    into=$manifests
    if [[ ${1-} == --check ]]; then
        into=$(mktemp -d)
        trap 'rm -rf "$into"' EXIT
    fi
    mkdir -p "$into"
    namespace >"$into/namespace.yaml"
    definitions >"$into/crds.yaml"
    render rbac kubernetes-toml service attestor network >"$into/attestor.yaml"
    render agent >"$into/agent.yaml"
    [[ $into != "$manifests" ]] || return 0
    local file
    for file in "$into"/*; do
        diff -u "$manifests/${file##*/}" "$file" || {
            echo "manifests: ${file##*/} is not what the chart renders; next: deploy/build/manifests.sh" >&2
            exit 1
        }
    done
}

head_of() {
    echo "# Made by deploy/build/manifests.sh out of deploy/helm/touchstone; change that, and run it."
}

namespace() {
    head_of
    cat <<'END'
apiVersion: v1
kind: Namespace
metadata:
  name: touchstone
  labels:
    # For the agents, which read the kernel's lists and keep keys in folders of their nodes.
    pod-security.kubernetes.io/enforce: privileged
    # API servers set it themselves from 1.21 on; before, nothing exempts the attestor from its own webhooks without it.
    kubernetes.io/metadata.name: touchstone
END
}

definitions() {
    local file
    head_of
    for file in "$chart"/crds/*.yaml; do
        echo ---
        grep -v '^# Made by' "$file"
    done
}

render() { # render TEMPLATE...
    head_of
    local templates=("${@/#/--show-only=templates/}")
    templates=("${templates[@]/%/.yaml}")
    "$helm" template touchstone "$chart" --namespace touchstone --kube-version 1.33 \
        "${templates[@]}" | grep -v '^# Source: ' | cat -s
}

main "$@"
