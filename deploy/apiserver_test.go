package deploy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"doublenat/internal/lock/kube"
)

// administrator is the token of kubectl and client-go at the server of a test.
const administrator = "administrator"

// TestLeaseOfAPIServer has the same at a real kube-apiserver with etcd, as a pod with the Role of
// deploy/kubernetes. KUBE_APISERVER is the program (make kube).
func TestLeaseOfAPIServer(t *testing.T) {
	t.Parallel()
	program := os.Getenv("KUBE_APISERVER")
	if program == "" {
		t.Skip("KUBE_APISERVER is not set: make kube")
	}
	server := startAPIServer(t, program)
	server.kubectl(t, "create", "namespace", "doublenat")
	server.kubectl(t, "apply", "--namespace", "doublenat", "-f", "kubernetes/serviceaccount.yaml")
	c := cluster{client: server.client(), store: server.pod(t)}

	early := c.store
	early.Name = kube.LeaseName("default")
	if _, err := kube.New(early).Acquire(t.Context(), brief); err == nil || !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(err.Error(), "kubectl apply -k deploy/kubernetes") {
		t.Errorf("without a Role: %v", err)
	}
	server.kubectl(t, "apply", "--namespace", "doublenat", "-f", "kubernetes/role.yaml", "-f", "kubernetes/rolebinding.yaml")
	takeTurns(t, c)

	own := c.store
	own.Name, own.Holder = kube.LeaseName("default"), "labeled"
	labeled := kube.New(own)
	time.Sleep(brief) // b's lease, which nobody renews
	for range 2 {
		if _, err := labeled.Acquire(t.Context(), brief); err != nil {
			t.Fatal(err)
		}
		time.Sleep(brief + time.Second)
	}
	server.kubectl(t, "label", "--namespace", "doublenat", "lease", own.Name, "team=network")
	if err := labeled.Renew(t.Context(), brief); err != nil {
		t.Errorf("a label cost the lock: %v", err)
	}
	if got := server.kubectl(t, "get", "--namespace", "doublenat", "lease", own.Name, "-o", "jsonpath={.metadata.labels.team} {.spec.holderIdentity}"); !strings.HasPrefix(got, "network labeled_") {
		t.Errorf("kubectl shows %q", got)
	}
	server.kubectl(t, "delete", "--namespace", "doublenat", "lease", own.Name)
	if err := labeled.Renew(t.Context(), brief); err == nil {
		t.Error("a Lease that was deleted was renewed")
	}
}

// apiServer is a kube-apiserver with an etcd of its own.
type apiServer struct{ dir, host, port string }

// startAPIServer starts both on loopback, and ends them with the test.
func startAPIServer(t *testing.T, program string) apiServer {
	t.Helper()
	s := apiServer{dir: t.TempDir(), host: "127.0.0.1", port: free(t)}
	keys := selfSigned(t, s.dir)
	clients, peers := "http://127.0.0.1:"+free(t), "http://127.0.0.1:"+free(t)
	s.start(t, "etcd", "--data-dir", filepath.Join(s.dir, "etcd"), "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	tokens := filepath.Join(s.dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(administrator+",administrator,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(t, program, "--etcd-servers", clients, "--bind-address", s.host, "--secure-port", s.port, "--token-auth-file", tokens,
		"--tls-cert-file", keys.certificate, "--tls-private-key-file", keys.key, "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", keys.certificate, "--service-account-signing-key-file", keys.key,
		"--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none")
	s.await(t)
	return s
}

// start runs a program until the test ends.
func (s apiServer) start(t *testing.T, program string, args ...string) {
	t.Helper()
	said, err := os.Create(filepath.Join(s.dir, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			t.Logf("%s:\n%s", program, text[max(0, len(text)-4000):])
		}
	})
}

// await waits until the server is ready.
func (s apiServer) await(t *testing.T) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 2 * time.Second}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		reply, err := client.Get("https://" + net.JoinHostPort(s.host, s.port) + "/readyz")
		if err != nil {
			continue
		}
		_ = reply.Body.Close()
		if reply.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatal("the API server is not ready")
}

// kubectl runs it as the administrator and returns what it says.
func (s apiServer) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args = append([]string{
		"--kubeconfig", "/dev/null", "--server", "https://" + net.JoinHostPort(s.host, s.port),
		"--certificate-authority", filepath.Join(s.dir, "ca.crt"), "--token", administrator,
	}, args...)
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// client returns how client-go reaches the server.
func (s apiServer) client() *rest.Config {
	return &rest.Config{
		Host: "https://" + net.JoinHostPort(s.host, s.port), BearerToken: administrator,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(s.dir, "ca.crt")},
	}
}

// pod returns what a pod with the service account finds.
func (s apiServer) pod(t *testing.T) kube.Config {
	t.Helper()
	token := s.kubectl(t, "create", "token", "--namespace", "doublenat", "doublenat")
	for name, text := range map[string]string{"token": token, "namespace": "doublenat"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": s.host, "KUBERNETES_SERVICE_PORT": s.port}
	cfg, err := kube.InCluster(env, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// free returns a port of loopback that nobody has.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// pair is a certificate and its key.
type pair struct{ certificate, key string }

// selfSigned makes a certificate for loopback, which is its own authority.
func selfSigned(t *testing.T, dir string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{certificate: filepath.Join(dir, "ca.crt"), key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{p.certificate: {Type: "CERTIFICATE", Bytes: certificate}, p.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}
