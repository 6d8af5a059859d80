#!/bin/sh
# Click 8.3.1 and 8.5.1: `-c x` is first looked up as a long option. That fails, and to say what was meant
# Click imports difflib and looks for similar names; then the error is dropped, and -c is taken as the
# short option that it is. So each run of a program with a short option pays for an error that nobody
# sees: the import is most of a millisecond. With `--config x` nothing of this happens.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
cat >program.py <<'PY'
import sys

import click


@click.command()
@click.option("-c", "--config")
def main(config):
    print("difflib" in sys.modules)


main()
PY
for version in 8.3.1 8.5.1; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check "click==$version" 2>/dev/null
    for option in --config -c; do
        found=$("$version/bin/python" program.py "$option" x)
        echo "click $version, $option: difflib imported: $found"
        [ "$found" = "$([ "$option" = -c ] && echo True || echo False)" ]
    done
done
echo "as it was: imported for -c alone"
