#!/bin/sh
# Install the wheel that lies in the folder $1 into a new environment at $2. PIP_EXTRA_INDEX_URL may
# name where builds of torch for a CPU lie, which are a tenth as large.
set -eu
python -m venv "$2"
"$2/bin/pip" install --quiet --no-cache-dir "$1"/medgraft-*.whl
