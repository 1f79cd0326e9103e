# Every target makes its own environment when it is not there; another PYTHON needs another VENV.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: $(shell grep -oE '^[a-z-]+' $(MAKEFILE_LIST)) # none is a file

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## study made radiographs with known truth and open the report
	$(BIN)/medgraft demo

test: $(READY) ## the tests a change must pass (minutes), in two processes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-all: $(READY) ## every test, the slow ones too
	$(BIN)/pytest -m ''

test-lowest: ## the oldest versions that are promised, in an environment of their own (6 GB)
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --requirement packaging/lowest.txt
	.venv-lowest/bin/pip install --quiet --no-deps .
	PATH="$(CURDIR)/.venv-lowest/bin:$$PATH" packaging/smoke.sh "$$(mktemp -d)"

site: $(READY) ## build the site of docs/ into site/, strictly, with a fresh sample report
	$(BIN)/zensical build --strict --clean
	$(BIN)/python experiments/sample_report.py site/sample-report.html
	$(BIN)/python packaging/check_links.py site

docs: site ## and type what its pages tell to type, on made data (minutes)
	$(BIN)/pytest -m '' tests/docs

pictures: $(READY) ## draw docs/pictures/concepts/ from made films (minutes)
	PYTHONPATH=experiments $(BIN)/python -m pictures

screenshots: $(READY) ## photograph a real run of the demo for docs/pictures/ (needs Chromium)
	$(BIN)/python experiments/screenshots.py

notebook: $(READY) ## run docs/notebook/paper-table.ipynb and write docs/notebook.md (minutes)
	$(BIN)/python experiments/notebook.py

docker-steps: $(READY) ## the Dockerfile's steps with this environment's packages, without Docker
	DEPENDENCIES=$(abspath $(VENV)) PYTHON=$(abspath $(BIN)/python) packaging/check.sh

wheel: ## build, install in a clean environment, and try it as a user without rights (minutes)
	PYTHON=$(PYTHON) packaging/check.sh

sbom: $(READY) ## list what is installed as dist/sbom.cdx.json (CycloneDX)
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet 'cyclonedx-bom>=7'
	mkdir -p dist
	.venv-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.cdx.json $(VENV)

vulnerabilities: $(READY) ## ask PyPI for known ones of what is installed (needs a connection)
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet 'pip-audit>=2.9'
	.venv-tools/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable

bench: $(READY) ## paired timings against the usual script; writes bench/results/
	$(BIN)/python bench/run.py

bench-page: $(READY) ## how soon medgraft app can be used, and what it adds to a study (an hour; needs Chromium)
	$(BIN)/python bench/page_speed.py

bench-gpu: $(READY) ## a GPU against the CPU, in rates and answers (minutes); writes docs/results/gpu.md
	$(BIN)/python bench/gpu.py

results-frozen: $(READY) ## every frozen scenario on the real data sets; writes docs/results/frozen.md
	$(BIN)/python experiments/frozen.py

results-finetune: $(READY) ## trained networks on the real data sets (hours); writes docs/results/finetune.md
	$(BIN)/python experiments/finetune.py

results-evidence: $(READY) ## where chest X-ray models look, by lung masks; writes docs/results/evidence.md
	$(BIN)/python experiments/evidence.py

results-audits: $(READY) ## what the audits say of real data with known faults; writes docs/results/real-audits.md
	$(BIN)/python experiments/real_audits.py

results-layouts: $(READY) ## published layouts made small: how each is read; writes docs/results/real-layouts.md
	$(BIN)/python experiments/real_layouts.py

results-promises: $(READY) ## what two versions promise of real data, and what comes true; writes docs/results/promises.md
	$(BIN)/python experiments/promises.py

results-hours: $(READY) ## studies of an hour, each a look at an official test (seven hours, goes on); writes docs/results/hours.md
	$(BIN)/python experiments/hours.py

results-shift: $(READY) ## what training, ranking and threshold hold at a second source (hours, goes on); writes docs/results/shift.md
	$(BIN)/python experiments/shift/effects.py
	$(BIN)/python experiments/shift/effects_elsewhere.py
	test -f experiments/results/judging_view.json || $(BIN)/python experiments/shift/judging_view.py
	$(BIN)/python experiments/shift/start.py
	$(BIN)/python experiments/shift/ranking.py
	$(BIN)/python experiments/shift/thresholds.py
	$(BIN)/python experiments/shift/distill.py
	$(BIN)/python experiments/shift_page.py

results-sets: $(READY) ## coverage of prediction sets on the real data sets (minutes); writes docs/results/sets.md
	$(BIN)/python experiments/sets.py

results-unlike: $(READY) ## false alarms and finds of "unlike anything learned from"; writes docs/results/unlike.md
	$(BIN)/python experiments/unlike.py

results-study: $(READY) ## the seed study's data sets and conclusions, from what is measured; writes docs/results/study.md
	$(BIN)/python experiments/study_page.py

results-similarity: $(READY) ## how far known data sets are from ImageNet; writes docs/results/similarity.md and the package's scale
	$(BIN)/python experiments/similarity.py

results-panels: $(READY) ## panels of real images held to their questions alone, and planted drains (an hour, goes on); writes docs/results/panels.md
	$(BIN)/python experiments/company.py
	$(BIN)/python experiments/panels.py

results-learning-curve: $(READY) ## does what twice the images bring lie in the interval (minutes); writes docs/results/learning-curve.md
	$(BIN)/python experiments/learning_curves.py

results-budget: $(READY) ## what a budget keeps to, loses and survives (three hours, goes on; alone); writes docs/results/budget.md
	$(BIN)/python experiments/budgets.py

results-memory: $(READY) ## memory by number of images, to 100,000 (hours, goes on); writes docs/results/memory.md
	$(BIN)/python experiments/memory.py --extract
	$(BIN)/python experiments/memory.py

page-pictures: $(READY) ## pictures of medgraft app for its page in docs (minutes; needs Chromium)
	$(BIN)/python experiments/page_pictures.py

results-faults: $(READY) ## kill commands and break their disk at hundreds of moments (hours, goes on); writes docs/results/faults.md
	$(BIN)/python experiments/faults.py

results-server-faults: $(READY) ## kill servers and workers under load, spoil their disk (an hour, goes on; root); writes docs/results/server-faults.md
	$(BIN)/python experiments/server_faults.py

prove-audit: $(READY) ## plant shortcuts and see what the audit finds (forty minutes); SIZE=ci for a sample
	$(BIN)/python experiments/prove_audit.py --size $(or $(SIZE),full)

results-foreign: $(READY) ## audit models that are not medgraft's (an hour, goes on); writes docs/results/foreign-models.md
	$(BIN)/python experiments/foreign_models.py

prove-statistics: $(READY) ## simulate known truth and hold every figure against it (an hour); SIZE=ci for a sample
	$(BIN)/python experiments/prove_statistics.py --size $(or $(SIZE),full)

prove-recommendation: $(READY) ## what the recommendation loses against all tried (hours, goes on); FIELDS=trained trains
	$(BIN)/python experiments/recommendation/run.py --fields $(or $(FIELDS),frozen)
	$(BIN)/python experiments/recommendation_page.py

fuzz: $(READY) ## break good files in 15,000 ways (a minute); writes docs/results/fuzz.md
	$(BIN)/python experiments/fuzz.py

lint: $(READY) ## style, types, and the rule that imports go down only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the targets made
	rm -rf site dist .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
