# `make run` and `make test` do everything that is needed, on a new machine too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test unit unit-lowest unit-newest lint format bench fuzz soak kills lock clean

help:
	@echo "make run          install what is needed, start the daemon on http://127.0.0.1:10776/"
	@echo "make test         install what the tests need, run all tests (root: the live ones too)"
	@echo "make coverage     the same, and the share of the code that they run (half an hour)"
	@echo "make unit         run the unit tests: no root, no system packages, about a minute"
	@echo "make unit-thorough  the same with fifty times as many examples (half an hour)"
	@echo "make unit-lowest  the same with the lowest versions that pyproject.toml allows"
	@echo "make unit-debian  the same with the system's own Python, /usr/bin/python3"
	@echo "make unit-newest  the same with the newest versions of all dependencies"
	@echo "make cases        compare what sockmon says of real programs with the truth (root, 10 min)"
	@echo "make kernels      run the live tests on Linux 5.10 to 7.3 (root, 40 min)"
	@echo "make lint         check style, types, imports, and that no code is unused"
	@echo "make format       format the code"
	@echo "make bench        measure speed and memory against ss, netstat and others (root)"
	@echo "make fuzz         feed damaged input to all that parses, ten minutes (SECONDS=600)"
	@echo "make soak         run a daemon on a busy host for an hour (root; SECONDS=3600)"
	@echo "make kills        kill a daemon 50 times, with a real Alertmanager behind it (root)"
	@echo "make oracle       compare how tshark reads captures with how sockmon does (root)"
	@echo "make generate     write the committed files that are generated: rules, dashboards ..."
	@echo "make page         build the web page (Node.js)"
	@echo "make screenshots  take the pictures of the page in docs/screenshots (root)"
	@echo "make captures     run the commands shown in the documents, record their output (root)"
	@echo "make wheels       collect build/wheels, for servers without Internet access"
	@echo "make deb          build a Debian package, for servers with the same minor Python version"
	@echo "make rpm          build an RPM package from the Debian package"
	@echo "make bundle       pack build/sockmon-*.tar.gz, for servers without Internet access"
	@echo "make sbom         write build/sockmon-*.cdx.json, the list of all shipped packages"
	@echo "make release      build all of these into build/release/, with checksums"
	@echo "make check-release  install and remove what make release has built (root, Debian)"
	@echo "make changelog VERSION=x.y.z   move changes/ into CHANGELOG.md, at a release"
	@echo "make lock         update the pinned versions in requirements/"
	@echo "make clean        remove everything that make has made"

run: $(VENV)/runtime
	@exec $(BIN)/sockmon run $(ARGS)

test: $(VENV)/development components
	$(BIN)/python -m tests.run $(ARGS)

# All tests once more, half as fast, with the share of the code that they run: 90 % at least.
.PHONY: coverage
coverage: $(VENV)/development components
	$(BIN)/python -m tests.run --coverage $(ARGS)

# What needs neither root nor other programs. ARGS="-k NAME" selects tests.
UNIT := -m pytest tests/unit tests/test_docs.py tests/test_house.py -q -n auto \
	-m "not root and not component and not machine"
unit: $(VENV)/development
	$(BIN)/python $(UNIT) $(ARGS)

# The same with the system's own Python, which on Debian 12 is 3.11.2.
.PHONY: unit-debian
unit-debian:
	tests/make-venv /usr/bin/python3 build/debian
	build/debian/bin/pip install --quiet --requirement requirements/unit.in --editable '.[terminal]'
	build/debian/bin/python $(UNIT) $(ARGS)

# The property tests with fifty times as many examples, not the same ones each time.
.PHONY: unit-thorough
unit-thorough: $(VENV)/development
	env -u CI EXAMPLES=1250 $(BIN)/python $(UNIT) $(ARGS)

unit-lowest: build/lowest.txt
	tests/make-venv $(PYTHON) build/lowest
	build/lowest/bin/pip install --quiet --requirement requirements/unit.in --requirement $<
	build/lowest/bin/pip install --quiet --no-deps --editable .
	build/lowest/bin/python $(UNIT) $(ARGS)

unit-newest:
	tests/make-venv $(PYTHON) build/newest
	build/newest/bin/pip install --quiet --upgrade --upgrade-strategy eager \
		--requirement requirements/unit.in --editable '.[terminal]'
	build/newest/bin/python $(UNIT) $(ARGS)

