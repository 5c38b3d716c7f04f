# machine GROUP COMMAND...: becomes the command, in control groups of that name where one is given,
# and is told to end when whoever began it has ended.
group=$1
shift
if [ -n "$group" ]; then
    for tree in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ ! -e "$tree/cgroup.procs" ] || {
            mkdir -p "$tree/$group" && echo $$ >"$tree/$group/cgroup.procs"
        } || exit
    done
fi
exec setpriv --pdeathsig TERM "$@"
