package routerostest_test

import (
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
)

// TestContainerArguments has the arguments that versions take, and that others
// refuse: whoever swaps them is told.
func TestContainerArguments(t *testing.T) {
	t.Parallel()
	all := strings.Fields("7.12 7.18 7.19 7.20 7.21 7.22 7.23")
	for argument, in := range map[string]string{
		"envlist=e":                          "7.12 7.18 7.19",
		"envlists=e":                         "7.20 7.21 7.22 7.23",
		"env=A=b":                            "7.21 7.22 7.23",
		"mounts=m":                           "7.12 7.18 7.19 7.20",
		"mountlists=m":                       "7.21 7.22 7.23",
		"mount=src:dst":                      "7.21 7.22 7.23",
		"name=x":                             "7.19 7.20 7.21 7.22 7.23",
		"auto-restart-interval=10s":          "7.20 7.21 7.22",
		"restart-interval=10s":               "7.23",
		"restart-max-count=3":                "7.23",
		"restart-policy=on-failure":          "7.23",
		"restart-policy=x":                   "",
		"memory-high=48M":                    "7.20 7.21 7.22 7.23",
		"memory-max=64M":                     "7.23",
		"healthcheck-interval=10s":           "7.22 7.23",
		"logging=yes":                        strings.Join(all, " "),
		"logging=perhaps":                    "",
		"memory-high=much":                   "",
		"envlists=others":                    "",
		"envlist=others":                     "",
		"interface=veth9":                    "",
		"a-parameter-that-nobody-heard-of=1": "",
	} {
		t.Run(argument, func(t *testing.T) {
			t.Parallel()
			for _, version := range all {
				c := withContainers(t, version)
				words := []string{"/container/add", "=file=x.tar", "=" + argument}
				if !strings.HasPrefix(argument, "interface=") {
					words = append(words, "=interface=veth2")
				}
				got := c.run(words...)
				if want := strings.Contains(" "+in+" ", " "+version+" "); strings.HasPrefix(got, "!done =ret=") != want {
					t.Errorf("%s: %s", version, got)
				}
			}
		})
	}
}

// withContainers is a router that has an interface, variables and mounts for a container.
func withContainers(t *testing.T, version string) *client {
	t.Helper()
	c := loginAs(t, newRouter(t, routerostest.Config{Version: version}), routerostest.AdminUser, routerostest.AdminPassword)
	list, mountList := "=name=e", "=name=m"
	other := "=list=e"
	if version >= "7.20" {
		list, other = other, list
	}
	if version >= "7.21" {
		mountList = "=list=m"
	}
	for _, words := range [][]string{
		{"/interface/veth/add", "=name=veth2", "=address=172.30.253.2/30", "=gateway=172.30.253.1"},
		{"/ip/address/add", "=address=172.30.253.1/30", "=interface=veth2"},
		{"/container/envs/add", list, "=key=A", "=value=b"},
		{"/container/mounts/add", mountList, "=src=a", "=dst=/a"},
	} {
		if got := c.run(words...); !strings.HasPrefix(got, "!done =ret=") {
			t.Errorf("%s: %v: %s", version, words, got)
		}
	}
	if got := c.run("/container/envs/add", other, "=key=A", "=value=b"); !strings.Contains(got, "unknown parameter") {
		t.Errorf("%s: the list of another version: %s", version, got)
	}
	return c
}

// TestVeth: an interface of a container has a network that is reached through it.
func TestVeth(t *testing.T) {
	t.Parallel()
	c := withContainers(t, "7.22")
	got := c.run("/ip/route/check", "=dst-ip=172.30.253.2", "=once=")
	if !strings.Contains(got, "=interface=veth2") {
		t.Error(got)
	}
	for words, want := range map[string]string{
		"/interface/veth/add =name=veth2":                                              "already have such entry",
		"/certificate/add =name=a =common-name=b =subject-alt-name=IP:192.0.2.1:8729":  "invalid value for argument subject-alt-name",
		"/certificate/add =name=a =common-name=b =subject-alt-name=IP:router":          "invalid value for argument subject-alt-name",
		"/certificate/add =name=a =common-name=b =subject-alt-name=DNS:router.example": "=ret=",
		"/certificate/sign =number=c":                                                  "no such item",
		"/ip/service/set =numbers=api-ssl =certificate=c":                              "input does not match any value of certificate",
		"/ip/service/set =numbers=api-ssl =certificate=none":                           "!done",
		"/container/start =numbers=*FF":                                                "no such item",
		"/container/add =file=x =interface=veth2 =healthcheck=1":                       "unknown parameter healthcheck",
	} {
		if got := c.run(strings.Fields(words)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s", words, got)
		}
	}
}
