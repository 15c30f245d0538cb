#!/bin/sh
# Installs what single tests need and a bare machine lacks; without it those tests are skipped by name.
set -eu
cd "$(dirname "$0")"

# Node.js with npm: from Debian where it is missing and we may install it.
if ! command -v npm >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends nodejs npm openssl
fi
# strace makes single file-system calls of the ledger fail.
if ! command -v strace >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends strace
fi
# Chromium drives the pages; DejaVu has the letters of every language that we print.
if ! [ -x /usr/bin/chromium ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core
fi
(cd conformance/npm && npm ci --no-progress)
# The pages: what builds and tests them.
../.venv/bin/python ../client/web/bundle.py
