# The image holds the binary and nothing secret. The HSM's PKCS#11 module, the
# configuration, the PIN and the TLS key are mounted; docs/operations.md says how.
#
#   docker build -t latchkey .
#   docker build -t latchkey:softhsm --build-arg PACKAGES=softhsm2 .    to try it out
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build

FROM debian:bookworm-slim
# Packages that the PKCS#11 module needs, or that it comes in.
ARG PACKAGES=""
RUN if [ -n "$PACKAGES" ]; then \
      apt-get update && apt-get install -y --no-install-recommends $PACKAGES && rm -rf /var/lib/apt/lists/*; \
    fi \
    && useradd --system --uid 10001 --home-dir /var/lib/latchkey --shell /usr/sbin/nologin latchkey \
    && install -d -o latchkey -g latchkey -m 0700 /var/lib/latchkey
COPY --from=build /src/bin/latchkey /usr/local/bin/latchkey
USER latchkey
WORKDIR /var/lib/latchkey
VOLUME /var/lib/latchkey
EXPOSE 8443
ENTRYPOINT ["latchkey"]
CMD ["serve", "--config", "/etc/latchkey/latchkey.yaml"]
