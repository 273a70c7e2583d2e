package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// document is a bill of materials in the form of SPDX 2.3.
type document struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creation       `json:"creationInfo"`
	Packages          []component    `json:"packages"`
	Relationships     []relationship `json:"relationships"`
}

// creation says how and when the document was made.
type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// component is doublenat, Go, or a module.
type component struct {
	Name             string     `json:"name"`
	SPDXID           string     `json:"SPDXID"`
	VersionInfo      string     `json:"versionInfo"`
	DownloadLocation string     `json:"downloadLocation"`
	FilesAnalyzed    bool       `json:"filesAnalyzed"`
	LicenseConcluded string     `json:"licenseConcluded"`
	LicenseDeclared  string     `json:"licenseDeclared"`
	CopyrightText    string     `json:"copyrightText"`
	SourceInfo       string     `json:"sourceInfo,omitempty"`
	ExternalRefs     []external `json:"externalRefs,omitempty"`
}

// external names a component as scanners for known weaknesses do.
type external struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// relationship says what has to do with what.
type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// bill writes what is in the programs: what the linker wrote into them, whatever the platform.
func (r *release) bill(context.Context) error {
	modules := make(map[string]*debug.Module)
	var toolchain string
	for _, p := range r.platforms {
		info, err := buildinfo.ReadFile(r.binary(p))
		if err != nil {
			return err
		}
		if want := "v" + r.version; info.Main.Version != want {
			return fmt.Errorf("the program for %s is of version %s, want %s", p, info.Main.Version, want)
		}
		toolchain = strings.TrimPrefix(info.GoVersion, "go")
		for _, m := range info.Deps {
			modules[m.Path] = m
		}
	}
	data, err := json.MarshalIndent(r.document(toolchain, modules), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(r.file("sbom.spdx.json"), append(data, '\n'), 0o644) //nolint:gosec // to be published
}

// document is the bill for modules and the Go that compiled them.
func (r *release) document(toolchain string, modules map[string]*debug.Module) document {
	const self, root = "SPDXRef-DOCUMENT", "SPDXRef-doublenat"
	d := document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: self, Name: "doublenat-" + r.version,
		DocumentNamespace: "https://spdx.org/spdxdocs/doublenat-" + r.version + "-" + r.commit,
		CreationInfo:      creation{Created: r.date.Format(time.RFC3339), Creators: []string{"Tool: doublenat-make-release"}},
		Packages:          []component{newComponent("doublenat", root, r.version, "MIT", "")},
		Relationships:     []relationship{{self, "DESCRIBES", root}},
	}
	d.Packages[0].SourceInfo = "git commit " + r.commit
	add := func(c component) {
		d.Packages = append(d.Packages, c)
		d.Relationships = append(d.Relationships, relationship{root, "CONTAINS", c.SPDXID})
	}
	add(newComponent("stdlib", "SPDXRef-go", toolchain, "BSD-3-Clause", "pkg:golang/stdlib@"+toolchain))
	for _, m := range slices.SortedFunc(maps.Values(modules), func(a, b *debug.Module) int { return cmp.Compare(a.Path, b.Path) }) {
		c := newComponent(m.Path, "SPDXRef-"+identifier(m.Path), m.Version, "NOASSERTION", "pkg:golang/"+m.Path+"@"+m.Version)
		c.SourceInfo = "go.sum " + m.Sum
		add(c)
	}
	return d
}

// newComponent describes a component of which nobody looked at single files.
func newComponent(name, id, version, license, locator string) component {
	c := component{
		Name: name, SPDXID: id, VersionInfo: version, DownloadLocation: "NOASSERTION",
		LicenseConcluded: "NOASSERTION", LicenseDeclared: license, CopyrightText: "NOASSERTION",
	}
	if locator != "" {
		c.ExternalRefs = []external{{"PACKAGE-MANAGER", "purl", locator}}
	}
	return c
}

// identifier writes a path with the letters that SPDX allows.
func identifier(path string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x80 && (c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return c
		}
		return '-'
	}, path)
}

// sums writes the checksums of all files, as sha256sum -c reads them.
func (r *release) sums(context.Context) error {
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum[:]), f.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644) //nolint:gosec // to be published
}
