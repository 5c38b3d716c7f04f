# Builds $ROOT of the flat repository $REPOSITORY: the arguments are its packages,
# as apt takes them. There is no network here, and nothing that is started outlives this.
set -eu

add() {
    DEBIAN_FRONTEND=noninteractive chroot "$ROOT" apt-get -qy --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io install "$@"
}

# clusters start|stop
clusters() {
    chroot "$ROOT" sh -c 'for of in /etc/postgresql/*/*; do
        [ ! -e "$of" ] || pg_ctlcluster "$(basename "${of%/*}")" "${of##*/}" "$1"
    done' clusters "$1"
}

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
# lava-server's script asks a database, and that of 2020.12 fails where none answers: nothing
# here starts PostgreSQL but this.
lava='' others=''
for package; do
    case $package in
    lava*) lava="$lava $package" ;;
    *) others="$others $package" ;;
    esac
done
# shellcheck disable=SC2086
{
    add $others
    clusters start
    add $lava
    clusters stop
}
umount "$ROOT/tmp" "$ROOT/srv/repository"
rmdir "$ROOT/srv/repository"
