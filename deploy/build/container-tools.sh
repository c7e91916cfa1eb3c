#!/bin/bash
# container-tools.sh FOLDER: real container tools for the tests and for
# `make demo-encrypted`, in FOLDER/bin with their libraries in FOLDER/lib.
#
# They are Debian 13's packages, since Debian 12's skopeo and podman know no
# ocicrypt key provider. apt downloads them from the mirror of this system's
# own sources, with a state of its own, and checks their signatures. They are
# unpacked, not installed: nothing of the system changes, no service starts,
# and Docker's own containerd stays. Each program is pointed at the libraries
# beside it. Needs apt, dpkg, patchelf and Debian's archive keys; no root.
#
#   DEBIAN_MIRROR=URL   take them from here
set -euo pipefail

suite=trixie
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Package and its programs.
declare -A programs=(
    [busybox-static]=bin/busybox
    [conmon]=bin/conmon
    [containerd]="bin/containerd bin/containerd-shim-runc-v2 bin/ctr"
    [docker-registry]=bin/docker-registry
    [imgcrypt]="bin/ctd-decoder bin/ctr-imgcrypt"
    [netavark]=lib/podman/netavark # which podman wants to see, also without a network
    [podman]=bin/podman
    [runc]=sbin/runc
    [skopeo]=bin/skopeo
)
# What these are linked with; `check` finds out when one is missing.
libraries=(libacl1 libassuan9 libatomic1 libattr1 libaudit1 libbsd0 libbz2-1.0 libc6 libcap-ng0
    libcap2 libcrypt1 libgcc-s1 libglib2.0-0t64 libgpg-error0 libgpgme11t64 libmd0 libpam0g
    libpcre2-8-0 libseccomp2 libselinux1 libsemanage2 libsepol2 libsqlite3-0 libsubid5 libsystemd0)

fail() {
    printf 'container-tools: %s\n' "$@" >&2
    exit 2
}

main() {
    [[ -n ${1-} ]] || fail "usage: container-tools.sh FOLDER"
    mkdir -p "$1"
    tools=$(realpath "$1")
    local stamp
    stamp="$tools $(sha256sum <"${BASH_SOURCE[0]}")" # programs know where they stand
    [[ $(cat "$tools/stamp" 2>/dev/null) != "$stamp" ]] || return 0
    echo "container-tools: fetching Debian 13's skopeo, podman, containerd and others into $tools"
    rm -rf "$tools"
    mkdir -p "$tools"/{bin,lib}
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    fetch
    take
    check
    echo "$stamp" >"$tools/stamp"
}

# The mirror of a Debian's own sources; for others Debian's.
mirror() {
    local own
    own=$(. /etc/os-release && [[ $ID == debian ]] &&
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v s="$VERSION_CODENAME" '$1 ~ "^http" && $2 == s && $3 == "main" { print $1; exit }') || true
    echo "${own:-http://deb.debian.org/debian}"
}

apt_get() {
    apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::Lists=$work/lists" -o "Dir::State::Status=$work/status" \
        -o "Dir::Cache=$work/cache" -o Acquire::Languages=none \
        -o APT::Update::Error-Mode=any "$@"
}

fetch() {
    local from=${DEBIAN_MIRROR:-$(mirror)}
    echo "deb [signed-by=$keys] $from $suite main" >"$work/sources.list"
    touch "$work/status"
    mkdir -p "$work"/{lists,cache/archives}/partial "$work/packages"
    # As root apt downloads as this user.
    chmod 755 "$work"
    ((EUID != 0)) || chown _apt "$work/packages"
    apt_get update || fail "$suite cannot be had from $from (apt's reason is above)" \
        "next: let this machine reach it, or set DEBIAN_MIRROR to a mirror that has $suite"
    (cd "$work/packages" && apt_get download "${!programs[@]}" "${libraries[@]}") ||
        fail "$from does not have all packages (apt's reason is above); next: set DEBIAN_MIRROR to another mirror"
    local package
    for package in "$work"/packages/*.deb; do
        dpkg -x "$package" "$work/root"
    done
}

take() {
    local program loader
    cp -P "$work"/root/usr/lib/*-linux-gnu*/*.so* "$tools/lib/"
    loader=$(cd "$tools/lib" && echo ld-linux*)
    for program in ${programs[*]}; do
        cp "$work/root/usr/$program" "$tools/bin/"
        program=$tools/bin/${program##*/}
        is_dynamic "$program" || continue
        # An RPATH, which libraries of libraries follow too.
        patchelf --set-interpreter "$tools/lib/$loader" --force-rpath --set-rpath "$tools/lib" "$program"
    done
}

is_dynamic() {
    patchelf --print-interpreter "$1" >/dev/null 2>&1
}

# Programs that are linked with anything from elsewhere may fail in the middle.
check() {
    local program foreign
    for program in "$tools"/bin/*; do
        is_dynamic "$program" || continue
        foreign=$("$(patchelf --print-interpreter "$program")" --list "$program" |
            grep -vF -e "$tools/lib/" -e linux-vdso) || continue
        fail "$program is not linked with what is beside it:" "$foreign" \
            "next: add the packages of these libraries to container-tools.sh"
    done
}

main "$@"
