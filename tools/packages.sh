# shellcheck shell=sh
# packages: what the project's scripts share about installing what they need. To be sourced.
#
# A script says what is missing in words of its own; this asks apt-get, as root or by sudo. Elsewhere than on Debian and
# its kin nothing is installed.

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "installing needs root, and there is no sudo; as root: $*" >&2
        return 1
    fi
}

# install_packages NAME...: a list of packages that is a little old is no reason to stop; a failed install is.
install_packages() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root apt-get update -q || echo "apt-get update failed; trying with the lists that are there" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Those of the packages that are not installed.
missing_packages() {
    for package; do
        state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || state=
        [ "$state" = "install ok installed" ] || echo "$package"
    done
}
