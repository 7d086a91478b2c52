#!/usr/bin/env bash
# A Chromium for the tests of the pages, where the machine has none.
set -euo pipefail
cd "$(dirname "$0")/../.."

found() {
  for name in "${NAS_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    # Ubuntu has a script of that name that only says where to get one.
    if [ -n "$name" ] && command -v "$name" >/dev/null && "$name" --version >/dev/null 2>&1; then return 0; fi
  done
  return 1
}

if found; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  if apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium && found; then exit 0; fi
fi
make setup
if [ "$(id -u)" = 0 ]; then .venv/bin/playwright install --with-deps chromium; else .venv/bin/playwright install chromium; fi
