# The attestor and its commands. In the repository's folder:
#   docker build -f deploy/docker/attestor.Dockerfile -t touchstone/attestor:0.1.0 .
#
# It runs as nobody in particular. busybox is there because keys are exchanged between attestors by copying files, and
# `kubectl cp` and `kubectl exec` need something that copies; nothing calls it by itself but the chart's init container.
ARG RUST=docker.io/library/rust:1.95.0-bookworm
ARG DEBIAN=docker.io/library/debian:bookworm-slim

FROM ${RUST} AS build
# The image's own: rust-toolchain.toml names tools that a build does not need.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package touchstone-attestor --bin touchstone

FROM ${DEBIAN} AS root
COPY deploy/docker/rootfs.sh /
RUN /rootfs.sh /rootfs libc6 libgcc-s1 ca-certificates busybox-static \
    && for tool in cat ls sh tar; do ln -s busybox "/rootfs/bin/$tool"; done
COPY --from=build /src/target/release/touchstone /rootfs/usr/local/bin/
# It would not start without each of its libraries.
RUN chroot /rootfs touchstone --version

FROM scratch
COPY --from=root /rootfs /
ENV PATH=/usr/local/bin:/bin
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["touchstone"]
CMD ["serve"]
