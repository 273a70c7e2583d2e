package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"

	"doublenat/pcp"
)

// hostNonce returns the nonces of this user's mappings on this host, which are the same in the
// next process, so that unmap ends what map has made (RFC 6887 §11.3); others cannot guess
// them. Nil, for random ones, on a host that has no identity.
func hostNonce() func(pcp.Protocol, uint16) pcp.Nonce {
	identity, err := os.ReadFile("/etc/machine-id")
	identity = bytes.TrimSpace(identity)
	if err != nil || len(identity) < 16 {
		return nil
	}
	return func(p pcp.Protocol, port uint16) (n pcp.Nonce) {
		sum := sha256.Sum256(fmt.Appendf(nil, "doublenat map\x00%s\x00%d\x00%v\x00%d", identity, os.Getuid(), p, port))
		copy(n[:], sum[:])
		return n
	}
}
