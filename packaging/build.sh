#!/usr/bin/env bash
# Builds the files of a release into target/release-files: the Debian package, an archive with the binary, and a
# CycloneDX bill of materials. Needs cargo-deb and cargo-cyclonedx. The same source, compiler and Debian release produce
# the same bytes, wherever the source and cargo's folder are.
set -euo pipefail
cd "$(dirname "$0")/.."
unset CARGO_TARGET_DIR
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
cargo=${CARGO_HOME:-$HOME/.cargo}
name=wechat-logistics-exporter
files=target/release-files

cargo fetch --locked
# Panic messages contain paths: those of Rust sources through rustc, and those of C code through its compiler.
export RUSTFLAGS="--remap-path-prefix=$PWD=/src" CFLAGS="-ffile-prefix-map=$PWD=/src"
for registry in "$cargo"/registry/src/*/; do
  RUSTFLAGS+=" --remap-path-prefix=${registry%/}=/registry"
  CFLAGS+=" -ffile-prefix-map=${registry%/}=/registry"
done
cargo build --profile dist --locked --bin "$name"
cargo run --quiet --locked --example generate -- target/packaging

rm -rf "$files" && mkdir -p "$files"
cargo deb --no-build --locked --output "$files"
host=$(rustc -vV | sed -n 's/^host: //p')
version=$(target/dist/$name --version | sed -nE 's/.*version ([^ ]+).*/\1/p')
tar --create --gzip --file "$files/$name-$version-$host.tar.gz" --transform "s,^\(target/dist/\)\?,$name-$version/," \
  --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w --mtime="@$SOURCE_DATE_EPOCH" \
  target/dist/$name LICENSE README.md README.zh-CN.md CHANGELOG.md docs examples packaging/apps.yml prometheus \
  alertmanager grafana
cargo cyclonedx --format json --all --override-filename bom
sed "s|$PWD|/src|g" bom.json >"$files/$name-$version-$host.cdx.json" && rm bom.json
(cd "$files" && sha256sum -- * >"SHA256SUMS-$host" && cat "SHA256SUMS-$host")
