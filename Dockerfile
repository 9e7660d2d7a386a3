# The page on a server of one's own, with a GPU where `docker run --gpus all` gives one:
#
#   docker build -t textloc .
#   docker run --gpus all -p 7860:7860 -v textloc-results:/results -v textloc-models:/models textloc
#
FROM python:3.11-slim

# not root: whoever breaks out of the page owns two folders and nothing else
RUN useradd --create-home --uid 1000 textloc \
    && mkdir /results /models \
    && chown textloc /results /models

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY LICENSE README.md app.py pyproject.toml ./
COPY textloc textloc
COPY assets assets
COPY cached_results cached_results

# TEXTLOC_PUBLIC=1 serves strangers, with limits (textloc/ui/settings.py lists them); behind a proxy
# that writes X-Forwarded-For set TEXTLOC_PROXY=1 as well. `-e TEXTLOC_PUBLIC=0` is for yourself.
# TEXTLOC_RESULTS may be an address, such as hf://datasets/owner/name.
ENV TEXTLOC_PUBLIC=1 \
    TEXTLOC_RESULTS=/results:/app/cached_results \
    HF_HOME=/models \
    XDG_DATA_HOME=/results/.data \
    XDG_CACHE_HOME=/results/.cache \
    GRADIO_SERVER_NAME=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1

USER textloc
VOLUME ["/results", "/models"]
EXPOSE 7860
# the list form: `docker stop` reaches the page, which then sends the results that wait
CMD ["python", "app.py"]
