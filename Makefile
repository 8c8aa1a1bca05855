# make demo    the whole road on the embedded task      make test    the tests      make lint    what CI checks beside them
# make app     the libraries of the phone app, by npm: once, and by the targets above where npm is
# Each builds its own environment in .venv on first use; PYTHON chooses the interpreter (3.10-3.12), WORKERS how many
# processes share the tests.
WORKERS ?= 2
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
VENDOR := demo/web/vendor
# without npm the app is left out, and its tests are skipped by name
APP := $(if $(shell command -v npm 2>/dev/null),$(VENDOR)/.ready)

.PHONY: demo app test lint format clean

demo: $(READY) $(APP)
	$(BIN)/attar compress recipes/assistant.yaml

test: $(READY) $(APP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

app: $(VENDOR)/.ready

# The few files that the page loads; a wheel carries them, so that its user needs no Node.
$(VENDOR)/.ready: demo/package.json demo/package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --silent --prefix demo
	mkdir -p $(VENDOR)
	cp demo/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs $(VENDOR)/ort.js
	cp demo/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm $(VENDOR)/ort.wasm
	cp demo/node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs $(VENDOR)/tokenizers.js
	cp demo/node_modules/@huggingface/tokenizers/LICENSE $(VENDOR)/tokenizers.LICENSE
	rm -rf demo/node_modules
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .build && ln -sfn "$(CURDIR)" .build/attar
	cd .build && MYPYPATH=. "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" -p attar
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch first and pinned: otherwise pip may choose a build with several gigabytes of GPU libraries.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[compress,tflite,minilm,dev]"
	touch $@

clean:
	rm -rf .venv .build build dist *.egg-info $(VENDOR)
