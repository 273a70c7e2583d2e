// Package kube keeps a lock as a Lease object of Kubernetes (coordination.k8s.io/v1), with the means
// that a pod has: its service account's token and the API server's REST. It follows the rules of
// client-go's leader election, so that both may hold one Lease in turn, without client-go, which is
// larger than the whole program (docs/decisions/0033-kubernetes-lease.md).
package kube
