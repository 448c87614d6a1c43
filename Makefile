# Two commands are all that a reader needs: `make lab` to read and run the course, `make test` to check all of it.
# On a system without make, docs/install.md gives the plain commands.

PYTHON ?= python3
VENV ?= .venv
TEACH ?= .venv-teach
SITE ?= .venv-site
LAB ?=
VOILA ?=
LOCK ?=
NOTEBOOKS = $(wildcard notebooks/*.ipynb notebooks/assignments/*.ipynb)

ifeq ($(OS),Windows_NT)
BIN = $(VENV)/Scripts
TEACH_BIN = $(TEACH)/Scripts
SITE_BIN = $(SITE)/Scripts
else
BIN = $(VENV)/bin
TEACH_BIN = $(TEACH)/bin
SITE_BIN = $(SITE)/bin
endif
# What is not on the lists of requirements/, with its hash, is not installed. (PyTorch's own index, named in torch-cpu.txt,
# has builds without CUDA; PyPI's build for Linux brings some 3 GB of it along.)
LOCKED = install --quiet --no-deps --require-hashes --only-binary :all:
WRONG_HASH = DO NOT MATCH THE HASHES
# The explorer refuses an upload of more than 10 MB in words; left alone, Jupyter cuts the connection without any.
LARGE_MESSAGES = tornado_settings="{'websocket_max_message_size': 500000000}"
export PIP_DISABLE_PIP_VERSION_CHECK = 1
GRADER = $(TEACH_BIN)/python tools/teach.py --python $(BIN)/python
# the numbers in the notebooks are those of the bundled pictures and model, whatever notebook 00 was pointed at;
# progress bars differ from run to run
COURSE = COURSE_PICTURES=bundled CLIP_MODEL=bundled TQDM_DISABLE=1
# the limit for a cell ends what hangs: it is no measure of anything, and a busy machine stays below it
NBVAL = $(BIN)/python -m pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=1200 \
	--nbval-sanitize-with=tests/nbval_sanitize.cfg
# other sums in another order, as an old processor makes them: no vector instructions newer than SSE 4
OLD_PROCESSOR = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem MKL_CBWR=COMPATIBLE \
	NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help lab fresh explorer run test portable bench site links pdf slides address notebooks lint data locks release \
	grade feedback clean

help:
	@echo "make lab        install what is missing and open your copies of the lessons (my_course/) in JupyterLab"
	@echo "make fresh      make new copies of the lessons, beside those that you have worked in"
	@echo "make explorer   serve the query explorer as a page without code (VOILA=--ip=0.0.0.0: to a class)"
	@echo "make run        execute every notebook into build/, without a browser"
	@echo "make test       run the unit tests and re-execute every notebook, comparing the numbers"
	@echo "make portable   re-execute every notebook as other processors calculate, comparing the numbers"
	@echo "make site       build the course as a website, in build/site"
	@echo "make pdf        print the lessons into build/pdf"
	@echo "make links      (authors) ask the servers that the website links to"
	@echo "make bench      measure how fast things are, as ratios"
	@echo "make slides     (teachers) write a deck of slides for each lesson into build/slides/"
	@echo "make release    (teachers) write the assignments as students get them, without solutions"
	@echo "make grade      (teachers) SUBMITTED=dir: grade what was handed in"
	@echo "make feedback   (teachers) take in the marks given by hand, and write a page for each student"
	@echo "make notebooks  (authors) execute every notebook and store its outputs in place"
	@echo "make lint       (authors) format and check the code, also that in the notebooks"
	@echo "make data       (authors) rebuild data/ from the Debian packages"
	@echo "make locks      (authors) write constraints.txt and requirements/ anew; LOCK=--upgrade: the newest versions"
	@echo "make address    (authors) write the repository's address, set in pyproject.toml, wherever it is needed"

# a lesson that cannot be copied is named, and the others open all the same
lab: $(VENV)/course
	@$(BIN)/python tools/my_course.py || true
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/my_course/00_start_here.ipynb --ServerApp.$(LARGE_MESSAGES) $(LAB)

fresh: $(VENV)/course
	@$(BIN)/python tools/my_course.py --fresh

explorer: $(VENV)/test
	$(BIN)/python tools/serve.py notebooks/05_query_explorer.ipynb $(VOILA)

run: $(VENV)/course
	$(COURSE) $(BIN)/python tools/run_notebooks.py --to build $(NOTEBOOKS)

bench: $(VENV)/test
	$(BIN)/pip $(LOCKED) -r requirements/bench.txt
	$(BIN)/pip $(LOCKED) --no-binary hnswlib --no-build-isolation -r requirements/bench-source.txt
	$(COURSE) $(BIN)/python benchmarks/encode.py
	$(COURSE) $(BIN)/python benchmarks/index.py

notebooks: $(VENV)/test
	rm -rf .cache  # so that the outputs show what encoding costs
	$(COURSE) $(BIN)/python tools/run_notebooks.py $(NOTEBOOKS)

test: $(VENV)/test $(TEACH)/ready $(SITE)/ready
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	SITE=$(SITE) $(COURSE) $(NBVAL) --no-loadscope-reorder $(PYTEST)  # in the order of tests/conftest.py, the longest first

portable: $(VENV)/test
	rm -rf .cache  # so that the pictures are encoded anew
	$(COURSE) $(OLD_PROCESSOR) $(NBVAL) notebooks
	rm -rf .cache
	$(COURSE) $(ONE_THREAD) $(NBVAL) notebooks
	rm -rf .cache

site: $(SITE)/ready
	$(SITE_BIN)/python tools/build_site.py

links: $(SITE)/ready  # asks every server that a page links to; `make test` looks at the links within the site
	$(SITE_BIN)/python tools/build_site.py --links

pdf: site $(VENV)/test
	$(BIN)/python tools/build_pdf.py

slides: $(SITE)/ready
	$(SITE_BIN)/python tools/slides.py

lint: $(VENV)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

data: $(VENV)/course
	$(BIN)/python tools/build_data.py

locks:
	$(PYTHON) -m venv build/lock
	build/lock/$(notdir $(BIN))/pip $(LOCKED) -r requirements/lock.txt
	build/lock/$(notdir $(BIN))/python tools/lock.py $(LOCK)

address:
	$(PYTHON) tools/address.py

release: $(VENV)/course $(TEACH)/ready
	$(GRADER) release

grade: $(VENV)/course $(TEACH)/ready
	@test -n "$(SUBMITTED)" || { echo "Say where the submissions are: make grade SUBMITTED=dir"; exit 1; }
	$(GRADER) grade "$(SUBMITTED)" $(if $(BLIND),--blind "$(BLIND)") $(GRADE)

feedback: $(TEACH)/ready
	$(GRADER) feedback

clean:  # my_course/ is the reader's own: it stays
	rm -rf build $(VENV) $(TEACH) $(SITE)

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ $(PYTHON) --version; echo "The course needs Python 3.11 to 3.14: make lab PYTHON=python3.12, say."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/course: pyproject.toml $(addprefix requirements/,course.txt torch-cpu.txt torch-cuda.txt) | $(VENV)/pyvenv.cfg
	@echo "Installing the course into $(VENV): this downloads some 400 MB the first time."
	@version=$$(sed -n 's/^torch==\(.*\)+cpu.*/\1/p' requirements/torch-cpu.txt); \
	has_torch='import sys, torch, torchvision; sys.exit(torch.__version__.split("+")[0] != sys.argv[1])'; \
	if [ "$$(uname -s)" = Linux ] && ! $(BIN)/python -c "$$has_torch" "$$version" 2> /dev/null; then \
		if $(BIN)/pip $(LOCKED) --retries 0 --timeout 5 -r requirements/torch-cpu.txt 2> $(VENV)/torch.log; then :; \
		elif grep -q "$(WRONG_HASH)" $(VENV)/torch.log; then cat $(VENV)/torch.log; exit 1; \
		else \
			echo "PyTorch's index of builds without CUDA does not answer: taking the default build, some 3 GB more."; \
			$(BIN)/pip $(LOCKED) -r requirements/torch-cuda.txt; \
		fi; \
	fi
	$(BIN)/pip $(LOCKED) -r requirements/course.txt
	$(BIN)/pip install --quiet --no-deps --no-index --no-build-isolation -e .
	@touch $@

$(TEACH)/ready: requirements/teach.txt
	$(PYTHON) -m venv --clear $(TEACH)
	$(TEACH_BIN)/pip $(LOCKED) -r requirements/teach.txt
	@touch $@

$(SITE)/ready: requirements/site.txt
	$(PYTHON) -m venv --clear $(SITE)
	$(SITE_BIN)/pip $(LOCKED) -r requirements/site.txt
	@touch $@

$(VENV)/test: $(VENV)/course requirements/test.txt
	$(BIN)/pip $(LOCKED) -r requirements/test.txt
	@touch $@
