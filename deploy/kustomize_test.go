package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// TestKustomize renders the folder by kustomize's own code, as `kubectl apply -k` does, and holds what a cluster
// would get against the OpenAPI schema of Kubernetes that kustomize has built in.
func TestKustomize(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("kubernetes")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "router-password"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range rendered.Resources() {
		kinds = append(kinds, r.GetKind())
		if got := r.GetNamespace(); got != "doublenat" && r.GetKind() != "Namespace" {
			t.Errorf("%s is in the namespace %q", r.GetKind(), got)
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range problems(t, text) {
			t.Errorf("%s: %v", r.GetKind(), problem)
		}
		if r.GetKind() == "Deployment" {
			judgeRendered(t, text)
		}
	}
	slices.Sort(kinds)
	if want := []string{"ConfigMap", "Deployment", "Namespace", "PodMonitor", "PrometheusRule", "Role", "RoleBinding", "Secret", "Service", "ServiceAccount"}; !slices.Equal(kinds, want) {
		t.Errorf("rendered %v, want %v", kinds, want)
	}
}

// judgeRendered: the image is the one of kustomization.yaml, and new settings make new pods, because their
// names have a hash.
func judgeRendered(t *testing.T, text []byte) {
	t.Helper()
	var d apps.Deployment
	if err := yaml.UnmarshalStrict(text, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	hashed := regexp.MustCompile(`^doublenat-[a-z0-9]{10}$`)
	if image := pod.Containers[0].Image; image != "ghcr.io/OWNER/doublenat:latest" {
		t.Errorf("its image is %s", image)
	}
	if name := pod.Containers[0].EnvFrom[0].ConfigMapRef.Name; !hashed.MatchString(name) {
		t.Errorf("its settings are %s", name)
	}
	if name := pod.Volumes[0].Secret.SecretName; !hashed.MatchString(name) {
		t.Errorf("its secret is %s", name)
	}
}

// TestSchema: a schema that finds nothing wrong would be of no use.
func TestSchema(t *testing.T) {
	good := string(read(t, "kubernetes/deployment.yaml"))
	if found := problems(t, []byte(good)); len(found) > 0 {
		t.Fatalf("deployment.yaml: %v", found)
	}
	for name, bad := range map[string][2]string{
		"unknown field":  {"\n      containers:\n", "\n      containerz: []\n      containers:\n"},
		"missing field":  {"\n  selector:\n", "\n  strategy:\n"},
		"wrong type":     {"\n  replicas: 2\n", "\n  replicas: two\n"},
		"wrong sub-type": {"runAsNonRoot: true", "runAsNonRoot: 5"},
	} {
		text := strings.Replace(good, bad[0], bad[1], 1)
		if text == good {
			t.Fatalf("deployment.yaml has no %q", bad[0])
		}
		if len(problems(t, []byte(text))) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// problems are what is wrong with an object, by the schema of its kind. Kinds of the Prometheus operator have none:
// TestKubernetes holds those against their types.
func problems(t *testing.T, text []byte) []error {
	t.Helper()
	var about kyaml.TypeMeta
	var object any
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &about); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(about.APIVersion, "monitoring.coreos.com/") {
		return nil
	}
	found := openapi.SchemaForResourceType(about)
	if found == nil {
		t.Fatalf("kustomize has no schema for %+v", about)
	}
	schema := whole(t, *found.Schema)
	return validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(object).Errors
}

// whole returns a schema with what it refers to in it, in which an object has no other fields.
func whole(t *testing.T, s spec.Schema) spec.Schema {
	t.Helper()
	if s.Ref.String() != "" {
		to, err := openapi.Resolve(&s.Ref, openapi.Schema())
		if err != nil {
			t.Fatal(err)
		}
		return whole(t, *to)
	}
	if s.Format == "int-or-string" {
		return spec.Schema{}
	}
	if len(s.Properties) > 0 {
		properties := make(map[string]spec.Schema, len(s.Properties))
		for name, p := range s.Properties {
			properties[name] = whole(t, p)
		}
		s.Properties = properties
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: false}
	}
	if s.Items != nil && s.Items.Schema != nil {
		items := whole(t, *s.Items.Schema)
		s.Items = &spec.SchemaOrArray{Schema: &items}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		values := whole(t, *s.AdditionalProperties.Schema)
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &values}
	}
	return s
}
