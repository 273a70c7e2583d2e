package routerostest

import (
	"slices"
	"strings"
)

// groupPath is where the rights of users are.
const groupPath = "/user/group"

// policies are those that a group may have, in the order in which RouterOS 7 prints them.
const policies = "local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon rest-api tikapp dude"

// checkPolicies takes policies, each as it is or denied.
func checkPolicies(_ *Router, name, value string) traps {
	for p := range strings.SplitSeq(value, ",") {
		if p != "" && !slices.Contains(strings.Fields(policies), positive(p)) {
			return refuseChoice(name)
		}
	}
	return nil
}

// mergePolicies returns the policies of a group after a set: those that are named
// come to those that it has, and one goes only when it is named with an exclamation
// mark. All others are printed as denied.
func mergePolicies(have, set string) string {
	granted := make(map[string]bool)
	for p := range strings.SplitSeq(have+","+set, ",") {
		granted[positive(p)] = p == positive(p)
	}
	var yes, no []string
	for p := range strings.FieldsSeq(policies) {
		switch {
		case granted[p]:
			yes = append(yes, p)
		case p != "tikapp" && p != "dude": // printed only where they are granted
			no = append(no, "!"+p)
		}
	}
	return strings.Join(append(yes, no...), ",")
}

// addGroup writes down what a new group may not do either.
func addGroup(r *Router, it *item) {
	it.set(r.tables[groupPath].menu.order, "policy", mergePolicies("", it.value("policy")))
}
