#!/bin/sh
# Rebuilds descriptors/envoy.binpb: every message of Envoy's API, with its validation rules and annotations.
#
# Usage: codegen/descriptors.sh [--check]
#   --check  fails when the committed file differs, and changes nothing.
#
# Needs protoc (Debian: protobuf-compiler) and cargo. The sources are the protos that the crate envoy-types vendors, in
# the version that Cargo.lock names, so that descriptors and Rust types always agree. protoc keeps custom options as
# they are; compilers that go through prost's descriptor types drop them.
set -eu

crate=$(cd "$(dirname "$0")/.." && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
manifest=$(cargo metadata --manifest-path "$crate/Cargo.toml" --format-version 1 --locked --filter-platform "$host" |
    tr ',' '\n' | sed -n 's/.*"manifest_path":"\(.*\/envoy-types-[^"]*\/Cargo.toml\)".*/\1/p' | head -n 1)
protos=$(dirname "$manifest")/proto
target=$crate/descriptors/envoy.binpb
built=$(mktemp)
trap 'rm -f "$built"' EXIT

cd "$protos"
roots="$crate/codegen/protos cel-spec/proto client_model data-plane-api googleapis opentelemetry-proto protoc-gen-validate ratelimit xds"
includes=$(for root in $roots; do printf ' -I %s' "$root"; done)
own=$(cd "$crate/codegen/protos" && find . -name '*.proto' | sed 's,^\./,,' | LC_ALL=C sort)
# Nothing imports FieldMask, but an Any may hold one.
own="$own google/protobuf/field_mask.proto"
files=$(find data-plane-api xds cel-spec/proto ratelimit -name '*.proto' |
    sed 's,^data-plane-api/,,; s,^xds/,,; s,^cel-spec/proto/,,; s,^ratelimit/,,' | LC_ALL=C sort)
# shellcheck disable=SC2086 # both are lists
protoc $includes --include_imports --descriptor_set_out="$built" $own $files

if [ "${1:-}" = --check ]; then
    cmp "$built" "$target"
else
    cp "$built" "$target"
    # What a test without protoc compares with Cargo.lock.
    basename "$(dirname "$manifest")" >"$crate/descriptors/source.txt"
fi
