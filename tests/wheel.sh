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
# What the package brings with it: commands, templates, texts, data. The rest was tested in the source tree
# and does not depend on how the package was installed.
"$work/venv/bin/python" -m pytest -q -m "not long" -n auto --dist loadfile --no-loadscope-reorder \
    tests/client/test_cli.py tests/client/test_audit_command.py tests/client/test_audit_outputs.py \
    tests/client/test_mailing.py tests/verifier tests/issuer/test_cli.py tests/scenario/test_demo.py
