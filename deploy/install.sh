#!/bin/sh
# Install or upgrade sockmon on a host with systemd, from a checkout or from an unpacked bundle.
# An upgrade prepares the new version next to the old one, then switches to it. If the new version
# does not start, it switches back.
set -eu
umask 022
unset PYTHONHOME PYTHONPATH

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/sockmon
program=/usr/local/bin/sockmon
# In the order of stopping.
units='sockmon.service sockmon-netns.socket sockmon-netns.service
    sockmon-events.socket sockmon-events.service'
unit_files=/usr/local/lib/systemd/system
changes=/etc/systemd/system
modules=/usr/local/lib/modules-load.d/sockmon.conf
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
  --python PROGRAM  use this Python, 3.11 or newer, instead of python3
  --no-start        do not start or restart the service
  uninstall         remove sockmon; keep its configuration, state and user
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

# Prepare the new version next to the old one ----------------------------------------------------

make_release() {
    { mkdir -p "$home" && new=$(mktemp -d "$home/release-XXXXXX"); } 2>/dev/null ||
        unchanged "cannot write to $home"
    trap drop_release EXIT
    trap 'exit 1' HUP INT TERM
    chmod 755 "$new"
    said=$("$python" -m venv "$new" 2>&1) ||
        unchanged "cannot make a Python environment in $home (is it full?): $(reason)"
    if [ -n "$wheels" ]; then
        export PIP_CONFIG_FILE=/dev/null # the host's pip.conf is for other purposes
        pip_install --no-index --find-links "$wheels" 'sockmon[terminal]' ||
            unchanged "cannot install from $wheels with Python $version: $(reason)"
    else
        pip_install --require-hashes --requirement "$here/../requirements/runtime.txt" ||
            unchanged "cannot fetch what sockmon needs (without Internet: --wheels DIR): $(reason)"
        pip_install --no-deps --no-build-isolation "$here/.." ||
            unchanged "cannot build sockmon: $(reason)"
    fi
    mkdir "$new/deploy"
    cp -R "$here/systemd/." "$here/sockmon.yaml" "$here/install.sh" "$here/install-checks.sh" \
        "$new/deploy"
    if [ -d "$here/doc" ]; then cp -R "$here/doc" "$new"; else "$here/make-doc" "$new/doc"; fi
}

# --isolated ignores PIP_* variables: PIP_USER or PIP_TARGET would install to another directory.
pip_install() {
    said=$("$new/bin/pip" --isolated --disable-pip-version-check --retries 1 \
        install --quiet "$@" 2>&1)
}

# The last error in the output, or else its last line.
reason() {
    error=$(printf '%s\n' "$said" | sed -n 's/^E[Rr][Rr][Oo][Rr]: //p' | tail -1)
    printf '%s' "${error:-${said##*"$newline"}}"
}

drop_release() {
    [ "$(readlink "$home/current")" = "$new" ] || rm -rf "$new"
    rmdir "$home" 2>/dev/null || true
}

# Switch to the new version ----------------------------------------------------------------------

# Make a release current, with its files outside of $home.
activate() {
    systemd-sysusers "$1/deploy/sockmon.sysusers.conf"
    for unit in $units; do
        if [ -e "$1/deploy/$unit" ]; then
            install -D -m 644 "$1/deploy/$unit" "$unit_files/$unit"
        else
            rm -f "$unit_files/$unit"
        fi
    done
    if [ -e "$1/deploy/sockmon.modules-load.conf" ]; then
        install -D -m 644 "$1/deploy/sockmon.modules-load.conf" "$modules"
    else
        rm -f "$modules"
    fi
    systemctl daemon-reload
    mkdir -p "${program%/*}"
    ln -sfn "$home/current/bin/sockmon" "$program"
    ln -sfn "$1" "$home/next"
    mv -T "$home/next" "$home/current"
    for file in $shared; do
        link=/usr/local/share/$file
        if is_foreign "$link"; then
            continue
        elif [ -e "$home/current/share/$file" ]; then
            mkdir -p "${link%/*}"
            ln -sfn "$home/current/share/$file" "$link"
        else
            rm -f "$link"
        fi
    done
}

