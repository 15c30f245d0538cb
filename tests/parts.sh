#!/bin/sh
# Installs what single tests need and a bare machine lacks; without it those tests are skipped by name.
set -eu
cd "$(dirname "$0")"

if command -v npm >/dev/null; then
    (cd conformance/npm && npm ci --no-progress)
else
    echo "parts.sh: npm is missing: install Node.js 20 or newer" >&2
    exit 1
fi
