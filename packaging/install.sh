#!/bin/sh
# Install the wheel that lies in the folder $1 into a new environment at $2. PIP_EXTRA_INDEX_URL may
# name where builds of torch for a CPU lie, which are a tenth as large. With $3, an environment, the
# packages that are needed are taken from there, which saves a gigabyte and most of the time.
set -eu
python -m venv "$2"
if [ -z "${3:-}" ]; then
  "$2/bin/pip" install --quiet --no-cache-dir "$1"/medgraft-*.whl
else
  packages="import sysconfig; print(sysconfig.get_path('purelib'))"
  "$3/bin/python" -c "$packages" > "$("$2/bin/python" -c "$packages")/shared.pth"
  "$2/bin/pip" install --quiet --no-deps --force-reinstall "$1"/medgraft-*.whl
fi
