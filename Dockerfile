# The edge and, as another target, its regional backend.
#
#   docker build -t meridian .                              the edge
#   docker build -t meridian-backend --target backend .     a backend
#
# Both run as uid 10001 with a read-only root and no capabilities
# (deploy/compose.yaml shows how). The edge reads /etc/meridian: mount your own
# over it, or derive an image. Base images are arguments, so that they can be
# pinned, mirrored, or built (deploy/prove.sh builds its own).
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS source
WORKDIR /src
COPY . .

FROM source AS build-backend
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package meridian-backend \
    && install -D -t /out target/release/meridian-backend

FROM ${RUN_IMAGE} AS backend
COPY --from=build-backend /out/meridian-backend /usr/local/bin/meridian-backend
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/meridian-backend"]
CMD ["--region", "us-central1", "--listen", "0.0.0.0:8080"]

FROM source AS build-edge
# `demo` stays out: a container has no use for backends inside the edge.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package meridian \
        --no-default-features --features embedded-geo \
    && install -D -t /out target/release/meridian

FROM ${RUN_IMAGE} AS edge
COPY --from=build-edge /out/meridian /usr/local/bin/meridian
COPY conf/meridian.yaml /etc/meridian/meridian.yaml
COPY conf/policies /etc/meridian/policies
# What outlives a container, and may be written where the root file system is
# read-only: the audit log.
ENV AUDIT_DIR=/var/lib/meridian/audit
RUN install -d -o 10001 -g 10001 -m 0750 /var/lib/meridian
VOLUME /var/lib/meridian
USER 10001:10001
EXPOSE 8080 8443 8443/udp
# SIGTERM drains: what is open finishes, the exit code is 0.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/meridian"]
CMD ["run", "--config", "/etc/meridian/meridian.yaml"]
