#!/bin/sh
# Does an installation work for who may write nowhere but in the folder $1: the doctor, and a study
# of the demo's made images with its report, its methods and a model that answers.
set -eu
export HOME="$1" MPLCONFIGDIR="$1" MEDGRAFT_CACHE="$1/cache" TMPDIR="$1" PYTHONDONTWRITEBYTECODE=1
cd "$1"
medgraft doctor
medgraft --help > /dev/null
medgraft study --help > /dev/null
code=0 && medgraft study --nonsense 2> /dev/null || code=$?
test "$code" -eq 2
medgraft demo --patients 24 --no-open --quiet --out "$1/demo"
for file in report.html result.json predictions.parquet methods.md references.bib model; do
  test -e "$1/demo/run/$file"
done
medgraft predict "$1/demo/run" "$1"/demo/images/lesion/*.png --json > "$1/answers.json"
