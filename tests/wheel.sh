#!/bin/sh
# Build the wheel and run the main job and the tests against it in a clean environment, away from the sources.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/.venv/bin/python" -m build --quiet --wheel --outdir "$work/dist" "$root"
python3 -m venv "$work/venv"
wheel=$(ls "$work"/dist/headcount-*.whl)
"$work/venv/bin/pip" install -q "$wheel[dev]"
# The pages are in it.
"$work/venv/bin/python" -c "from importlib.resources import files; (files('headcount') / 'web' / 'bundle.json').read_bytes()"
mkdir "$work/spec" && cp -r "$root/spec/vectors" "$root"/spec/*.md "$root"/spec/*.json "$root"/spec/*.yaml "$work/spec/"
cp -r "$root/tests" "$root/examples" "$root/README.md" "$work/"
# The sources' import paths are dropped, so that only the installed wheel can answer.
sed -e '/^pythonpath/s/=.*/= tests/' "$root/setup.cfg" > "$work/setup.cfg"
cd "$work"
# What reads the source tree, or needs the foreign programs beside it, was run there; so were the
# matrices of faults and mutations, which do not depend on how the package was installed.
"$work/venv/bin/python" -m pytest -q -m "not long" tests \
    --ignore=tests/conformance --ignore=tests/web --ignore=tests/test_layers.py --ignore=tests/test_spec_sync.py \
    --ignore=tests/ledger/test_crash_calls.py --ignore=tests/ledger/test_audit_mutation.py \
    --ignore=tests/ledger/test_fault_matrix.py --ignore=tests/ledger/test_recovery.py
