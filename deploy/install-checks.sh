# shellcheck shell=sh
# Checks that install.sh makes before it changes anything; sourced by install.sh.

#: MB for a release and pip's temporary files.
needed=200

# Fail before anything was changed.
unchanged() {
    fail "nothing is changed: $*"
}

check_host() {
    [ "$(id -u)" -eq 0 ] || fail "needs root: sudo $0"
    [ -d /run/systemd/system ] ||
        fail "systemd does not run here: have your own supervisor run \`sockmon run\`"
    [ "$(dpkg-query -W -f '${db:Status-Status}' sockmon 2>/dev/null)" != installed ] ||
        fail "the Debian package sockmon is installed: use apt-get, or remove it first"
    exec 9>/run/sockmon-install.lock
    flock --nonblock 9 || fail "another install.sh is at work"
}

check_python() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        fail "there is no Python as $python: install it, or name another with --python"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is Python $version, and sockmon needs 3.11: name another with --python"
    "$python" -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null ||
        fail "$python lacks venv: install it (Debian: apt-get install python3-venv)"
}

# NumPy's wheels need x86-64-v2; without it they end every command with SIGILL.
check_processor() {
    [ "$(uname -m)" = x86_64 ] || return 0
    flags=$(sed -n 's/^flags[^:]*://p' /proc/cpuinfo | head -1)
    lacking=
    for feature in ssse3 sse4_1 sse4_2 popcnt; do
        case "$flags " in
        ' ' | *" $feature "*) ;; # no flags are shown, or it is among them
        *) lacking="$lacking $feature" ;;
        esac
    done
    [ -z "$lacking" ] ||
        unchanged "this processor lacks$lacking, and NumPy needs x86-64-v2:" \
            "in a virtual machine choose a newer processor model"
}

check_source() {
    [ -d "$here/systemd" ] || fail "$here is what was installed: it can uninstall, and no more"
    [ -n "$wheels" ] || [ ! -d "$here/wheels" ] || wheels=$here/wheels
    if [ -z "$wheels" ]; then
        [ -e "$here/../pyproject.toml" ] || fail "$here is no checkout: give --wheels DIR"
    else
        set -- "$wheels"/sockmon-*.whl
        [ -e "$1" ] || fail "$wheels holds no wheel of sockmon: make it with \`make wheels\`"
    fi
}

check_place() {
    [ -L "$home/current" ] || for entry in "$home"/*; do
        case $entry in
        "$home/*" | "$home"/release-*) ;; # nothing, or left by an interrupted run
        *) fail "$home holds something else: move it away first" ;;
        esac
    done
    [ "$(readlink "$program")" = "$home/current/bin/sockmon" ] || [ ! -e "$program" ] ||
        fail "$program is another sockmon: remove it first"
    [ "$(systemctl is-enabled sockmon 2>/dev/null)" != masked ] ||
        fail "sockmon.service is masked: systemctl unmask sockmon"
    place=$home
    until [ -d "$place" ]; do place=$(dirname "$place"); done
    free=$(df --output=avail --block-size=1M "$place" | tail -1)
    free=${free##* }
    [ "$free" -ge "$needed" ] || unchanged "$place has $free MB free, and $needed are needed"
}

check_config() {
    [ ! -e "$config" ] || mistakes=$("$new/bin/sockmon" check-config "$config" 2>&1) ||
        fail "nothing is changed, as this version refuses the configuration:
$mistakes"
}

check_port() {
    ! systemctl --quiet is-active sockmon || return 0
    read_first=$config
    [ -e "$config" ] || read_first=$here/sockmon.yaml
    problem=$("$new/bin/python" -I - "$read_first" 2>&1 <<'EOF'
import pathlib, sys
from sockmon import settings
from sockmon.web import listeners
for address in settings.load(pathlib.Path(sys.argv[1])).web.listen_address:
    try:
        listeners.listen(address).close()
    except listeners.ListenError as error:
        sys.exit(f"{address.port} {str(error).partition(';')[0]}")
EOF
    ) || case $problem in
    [0-9]*) unchanged "${problem#* }$(holder "${problem%% *}");" \
        "mend that, or set another web.listen_address in $config" ;;
    *) fail "nothing is changed, as this version does not work: ${problem##*"$newline"}" ;;
    esac
}

holder() {
    ss -Hltnp "sport = :$1" 2>/dev/null |
        sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1, PID \2/p' | head -1
}
