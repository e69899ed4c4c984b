# The binary alone, built in a container. The builder has Rust 1.95 or newer, the C
# library's headers and its static form.
ARG BUILDER=rust:1.95-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --release --target "$(uname -m)-unknown-linux-gnu" \
    && cp "target/$(uname -m)-unknown-linux-gnu/release/dirvol" /dirvol

FROM scratch
COPY --from=build /dirvol /dirvol
ENTRYPOINT ["/dirvol"]