# Whether the path exists and is not a link to our release.
is_foreign() {
    case $(readlink "$1") in
    "$home"/current/*) return 1 ;;
    *) [ -e "$1" ] || [ -L "$1" ] ;;
    esac
}

# Replace a configuration only if it is still the template of the old release.
install_config() {
    template=$new/deploy/sockmon.yaml
    known=${old:+$old/deploy/sockmon.yaml}
    if [ ! -e "$config" ]; then
        put_config "$template" "$config"
        about_config="a template: look through it"
    elif cmp -s "$config" "$template"; then
        about_config="the template, not edited yet"
    elif [ -n "$known" ] && cmp -s "$config" "$known"; then
        put_config "$template" "$config"
        about_config="the new template, as the old one was not edited"
    elif [ -n "$known" ] && ! cmp -s "$known" "$template"; then
        put_config "$template" "$config.new"
        about_config="yours, kept; the new template is $config.new"
    else
        about_config="yours, kept"
    fi
}

put_config() {
    install -D -m 640 -g sockmon "$1" "$2.part"
    mv "$2.part" "$2"
}

start() {
    [ -n "$old" ] || systemctl enable --quiet sockmon
    restart 2>/dev/null
}

# Restart a running helper too: both must have the same version.
restart() {
    systemctl try-restart sockmon-netns.socket sockmon-netns.service || true
    systemctl try-restart sockmon-events.socket || true
    systemctl restart sockmon
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
    case $about_config in
    "the new template"*) put_config "$old/deploy/sockmon.yaml" "$config" ;;
    esac
    activate "$old"
    restart || true
    fail "the new version does not start; $old_version is back in its place; it said:
$said"
}

drop_unused_releases() {
    [ "$start" = yes ] || ! systemctl --quiet is-active sockmon || return 0 # the old one runs
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
    dropins=$(systemctl show --value --property=DropInPaths sockmon)
    [ -z "$dropins" ] || echo "  drop-ins       $dropins"
    echo "  to remove it   $home/current/deploy/install.sh uninstall"
    for unit in $units; do
        [ ! -e "$changes/$unit" ] ||
            echo "  attention      $changes/$unit is used in place of $unit_files/$unit"
    done
    for file in $shared; do
        ! is_foreign "/usr/local/share/$file" ||
            echo "  attention      /usr/local/share/$file is not of sockmon, and stays"
    done
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
    check_processor
    check_source
    check_place
    old=$(readlink -e "$home/current" || true)
    old_version=$("$old/bin/sockmon" --version 2>/dev/null) || old_version=$useless
    [ -z "$old" ] || systemctl --quiet is-enabled sockmon 2>/dev/null ||
        systemctl --quiet is-active sockmon || start=no # the administrator has disabled it
    make_release
    check_config
    [ "$start" = no ] || check_port
    activate "$new"
    install_config
    [ "$start" = no ] || start || put_back
    drop_unused_releases
    summary
}

# shellcheck disable=SC2086 # lists of words
uninstall() {
    own="${config%/*} $state $changes/sockmon.socket $changes/sockmon.socket.d"
    [ ! -e "$changes/sockmon.socket" ] || systemctl disable --quiet --now sockmon.socket
    for unit in $units; do
        own="$own $changes/$unit.d"
        [ ! -e "$unit_files/$unit" ] || systemctl disable --quiet --now "$unit"
        rm -f "$unit_files/$unit"
    done
    rm -f "$modules"
    rmdir "$unit_files" "${unit_files%/*}" "${modules%/*}" 2>/dev/null || true
    [ "$(readlink "$program")" != "$home/current/bin/sockmon" ] || rm "$program"
    for file in $shared; do
        link=/usr/local/share/$file
        is_foreign "$link" || rm -f "$link"
        rmdir "${link%/*}" 2>/dev/null || true
    done
    # Keep man: Debian has /usr/local/share/man even if it is empty.
    (cd /usr/local/share && rmdir bash-completion fish zsh 2>/dev/null) || true
    [ ! -L "$home/current" ] || rm -r "$home"
    if [ "$purge" = yes ]; then
        rm -rf $own
        ! getent passwd sockmon >/dev/null || userdel sockmon
    fi
    systemctl daemon-reload
    systemctl reset-failed $units 2>/dev/null || true
    kept=
    for place in $own; do
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
[ -e "$here/install-checks.sh" ] || fail "$here is no checkout and no bundle: run it from there"
# shellcheck source=deploy/install-checks.sh
. "$here/install-checks.sh"
check_host
if [ "$action" = uninstall ]; then uninstall; else install_sockmon; fi
