#!/bin/bash
# rootfs.sh FOLDER PACKAGE...: the files of these Debian packages in FOLDER, and
# nothing else but two accounts: no shell, no package manager, no script of a
# package was run. For the Dockerfiles beside it.
#
# apt checks their signatures. What is there is written where scanners of images
# look for it, as in distroless images (/var/lib/dpkg/status.d).
set -euo pipefail

folder=$1
packages=("${@:2}")

work=$(mktemp -d)
chown _apt "$work"
apt-get -qq update
(cd "$work" && apt-get -qq download "${packages[@]}")

mkdir -p "$folder"/{etc,proc,run,sys,tmp,usr/local/bin,var/lib/dpkg/status.d}
for package in "$work"/*.deb; do
    dpkg -x "$package" "$folder"
    dpkg-deb --field "$package" >"$folder/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
done
if [[ -d $folder/usr/share/ca-certificates ]]; then
    mkdir -p "$folder/etc/ssl/certs"
    find "$folder/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$folder/etc/ssl/certs/ca-certificates.crt"
fi
find "$folder/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$folder"/usr/share/{bug,info,lintian,locale,man}

cat >"$folder/etc/passwd" <<'END'
root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
END
cat >"$folder/etc/group" <<'END'
root:x:0:
nonroot:x:65532:
END
chmod 1777 "$folder/tmp"

# Every library finds those that it needs.
loader=$(cd "$folder" && echo /lib/*/ld-linux-*.so.*)
find "$folder" -name '*.so.*' -type f ! -name 'ld-linux-*' -printf '/%P\n' | while read -r library; do
    chroot "$folder" "$loader" --list "$library" >/dev/null || {
        echo "rootfs: $library needs what no package of the list has; next: add the package" >&2
        exit 1
    }
done
rm -rf "$work" /var/lib/apt/lists/*
