package setup

import (
	"net/netip"
	"path"

	"doublenat/internal/remedy"
)

const (
	// vethName is the container's interface.
	vethName = "veth-doublenat"
	// envName is the list of its variables, and imageFile its image.
	envName   = "doublenat"
	imageFile = "doublenat.tar"
	// memory is what the container may use before it is slowed down, and at most.
	memoryHigh, memoryMax = "48M", "64M"
)

// stored is where on the router a file of the container is.
func (c Config) stored(name string) string { return path.Join(c.Disk, name) }

// needs is what the router has to have before anything else: getting it takes a
// restart of the router and somebody beside it.
func (c Config) needs() Step {
	install := "/system reboot"
	if c.Version.AtLeast(18) {
		install = "/system package apply-changes" // a reboot drops what was scheduled
	}
	s := Step{
		Title: "Containers. Once for a router:",
		Notes: []string{
			"the package container of the router's own version, uploaded to its files and installed by " + install + ";",
			"/system device-mode update container=yes, confirmed by the button or the power switch when it asks for it;",
			"the image, uploaded to its files as " + c.stored(imageFile) + ".",
		},
	}
	s.Notes = append(s.Notes, c.released()...)
	if c.Disk == "" {
		s.Notes = append(s.Notes, "If the router has a folder flash or a disk, put the image there, and add --disk flash to this command:",
			"anything outside it is in memory, and gone after a reboot.")
	}
	if c.Version.AtLeast(23) {
		s.Notes = append(s.Notes, "Keep the image file: from 7.23.2 RouterOS looks for it, and removes or unpacks the container again.")
	}
	return s
}

// released says which file of a release is the image. The one for ARMv5 runs on every 32-bit ARM, and the
// router does not say which it is.
func (c Config) released() []string {
	const arm64, arm, amd64 = "doublenat_VERSION_linux_arm64_image.tar", "doublenat_VERSION_linux_armv5_image.tar", "doublenat_VERSION_linux_amd64_image.tar"
	file := map[string]string{"arm64": arm64, "arm": arm, "x86_64": amd64, "x86": amd64}[c.Architecture]
	switch {
	case file != "":
		return []string{"   This router is " + c.Architecture + ": of a release it is " + file + "."}
	case c.Architecture != "":
		return []string{"   This router is " + c.Architecture + ", which has no containers: run doublenat on another host (--host)."}
	}
	return []string{
		"   Which file of a release it is, says :put [/system resource get architecture-name]:",
		"   arm64: " + arm64 + "; arm: " + arm + "; x86_64: " + amd64 + ".",
	}
}

// network is a network of its own for the container: in the LAN's, replies to
// redirected requests would come from the wrong address.
func (c Config) network() Step {
	bits := c.Container.Bits()
	s := Step{
		Title: "A separate network for the container.",
		Commands: []remedy.Command{
			remedy.NewCommand("/interface/veth/add", "name", vethName,
				"address", netip.PrefixFrom(c.Host, bits).String(), "gateway", c.Gateway().String()),
		},
	}
	if c.Link == LinkBridge {
		s.Title = "A separate network for the container, on the clients' bridge."
		s.Commands = append(s.Commands, remedy.NewCommand("/interface/bridge/port/add", "bridge", c.Bridge, "interface", vethName))
	}
	s.Commands = append(s.Commands, remedy.NewCommand("/ip/address/add", "address", netip.PrefixFrom(c.Gateway(), bits).String(), "interface", c.veth()))
	return s
}

// environment is the container's variables. Up to 7.19 the list is called by
// another name.
func (c Config) environment() Step {
	list := "name"
	if c.Version.AtLeast(20) {
		list = "list"
	}
	s := Step{Title: "doublenat's settings. Replace " + Password + " by the user's password.", Notes: c.Notes}
	for _, a := range c.Environ {
		s.Commands = append(s.Commands, remedy.NewCommand("/container/envs/add", list, envName, "key", a.Name, "value", a.Value))
	}
	s.Commands = append(s.Commands, remedy.NewCommand("/container/envs/add", list, envName, "key", "MIKROTIK_API_PASSWORD", "value", Password))
	return s
}

// container is the container itself, with the options that the version has. It gets
// a DNS server: without one, and without one of the router's own, it does not start.
func (c Config) container() Step {
	s := Step{Title: "The container, from the image " + c.stored(imageFile) + " in the router's files."}
	var words []string
	set := func(name, value string) { words = append(words, name, value) }
	set("file", c.stored(imageFile))
	if c.named() {
		set("name", envName)
	}
	set("interface", vethName)
	if c.Version.AtLeast(20) {
		set("envlists", envName)
	} else {
		set("envlist", envName)
	}
	set("root-dir", c.stored(envName))
	set("dns", c.Gateway().String())
	set("logging", "yes")
	set("start-on-boot", "yes")
	switch {
	case c.Version.AtLeast(23):
		set("restart-policy", "on-failure")
		set("restart-interval", "10s")
	case c.Version.AtLeast(20):
		set("auto-restart-interval", "10s")
	default:
		s.Notes = append(s.Notes, "This version does not start a stopped container again.")
	}
	if c.Version.AtLeast(20) {
		set("memory-high", memoryHigh)
	}
	if c.Version.AtLeast(23) {
		set("memory-max", memoryMax)
	}
	if c.Version.AtLeast(22) {
		s.Notes = append(s.Notes, "With HTTP_ADDR set, this version can watch doublenat by \"doublenat status --health\":",
			"Tab after healthcheck- shows how.")
	}
	s.Commands = []remedy.Command{remedy.NewCommand("/container/add", words...)}
	return s
}

// named reports whether containers have names.
func (c Config) named() bool { return c.Version.AtLeast(19) }

// start starts the container, which can only be done some time after it was added.
func (c Config) start() Step {
	which := "interface=" + vethName
	if c.named() {
		which = "name=" + envName
	}
	return Step{
		Title:    "The start.",
		Notes:    []string{"The image is unpacked first: wait until /container print shows the container as stopped."},
		Commands: []remedy.Command{remedy.NewCommand("/container/start").Found(which)},
	}
}
