#!/bin/sh
# Install sockmon on a host with systemd, from a checkout or from an unpacked bundle.
# Run again, it upgrades: the new version is made ready beside the old one, and then takes its
# place; if it does not start there, the old one is put back.
set -eu
umask 022
unset PYTHONHOME PYTHONPATH

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/sockmon
program=/usr/local/bin/sockmon
unit=/usr/local/lib/systemd/system/sockmon.service
changes=/etc/systemd/system/sockmon.service.d
config=/etc/sockmon/sockmon.yaml
state=/var/lib/sockmon
shared='man/man1/sockmon.1 bash-completion/completions/sockmon
    zsh/site-functions/_sockmon fish/vendor_completions.d/sockmon.fish'
useless="what did not work"
newline='
'

usage() {
    cat <<'EOF'
usage: install.sh [--wheels DIR] [--python PROGRAM] [--no-start]
       install.sh uninstall [--purge]

  --wheels DIR      install from these wheels (of `make wheels`): for a host without Internet
  --python PROGRAM  use this Python, 3.11 or newer, in place of python3
  --no-start        leave it to you to start the service, or to restart it
  uninstall         remove sockmon; its configuration, state and user stay
  uninstall --purge remove these too
EOF
}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

misused() {
    echo "install.sh: $* (see --help)" >&2
    exit 2
}

# What must hold before anything is touched ------------------------------------------------------

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

check_wheels() {
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
        "$home/*" | "$home"/release-*) ;; # nothing, or what an interrupted run has left
        *) fail "$home holds something else: move it away first" ;;
        esac
    done
    [ "$(readlink "$program")" = "$home/current/bin/sockmon" ] || [ ! -e "$program" ] ||
        fail "$program is another sockmon: remove it first"
    [ "$(systemctl is-enabled sockmon 2>/dev/null)" != masked ] ||
        fail "sockmon.service is masked: systemctl unmask sockmon"
}

# The new version, made ready beside the old one -------------------------------------------------

make_release() {
    mkdir -p "$home"
    new=$(mktemp -d "$home/release-XXXXXX")
    trap drop_release EXIT
    trap 'exit 1' HUP INT TERM
    chmod 755 "$new"
    "$python" -m venv "$new"
    if [ -n "$wheels" ]; then
        pip_install --no-index --find-links "$wheels" 'sockmon[terminal]' ||
            fail "cannot install from $wheels with Python $version: $(reason)"
    else
        pip_install --require-hashes --requirement "$here/../requirements/runtime.txt" ||
            fail "cannot fetch what sockmon needs (without Internet: --wheels DIR): $(reason)"
        pip_install --no-deps --no-build-isolation "$here/.." ||
            fail "cannot build sockmon: $(reason)"
    fi
    mkdir "$new/deploy"
    cp -R "$here/systemd/." "$here/sockmon.yaml" "$new/deploy"
}

pip_install() {
    "$new/bin/pip" install --quiet --disable-pip-version-check --retries 1 "$@" 2>"$new/pip.log"
}

reason() {
    sed -n 's/^ERROR: //p' "$new/pip.log" | tail -1
}

drop_release() {
    [ "$(readlink "$home/current")" = "$new" ] || rm -rf "$new"
    rmdir "$home" 2>/dev/null || true
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
from sockmon import config
from sockmon.ui.web import server
address = config.load(pathlib.Path(sys.argv[1])).web.listen_address
try:
    server.listen(address).close()
except server.ListenError as error:
    sys.exit(f"{address.port} {str(error).partition(';')[0]}")
EOF
    ) || case $problem in
    [0-9]*) fail "nothing is changed: ${problem#* }$(holder "${problem%% *}");" \
        "mend that, or set another web.listen_address in $config" ;;
    *) fail "nothing is changed, as this version does not work: ${problem##*"$newline"}" ;;
    esac
}

holder() {
    ss -Hltnp "sport = :$1" 2>/dev/null |
        sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1, PID \2/p' | head -1
}

# Its taking the old one's place -----------------------------------------------------------------

# Put a release to use, with what belongs to it outside of $home.
activate() {
    systemd-sysusers "$1/deploy/sockmon.sysusers.conf"
    install -D -m 644 "$1/deploy/sockmon.service" "$unit"
    systemctl daemon-reload
    mkdir -p "${program%/*}"
    ln -sfn "$home/current/bin/sockmon" "$program"
    ln -sfn "$1" "$home/next"
    mv -T "$home/next" "$home/current"
    for file in $shared; do
        mkdir -p "/usr/local/share/${file%/*}"
        ln -sfn "$home/current/share/$file" "/usr/local/share/$file"
    done
}

