package setup

import (
	"net/netip"

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

// needs is what the router has to have before anything else: getting it takes a
// restart of the router and somebody beside it.
func (c Config) needs() Step {
	return Step{
		Title: "Containers. Once for a router:",
		Notes: []string{
			"the package container of the router's own version, uploaded to its files and installed by /system/reboot;",
			"/system/device-mode/update container=yes, confirmed by the button or the power switch when it asks for it;",
			"the image, uploaded to its files as " + imageFile + ".",
		},
	}
}

// network is a network of its own for the container: in the LAN's, replies to
// redirected requests would come from the wrong address.
func (c Config) network() Step {
	bits := c.Container.Bits()
	return Step{
		Title: "A network of its own for the container.",
		Commands: []remedy.Command{
			remedy.NewCommand("/interface/veth/add", "name", vethName,
				"address", netip.PrefixFrom(c.Host, bits).String(), "gateway", c.Gateway().String()),
			remedy.NewCommand("/ip/address/add", "address", netip.PrefixFrom(c.Gateway(), bits).String(), "interface", vethName),
		},
	}
}

// environment is the container's variables. Up to 7.19 the list is called by
// another name.
func (c Config) environment() Step {
	list := "name"
	if c.Version.AtLeast(20) {
		list = "list"
	}
	s := Step{Title: "What doublenat has to know. " + Password + " is the user's password.", Notes: c.Notes}
	for _, a := range c.Environ {
		s.Commands = append(s.Commands, remedy.NewCommand("/container/envs/add", list, envName, "key", a.Name, "value", a.Value))
	}
	s.Commands = append(s.Commands, remedy.NewCommand("/container/envs/add", list, envName, "key", "MIKROTIK_API_PASSWORD", "value", Password))
	return s
}

// container is the container itself, with the options that the version has.
func (c Config) container() Step {
	s := Step{Title: "The container, from the image " + imageFile + " in the router's files."}
	var words []string
	set := func(name, value string) { words = append(words, name, value) }
	set("file", imageFile)
	if c.named() {
		set("name", envName)
	}
	set("interface", vethName)
	if c.Version.AtLeast(20) {
		set("envlists", envName)
	} else {
		set("envlist", envName)
	}
	set("root-dir", envName)
	set("logging", "yes")
	set("start-on-boot", "yes")
	switch {
	case c.Version.AtLeast(23):
		set("restart-interval", "10s")
		s.Notes = append(s.Notes, "Set restart-policy as well; Tab after restart-policy= shows what this version takes.")
	case c.Version.AtLeast(20):
		set("auto-restart-interval", "10s")
	default:
		s.Notes = append(s.Notes, "This version does not start a container again that ended.")
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
	which := "[find interface=" + vethName + "]"
	if c.named() {
		which = "[find name=" + envName + "]"
	}
	return Step{
		Title:    "The start.",
		Notes:    []string{"The image is unpacked first: wait until /container/print shows the container as stopped."},
		Commands: []remedy.Command{remedy.NewCommand("/container/start", "numbers", which)},
	}
}
