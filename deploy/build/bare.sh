#!/bin/bash
# bare.sh: proves that `make demo` and `make test` work on a Debian 12 that
# has git, make and Rust, and nothing else.
#
# It builds such a system in a temporary folder, clones this checkout's HEAD
# into it, and runs the commands there, as root, in namespaces of their own,
# whose root it is: whatever they leave running or mounted ends with them.
# Needs root.
#
#   BARE='make demo'      run this instead; several commands are parted by `;`
#   BARE_KEEP=1           keep the system for a look afterwards
#   BARE_CARGO_CACHE=1    start with a copy of the host's crates (the default starts cold)
#   BARE_TARBALL=FILE     keep Debian's packages in FILE between runs
#   BARE_RUST=FOLDER      the Rust toolchain (the default is the checkout's)
#   BARE_MIRROR=URL       the Debian mirror (the default is this machine's)
set -Eeuo pipefail

suite=bookworm
needed_gb=6
BARE=${BARE:-make demo; make test}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}

fail() {
    printf 'bare: %s\n' "$@" >&2
    exit 2
}

# Outside: checks, a folder, and its removal.

main() {
    local free_gb parent=${TMPDIR:-/var/tmp}
    BARE_RUST=${BARE_RUST:-$(cd "$checkout" && rustc --print sysroot)} ||
        fail "no Rust toolchain found; next: install Rust with rustup, or set BARE_RUST"
    ((EUID == 0)) ||
        fail "only root can make a chroot; next: sudo CARGO_HOME=$cargo_home BARE_RUST=$BARE_RUST make bare"
    command -v debootstrap >/dev/null ||
        fail "debootstrap is missing; next: apt-get install debootstrap"
    [[ -x $BARE_RUST/bin/cargo && $BARE_RUST != /usr ]] ||
        fail "$BARE_RUST is no rustup toolchain; next: set BARE_RUST to one"
    free_gb=$(df --output=avail -B1G "$parent" | tail -n 1)
    ((free_gb >= needed_gb)) ||
        fail "$parent has $free_gb GB free, $needed_gb are needed; next: set TMPDIR to a folder with room"
    [[ -z $(git -C "$checkout" status --porcelain) ]] ||
        echo "bare: uncommitted changes are not part of what is tried" >&2

    root=$(mktemp -d "$parent/touchstone-bare.XXXXXX")
    chmod 755 "$root" # the system's `/`: its unprivileged users pass through it
    namespaces=
    trap finish EXIT
    trap 'exit 130' INT TERM
    export BARE BARE_RUST
    # In the background, since bash hears signals in `wait` but not in a command.
    unshare --mount --pid --ipc --fork --kill-child --mount-proc "$0" inside "$root" &
    namespaces=$!
    wait $namespaces
}

finish() {
    # When interrupted: the first process of the namespaces takes all others along.
    if [[ -n $namespaces ]] && pkill -KILL -P "$namespaces"; then
        wait "$namespaces" || true
    fi
    if [[ ${BARE_KEEP-} == 1 ]]; then
        echo "bare: kept; next: look into $root (nothing is mounted there now), then rm -rf it"
    else
        rm -rf --one-file-system "$root" "$root.log"
    fi
}

# Inside the namespaces: the system, and the commands in it.

inside() {
    root=$1
    local since=$SECONDS
    trap 'echo "bare: stopped at line $LINENO: $BASH_COMMAND" >&2' ERR
    # A root that is its own mount, because runc's pivot_root insists on one.
    mount --bind "$root" "$root"
    make_system
    mount_system
    carry_over
    clone
    trap - ERR
    printf '\nbare: system ready in %d s\n' $((SECONDS - since))
    run_commands
}

# Lines `URL SUITE COMPONENT`: the Debian 12 sources of this machine's apt.
sources() {
    if [[ -n ${BARE_MIRROR-} ]]; then
        echo "$BARE_MIRROR $suite main"
    else
        # shellcheck disable=SC2016 # apt fills these in
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
            awk -v s=$suite '$3 == "main" && $2 ~ "^" s "(-updates|-security)?$"'
    fi
}

