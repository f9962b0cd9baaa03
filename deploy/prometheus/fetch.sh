#!/usr/bin/env bash
# Makes sure that the real `prometheus` and `promtool` are there for the tests; prints the folder that holds them.
# Both on the PATH: nothing to do. Otherwise Debian's package is unpacked into .cache/prometheus, without touching the system.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=.cache/prometheus
remedy="install Debian's package \`prometheus\`, or put \`prometheus\` and \`promtool\` (https://prometheus.io/download) on the PATH"

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  dirname "$(command -v prometheus)"
  exit
fi
if [[ -x $cache/usr/bin/prometheus && -x $cache/usr/bin/promtool ]]; then
  echo "$cache/usr/bin"
  exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "the tests need Prometheus: $remedy" >&2
  exit 1
fi

mkdir -p .cache
unpacked=$(mktemp -d .cache/prometheus.XXXXXX)
trap 'rm -rf "$unpacked"' EXIT
download() { (cd "$unpacked" && apt-get download --quiet prometheus); }
if ! download >&2; then
  if [[ $(id -u) -ne 0 ]] || ! apt-get update --quiet >&2 || ! download >&2; then
    echo "the tests need Prometheus, and apt-get could not download it: $remedy" >&2
    exit 1
  fi
fi
dpkg-deb -x "$unpacked"/prometheus_*.deb "$unpacked"
rm "$unpacked"/prometheus_*.deb
"$unpacked/usr/bin/promtool" --version >/dev/null
chmod 755 "$unpacked"
rm -rf "$cache"
mv "$unpacked" "$cache"
trap - EXIT
echo "$cache/usr/bin"
