package remedy

import "regexp"

// The kinds of trouble with rules on the router.
const (
	// KindInvalid is a rule of ours that the router calls invalid.
	KindInvalid Kind = "invalid rule"
	// KindContested is somebody else who changes our rules again and again.
	KindContested Kind = "contested rules"
	// KindStrays is rows with our comment where we made none.
	KindStrays Kind = "stray rules"
	// KindTaken is a rule of others that leaves no port.
	KindTaken Kind = "ports taken"
)

// Invalid is for a rule of ours, with this id, that the router calls invalid. About is
// what the router says, "" for nothing.
func Invalid(id, about string) Advice {
	text := "check what the router says about the rule, and remove it: doublenat makes it again"
	if about != "" {
		text = "the router says \"" + about + "\"; fix that, then remove the rule: doublenat makes it again"
	}
	return routerAdvice(KindInvalid, text, NewCommand("/ip/firewall/nat/remove", "numbers", id))
}

// Contested is for rules that somebody else changes again and again.
func Contested(instance string) Advice {
	return routerAdvice(KindContested, "does another doublenat with INSTANCE="+instance+" use this router? "+
		"Give each its own INSTANCE. Otherwise look for a script or scheduler that changes NAT rules",
		NewCommand("/system/scheduler/print"), NewCommand("/system/script/print"))
}

// Strays is for rows with our comment on another interface.
func Strays(instance string) Advice {
	return routerAdvice(KindStrays, "if another doublenat made them, give each its own INSTANCE; "+
		"if an earlier run of this one did (INSTANCE="+instance+"), remove those that are not on the interface where the gateway's packets arrive",
		NewCommand("/ip/firewall/nat/print").Found(markedBy(instance)))
}

// Crowd is for more rows with our comment than doublenat ever makes.
func Crowd(instance string) Advice {
	return routerAdvice(KindTooLarge, "a script or a restored backup made more rules for INSTANCE="+instance+" than doublenat ever does: "+
		"stop doublenat and remove them all; on start it makes those it needs",
		NewCommand("/ip/firewall/nat/remove").Found(markedBy(instance)))
}

// markedBy is the condition for the rows that have an instance's comment.
func markedBy(instance string) string {
	return "comment~" + quote("^doublenat:"+regexp.QuoteMeta(instance)+" ")
}

// Taken is for somebody else's rule that takes the ports where the gateway's packets arrive.
func Taken(rule string) Advice {
	return routerAdvice(KindTaken, "give the NAT rule "+rule+" an in-interface or dst-address that the gateway's packets do not match, or fewer ports; "+
		"if it is dynamic, switch off what makes it, such as UPnP")
}
