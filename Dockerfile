# One static binary and nothing else. To build for a router:
#   docker buildx build --platform linux/arm64 -t doublenat --output type=docker,dest=doublenat.tar .
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
# By number: there is no user database in here. Port 5351 needs no privilege.
USER 65534:65534
EXPOSE 5351/udp
ENTRYPOINT ["/doublenat"]
