# The server's image. Built from the checkout: docker build --tag authz:0.1.0 .

FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY authz authz
COPY envoy envoy
# What it stands on comes at the versions that the tests ran with, and compiled: there is no compiler here.
RUN python -m venv --without-pip /opt/authz \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/authz/bin/python install --no-cache-dir --only-binary :all: --constraint constraints.txt \
        /wheels/*.whl

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="authz" \
      org.opencontainers.image.description="Runtime authorization for AI agents, at every hop of an Envoy mesh" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The number is the Deployment's runAsUser; Kubernetes can tell from a number alone that it is not root's.
RUN groupadd --gid 10001 authz \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin authz \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/authz
COPY --from=build /opt/authz /opt/authz
# Logs and audit lines leave at once; compiled files were written at build time, and nothing is written later.
ENV PATH=/opt/authz/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AUTHZ_CONFIG=/etc/authz/authz.yaml
USER 10001:10001
EXPOSE 9000 9001
# What the server takes for "drain, then stop".
STOPSIGNAL SIGTERM
# Kubernetes ignores HEALTHCHECK and asks grpc.health.v1 itself; a check in here would start a Python every few seconds.
HEALTHCHECK NONE
ENTRYPOINT ["authz"]
CMD ["serve", "--config", "/etc/authz/authz.yaml"]
