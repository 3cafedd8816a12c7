#!/bin/sh
# Plants bugs in a copy of the project, one at a time, and tells the first seed that finds each.
#
#   tests/simulation/plants/find.sh [PATCH...]
#
# Without arguments, all of them. PERENNIAL_SEEDS says how many seeds are tried for each. The copy
# lies in target/plants, and has no tests but the simulation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
copy=$root/target/plants
export PERENNIAL_SEED=0 PERENNIAL_SEEDS="${PERENNIAL_SEEDS:-20000}" RUST_BACKTRACE=0
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$copy/target}" CARGO_INCREMENTAL=1
export CARGO_PROFILE_RELEASE_OPT_LEVEL=2 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

mkdir -p "$copy"
rm -rf "$copy/src" "$copy/tests"
cd "$root"
git ls-files -z | xargs -0 cp -p --parents -t "$copy"
cat > "$copy/tests/main.rs" <<'MAIN'
//! The simulation alone.
#![allow(dead_code, clippy::unwrap_used)]
mod support {
    pub mod databases;
    pub mod faults;
    pub mod files;
    pub mod platter;
    pub mod rng;
    pub mod sim;
    pub mod sparse;
}
mod simulation;
MAIN

[ $# -gt 0 ] || set -- "$here"/*.patch
cd "$copy"
for plant in "$@"; do
    name=$(basename "$plant" .patch)
    patch -s -p1 < "$plant"
    if ! cargo test -q --release --no-run --test main > build.log 2>&1; then
        echo "$name: does not compile, see $copy/build.log"
    else
        timeout 600 cargo test -q --release --test main -- --ignored simulation --nocapture \
            > "$name.log" 2>&1 || true
        seed=$(sed -n 's/^seed \([0-9]*\) [fh]a.*/\1/p' "$name.log" | head -n 1)
        said=$(grep -A 1 -m 1 'panicked at' "$name.log" | tail -n 1 | cut -c 1-110)
        if [ -n "$seed" ]; then echo "$name: seed $seed: $said"; else echo "$name: not found"; fi
    fi
    patch -s -p1 -R < "$plant"
done
