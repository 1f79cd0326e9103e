#!/bin/sh
# Build the sdist, and the wheel from the sdist, into the folder $1.
set -eu
python -m pip install --quiet --upgrade 'build>=1.2'
python -m build --outdir "$1" .
