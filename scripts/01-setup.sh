#!/usr/bin/env bash
# Sets up everything FamilyAI needs on this machine without a GPU: .venv with pinned packages, and the model's files.
#
#   scripts/01-setup.sh [--dev]     --dev adds what tests and checks need
#
# Run it as often as you like: what is done is skipped, what was interrupted is mended. It installs nothing outside this
# folder (but in CI, as root, the system libraries it misses). PYTHON=/path/to/python3.12 chooses the Python.
set -euo pipefail
cd -P "$(dirname "$0")/.."

VENV=.venv
LOG=$VENV/setup.log # all that pip says
TORCH=$(sed -n 's/^ *"torch==\([0-9.]*\)",$/\1/p' pyproject.toml)
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
DISK_GB=5
LIBRARIES="libnuma.so.1 libstdc++.so.6 libgcc_s.so.1" # what vLLM's and PyTorch's wheels do not bring themselves
WATCHER=
SECONDS=0
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

main() {
    local locks=(locks/embedded.txt) kind=embedded
    case "${1:-}" in
        "") ;;
        --dev) locks+=(locks/dev.txt) kind=dev ;;
        *) die "unknown option '$1'; usage: scripts/01-setup.sh [--dev]" ;;
    esac
    if ! is_stamped "$kind"; then
        trap 'stopped $?' EXIT
        trap 'exit 130' INT # pip says of its own that it was interrupted, and bash would go on
        check_machine
        make_venv
        drop_half_installed
        install_torch
        install_locks "${locks[@]}"
        install_project
        stamp "$kind"
        trap - EXIT INT
    fi
    "$VENV/bin/python" -m workers.prepare
}

# --- what is done already: the same pins, for the same Python, in the same folder ----------------------------------

fingerprint() {
    "$VENV/bin/python" --version
    pwd
    sha256sum locks/*.txt pyproject.toml scripts/01-setup.sh
}

is_stamped() {
    local stamps=("$VENV/.setup-dev") # has all of the other
    [ "$1" = dev ] || stamps+=("$VENV/.setup-embedded")
    local now stamp
    now=$(fingerprint 2>/dev/null) || return 1
    for stamp in "${stamps[@]}"; do
        if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then return 0; fi
    done
    return 1
}

stamp() {
    fingerprint >"$VENV/.setup-$1"
    step "Set up in ${SECONDS} s"
}

# --- the machine ---------------------------------------------------------------------------------------------------

check_machine() {
    local machine free_gb
    machine="$(uname -s) $(uname -m)"
    case "$machine" in
        "Linux x86_64" | "Linux aarch64") ;;
        *) die "this is $machine; vLLM for CPUs runs on Linux with x86_64 or aarch64. On Windows use WSL 2, on macOS a Linux virtual machine." ;;
    esac
    find_python
    install_system_packages
    free_gb=$(df -Pk . | awk 'NR == 2 {print int($4 / 1000000)}')
    if [ ! -x "$VENV/bin/pip" ] && [ "$free_gb" -lt "$DISK_GB" ]; then
        die "$free_gb GB are free in $PWD; setting up takes $DISK_GB GB."
    fi
    step "$("$PYTHON" --version) on $machine, $free_gb GB free"
}

is_usable_python() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} "$VENV/bin/python" python3 python3.14 python3.13 python3.12 python3.11; do
        if is_usable_python "$candidate"; then
            PYTHON=$candidate
            return
        fi
        [ "$candidate" != "${PYTHON:-}" ] || break # the one that was asked for is the only one that will do
    done
    die "Python 3.11 to 3.14 is needed, and ${PYTHON:-$(python3 --version 2>&1 || echo "no python3")} is here.
  Debian 12, Ubuntu 24.04:  sudo apt-get install python3 python3-venv
  any other Linux:          pipx install uv, then: uv python install 3.12
                            and: PYTHON=\$(uv python find 3.12) make up"
}

# Names of the Debian packages that are missing; empty when none is.
missing_packages() {
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo "$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')-venv"
    local library
    for library in $LIBRARIES; do
        "$PYTHON" -c "import ctypes; ctypes.CDLL('$library')" 2>/dev/null || package_of "$library"
    done
}

package_of() {
    case "$1" in
        libnuma*) echo libnuma1 ;;
        libstdc*) echo libstdc++6 ;;
        libgcc*) echo libgcc-s1 ;;
    esac
}

install_system_packages() {
    local missing
    missing=$(missing_packages | xargs)
    [ -n "$missing" ] || return 0
    if [ "${CI:-}" != true ] || [ "$(id -u)" != 0 ]; then
        die "the system lacks: $missing
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install $missing
  elsewhere:       the packages that hold Python's venv module and $LIBRARIES (Fedora: numactl-libs libstdc++ libgcc)"
    fi
    step "Installing $missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# --- the packages --------------------------------------------------------------------------------------------------

make_venv() {
    if [ -e "$VENV" ] && ! is_healthy_venv; then
        step "Making $VENV anew: it belongs to another Python or another folder, or was never finished"
        case "$PYTHON" in "$VENV"/*) PYTHON=$(base_python) ;; esac
        rm -rf "$VENV"
    fi
    [ -x "$VENV/bin/pip" ] || "$PYTHON" -m venv "$VENV"
}

is_healthy_venv() {
    is_usable_python "$VENV/bin/python" && head -2 "$VENV/bin/pip" 2>/dev/null | grep -qF "$PWD/$VENV/" \
        && "$VENV/bin/python" -m pip --version >/dev/null 2>&1
}

base_python() {
    "$PYTHON" -c 'import sys; print(sys._base_executable)'
}

# An interrupted pip leaves packages that it would take for installed. It writes INSTALLER when all files are there.
drop_half_installed() {
    find "$VENV"/lib/python*/site-packages -maxdepth 1 -name '*.dist-info' ! -exec test -e '{}/INSTALLER' \; -exec rm -rf {} +
}

