#!/usr/bin/env bash
# Brings the programs that floe is measured beside: Debian packages with apt-get (needs root), Rust
# programs with cargo install, and one of our own in Go.
#
#   bench/install-peers.sh            all of them
#   bench/install-peers.sh NAME...    only these packages, crates, or article
#
# Each one that fails is named at the end with its log, and the status is 1; the others are installed
# all the same. What is built goes to $FLOE_BENCH_PEERS/bin, by default ~/.cache/floe-bench/bin,
# where floe-bench looks first.
set -uo pipefail

readonly PACKAGES=(
    rsync netcat-openbsd socat curl nginx-light aria2 rclone openssh-server openssh-client iperf3
    openssl iproute2 util-linux golang-go
)
# What cargo builds, as CRATE@VERSION.
readonly CRATES=(dufs@0.47.0 miniserve@0.35.0 qcp@0.9.1 rcp-tools-rcp@0.41.0)

peers=${FLOE_BENCH_PEERS:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/floe-bench}
logs=$peers/logs
failed=()
policy=

# Keeps the packages' own services from starting: the bench starts its own, on ports of its own.
hold_services() {
    local file=/usr/sbin/policy-rc.d
    if [[ ! -e $file ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$file" && chmod +x "$file" && policy=$file
    fi
}

release_services() {
    [[ -z $policy ]] || rm -f "$policy"
}

package() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y \
        --no-install-recommends "$1"
}

crate() {
    local flags=
    # rcp wants what tokio calls unstable, and says so only by not building.
    [[ $1 != rcp-tools-* ]] || flags='--cfg tokio_unstable'
    RUSTFLAGS=$flags cargo install "$1" --locked --root "$peers" --target-dir "$peers/target"
}

article() {
    local from
    from=$(cd "$(dirname "${BASH_SOURCE[0]}")/peers/$1" && pwd) &&
        mkdir -p "$peers/bin" &&
        (cd "$from" && GO111MODULE=off go build -o "$peers/bin/floe-bench-$1" .)
}

bring() {
    local how=$1 what=$2 log=$logs/$2.log
    if "$how" "$what" >"$log" 2>&1; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s: %s\n' "$what" "$(grep -E '^(error|E:)' "$log" | head -n 1)" >&2
        failed+=("$what (see $log)")
    fi
}

chosen() {
    local what=$1
    shift
    (($# == 0)) && return 0
    local name
    for name in "$@"; do [[ ${what%@*} == "$name" ]] && return 0; done
    return 1
}

mkdir -p "$logs"
trap release_services EXIT
if command -v apt-get >/dev/null; then
    hold_services
    apt-get update >"$logs/update.log" 2>&1 || failed+=("apt-get update (see $logs/update.log)")
    for what in "${PACKAGES[@]}"; do
        chosen "$what" "$@" && bring package "$what"
    done
else
    failed+=("${PACKAGES[*]}: no apt-get here; install them by hand")
fi
for what in "${CRATES[@]}"; do
    chosen "$what" "$@" && bring crate "$what"
done

chosen article "$@" && bring article article

if ((${#failed[@]} > 0)); then
    printf '\nnot installed:\n' >&2
    printf '  %s\n' "${failed[@]}" >&2
    exit 1
fi
printf '\nall installed; what was built is in %s/bin\n' "$peers"
