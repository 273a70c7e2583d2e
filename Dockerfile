# One static binary, the authorities that vouch for servers, and nothing else.
# `make image` builds the same without docker. To build for a router with it:
#   docker buildx build --platform linux/arm64 -t doublenat --output type=docker,dest=doublenat.tar,compression=uncompressed .
# Platforms: linux/amd64, linux/arm64, linux/arm/v7, linux/arm/v5.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETOS TARGETARCH TARGETVARIANT
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# TARGETVARIANT is v5 or v7 for arm.
RUN make binary OS="$TARGETOS" ARCH="$TARGETARCH" ARM="${TARGETVARIANT#v}" OUT=/doublenat

FROM scratch
COPY --from=build /doublenat /doublenat
# For an ON_CHANGE_URL with https, and for MIKROTIK_API_TLS without a file of its own.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# By number: there is no user database in here. Port 5351 needs no privilege.
USER 65534:65534
EXPOSE 5351/udp
ENTRYPOINT ["/doublenat"]
