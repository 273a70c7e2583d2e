// Package deploy_test parses the recipes for Compose and Kubernetes as those tools do: with Compose's own
// loader, and with the API types of Kubernetes and the Prometheus operator, where an unknown field is an
// error. It is a separate module, so that the program depends on none of them.
package deploy_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestCompose loads the file as `docker compose` does, with the settings of .env.example.
func TestCompose(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"compose.yaml": "compose.yaml", ".env.example": ".env"} {
		if err := os.WriteFile(filepath.Join(dir, to), read(t, filepath.Join("compose", from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")}, cli.WithDotEnv, cli.WithName("doublenat"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s, err := project.GetService("doublenat")
	if err != nil {
		t.Fatal(err)
	}
	if !s.ReadOnly || s.NetworkMode != "host" || s.User != "65534:65534" || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Image != "doublenat:latest" {
		t.Errorf("the container is not as confined as it should be: %+v", s)
	}
	if s.Restart != "unless-stopped" {
		t.Errorf("restart: %s leaves it stopped after a reboot", s.Restart)
	}
	for _, name := range []string{"VPN_GATEWAY", "SHUTDOWN", "LEASE_POLICY", "HTTP_ADDR", "MIKROTIK_API_PASSWORD_FILE"} {
		if value := s.Environment[name]; value == nil || *value == "" {
			t.Errorf("%s does not reach the container", name)
		}
	}
}

// TestKubernetes reads every file that kustomization.yaml names, and checks that they fit together.
func TestKubernetes(t *testing.T) {
	var k struct {
		APIVersion         string `json:"apiVersion"`
		Kind               string `json:"kind"`
		Namespace          string `json:"namespace"`
		Resources          []string
		ConfigMapGenerator []struct {
			Name string
			Envs []string
		} `json:"configMapGenerator"`
		SecretGenerator []struct {
			Name  string
			Files []string
		} `json:"secretGenerator"`
		Images []struct{ Name, NewName, NewTag string }
	}
	strict(t, "kustomization.yaml", &k)
	var (
		namespace  core.Namespace
		deployment apps.Deployment
		service    core.Service
		pods       monitoring.PodMonitor
		rules      monitoring.PrometheusRule
		account    core.ServiceAccount
		role       rbac.Role
		binding    rbac.RoleBinding
	)
	into := map[string]any{"serviceaccount.yaml": &account, "role.yaml": &role, "rolebinding.yaml": &binding, "namespace.yaml": &namespace, "deployment.yaml": &deployment, "service.yaml": &service, "podmonitor.yaml": &pods, "prometheusrule.yaml": &rules}
	for _, name := range k.Resources {
		if into[name] == nil {
			t.Fatalf("this test does not know %s", name)
		}
		strict(t, name, into[name])
		delete(into, name)
	}
	if len(into) > 0 || namespace.Name != k.Namespace || k.Kind != "Kustomization" {
		t.Errorf("kustomization.yaml lacks %v, or has another namespace", into)
	}
	pod := deployment.Spec.Template
	c := pod.Spec.Containers[0]
	if !*pod.Spec.SecurityContext.RunAsNonRoot || *pod.Spec.SecurityContext.RunAsUser != 65534 || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation {
		t.Error("the container may do more than it needs")
	}
	if c.LivenessProbe == nil || c.ReadinessProbe == nil || c.Resources.Limits.Memory().String() != "64Mi" || c.Image != k.Images[0].Name {
		t.Error("the container lacks probes, a limit or its image")
	}
	if pod.Spec.ServiceAccountName != account.Name || binding.RoleRef.Name != role.Name || binding.Subjects[0].Name != account.Name || binding.Subjects[0].Namespace != namespace.Name {
		t.Error("the pods may not use the Lease")
	}
	if strategy := deployment.Spec.Strategy.RollingUpdate; *deployment.Spec.Replicas != 2 || strategy.MaxSurge.IntVal != 0 || !*pod.Spec.AutomountServiceAccountToken {
		t.Error("there is no pair")
	}
	away := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector.MatchLabels
	for _, labels := range []map[string]string{deployment.Spec.Selector.MatchLabels, service.Spec.Selector, pods.Spec.Selector.MatchLabels, away} {
		if diff := cmp.Diff(pod.Labels, labels); diff != "" {
			t.Errorf("a selector (-want +got):\n%s", diff)
		}
	}
	if pod.Labels[pods.Spec.JobLabel] != "doublenat" || *pods.Spec.PodMetricsEndpoints[0].Port != "http" || service.Spec.Ports[0].TargetPort.StrVal != "http" {
		t.Error("the metrics have another port or job than the alerts expect")
	}
	if c.EnvFrom[0].ConfigMapRef.Name != k.ConfigMapGenerator[0].Name || pod.Spec.Volumes[0].Secret.SecretName != k.SecretGenerator[0].Name ||
		c.Env[0].Value != c.VolumeMounts[0].MountPath+"/"+k.SecretGenerator[0].Files[0] {
		t.Error("settings or password are mounted from the wrong place")
	}
	if !strings.Contains(string(read(t, filepath.Join("kubernetes", k.ConfigMapGenerator[0].Envs[0]))), "\nHTTP_ADDR=:8080\n") || c.Ports[1].ContainerPort != 8080 {
		t.Error("the page is at another port")
	}
}

// TestWorkflows checks that GitHub builds with the Go version of go.mod.
func TestWorkflows(t *testing.T) {
	found := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(read(t, "../go.mod"))
	if found == nil {
		t.Fatal("go.mod names no Go")
	}
	version := string(found[1])
	for name, want := range map[string]string{"ci.yml": "image: golang:" + version + "-bookworm\n", "release.yml": `go-version: "` + version + `" `} {
		if !strings.Contains(string(read(t, "../.github/workflows/"+name)), want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
}

// TestAlerts checks that the Prometheus operator gets the same alerts as Prometheus.
func TestAlerts(t *testing.T) {
	var rules monitoring.PrometheusRule
	strict(t, "prometheusrule.yaml", &rules)
	var want monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(read(t, "../contrib/prometheus/doublenat.rules.yml"), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rules.Spec); diff != "" || len(want.Groups) == 0 {
		t.Errorf("alerts (-contrib +deploy):\n%s", diff)
	}
}

// strict reads a file and fails on a field that the type does not have.
func strict(t *testing.T, name string, into any) {
	t.Helper()
	text := read(t, filepath.Join("kubernetes", name))
	if bytes.Contains(text, []byte("\n---")) {
		t.Fatalf("%s has several documents", name)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// read reads a file.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