# The lower bounds in pyproject.toml as exact versions.
build/lowest.txt: pyproject.toml
	@mkdir -p build
	sed -n '/^dependencies = /,/^]/p; /^terminal = /p' $< | \
		grep -oE '"[a-z0-9-]+>=[0-9.]+' | sed 's/"//; s/>=/==/' >$@

# What sockmon says of real programs. ARGS="NAME ..." selects cases.
.PHONY: cases
cases: $(VENV)/development
	tests/cases/install
	$(BIN)/python -m tests.cases $(ARGS)

# The live tests on other kernels. ARGS="VERSION ..." selects kernels: 5.10 6.1 6.12 7.2, and for what these
# lack, under QEMU, 5.10-amd64 6.1-amd64 6.12-amd64 7.2-amd64 7.3-amd64.
.PHONY: kernels
kernels: $(VENV)/development components
	$(BIN)/python -m tests.kernels $(ARGS)

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/vulture

format: $(VENV)/development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/development components
	$(BIN)/python -m bench $(ARGS)

# Standing checks: what attacks and faults once showed must stay mended. ARGS="netlink" fuzzes one target;
# inputs that fail are kept in build/fuzz/failures.
fuzz: $(VENV)/development
	$(BIN)/python -m tests.fuzz $(or $(SECONDS),600) $(ARGS)

soak: $(VENV)/development
	$(BIN)/python -m tests.standing.soak $(or $(SECONDS),3600)

kills: $(VENV)/development components
	$(BIN)/python -m tests.standing.kills $(or $(TIMES),50)

# What tshark says of captures of real connections. ARGS=--record keeps it for `make test`.
.PHONY: oracle
oracle: $(VENV)/development components
	tests/oracle/install
	$(BIN)/python -m tests.oracle $(ARGS)

# The programs that the tests and the bench use: Prometheus and others, from Debian's packages.
.PHONY: components
components:
	tests/install-components

$(VENV)/pip:
	@echo "installing NumPy and others into $(VENV)/ (a minute or two, the first time) ..."
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

# Generated from the code and committed, so that users do not need the tools. Tests fail when a file is
# out of date.
.PHONY: generate
generate: $(VENV)/development
	$(BIN)/python deploy/config/generate.py
	$(BIN)/python deploy/prometheus/generate.py
	$(BIN)/python -m grafana.generate
	$(BIN)/python deploy/kubernetes/generate.py
	$(BIN)/python deploy/completions/generate.py
	$(BIN)/python deploy/man/generate.py
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/api/generate.py
	$(BIN)/python page/generate.py

# The page, from its source. The result is committed too. Needs Node.js.
.PHONY: page screenshots captures
page:
	cd page && npm ci --ignore-scripts --no-audit --no-fund && npm run build

screenshots: $(VENV)/development components
	$(BIN)/python -m tests.page.screenshots docs/screenshots

# Record the output of the commands that the documents show (root).
captures: $(VENV)/development components
	$(BIN)/python -m tests.captures
	$(BIN)/python -m tests.captures.picture docs/screenshots/top.svg

# All wheels that a server needs, for the minor version of this Python.
.PHONY: wheels
wheels: $(VENV)/development
	deploy/make-wheels $(BIN) build/wheels

# A Debian package, for servers whose python3 has the minor version of this Python.
.PHONY: deb
deb: wheels
	deploy/make-deb $(BIN) build/wheels build

# An RPM package of the same files. Needs Debian's rpm.
.PHONY: rpm
rpm: deb
	deploy/make-rpm $(BIN) "$$(ls -t build/sockmon_*.deb | head -n 1)" build

# Everything that a server without Internet access needs, install.sh included.
.PHONY: bundle
bundle: wheels
	deploy/make-bundle build/wheels build

# For a release: RELEASE.md. sbom lists the packages that are installed with sockmon.
.PHONY: sbom changelog
sbom: $(VENV)/runtime
	@mkdir -p build
	$(BIN)/python deploy/sbom.py build

# All files of a release: RELEASE.md.
.PHONY: release check-release
release: $(VENV)/development
	@command -v rpmbuild >/dev/null || \
		{ apt-get update -qq && apt-get install -qq --yes --no-install-recommends rpm dpkg-dev; }
	deploy/make-release $(BIN) build/wheels build/release

check-release: $(VENV)/development components
	$(BIN)/python -m pytest tests/release/check_release.py -q

changelog:
	$(PYTHON) changes/collect.py "$(VERSION)"

clean:
	rm -rf $(VENV) .components build .coverage* .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