# A configuration is replaced only if it is still the template that came with the old release.
install_config() {
    template=$new/deploy/sockmon.yaml
    known=${old:+$old/deploy/sockmon.yaml}
    about_config="yours, kept"
    if [ ! -e "$config" ]; then
        put_config "$template" "$config"
        about_config="a template: look through it"
    elif [ -n "$known" ] && ! cmp -s "$known" "$template"; then
        if cmp -s "$known" "$config"; then
            put_config "$template" "$config"
            about_config="the new template, as the old one was not edited"
        elif ! cmp -s "$config" "$template"; then
            put_config "$template" "$config.new"
            about_config="yours, kept; the new template is $config.new"
        fi
    fi
}

put_config() {
    install -D -m 640 -g sockmon "$1" "$2.part"
    mv "$2.part" "$2"
}

start() {
    [ -n "$old" ] || systemctl enable --quiet sockmon
    systemctl restart sockmon 2>/dev/null
}

put_back() {
    journalctl --sync
    invocation=$(systemctl show --value --property=InvocationID sockmon)
    said=$(journalctl --quiet --no-pager --output=cat --lines=4 \
        "_SYSTEMD_INVOCATION_ID=$invocation")
    if [ -z "$old" ] || [ "$old_version" = "$useless" ]; then
        systemctl stop sockmon
        fail "installed, but it does not start; see journalctl --unit=sockmon; it says:
$said"
    fi
    case $about_config in "the new template"*) put_config "$old/deploy/sockmon.yaml" "$config" ;; esac
    activate "$old"
    systemctl restart sockmon || true
    fail "the new version does not start; $old_version is back in its place; it said:
$said"
}

drop_unused_releases() {
    [ "$start" = yes ] || ! systemctl --quiet is-active sockmon || return 0 # it runs the old one
    for release in "$home"/release-*; do
        [ "$release" = "$new" ] || rm -rf "$release"
    done
}

summary() {
    was=
    [ -z "$old" ] || was=" in place of ${old_version#sockmon }"
    cat <<EOF
$("$program" --version)$was
  program        $program, in $home
  configuration  $config ($about_config)
  service        sockmon.service ($(systemctl is-enabled sockmon || true), $(
        systemctl is-active sockmon || true))
EOF
    [ ! -e "${changes%.d}" ] || echo "  attention      ${changes%.d} is used in place of $unit"
    if [ "$start" = yes ]; then
        echo "Next: sockmon doctor; systemctl status sockmon; journalctl --unit=sockmon"
    elif systemctl --quiet is-active sockmon; then
        echo "Next: systemctl restart sockmon (it still runs the old version)"
    else
        echo "Next: systemctl enable --now sockmon"
    fi
}

install_sockmon() {
    check_python
    check_wheels
    check_place
    old=$(readlink -e "$home/current" || true)
    old_version=$("$old/bin/sockmon" --version 2>/dev/null) || old_version=$useless
    [ -z "$old" ] || systemctl --quiet is-enabled sockmon 2>/dev/null ||
        systemctl --quiet is-active sockmon || start=no # as its administrator has it
    make_release
    check_config
    [ "$start" = no ] || check_port
    activate "$new"
    install_config
    [ "$start" = no ] || start || put_back
    drop_unused_releases
    summary
}

uninstall() {
    [ ! -e "$unit" ] || systemctl disable --quiet --now sockmon
    rm -f "$unit"
    rmdir "${unit%/*}" "${unit%/*/*}" 2>/dev/null || true
    [ "$(readlink "$program")" != "$home/current/bin/sockmon" ] || rm "$program"
    for file in $shared; do
        link=/usr/local/share/$file
        [ "$(readlink "$link")" != "$home/current/share/$file" ] || rm "$link"
        rmdir "${link%/*}" 2>/dev/null || true
    done
    # Debian has /usr/local/share/man even when it is empty.
    (cd /usr/local/share && rmdir bash-completion fish zsh 2>/dev/null) || true
    [ ! -L "$home/current" ] || rm -r "$home"
    if [ "$purge" = yes ]; then
        rm -rf "${config%/*}" "$state" "$changes"
        ! getent passwd sockmon >/dev/null || userdel sockmon
    fi
    systemctl daemon-reload
    systemctl reset-failed sockmon 2>/dev/null || true
    kept=
    for place in "${config%/*}" "$state" "$changes"; do
        [ ! -e "$place" ] || kept="$kept $place"
    done
    echo "sockmon is gone${kept:+; what stays until uninstall --purge:$kept}"
}

action=install wheels='' python=python3 start=yes purge=no
while [ $# -gt 0 ]; do
    case $1 in
    uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --no-start) start=no ;;
    --wheels | --python)
        [ $# -gt 1 ] || misused "$1 needs a value"
        [ "$1" = --python ] && python=$2 || wheels=$2
        shift
        ;;
    --help | -h) usage && exit ;;
    *) misused "what is $1?" ;;
    esac
    shift
done
[ "$action" = uninstall ] || [ "$purge" = no ] || misused "--purge goes with uninstall"
check_host
if [ "$action" = uninstall ]; then uninstall; else install_sockmon; fi
