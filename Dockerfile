# docker build -t lorascale-lint . && docker run --rm -v "$PWD:/src:ro" lorascale-lint
FROM python:3.13-slim AS build
WORKDIR /build
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir /wheels/*.whl \
    && rm -r /wheels \
    && useradd --create-home --uid 1000 lint
USER 1000
WORKDIR /src
ENTRYPOINT ["lorascale-lint"]
CMD ["check"]
