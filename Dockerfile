# The binary alone, built in a container: what the managed plugin is made from, and
# by itself the command line for those who have nothing but Docker.
#
# BUILDER is any image with Rust 1.95 or newer, a C compiler as the linker, and the C
# library's static form.
ARG BUILDER=rust:1.95-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
RUN make build \
    && cp "target/$(uname -m)-unknown-linux-gnu/release/dirvol" /dirvol

FROM scratch
COPY --from=build /dirvol /dirvol
ENTRYPOINT ["/dirvol"]
