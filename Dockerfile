# Two stages: compile a wheel, then install it where no compiler is.
#
#   docker build -t rialto .
#   docker run --rm rialto version
#
# PIP_INDEX_URL may be given as a build argument where the default index is out of reach.

FROM python:3.11-slim-bookworm AS build
ARG PIP_INDEX_URL
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The wheels of the libraries come along, so that the next stage installs without any index.
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 rialto
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels rialto && rm -rf /wheels
USER rialto
WORKDIR /home/rialto
ENTRYPOINT ["rialto"]
CMD ["version"]