# First from wherever pip is told to look, which in a closed network is all there is; the default index has no CPU build.
install_torch() {
    local wanted="torch==$TORCH+cpu"
    if "$VENV/bin/python" -c "from importlib.metadata import version as v; assert v('torch') == '$TORCH+cpu'" 2>/dev/null; then
        return
    fi
    step "1 of 3: PyTorch $TORCH for CPUs, about 200 MB"
    : >"$LOG"
    pip_install 1 --no-deps "$wanted" \
        || pip_install 1 --no-deps --index-url "$TORCH_CPU_INDEX" "$wanted" \
        || pip_failed "PyTorch could not be installed, neither from pip's own sources nor from $TORCH_CPU_INDEX."
}

install_locks() {
    local lock options=() count
    for lock in "$@"; do options+=(-r "$lock"); done
    count=$(cat "$@" | grep -c '^[A-Za-z0-9._-]*==')
    step "2 of 3: $count pinned packages, about 800 MB"
    : >"$LOG"
    pip_install "$count" --no-deps --require-hashes --only-binary :all: "${options[@]}" \
        || pip_failed "The packages could not be installed."
}

install_project() {
    step "3 of 3: FamilyAI itself"
    "$VENV/bin/python" -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
}

# pip_install PACKAGES ARGUMENTS...: what pip says goes to the log, and how far it is to whoever waits. pip itself stays
# in the foreground, so that Ctrl-C is its own.
pip_install() {
    local count=$1 code=0 began=$SECONDS
    shift
    watch_pip "$count" "$(wc -l <"$LOG")" &
    WATCHER=$!
    "$VENV/bin/python" -m pip install --progress-bar off "$@" >>"$LOG" 2>&1 || code=$?
    stop_watching
    [ "$code" != 0 ] || progress "done in $((SECONDS - began)) s" "\n"
    return "$code"
}

stop_watching() {
    if [ -n "$WATCHER" ] && kill "$WATCHER" 2>/dev/null; then wait "$WATCHER" 2>/dev/null || true; fi
    WATCHER=
    clear_line
}

# watch_pip PACKAGES LINES: follows what is in the log after so many lines: a line that changes every second on a
# terminal, and a line every half minute elsewhere.
watch_pip() {
    local count=$1 lines=$2 began=$SECONDS seconds end="\n" every_s=30
    if [ -t 1 ]; then end="" every_s=1; fi
    while sleep 1 && kill -0 $$; do
        seconds=$((SECONDS - began))
        if [ $((seconds % every_s)) = 0 ]; then progress "$(pip_words "$count" "$lines"), $seconds s" "$end"; fi
    done 2>/dev/null
}

pip_words() {
    tail -n "+$(($2 + 1))" "$LOG" | awk -v count="$1" '
        /^(Collecting|Processing|Requirement already)/ {seen++}
        /^Installing collected/ {fetched = 1}
        END {
            if (count == 1) print fetched ? "unpacking" : "fetching"
            else if (fetched) print "all " count " packages are here, unpacking takes about a minute"
            else print seen + 0 " of " count " packages"
        }'
}

pip_failed() {
    local no_news='^(Looking in|Ignoring|Requirement already|Collecting|Processing|  Downloading|  Using cached|WARNING: Location .* is ignored)'
    die "$1 What pip said of it (all it said is in $PWD/$LOG):
$(grep -vE "$no_news" "$LOG" | tail -n 40)"
}

# --- words ---------------------------------------------------------------------------------------------------------

step() { printf '%s\n' "$*"; }

# progress WORDS END: on a terminal over the line that was there.
progress() {
    clear_line
    printf '  %s%b' "$1" "$2"
}

clear_line() {
    if [ -t 1 ]; then printf '\r\033[K'; fi
}

stopped() {
    stop_watching
    if [ "$1" != 0 ]; then printf 'Setting up stopped. Run it again once the cause is mended: it goes on from there.\n' >&2; fi
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

main "$@"
