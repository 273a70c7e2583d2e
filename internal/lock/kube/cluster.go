package kube

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// accountDir is where a pod finds who it is.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNoCluster is wrapped by the errors of [InCluster].
var ErrNoCluster = errors.New("this is no pod with a service account; outside of Kubernetes set LOCK=router")

// InCluster returns the server, the namespace, the token and the transport of the pod in which we run.
// environ are the variables of the process, and dir is where the service account is; empty is where Kubernetes puts it. Name
// and Holder are left to the caller. The error wraps [ErrNoCluster], and says what is missing.
func InCluster(environ map[string]string, dir string) (Config, error) {
	if dir == "" {
		dir = accountDir
	}
	host, port := environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
	if host == "" || port == "" {
		return Config{}, fmt.Errorf("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: %w", ErrNoCluster)
	}
	read := func(name string) (string, error) {
		text, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // dir is a constant, or a test's
		if err != nil {
			return "", fmt.Errorf("%w (automountServiceAccountToken: true): %w", ErrNoCluster, err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	namespace, err := read("namespace")
	if err != nil {
		return Config{}, err
	}
	certificates, err := read("ca.crt")
	if err != nil {
		return Config{}, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(certificates)) {
		return Config{}, fmt.Errorf("%w: %s has no certificate", ErrNoCluster, filepath.Join(dir, "ca.crt"))
	}
	token := func() (string, error) { return read("token") }
	if _, err := token(); err != nil {
		return Config{}, err
	}
	return Config{
		Server: "https://" + net.JoinHostPort(host, port), Namespace: namespace, Token: token,
		Transport: &http.Transport{
			// One connection that is silent would take the lock with it: a new one is tried in time.
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 3 * time.Second,
			ResponseHeaderTimeout: 3 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConns: 2,
		},
	}, nil
}
