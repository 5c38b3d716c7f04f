# Builds $ROOT of the flat repository $REPOSITORY: the arguments are its packages,
# as apt takes them. There is no network here, and nothing that is started outlives this.
set -eu
mount --make-rprivate /
ip link set lo up 2>/dev/null || :
mmdebstrap --quiet --mode=root --variant=essential --dpkgopt=force-unsafe-io \
    --include=apt '' "$ROOT" "deb [trusted=yes] copy:$REPOSITORY ./"
mkdir -p "$ROOT/srv/repository"
mount --bind "$REPOSITORY" "$ROOT/srv/repository"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/tmp"
echo 'deb [trusted=yes] copy:/srv/repository ./' >"$ROOT/etc/apt/sources.list"
chroot "$ROOT" apt-get -q update
DEBIAN_FRONTEND=noninteractive chroot "$ROOT" apt-get -qy --no-install-recommends \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io install "$@"
umount "$ROOT/tmp" "$ROOT/srv/repository"
rmdir "$ROOT/srv/repository"
