#!/usr/bin/env bash
# Installs, configures, scrapes, upgrades, removes and purges the package in a Debian that has only the package's
# dependencies, and prints how long each step took. Needs root, curl, debootstrap, lintian and systemd-analyze.
#
#   packaging/test-deb.sh PACKAGE.deb [ROOT]      ROOT: such a Debian to copy; by default debootstrap makes it
set -euo pipefail
package=$(realpath "$1") name=wechat-logistics-exporter
scratch=$(mktemp -d)
demo=
clean_up() {
  [ -z "$demo" ] || kill "$demo" 2>/dev/null || true
  umount "$scratch/debian/proc" 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT
begun=$(date +%s%N)
step() {
  local now; now=$(date +%s%N)
  printf '%6d ms  %s\n' $(((now - begun) / 1000000)) "$*"
  begun=$(date +%s%N)
}
fail() { echo "FAILED: $*" >&2; exit 1; }

lintian --fail-on error "$package" || fail lintian
dpkg-deb --extract "$package" "$scratch/files"
systemd-analyze security --offline=true --no-pager --threshold=15 \
  "$scratch/files/usr/lib/systemd/system/$name.service" >"$scratch/security" || { cat "$scratch/security"; fail "the unit is open"; }
tail -n 1 "$scratch/security"
step "lintian and systemd-analyze"

root=$scratch/debian
if [ $# -gt 1 ]; then cp -a "$2" "$root"; else debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail debootstrap; }; fi
mount -t proc proc "$root/proc"
step "bare Debian"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
left() { (cd "$root" && find . -path ./proc -prune -o -path '*wechat*' -print | sort); }
install_package() { cp "$1" "$root/tmp/package.deb"; inside dpkg --install /tmp/package.deb >"$scratch/dpkg" 2>&1 || { cat "$scratch/dpkg"; fail "dpkg --install"; }; }

install_package "$package"
inside $name --version | grep -q revision || fail "no version"
[ -z "$(find "$root/etc/systemd" -name "$name*")" ] || fail "enabled before it is configured"
inside bash -n /usr/share/bash-completion/completions/$name || fail "bash completion"
for file in man/man1/$name.1.gz man/man1/$name-check.1.gz $name/prometheus/rules/alerts.yml \
  $name/alertmanager/alertmanager.yml $name/grafana/dashboards/zh/overview.json; do
  [ -s "$root/usr/share/$file" ] || fail "no $file"
done
code=0; inside $name check --config-only --config.file=/etc/$name/apps.yml >"$scratch/check" 2>&1 || code=$?
[ "$code" = 2 ] || { cat "$scratch/check"; fail "check of a package without a configuration ends with $code"; }
step "installed; without a configuration: $(tail -n 1 "$scratch/check")"

printf 'secret\n' | install -m 600 /dev/stdin "$root/etc/$name/secrets/shop"
sed -i -e '/^apps: \[\]/d' -e '/^#apps:/,$s/^#//' "$root/etc/$name/apps.yml"
# The layout of the credentials that the unit passes.
install -D -m 600 "$root/etc/$name/secrets/shop" "$root/run/credentials/secrets_shop"
inside CREDENTIALS_DIRECTORY=/run/credentials $name check --config-only --config.file=/etc/$name/apps.yml >"$scratch/check" 2>&1 ||
  { cat "$scratch/check"; fail "the conffile's example"; }
step "configured: $(tail -n 1 "$scratch/check")"

port=10086
chroot --userspec=65534:65534 "$root" $name demo --web.listen-address="127.0.0.1:$port" >"$scratch/demo" 2>&1 & demo=$!
curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$port/metrics" >"$scratch/page" || { cat "$scratch/demo"; fail "no page"; }
accounts=$(grep -c '^wechat_logistics_account_quota{' "$scratch/page")
[ "$accounts" -gt 0 ] || fail "no balance"
kill "$demo" && wait "$demo" && demo=
step "first scrape of the demo: $accounts balances"

# The layout of the state directory that systemd creates for a DynamicUser=.
install -D -m 600 /dev/null "$root/var/lib/private/$name/state"
ln -s "private/$name" "$root/var/lib/$name"
dpkg-deb --raw-extract "$package" "$scratch/next"
sed -i 's/^Version: .*/&+next/' "$scratch/next/DEBIAN/control"
dpkg-deb --build -Znone --root-owner-group "$scratch/next" "$scratch/next.deb" >/dev/null
install_package "$scratch/next.deb"
inside dpkg-query --show $name | grep -q '+next$' || fail "not upgraded"
grep -q '^apps:' "$root/etc/$name/apps.yml" || fail "the configuration is lost"
[ -e "$root/var/lib/$name/state" ] || fail "the state is lost"
step "upgraded"

inside dpkg --remove $name >/dev/null
[ ! -e "$root/usr/bin/$name" ] || fail "not removed"
for file in etc/$name/apps.yml var/lib/$name/state; do
  [ -e "$root/$file" ] || fail "$file is gone before a purge"
done
step "removed"

inside dpkg --purge $name >/dev/null 2>&1
[ "$(left)" = "$(printf './etc/%s\n' $name $name/secrets $name/secrets/shop)" ] || fail "left behind: $(left)"
step "purged; the administrator's own secret is left"
