# `make demo` and `make test` do all set-up themselves; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
AIRFLOW_BIN := .venv-airflow/bin
AIRFLOW_READY := .venv-airflow/.ready
# Half of a test's time is spent on one core; the tests of a file share what it sets up.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
# The day that Airflow's daily runs of 04:00 UTC take next, or one so many days before it.
day = $(shell $(PYTHON) -c "from datetime import *; print((datetime.now(timezone.utc) - timedelta(days=$(1), hours=28)).date())")
AIRFLOW_DEMO := data/airflow/demo-$(call day,0)
OF_AIRFLOW := env SALIENCE_LOGS="$(CURDIR)/$(AIRFLOW_DEMO)/logs" SALIENCE_WAREHOUSE="$(CURDIR)/$(AIRFLOW_DEMO)/warehouse" \
	SALIENCE_SIMULATE__TRUTH="$(CURDIR)/$(AIRFLOW_DEMO)/truth"
# Each task is a process that loads Spark's classes: those that setup kept only have to be mapped.
KEPT_CLASSES := "-XX:SharedArchiveFile=$(CURDIR)/.venv/spark-classes.jsa" -Xlog:cds=off -Xlog:cds+dynamic=off
AIRFLOW := $(OF_AIRFLOW) SPARK_SUBMIT_OPTS='$(KEPT_CLASSES)' PATH="$(CURDIR)/$(BIN):$(CURDIR)/$(AIRFLOW_BIN):$$PATH" AIRFLOW_HOME="$(CURDIR)/data/airflow" \
	AIRFLOW__CORE__DAGS_FOLDER="$(CURDIR)/airflow_dags" AIRFLOW__CORE__LOAD_EXAMPLES=False \
	AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True AIRFLOW__API__HOST=127.0.0.1 AIRFLOW_SALIENCE_ENV=local \
	AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]", "extra": {"spark-binary": "spark-submit", "deploy-mode": "client"}}' \
	$(AIRFLOW_BIN)/airflow
AIRFLOW_PYTEST := $(AIRFLOW_BIN)/pytest -n 2 --dist worksteal -p no:cacheprovider -c airflow_dags/pytest.ini tests/dags
DEMO_DAY ?= 2026-11-14

.DEFAULT_GOAL := help
.PHONY: help setup setup-airflow airflow demo check test test-all trials bench bench-clean bench-quality bench-recommend bench-rerank bench-engagement \
	lint package clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: $(READY) ## build .venv

$(READY): pyproject.toml conf/pins.txt
	@echo "building .venv with $$($(PYTHON) --version): a minute or two, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint conf/pins.txt --editable '.[dev]'
	@# Spark fetches Delta's jars when it starts; two that do so at once would spoil each other's files. This first job
	@# also leaves the classes that it loaded in a form that Java only has to map; a Java that cannot do so does without.
	@env -u HADOOP_CONF_DIR -u YARN_CONF_DIR PATH="$(CURDIR)/$(BIN):$$PATH" SPARK_SUBMIT_OPTS="-XX:ArchiveClassesAtExit=.venv/spark-classes.new" \
		spark-submit --properties-file conf/spark/local.conf jobs/open_release.py --env local --date 2026-01-01 \
		--set warehouse="$(CURDIR)/.venv/first" >.venv/first.log 2>&1 || { cat .venv/first.log; exit 1; }
	@[ ! -f .venv/spark-classes.new ] || mv .venv/spark-classes.new .venv/spark-classes.jsa
	@rm -r .venv/first .venv/first.log
	@touch $@

setup-airflow: $(AIRFLOW_READY) ## build .venv-airflow: Airflow has an environment of its own

$(AIRFLOW_READY): conf/pins-airflow.txt
	@echo "building .venv-airflow with $$($(PYTHON) --version): a few minutes, once"
	@$(PYTHON) -m venv .venv-airflow
	@$(AIRFLOW_BIN)/pip install --quiet --disable-pip-version-check --constraint conf/pins-airflow.txt \
		apache-airflow apache-airflow-providers-apache-spark pytest pytest-xdist
	@touch $@

demo: setup ## simulate logs, run every step on them, print a summary (data/demo)
	@$(BIN)/python jobs/run_all.py --env local --date $(DEMO_DAY) --simulate

airflow: setup setup-airflow $(AIRFLOW_DEMO)/.ready ## start Airflow on this machine, on a demo that ends yesterday (data/airflow): http://127.0.0.1:8080
	@$(AIRFLOW) db migrate >/dev/null
	@$(AIRFLOW) pools set salience 1 "Spark jobs at once" >/dev/null
	@echo "open http://127.0.0.1:8080 (README.md, On Airflow, says what to click); Ctrl-C ends it"
	@$(AIRFLOW) standalone

$(AIRFLOW_DEMO)/.ready: | $(READY)
	@echo "simulating logs up to $(call day,0), and taking all days before: some minutes, once a day"
	@$(OF_AIRFLOW) $(BIN)/python jobs/simulate_logs.py --env local --date $(call day,0)
	@$(OF_AIRFLOW) $(BIN)/python jobs/run_all.py --env local --from $(call day,13) --to $(call day,1)
	@touch $@

check: setup lint ## lint, types, import rules and unit tests
	$(PYTEST) -m "not integration"

test: setup setup-airflow lint ## everything in check, whole jobs, and Airflow's DAG
	$(PYTEST) -m "not slow and not trial"
	$(AIRFLOW_PYTEST) -m "not slow and not trial"

test-all: setup setup-airflow lint ## everything in test, and what takes minutes; what CI runs
	$(PYTEST) -m "not trial"
	$(AIRFLOW_PYTEST) -m "not trial"

trials: setup setup-airflow ## the longest trials, that test-all leaves out: before a release
	$(PYTEST) -m trial
	$(AIRFLOW_PYTEST) -m trial

bench: bench-clean bench-quality bench-recommend bench-rerank bench-engagement ## everything that is measured against a floor or a peer

bench-clean: setup ## time cleaning on 10 million events (EVENTS=50000000 PAIRS=1 for more, once) against the bare engine
	PYTHONPATH=jobs:tests $(BIN)/python tests/benchmarks/bench_clean.py $(if $(EVENTS),--events $(EVENTS)) $(if $(PAIRS),--pairs $(PAIRS))

bench-recommend: setup ## time everyone's lists and ALS fits against MLlib and implicit (USERS=25000 PAIRS=1 for fewer)
	PYTHONPATH=jobs:tests $(BIN)/python tests/benchmarks/bench_recommend.py $(if $(USERS),--users $(USERS)) $(if $(PAIRS),--pairs $(PAIRS))

bench-quality: setup ## rank public data with every recommender (DATA=ml100k or movietweetings for one of them)
	PYTHONPATH=jobs:tests $(BIN)/python tests/benchmarks/bench_quality.py $(if $(DATA),--data $(DATA))

bench-rerank: setup ## what each setting of recommend.rank costs and gains, on simulated people
	PYTHONPATH=jobs:tests $(BIN)/python tests/benchmarks/bench_rerank.py

bench-engagement: setup ## what the engagement model claims, and its speed (PART=proofs, planted, openbandit or speed for one)
	PYTHONPATH=jobs:tests:. $(BIN)/python tests/benchmarks/bench_engagement.py $(if $(PART),--part $(PART))

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

package: setup ## build a wheel for spark-submit --py-files (dist/)
	@$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean: ## remove what the demo and the tests left
	rm -rf data build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
