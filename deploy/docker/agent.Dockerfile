# The agent of a host. In the repository's folder:
#   docker build -f deploy/docker/agent.Dockerfile -t touchstone/agent:0.1.0 .
#
# It runs as root, because the kernel's measurement lists are root's alone, and needs no capability. What it needs of a
# node is in the chart (deploy/helm/touchstone/templates/agent.yaml).
ARG RUST=docker.io/library/rust:1.95.0-bookworm
ARG DEBIAN=docker.io/library/debian:bookworm-slim

FROM ${RUST} AS build
# The image's own: rust-toolchain.toml names tools that a build does not need.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends libtss2-dev pkg-config
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package touchstone-agent --bin touchstone-agent

FROM ${DEBIAN} AS root
COPY deploy/docker/rootfs.sh /
# libtss2 and the ways to a TPM that a node has: its device, and tpm2-abrmd with what that takes.
RUN /rootfs.sh /rootfs libc6 libgcc-s1 libssl3 ca-certificates \
    libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-rc0 libtss2-sys1 libtss2-tctildr0 libtss2-tcti-device0 \
    libtss2-tcti-tabrmd0 libglib2.0-0 libffi8 libmount1 libblkid1 libpcre2-8-0 libselinux1 zlib1g
COPY --from=build /src/target/release/touchstone-agent /rootfs/usr/local/bin/
# It would not start without each of its libraries.
RUN chroot /rootfs touchstone-agent --version

FROM scratch
COPY --from=root /rootfs /
ENV PATH=/usr/local/bin
ENTRYPOINT ["touchstone-agent"]
CMD ["run"]
