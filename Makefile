# `make run` and `make test` do everything, on a fresh machine too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test lint format bench lock clean

help:
	@echo "make run    install what is needed and start the daemon on http://127.0.0.1:10776/"
	@echo "make test   install what the tests need and run them all (as root: the live ones too)"
	@echo "make lint   check style, types and the way modules import each other"
	@echo "make bench  measure speed and memory against ss, netstat, node_exporter and others (root)"
	@echo "make generate   make anew what is committed but made: rules, dashboards, man page ..."
	@echo "make page   build the web page anew (Node.js); make screenshots: pictures of it for docs/"
	@echo "make captures   run the commands that the pages show, and write down what they say"
	@echo "make wheels collect build/wheels, for servers without Internet"
	@echo "make deb    build a Debian package, for servers with this Python's minor version"
	@echo "make bundle pack build/sockmon-*.tar.gz, for servers without Internet"
	@echo "make lock   choose anew the versions in requirements/"

run: $(VENV)/runtime
	@exec $(BIN)/sockmon run $(ARGS)

test: $(VENV)/development components
	$(BIN)/python -m tests.run $(ARGS)

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/development components
	$(BIN)/python -m bench $(ARGS)

# What the tests and the bench run against: Prometheus and others, from Debian's packages.
.PHONY: components
components:
	tests/install-components

$(VENV)/pip:
	@echo "installing into $(VENV)/ (a minute, the first time)"
	@tests/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/pip requirements/runtime.txt pyproject.toml
	@$(BIN)/pip install --quiet --require-hashes -r requirements/runtime.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements/development.txt
	@$(BIN)/pip install --quiet --require-hashes -r requirements/development.txt
	@touch $@

lock: $(VENV)/development
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url \
		--no-emit-find-links --output-file requirements/runtime.txt requirements/runtime.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url \
		--no-emit-find-links --output-file requirements/development.txt requirements/development.in

# What is made from the code and committed, so that nobody needs the tools that make it; tests say
# when it is out of date.
.PHONY: generate
generate: $(VENV)/development
	$(BIN)/python deploy/prometheus/generate.py
	$(BIN)/python -m grafana.generate
	$(BIN)/python deploy/kubernetes/generate.py
	$(BIN)/python deploy/completions/generate.py
	$(BIN)/python deploy/man/generate.py
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/api/generate.py
	$(BIN)/python page/generate.py

# The page, from its source; what is built of it is committed too. Needs Node.js.
.PHONY: page screenshots captures
page:
	cd page && npm ci --ignore-scripts --no-audit --no-fund && npm run build

screenshots: $(VENV)/development components
	$(BIN)/python -m tests.page.screenshots docs/screenshots

# What the pages show of commands is what these say now (root).
captures: $(VENV)/development components
	$(BIN)/python -m tests.captures
	$(BIN)/python -m tests.captures.picture docs/screenshots/top.svg

# Every wheel a server needs, for its Python (the same minor version as this one).
.PHONY: wheels
wheels: $(VENV)/development
	deploy/make-wheels $(BIN) build/wheels

# The same as a Debian package, for servers whose python3 has this Python's minor version.
.PHONY: deb
deb: wheels
	deploy/make-deb $(BIN) build/wheels build

# All that a server without Internet needs, install.sh included.
.PHONY: bundle
bundle: wheels
	deploy/make-bundle build/wheels build

clean:
	rm -rf $(VENV) .components build .coverage* .hypothesis .*_cache
