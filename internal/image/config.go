package image

// manifest is an entry of manifest.json: the files of an archive that make an image.
type manifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// config is the configuration of an image, in the form of the OCI image specification.
type config struct {
	Created      string    `json:"created"`
	Architecture string    `json:"architecture"`
	Variant      string    `json:"variant,omitempty"`
	OS           string    `json:"os"`
	Config       execution `json:"config"`
	RootFS       rootFS    `json:"rootfs"`
	History      []history `json:"history"`
}

// execution is how a container is run.
type execution struct {
	User         string              `json:"User"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts"`
	Entrypoint   []string            `json:"Entrypoint"`
	WorkingDir   string              `json:"WorkingDir"`
	Labels       map[string]string   `json:"Labels"`
}

// rootFS names the layers by the digests of what is in them.
type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// history says where a layer comes from.
type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// config returns the configuration of an image with one layer.
func (a about) config(layer string) config {
	labels := map[string]string{
		"org.opencontainers.image.title":       "doublenat",
		"org.opencontainers.image.description": "NAT-PMP for a LAN behind a MikroTik router and a VPN with port forwarding",
		"org.opencontainers.image.licenses":    "MIT",
		"org.opencontainers.image.version":     a.version,
	}
	if a.revision != "" {
		labels["org.opencontainers.image.revision"] = a.revision
	}
	return config{
		Created:      a.created,
		Architecture: a.architecture,
		Variant:      a.variant,
		OS:           "linux",
		Config: execution{
			User:         user,
			ExposedPorts: map[string]struct{}{port: {}},
			Entrypoint:   []string{"/" + programPath},
			WorkingDir:   "/",
			Labels:       labels,
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + layer}},
		History: []history{{Created: a.created, CreatedBy: "make image"}},
	}
}
