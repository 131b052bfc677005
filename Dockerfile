FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/
RUN python -m venv /opt/nearline \
    && /opt/nearline/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY publisher publisher
COPY serving serving
RUN /opt/nearline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --create-home nearline && install -d -o nearline -g nearline /data /artifacts
COPY --from=build /opt/nearline /opt/nearline
ENV PATH=/opt/nearline/bin:$PATH \
    NEARLINE_DATA_DIR=/data \
    NEARLINE_HOST=0.0.0.0 \
    NEARLINE_LOG_FORMAT=json
USER nearline
VOLUME /data
EXPOSE 8500 9500
# Ready means that every worker has loaded what it is to serve.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9500/readyz', timeout=2)"]
ENTRYPOINT ["nearline"]
CMD ["serve"]
