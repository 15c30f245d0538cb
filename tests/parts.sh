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
# A PKCS #11 token in software, for token keys that never leave their module.
if ! command -v softhsm2-util >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends softhsm2
fi
# Chromium drives the pages; its virtual authenticator makes and shows passkeys.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends chromium
fi
# DejaVu has the letters of every language that we print, Arabic too.
if [ ! -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends fonts-dejavu-core
fi
# A real mail server takes the codes; without root it could not run.
if ! command -v postfix >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postfix
fi
(cd conformance/npm && npm ci --no-progress)
(cd conformance/oidc && npm ci --no-progress)
# The pages: what builds and tests them.
../.venv/bin/python ../client/web/bundle.py
