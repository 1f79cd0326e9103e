#!/usr/bin/env bash
# What the Dockerfile does, without Docker: build, install in a clean environment, and try that where
# nothing can be written but in one folder (as root; else it is only tried). PYTHON says which Python,
# DEPENDENCIES an environment whose packages do.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_CONSTRAINT=$PWD/constraints.txt # the versions that are tested
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/tools"
PATH="$work/tools/bin:$PATH" packaging/build.sh "$work/dist"
PATH="$work/tools/bin:$PATH" packaging/install.sh "$work/dist" "$work/installed" \
  "${DEPENDENCIES:-}"
mkdir "$work/writable"
as=()
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$work"
  as=(packaging/confined.sh "$work/writable")
fi
PATH="$work/installed/bin:$PATH" "${as[@]}" packaging/smoke.sh "$work/writable"
"$work/installed/bin/python" packaging/same_files.py "$work/dist"
echo "the wheel installs and works"