make_system() {
    local mirror from=()
    mirror=$(sources | awk -v s=$suite '$2 == s { print $1 }' | head -n 1)
    [[ -n $mirror ]] ||
        fail "apt on this machine knows no Debian 12 mirror; next: set BARE_MIRROR"
    if [[ -z ${http_proxy-} ]]; then
        eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
        export http_proxy
    fi
    local options=(--variant=minbase "--include=git,make,ca-certificates")
    if [[ -n ${BARE_TARBALL-} ]]; then
        BARE_TARBALL=$(realpath "$BARE_TARBALL")
        [[ -s $BARE_TARBALL ]] ||
            debootstrap "${options[@]}" --make-tarball="$BARE_TARBALL" $suite "$root/tarball" "$mirror"
        from=(--unpack-tarball="$BARE_TARBALL")
    fi
    debootstrap "${options[@]}" "${from[@]}" $suite "$root" "$mirror" >"$root.log" ||
        fail "debootstrap failed; its last words:" "$(tail -n 5 "$root.log")"
    rm -f "$root.log"
}

mount_system() {
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --bind /dev "$root/dev"
    mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/opt/rust"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount --bind -o ro "$BARE_RUST" "$root/opt/rust"
}

# How this machine reaches the network: names, certificates, apt's and cargo's settings.
carry_over() {
    local file settings="$root/etc/apt/apt.conf.d/90host"
    mkdir -p "$root/root/.cargo/registry"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    if [[ -d /usr/local/share/ca-certificates ]]; then
        cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
        chroot "$root" update-ca-certificates >/dev/null 2>&1
    fi
    sources | sed 's/^/deb /' >"$root/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Check-|ForceIPv|Retries)' >"$settings" || true
    # Certificates and keys that those settings name.
    while read -r file; do
        [[ ! -f $file ]] || cp -L --parents "$file" "$root"
    done < <(awk -F '"' '$2 ~ "^/" { print $2 }' "$settings")
    for file in config config.toml; do
        [[ ! -f $cargo_home/$file ]] || cp -L "$cargo_home/$file" "$root/root/.cargo/"
    done
    if [[ ${BARE_CARGO_CACHE-} == 1 ]]; then
        cp -r "$cargo_home/registry/"{cache,index} "$root/root/.cargo/registry/"
    fi
}

clone() {
    git clone --quiet --no-hardlinks "$checkout" "$root/root/touchstone"
}

# Runs a command with the system as the root of its mount namespace. A chroot is not enough: who joins the namespace
# of a container, as `podman exec` does, would find the machine's root there.
enter() {
    # shellcheck disable=SC2016 # expanded by the shells inside
    unshare --mount bash -c '
        cd "$0" && mkdir -p outside && pivot_root . outside &&
            exec chroot . /bin/bash -c "umount --lazy /outside && exec \"\$@\"" enter "$@"
    ' "$root" "$@"
}

run_commands() {
    local command name names status=0 since report=() environment=()
    mapfile -t names < <(compgen -e |
        grep -E '^((https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY|CARGO_(HTTP|NET|REGISTR|SOURCE).*|TERM)$')
    for name in "${names[@]}"; do
        environment+=("$name=${!name}")
    done
    environment+=(HOME=/root LANG=C.UTF-8
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    mapfile -t -d ';' commands < <(printf %s "$BARE")
    for command in "${commands[@]}"; do
        command=$(xargs <<<"$command")
        printf '\nbare: $ %s\n' "$command"
        since=$SECONDS
        if enter env -i "${environment[@]}" \
            bash -c "cd /root/touchstone && $command" </dev/null; then
            report+=("ok      $((SECONDS - since)) s  $command")
        else
            report+=("FAILED  $((SECONDS - since)) s  $command")
            status=1
        fi
    done
    printf '\n'
    printf 'bare: %s\n' "${report[@]}"
    return $status
}

if [[ ${1-} == inside ]]; then
    inside "$2"
else
    main
fi
