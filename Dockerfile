# citytide and citytide-generator in one image: built on Rust's image, run on Debian's by a user without rights.
#   docker build --build-arg CITYTIDE_COMMIT=$(git rev-parse --short HEAD) -t citytide .

FROM rust:1.95.0-bookworm AS build
# librdkafka is compiled from source; OpenSSL and zlib are Debian's.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libssl-dev zlib1g-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What `citytide --version` tells: the context holds no .git.
ARG CITYTIDE_COMMIT=""
ENV CITYTIDE_COMMIT=${CITYTIDE_COMMIT}
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package citytide --package citytide-generator \
 && install --directory /out \
 && install --strip target/release/citytide target/release/citytide-generator /out/

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin citytide
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
# SIGTERM drains and commits; a container runtime should grant it 30 seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/citytide"]
CMD ["run"]
