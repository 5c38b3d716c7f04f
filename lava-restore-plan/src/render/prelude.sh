set -euf
LC_ALL=C
export LC_ALL
umask 077

state=${LAVA_RESTORE_STATE:-/var/lib/lava-backup/restore/$backup}
case $state in
/*) ;;
*) state=$PWD/$state ;;
esac
# That of `lava-backup restore`: two restores never meet on a host.
lock=${LAVA_RESTORE_LOCK:-/run/lava-backup/restore.lock}
dry_run=no

for argument in "$@"; do
    case $argument in
    --dry-run) dry_run=yes ;;
    *)
        printf 'usage: %s [--dry-run]\n' "$0" >&2
        exit 2
        ;;
    esac
done

# The programs run as other users, who may not enter the directory we came from.
cd /

# stop STATUS TEXT...
stop() {
    status=$1
    shift
    printf '%s\n' "$@" >&2
    exit "$status"
}

# run COMMAND...
run() {
    if [ "$dry_run" = yes ]; then
        printf '    would run: %s\n' "$*"
        return 0
    fi
    run_code=0
    "$@" </dev/null || run_code=$?
    [ "$run_code" -eq 0 ] || stop 1 "step $id failed: exit $run_code from: $*" "Nothing after it was run."
}

# gate ID WHY SECONDS EXIT any|text EXPECTED COMMAND...: asked again for so many seconds
gate() {
    gate_id=$1 gate_why=$2 patience=$3 want_code=$4 compare=$5 want_text=$6
    shift 6
    if [ "$dry_run" = yes ]; then
        printf '    would check %s: %s\n' "$gate_id" "$*"
        return 0
    fi
    began=$(date +%s)
    while :; do
        found_code=0 found_text=
        if [ "$compare" = text ]; then
            found_text=$("$@" </dev/null) || found_code=$?
        else
            "$@" </dev/null || found_code=$?
        fi
        if [ "$found_code" -eq "$want_code" ] && [ "$found_text" = "$want_text" ]; then
            return 0
        fi
        [ "$(($(date +%s) - began))" -lt "$patience" ] || break
        sleep 1
    done
    stop 7 "gate $gate_id does not hold: $*" \
        "expected: exit $want_code, text: $want_text" \
        "found:    exit $found_code, text: $found_text" \
        "$gate_why" \
        'Nothing after it was run.'
}

# confirm ANSWER...: one of them from LAVA_RESTORE_CONFIRM, or typed on the terminal
confirm() {
    if [ "$dry_run" = yes ]; then
        printf '    would ask for: %s\n' "$*"
        return 0
    fi
    for given in ${LAVA_RESTORE_CONFIRM:-}; do
        for answer in "$@"; do
            [ "$given" != "$answer" ] || return 0
        done
    done
    printf '    type one of: %s\n    > ' "$*"
    given=
    { IFS= read -r given </dev/tty; } 2>/dev/null || :
    for answer in "$@"; do
        [ "$given" != "$answer" ] || return 0
    done
    stop 7 "step $id is not confirmed" "Type one of these, or put it into LAVA_RESTORE_CONFIRM: $*"
}

# step ID FUNCTION: once, however often the script is run
step() {
    id=$1 answer=
    if [ -e "$state/done/$id" ]; then
        printf 'done before: %s\n' "$id"
        return 0
    fi
    printf '==> %s\n' "$id"
    "$2"
    [ "$dry_run" = no ] || return 0
    printf '%s\n' "$answer" >"$state/done/$id.new"
    sync "$state/done/$id.new"
    mv "$state/done/$id.new" "$state/done/$id"
}

# What was done for another backup or another target says nothing of this plan.
bind() {
    [ "$dry_run" = no ] || return 0
    mkdir -p "$state/done"
    mkdir -p "${lock%/*}"
    exec 9>>"$lock"
    flock -n 9 || stop 1 "another run is at work on this host: $(cat "$lock")" 'Wait for its end.'
    printf '%s %s\n' "$$" "$0" >"$lock"
    trap 'exit 1' HUP INT TERM
    if [ -e "$state/plan" ]; then
        [ "$(cat "$state/plan")" = "$plan" ] ||
            stop 6 "$state belongs to another plan" 'Name another directory in LAVA_RESTORE_STATE.'
    else
        printf '%s\n' "$plan" >"$state/plan.new"
        mv "$state/plan.new" "$state/plan"
    fi
}
