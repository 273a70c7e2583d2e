// Package image writes a container image without a container engine: the program, the
// authorities that vouch for servers, and nothing else.
//
// The form is that of `docker save` with one uncompressed layer, which RouterOS
// imports from a file, and which docker, podman and skopeo read; a layout has the images of
// all platforms for registries and Kubernetes. The same program
// and authorities give the same bytes, whoever builds, wherever and whenever.
package image
